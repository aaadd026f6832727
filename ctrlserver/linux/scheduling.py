"""How the kernel shares the processors: a process that lets others run on when it wakes up, and one that does not move.

Sources: sched(7), SCHED_BATCH; sched_setaffinity(2). A process of SCHED_BATCH has its fair share as any other. But when
data wake it, it does not take the processor from whoever has it: it waits until that one sleeps or has had its time, so
more data are there by then. A process that keeps to a processor finds its code and data in the caches there.
"""

from __future__ import annotations

import os
from contextlib import suppress


def wait_for_the_running() -> None:
    """Have this process interrupt nobody when it wakes up. One that was started with a policy of its own keeps it."""
    with suppress(AttributeError, OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def keep_to_a_processor(number: int, processes: int) -> None:
    """Have this process, the one of that number of so many, run on one processor alone.

    Nothing is done where there are more processors than processes: then one of them is free sooner than that one is.
    """
    with suppress(AttributeError, OSError):
        processors = sorted(os.sched_getaffinity(0))
        if processes >= len(processors):
            os.sched_setaffinity(0, {processors[number % len(processors)]})
