"""The program ``ctrlstat``: takes the signals over, then looks at the command line.

Rules: nothing is imported before the signals are ours, so that no signal ends in a traceback.
"""

from __future__ import annotations

import sys

from ctrlserver.console.interrupts import Interrupts


def main() -> None:
    """Carry out the command line of this process."""
    interrupts = Interrupts()
    interrupts.install()
    from ctrlserver.overview.command import exit_code

    code = exit_code(sys.argv[1:], interrupts)
    interrupts.ignore()
    sys.exit(code)


if __name__ == "__main__":
    main()
