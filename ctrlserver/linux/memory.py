"""How much memory this process may use: the machine's, its control group's or its own limit, whichever is least.

When Python looks for garbage in it, and that it gives back what it freed. glibc takes large blocks from the kernel
one by one, but after the first one is freed it cuts them from its heap instead. There a small one after them keeps
them all.
"""

from __future__ import annotations

import gc
import os
import resource
from contextlib import suppress
from pathlib import Path

from ctrlserver.linux.library import library_function

#: Blocks from this size on are taken from the kernel one by one: larger than those of a turn, which are soon freed.
LARGE_BYTES = 144 << 10

#: Bytes free at the end of the heap before they are given back, so that a turn's blocks are not taken anew each time.
TRIM_BYTES = 8 << 20

#: New objects before garbage is looked for among them; such looks before one at the older ones too, and those before
#: one at all. That is as often as by default (700, 10, 10), but for the youngest: of the thousands of objects by which
#: workers tell of short streams none is garbage.
GARBAGE_THRESHOLDS = (7000, 2, 2)

#: Of mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_ROOT = Path("/sys/fs/cgroup")


def memory_there_is(groups: Path = Path("/proc/self/cgroup"), root: Path = _ROOT) -> int:
    """Bytes."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *group_limits(groups, root)]
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            limits.append(soft)
    return min(limits)


def give_back_large_blocks() -> None:
    """From now on a large block goes back to the kernel when it is freed; nothing where the library is not glibc."""
    mallopt = library_function("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES)


def look_for_garbage_seldom() -> None:
    """From now on. What is there already is none; it is not looked at again. To be called once a program runs.

    A look at all modules took 30 to 40 ms; while connections came at 16 000 a second the parent of two workers had one
    each second.
    """
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


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
