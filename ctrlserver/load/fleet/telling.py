"""What each process of a fleet is told. PURE.

Rules: a process is told the whole load, in the words that were typed, its shard of it, and to wait for its start. What
is done with the result is the parent's alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from signal import Signals

from ctrlserver.load.plan.shard import Shard

#: Flags that a process gets from us, or that are the parent's.
NOT_PASSED_ON = (
    "processes",
    "dask",
    "shards",
    "start_at",
    "document",
    "events",
    "progress",
    "junit",
    "output",
    "history",
    "history_runs",
    "history_age",
    "metrics",
)

#: Seconds that the line with the start has to reach all processes, and these to set their timers; on a machine, and by
#: way of a cluster's scheduler.
LEAD_SECONDS, CLUSTER_LEAD_SECONDS = 0.2, 1.0

#: What a process wrote last to stderr: as much is kept.
KEPT_BYTES = 4096


def words_for(shard: Shard, target: str, load: Sequence[str]) -> list[str]:
    """The arguments of ``ctrlload`` for the process that sends ``shard``; ``load`` has a word for each flag."""
    return ["run", *load, f"--shard={shard.text}", "--start-at=-", "--json-progress", "--", target]


def start_line(seconds: float) -> bytes:
    """What stdin says: the moment, in ``seconds`` since 1970."""
    return f"{seconds:.6f}\n".encode()


def how_ended(process: int, code: int | None, number: int | None, said: bytes) -> str:
    """The end of a process without a result, by its exit code or the number of its signal, and its last words."""
    if number:
        return f"process {process} was ended by {Signals(number).name}"
    return f"process {process} gave no result: {last_line(said) or f'it exited with code {code}'}"


class Lines:
    """Whole lines of what comes in parts."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def of(self, part: bytes) -> Iterator[bytes]:
        """The lines that are complete by ``part``."""
        *lines, rest = part.split(b"\n")
        for line in lines:
            whole = b"".join((*self._parts, line))
            self._parts.clear()
            yield whole
        self._parts.append(rest)


def last_line(said: bytes) -> str:
    """The last words of a program to people, without its name."""
    lines = said.decode(errors="replace").split("\n")
    return next((line.strip().removeprefix("ctrlload: ") for line in reversed(lines) if line.strip()), "")
