"""The terminal while ``top`` has it: keys as they are typed, a screen of its own, and both given back.

Rules: ``restore`` may be called at any time and any number of times, and gives back the keys first, then the screen; it
never waits for a terminal that accepts nothing. Ctrl-Z gives the terminal back too, and ``fg`` takes it again.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Sequence
from contextlib import suppress

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.overview.top_view import BARS, PLAIN_BARS, Line

_COLUMNS, _LINES = 80, 24


class Display:
    """Draws lines on stdout, a terminal, and has its keys."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self._text = Text
        self._console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        self.bars = BARS if self._console.encoding.startswith("utf") else PLAIN_BARS
        self._live = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._writable = select.poll()
        self._writable.register(sys.stdout, select.POLLOUT)
        self._before = termios.tcgetattr(sys.stdin)
        self._taken = False

    def take(self) -> None:
        """Have the keys and the screen from now on."""
        self._taken = True
        tty.setcbreak(sys.stdin, termios.TCSANOW)
        self.size()
        self._live.start()

    def restore(self) -> None:
        """Give both back."""
        if not self._taken:
            return
        self._taken = False
        with suppress(OSError, termios.error):
            termios.tcsetattr(sys.stdin, termios.TCSANOW, self._before)
        if self._writable.poll(0):
            with suppress(OSError):
                self._live.stop()

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal now."""
        size = os.get_terminal_size(sys.stdout.fileno())
        columns, lines = size.columns or _COLUMNS, size.lines or _LINES
        self._console.size = (columns, lines)
        return columns, lines

    def draw(self, lines: Sequence[Line]) -> None:
        """Show ``lines``, if the terminal accepts them."""
        if not self._taken or not self._writable.poll(0):
            return
        text = self._text(no_wrap=True, overflow="crop")
        for at, line in enumerate(lines):
            text.append("\n" * bool(at) + line.text, style=line.style or None)
        self._live.update(text, refresh=True)


@implementer(IReadDescriptor)
class Keys:
    """What is typed, for the reactor; ``pressed`` gets each key, ``gone`` is called when no more can come."""

    def __init__(self, pressed: Callable[[str], None], gone: Callable[[], None]) -> None:
        self._pressed = pressed
        self._gone = gone

    def fileno(self) -> int:
        """Stdin."""
        return 0

    def logPrefix(self) -> str:
        """For Twisted's log."""
        return "keys"

    def doRead(self) -> None:
        """Take what was typed; a sequence of a cursor key is no key of ours."""
        try:
            typed = os.read(0, 256).decode("utf-8", "replace")
        except OSError:
            typed = ""
        if not typed:
            self._gone()
        elif len(typed) == 1 or not typed.startswith("\x1b"):
            for key in typed:
                self._pressed(key)

    def connectionLost(self, reason: Failure) -> None:
        """The terminal has gone."""
        self._gone()
