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

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.counts import Connected, Counts, Replies, StreamCount, Volume
from ctrlserver.load.measure.injections import Injections
from ctrlserver.load.measure.reconciling import Comparison
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.plan.options import Options
from ctrlserver.load.running.pacing import SEND_TICK, Paced
from ctrlserver.load.running.transports import Transport
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


class Work:
    """The work of one mode. ``error`` is its first failure, which has ended it; ``streams`` is empty in connect mode.

    ``tick``: least nanoseconds between two wake-ups of the pacer. ``served_by``: the modes of a listener that give this
    mode what it waits for. ``compared_if_failed``: what was sent up to a failure can be compared with the server.
    """

    tick = SEND_TICK
    served_by: tuple[str, ...] = ()
    compared_if_failed = False

    def __init__(self, reactor: IReactorTime, lane: Lane, options: Options, transport: Transport) -> None:
        self.timing = Timing(whole_gauges=options.shard is not None)
        self.streams: list[Conversation] = []
        self.error: str | None = None
        self.lane = lane
        self._reactor = reactor
        self._options = options
        self._transport = transport
        self._all_done: Deferred[None] | None = None

    async def open(self) -> None:
        """Connect what must be connected before the first packet; LoadError in one line if that fails."""

    # While packets are sent

    def start(self, *, warm_up: bool) -> Deferred[None]:
        """Begin, in a warm-up without limits; fires when all is done, or the work has failed."""
        raise NotImplementedError

    def end_warm_up(self, begin_measuring: Callable[[], None]) -> bool:
        """The time of the warm-up is up. Either go on, or pause.

        Go on: call ``begin_measuring``, take the limits from there, and give whether there is more to do. Pause: send
        nothing new and give False; then the deferred of ``start`` fires, and ``start`` is called once more.
        """
        raise NotImplementedError

    def end_plan(self) -> bool:
        """The schedule has released all its packets; give whether some of them are still under way."""
        raise NotImplementedError

    def stop_new(self, *, at_once: bool) -> None:
        """Begin no packet any more; ``at_once``: wait only for the grace. May be called again."""
        raise NotImplementedError

    def fail(self, message: str) -> None:
        """End all of it with this error, unless there is one already."""
        raise NotImplementedError

    def watch(self, now: float) -> None:
        """Called several times a second: end what goes without progress for too long."""

    def paced(self) -> Sequence[Paced]:
        """What a schedule deals its packets to."""
        raise NotImplementedError

    @property
    def planned(self) -> int | None:
        """Packets still to be sent up to the limits; None where there is no limit."""
        return None

    # What was done

    def counts(self, *, whole: bool = False) -> Counts:
        """Running totals, now; ``whole``: only the bytes of whole packets."""
        raise NotImplementedError

    @property
    def in_flight(self) -> int:
        """Packets that await their answer."""
        return 0

    @property
    def last(self) -> float:
        """When the last data went or arrived, by the lane's clock; 0 where none did."""
        return 0.0

    # After the last packet

    def settle(self) -> None:
        """All is sent: what an injection holds up goes on, so that the counts can be compared."""

    @property
    def injections(self) -> Injections | None:
        """What ``--inject`` did; None without it."""
        return None

    def notes(self) -> list[str]:
        """Lines worth showing that are no failures."""
        return []

    def comparison(self, counts: list[StreamCount], began: float, plan_ends: float) -> Comparison | None:
        """How the server's counts are to be compared with ours; None where nothing can be compared.

        The first byte went at ``began``; up to ``plan_ends`` the schedule gives time, 0 where there is none.
        """
        return None

    def figures(self, news: Counts, seconds: float, plan_seconds: float) -> Figures:
        """What the result says of ``news``, which the measured part did in ``seconds``.

        ``plan_seconds``: the time that the schedule gave them, 0 where there is none.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Leave the lane, and end whatever is under way."""

    def _finish(self) -> None:
        """All is done; may be called again."""
        all_done, self._all_done = self._all_done, None
        if all_done is not None:
            all_done.callback(None)
