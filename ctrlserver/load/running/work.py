"""What a run does between its first packet and its last: one class for each mode, and what they all offer.

    mode       work         what is under way
    send       Streams      streams that send up to their limits
    request    Requests     the same, but a packet is over only once it is answered
    receive    Downloads    streams that ask once, and count what arrives
    connect    Slots        slots that connect, drop the connection, and connect again

In the order in which they are called:

    open
    start(warm_up=True), end_warm_up      with --warm-up
    start(warm_up=False)                  unless end_warm_up goes on by itself
    end_plan, stop_new                    if the schedule, the time or an interrupt ends it
    notes, comparison, figures
    close

Rules: ``run.py`` makes the work of its mode and calls it by the phases of a run, ``sending.py`` by the clock. Neither
asks which mode it is: what differs between the modes stands in these classes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from ctrlserver.load.measure.counts import Connected, Counts, Replies, StreamCount, Volume
from ctrlserver.load.measure.reconciling import Comparison
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.running.pacing import Paced
from ctrlserver.load.streams.outgoing import Conversation

#: Seconds after the end of the time in which a packet that was begun may be ended.
GRACE_SECONDS = 2.0

#: What a mode that sends nothing has sent.
NOTHING = Volume.of(Counts(), 0.0)


@frozen
class Figures:
    """What the measured part came to: the fields of the result that depend on the mode."""

    sent: Volume = NOTHING
    replies: Replies | None = None
    downloaded: Volume | None = None
    connections: Connected | None = None


class Work(Protocol):
    """The work of one mode. ``error`` is its first failure, which has ended it; ``streams`` is empty in connect mode.

    ``tick``: least nanoseconds between two wake-ups of the pacer.
    """

    tick: int
    timing: Timing
    streams: list[Conversation]
    error: str | None

    async def open(self) -> None:
        """Connect what must be connected before the first packet; LoadError in one line if that fails."""

    # While packets are sent

    def start(self, *, warm_up: bool) -> Deferred[None]:
        """Begin, in a warm-up without limits; fires when all is done, or the work has failed."""

    def end_warm_up(self, begin_measuring: Callable[[], None]) -> bool:
        """The time of the warm-up is up. Either go on, or pause.

        Go on: call ``begin_measuring``, take the limits from there, and give whether there is more to do. Pause: send
        nothing new and give False; then the deferred of ``start`` fires, and ``start`` is called once more.
        """

    def end_plan(self) -> bool:
        """The schedule has released all its packets; give whether some of them are still under way."""

    def stop_new(self, *, at_once: bool) -> None:
        """Begin no packet any more; ``at_once``: wait only for the grace. May be called again."""

    def fail(self, message: str) -> None:
        """End all of it with this error, unless there is one already."""

    def watch(self, now: float) -> None:
        """Called several times a second: end what goes without progress for too long."""

    def paced(self) -> Sequence[Paced]:
        """What a schedule deals its packets to."""

    @property
    def planned(self) -> int | None:
        """Packets still to be sent up to the limits; None where there is no limit."""

    # What was done

    def counts(self, *, whole: bool = False) -> Counts:
        """Running totals, now; ``whole``: only the bytes of whole packets."""

    @property
    def in_flight(self) -> int:
        """Packets that await their answer."""

    @property
    def last(self) -> float:
        """When the last data went or arrived, by the lane's clock; 0 where none did."""

    # After the last packet

    def notes(self) -> list[str]:
        """Lines worth showing that are no failures."""

    def comparison(self, counts: list[StreamCount], began: float) -> Comparison | None:
        """How the server's counts are to be compared with ours; None where nothing can be compared."""

    def figures(self, news: Counts, seconds: float) -> Figures:
        """What the result says of ``news``, which the measured part did in ``seconds``."""

    def close(self) -> None:
        """Leave the lane, and end whatever is under way."""
