"""``python -m ctrlserver.load.fleet PARENT run ...``: ctrlload as one of several processes that PARENT started.

Rules: it ends with its parent. A terminal's signals go to the parent alone, which passes them on once this process has
said that it begins: it has a process group of its own, and what arrived before that is dropped.
"""

from __future__ import annotations

import os
import signal
import sys

from ctrlserver.console.interrupts import SIGNALS
from ctrlserver.console.program import run_program
from ctrlserver.linux.naming import end_with_parent


def main() -> None:
    """Carry out the command line of this process."""
    parent = int(sys.argv.pop(1))
    os.setpgid(0, 0)
    end_with_parent()
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # drops what is pending
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    run_program("ctrlserver.load.commands.group")


if __name__ == "__main__":
    main()
