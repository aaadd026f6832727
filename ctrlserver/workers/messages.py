"""What a parent says to every worker, whatever that is made of.

A message is an object that can be pickled and has ``carry_out(worker, descriptors)``. What that returns answers it, if
it is a question. Those that need the data plane stand elsewhere; this module imports nothing of it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred

from ctrlserver.linux.descriptors import descriptor_limit
from ctrlserver.linux.usage import cpu_seconds, resident_bytes

#: Streams that are looked at in a turn: that takes half a millisecond, with probe packets some more.
AT_ONCE = 100

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctrlserver.workers.snapshots import Seen, Snapshot
    from ctrlserver.workers.worker import Worker


@frozen
class Looked:
    """The answer to ``Look``. ``taken``: connections that the worker has taken since its start.

    ``descriptors``: how many it may have open, which somebody may have changed.
    """

    snapshot: Snapshot
    taken: int
    descriptors: int


@frozen
class Look:
    """What was counted since the last one. ``urgent``: somebody waits for it, and may ask again soon."""

    urgent: bool = False

    def carry_out(self, worker: Worker, descriptors: list[int]) -> Looked:
        """Answer at once."""
        if self.urgent:
            worker.make_way()
        worker.taker.take_waiting()
        snapshot = worker.book.take(
            worker.clock(),
            cpu_seconds=cpu_seconds(),
            memory_bytes=resident_bytes(),
            **worker.around(),
        )
        return Looked(snapshot, worker.taker.taken, descriptor_limit())


@frozen
class LookAt:
    """How open streams fare, by their numbers in the worker: what costs some microseconds each."""

    streams: Sequence[int]

    def carry_out(self, worker: Worker, descriptors: list[int]) -> Deferred[list[Seen]]:
        """Look at some of them in each turn: data that arrives goes first."""
        seen: list[Seen] = []
        answer: Deferred[list[Seen]] = Deferred()
        rest = iter(self.streams)

        def look() -> None:
            some = list(islice(rest, AT_ONCE))
            seen.extend(worker.book.look_at(some))
            if some:
                worker.reactor.callLater(0, look)
            else:
                answer.callback(seen)

        look()
        return answer


@frozen
class Stop:
    """End what is open; the answer is the last ``Looked``. The worker ends once its channel is closed."""

    def carry_out(self, worker: Worker, descriptors: list[int]) -> Looked:
        """Stop, and look once more."""
        worker.taker.close()
        worker.at_end()
        return Look().carry_out(worker, [])
