"""Sleeping, for as long as is meant where the time of day is another one too.

``time.sleep`` fails under libfaketime, by which a lab has a program live at another time: version 0.9.10 mistakes the
moment until which Python sleeps, where it is told to leave the monotonic clock alone (EINVAL, each time). So does
``Popen.wait`` with a timeout, and so does ``subprocess.run``, which sleep by it.
"""

from __future__ import annotations

import select
import subprocess
import time

#: Seconds between two looks at a process that is waited for.
LOOK_SECONDS = 0.005


def sleep(seconds: float) -> None:
    """Sleep; as ``time.sleep``."""
    select.select((), (), (), seconds)


def wait_for(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code of ``process``, as soon as it has ended; None if it has not within ``seconds``."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        sleep(LOOK_SECONDS)
    return process.poll()
