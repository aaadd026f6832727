"""How the kernel shares the processors: a process that lets others run on when it wakes up.

Source: sched(7), SCHED_BATCH. Such a process has its fair share as any other. But when data wake it, it does not take
the processor from whoever has it: it waits until that one sleeps or has had its time, so more data are there by then.
"""

from __future__ import annotations

import os
from contextlib import suppress


def wait_for_the_running() -> None:
    """Have this process interrupt nobody when it wakes up. One that was started with a policy of its own keeps it."""
    with suppress(AttributeError, OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
