"""A program from its first signal to its exit code.

Rules: nothing is imported before the signals are ours, because the imports take longer than many a run; from then on
no signal ends in a traceback.
"""

from __future__ import annotations

import sys
from importlib import import_module

from ctrlserver.console.interrupts import Interrupts


def run_program(module: str) -> None:
    """Carry out the command line of this process with the ``exit_code`` of ``module``."""
    interrupts = Interrupts()
    interrupts.install()
    code = import_module(module).exit_code(sys.argv[1:], interrupts)
    interrupts.ignore()
    sys.exit(code)
