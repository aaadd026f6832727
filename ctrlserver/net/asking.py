"""What a peer asks of a source: one line, either empty or the number of packets. PURE.

Rules: LF ends the line, a CR before it is ignored. The number is decimal digits and nothing else. An empty line asks
for packets without end. Whatever follows the line is ignored.

Beware: a wrong line is a fault. A line that is too long is one before its end has arrived.
"""

from __future__ import annotations

import re

#: Packets until the peer closes.
ENDLESS = -1

#: Bytes of a line: ten digits more than anybody can wait for, with CR LF.
LONGEST_LINE = 20


class Asking:
    """The line as it arrives, in chunks of any size. ``fault``: the line is wrong."""

    __slots__ = ("_line", "fault")

    def __init__(self) -> None:
        self.fault = False
        self._line = b""

    def feed(self, chunk: bytes | memoryview) -> int | None:
        """The number of packets, ``ENDLESS``, or None if the line is incomplete or wrong."""
        line, ended, _ = (self._line + bytes(chunk[: LONGEST_LINE + 1])).partition(b"\n")
        if ended:
            return self._count(line)
        self._line = line
        self.fault = len(line) > LONGEST_LINE
        return None

    def end(self) -> int | None:
        """The same at the end of the peer's data: its last line needs no LF."""
        return self._count(self._line)

    def _count(self, line: bytes) -> int | None:
        text = line.removesuffix(b"\r")
        if not text:
            return ENDLESS
        if len(text) < LONGEST_LINE and re.fullmatch(rb"[0-9]+", text):
            return int(text)
        self.fault = True
        return None
