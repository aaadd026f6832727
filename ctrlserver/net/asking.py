"""What a peer asks of a source: one line, ``N`` packets or an empty one. PURE.

Rules: the line ends with LF, a CR before it is not part of it; N is decimal digits and nothing else. An empty line asks
for packets without end. Whatever follows the line is not looked at.

Beware: a line that is wrong is a fault, found as soon as it cannot become right any more by its length.
"""

from __future__ import annotations

import re

#: Asked for until the peer closes.
ENDLESS = -1

#: Bytes of a line: ten digits more than anybody can wait for, and CR LF.
LONGEST_LINE = 20


class Asking:
    """The line as it comes, however it is cut. ``fault`` is set once."""

    __slots__ = ("_line", "fault")

    def __init__(self) -> None:
        self.fault = False
        self._line = b""

    def feed(self, chunk: bytes | memoryview) -> int | None:
        """Packets asked for, ``ENDLESS``, or None while the line is not whole or where it is wrong."""
        line, ended, _ = (self._line + bytes(chunk[: LONGEST_LINE + 1])).partition(b"\n")
        if ended:
            return self._count(line)
        self._line = line
        self.fault = len(line) > LONGEST_LINE
        return None

    def end(self) -> int | None:
        """The same when no more will come: a last line need not be ended."""
        return self._count(self._line)

    def _count(self, line: bytes) -> int | None:
        text = line.removesuffix(b"\r")
        if not text:
            return ENDLESS
        if len(text) < LONGEST_LINE and re.fullmatch(rb"[0-9]+", text):
            return int(text)
        self.fault = True
        return None
