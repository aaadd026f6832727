"""How much memory this process may use: the machine's, its control group's or its own limit, whichever is least."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def memory_there_is(groups: Path = Path("/proc/self/cgroup"), root: Path = _ROOT) -> int:
    """Bytes."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *group_limits(groups, root)]
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            limits.append(soft)
    return min(limits)


def group_limits(groups: Path, root: Path) -> list[int]:
    """The limits of the control group in the file ``groups`` and of those around it, of both versions."""
    limits = []
    with suppress(OSError, ValueError):
        for line in groups.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            name = "memory.limit_in_bytes" if "memory" in kinds.split(",") else "memory.max"
            base = root / "memory" if "memory" in kinds.split(",") else root
            if not kinds or "memory" in kinds.split(","):
                inner = base / path.strip("/")
                for folder in (inner, *inner.parents):
                    with suppress(OSError, ValueError):
                        limits.append(int((folder / name).read_text()))
                    if folder == base:
                        break
    return limits
