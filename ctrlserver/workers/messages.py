"""What a parent says to every worker, whatever that is made of.

A message is an object that can be pickled and has ``carry_out(worker, descriptors)``. What that returns answers it, if
it is a question. Those that need the data plane stand elsewhere; this module imports nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from ctrlserver.linux.descriptors import descriptor_limit
from ctrlserver.linux.usage import cpu_seconds, resident_bytes

if TYPE_CHECKING:
    from ctrlserver.workers.snapshots import Snapshot
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
    """What was counted since the last one; ``paths``: with the figures that cost a look at each socket."""

    paths: bool = False

    def carry_out(self, worker: Worker, descriptors: list[int]) -> Looked:
        """Answer at once."""
        worker.taker.take_waiting()
        snapshot = worker.book.take(
            worker.clock(),
            paths=self.paths,
            cpu_seconds=cpu_seconds(),
            memory_bytes=resident_bytes(),
            **worker.around(),
        )
        return Looked(snapshot, worker.taker.taken, descriptor_limit())


@frozen
class Stop:
    """End what is open; the answer is the last ``Looked``. The worker ends once its channel is closed."""

    def carry_out(self, worker: Worker, descriptors: list[int]) -> Looked:
        """Stop, and look once more."""
        worker.taker.close()
        worker.at_end()
        return Look().carry_out(worker, [])
