"""A terminal for tests: what stands on the screen after everything that a program wrote to it.

It knows what rich writes: text, CR, LF, cursor up, erasing of lines, colours, the cursor's visibility. Anything else is
an error. A line that is too long is wrapped, so that what is erased by a count of lines that is too low stays.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios

_PIECE = re.compile(
    r"\x1b\[(?P<number>[?\d;]*)(?P<letter>[A-Za-z])|(?P<control>[\r\n])|(?P<text>[^\x1b\r\n]+)|(?P<else>.)"
)


class Screen:
    """``columns`` wide and as high as it takes."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.lines: list[str] = [""]
        self.row = self.column = 0
        self.cursor_visible = True
        self.frames: list[list[str]] = []

    def feed(self, text: str) -> None:
        """What the program wrote; a frame is kept before each erasing."""
        for match in _PIECE.finditer(text):
            assert match["else"] is None, f"the terminal does not know {text[match.start() : match.start() + 10]!r}"
            if match["text"] is not None:
                self._write(match["text"])
            elif match["control"] == "\r":
                self.column = 0
            elif match["control"] == "\n":
                self._go(self.row + 1)
            else:
                self._control(match["number"], match["letter"])

    @property
    def shown(self) -> list[str]:
        """The lines that are not empty."""
        return [line.rstrip() for line in self.lines if line.strip()]

    def _write(self, text: str) -> None:
        while text:
            if self.column == self.columns:  # a terminal wraps when there is more, not before
                self._go(self.row + 1)
                self.column = 0
            part, text = text[: self.columns - self.column], text[self.columns - self.column :]
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + part + line[self.column + len(part) :]
            self.column += len(part)

    def _go(self, row: int) -> None:
        self.row = max(0, row)
        self.lines += [""] * (self.row + 1 - len(self.lines))

    def _control(self, number: str, letter: str) -> None:
        if letter == "A":
            self._go(self.row - int(number or 1))
        elif letter == "K":
            assert "2" == number
            if self.lines[self.row]:
                self.frames.append(self.shown)
            self.lines[self.row] = ""
        elif number == "?25":
            self.cursor_visible = letter == "h"
        else:
            assert "m" == letter, f"the terminal does not know {number}{letter}"


def opened(columns: int) -> tuple[int, int, str]:
    """A terminal of so many columns: its two ends and its name, as ``spawnProcess`` wants them."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    return ours, theirs, os.ttyname(theirs)
