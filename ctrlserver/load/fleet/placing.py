"""Which worker of a cluster sends which shard, and which clusters cannot send a load. PURE.

Rules: a worker has as many shards as it has threads at most, because it runs as many tasks at a time and a shard needs
a core. All workers that send have our version of ctrlload and of Python: a load of several versions is no one load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from ctrlserver.errors import LoadError
from ctrlserver.units import format_duration
from ctrlserver.words import counted, printable

#: Seconds by which a clock may be wrong: a shard may begin as late.
CLOCK_SECONDS = 0.01

#: Workers that a line about their number names.
_NAMED = 8


@frozen
class Worker:
    """A worker that runs ``threads`` tasks at a time; ``name`` is its own, or its address again."""

    address: str
    name: str
    threads: int

    @property
    def text(self) -> str:
        """For people and for the result."""
        return self.address if self.name == self.address else f"{self.name} ({self.address})"


def placed(workers: Sequence[Worker], shards: int | None, streams: int, cluster: str) -> list[Worker]:
    """The workers of shards 1, 2, ...: of ``shards``, or of one for each thread and stream.

    Shards go to all workers in turn. LoadError where there are too few.
    """
    slots = sorted(
        ((turn, place, worker) for place, worker in enumerate(workers) for turn in range(worker.threads)),
        key=lambda slot: slot[:2],
    )
    if not slots:
        raise LoadError(f"--dask {printable(cluster)}: the cluster has no worker")
    if shards is not None and shards > len(slots):
        each = ", ".join(f"{printable(worker.text)}: {worker.threads}" for worker in workers[:_NAMED])
        more = f", and {len(workers) - _NAMED} more" if len(workers) > _NAMED else ""
        raise LoadError(
            f"--shards {shards}: the cluster runs {len(slots)} at a time, {counted(len(workers), 'worker')} "
            f"with a thread for each ({each}{more}); did you mean --shards {len(slots)}?"
        )
    return [worker for _, _, worker in slots[: min(streams, len(slots)) if shards is None else shards]]


@frozen
class Versions:
    """Of ctrlload, None where it is not installed, and of Python, such as ``3.11.7``."""

    ctrlload: str | None
    python: str

    @property
    def language(self) -> str:
        """The version of the language, without that of the release."""
        return ".".join(self.python.split(".")[:2])


def check_versions(ours: Versions, theirs: Mapping[Worker, Versions]) -> None:
    """LoadError for the first worker whose versions are not ours, with both."""
    for worker, found in theirs.items():
        name = printable(worker.text)
        if found.ctrlload is None:
            raise LoadError(f"worker {name} has no ctrlload; install ctrlserver {ours.ctrlload} there")
        if found.ctrlload != ours.ctrlload:
            raise LoadError(f"worker {name} has ctrlload {found.ctrlload}, here it is {ours.ctrlload}; they must agree")
        if found.language != ours.language:
            raise LoadError(f"worker {name} has Python {found.python}, here it is {ours.python}; they must agree")


def clock_words(offset: float, within: float) -> str | None:
    """What is told of a worker whose clock is ``offset`` seconds ahead, give or take ``within``; None: nothing."""
    if abs(offset) <= within + CLOCK_SECONDS:
        return None
    way, start = ("ahead of", "earlier") if offset > 0 else ("behind", "later")
    by = f"{format_duration(abs(offset))} {way} ours, give or take {format_duration(within)}"
    return f"the clock of its worker is {by}: it begins as much {start}"
