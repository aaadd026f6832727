"""A process that ends with its parent and leaves the terminal's signals to it: how to start one, and how to be one.

Beware: the kernel ends it with the thread that started it, which has to stay until then.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ctrlserver.console.interrupts import SIGNALS
from ctrlserver.linux.naming import end_with_parent


def command(module: str, words: Sequence[str] = ()) -> list[str]:
    """The command line of a child that runs ``module`` with these arguments."""
    return [sys.executable, "-P", "-m", module, str(os.getpid()), *words]


def environment() -> dict[str, str]:
    """Ours, and in it where our modules are found."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(each) for each in sys.path)}


@contextmanager
def signals_held() -> Iterator[None]:
    """A child that is started meanwhile inherits that it does not get the signals yet."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def be_child(after: signal.Handlers) -> None:
    """End with the parent, which is the first argument, and drop the signals that came so far; then do ``after``."""
    parent = int(sys.argv.pop(1))
    os.setpgid(0, 0)
    end_with_parent()
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(1)
    for action in dict.fromkeys((signal.SIG_IGN, after)):  # the first drops what is pending
        for number in SIGNALS:
            signal.signal(number, action)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
