"""What each process of a fleet is told. PURE.

Rules: a process is told the whole load, in the words that were typed, its shard of it, and to wait for its start. What
is done with the result is the parent's alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from ctrlserver.load.plan.shard import Shard

#: Flags that a process gets from us, or that are the parent's.
NOT_PASSED_ON = ("processes", "start_at", "document", "events", "progress", "junit", "output")

#: Seconds that the line with the start has to reach all processes, and these to set their timers.
LEAD_SECONDS = 0.2


def words_for(shard: Shard, target: str, load: Sequence[str]) -> list[str]:
    """The arguments of ``ctrlload`` for the process that sends ``shard``; ``load`` has a word for each flag."""
    return ["run", *load, f"--shard={shard.text}", "--start-at=-", "--json-progress", "--", target]


def start_line(seconds: float) -> bytes:
    """What stdin says: the moment, in ``seconds`` since 1970."""
    return f"{seconds:.6f}\n".encode()
