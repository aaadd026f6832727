"""What a parent says to every worker, whatever that is made of.

A message is an object that can be pickled and has ``carry_out(worker, descriptors)``. What that returns answers it, if
it is a question. Those that need the data plane stand elsewhere; this module imports nothing of it.
"""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from attrs import frozen

from ctrlserver.logs.level import LEVEL

if TYPE_CHECKING:
    from ctrlserver.workers.snapshots import Snapshot
    from ctrlserver.workers.worker import Worker

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@frozen
class Looked:
    """The answer to ``Look``. ``taken``: connections that the worker has taken since its start."""

    snapshot: Snapshot
    taken: int


@frozen
class Look:
    """What was counted since the last one; ``paths``: with the figures that cost a look at each socket."""

    paths: bool = False

    def carry_out(self, worker: Worker, descriptors: list[int]) -> Looked:
        """Answer at once."""
        worker.at_look()
        used = resource.getrusage(resource.RUSAGE_SELF)
        snapshot = worker.book.take(
            worker.clock(),
            paths=self.paths,
            cpu_seconds=used.ru_utime + used.ru_stime,
            memory_bytes=_resident_bytes(),
            **worker.around(),
        )
        return Looked(snapshot, worker.taker.taken)


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


@frozen
class SetLevel:
    """Write log lines from level ``name`` on."""

    name: str

    def carry_out(self, worker: Worker, descriptors: list[int]) -> None:
        """Set it."""
        LEVEL.set(self.name)


@frozen
class Stop:
    """End what is open; the answer is the last ``Looked``. The worker ends once its channel is closed."""

    def carry_out(self, worker: Worker, descriptors: list[int]) -> Looked:
        """Stop, and look once more."""
        worker.taker.close()
        worker.at_end()
        return Look().carry_out(worker, [])
