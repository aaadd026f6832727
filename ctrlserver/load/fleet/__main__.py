"""``python -m ctrlserver.load.fleet PARENT run ...``: ctrlload as one of several processes that PARENT started.

Rules: it ends with its parent. A terminal's signals go to the parent alone, which passes them on once this process has
said that it begins: it has a process group of its own, and what arrived before that is dropped.
"""

from __future__ import annotations

import signal

from ctrlserver.console.program import run_program
from ctrlserver.load.fleet.child import be_child


def main() -> None:
    """Carry out the command line of this process."""
    be_child(signal.SIG_IGN)
    run_program("ctrlserver.load.commands.group")


if __name__ == "__main__":
    main()
