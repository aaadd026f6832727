"""The admin line protocol, incoming half: bytes in, requests and faults out; no clock, no socket.

Rules:

- The events depend on the bytes alone: however the network splits the input, the same events follow in the same order.
- No input raises an exception. A bad line becomes a ``Fault`` in that line's place.
- The caller pulls: ``receive`` stores a chunk, ``next_event`` parses one event at a time. A caller that cannot send now
  stops pulling, and the dialogue holds one chunk and one line.
- A call is short whatever the bytes are: after a run of empty lines or ``PIECES`` telnet sequences it returns ``MORE``.
- Whatever is of another protocol (``foreign.py``) is refused, and nothing after it is read.
- ``MAX_LINE`` bounds a line that never ends, and a telnet subnegotiation that never ends.

Telnet (RFC 854) is refused: the answer to DO is WONT, the answer to WILL is DONT, and we drop everything else. For
Ctrl-C a telnet client sends Interrupt Process and DO TIMING-MARK. Interrupt Process discards the line begun, and is an
``Interrupt``; until it has the WONT in answer such a client shows no output.

Beware: 0xFF opens a telnet sequence, so invalid UTF-8 may look like one. No telnet client sends an IAC without a telnet
command after it, nor DONT or WONT for option 10 or 13; the latter end a line that begins with a UTF-16 byte order mark.
There IAC counts as a byte of the line, and the line is refused as invalid UTF-8.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from ctrlserver.admin.foreign import foreign_line, foreign_octet
from ctrlserver.errors import CommandError

MAX_LINE: Final = 1024
"""Bytes of a line without its end: ten times the longest useful command."""

PIECES: Final = 32
"""Telnet sequences that one call skips: 0.05 ms, half a slice of the admin port's time."""

NUL: Final = 0x00
LF: Final = 0x0A
CR: Final = 0x0D

IAC: Final = 0xFF
DONT: Final = 0xFE
DO: Final = 0xFD
WONT: Final = 0xFC
WILL: Final = 0xFB
SB: Final = 0xFA
IP: Final = 0xF4
SE: Final = 0xF0
FIRST_COMMAND: Final = 0xEC
"""The lowest byte that is a telnet command after IAC: the line mode's EOF."""

_EMPTY_LINES = re.compile(rb"(?:\n++|[ \t]{0,%d}+\r?\n)*+" % MAX_LINE)
_PLAIN = re.compile(rb"[^\x00-\x08\x0a-\x0c\x0e-\x1f\x7f\xff]*")
_WORD = re.compile(
    r"""(?P<name>[^ \t"'=]+=)?(?P<mark>["'])(?P<text>.*?)(?P=mark)(?=[ \t]|\Z) | (?P<plain>[^ \t]+)""", re.VERBOSE
)
_OPEN = re.compile(r"""([^ \t"'=]+=)?["']""")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class Quoted(str):
    """A word that stood in quotes: it is a text, whatever it looks like."""

    __slots__ = ()


@frozen
class Request:
    """One line: its words without ``json``; whether that word was there; whether a newline ended the line.

    The word ``json`` asks for a reply in JSON if it is the last one, or if only words such as ``limit=5`` follow it.
    """

    words: tuple[str, ...]
    json: bool = False
    ended: bool = True


@frozen
class Fault:
    """A line that is no request. ``json``: its last word was ``json``; ``closes``: no further line follows."""

    error: CommandError
    json: bool = False
    closes: bool = False


@frozen
class Answer:
    """Bytes to send as they are: an answer to a telnet negotiation."""

    octets: bytes


@frozen
class Interrupt:
    """Telnet's Interrupt Process: what goes on is to end."""


@frozen
class More:
    """Nothing yet: the call has skipped an empty line, or as much as one call may."""


INTERRUPT: Final = Interrupt()
MORE: Final = More()

Event = Request | Fault | Answer | Interrupt | More


class Dialogue:
    """The input of one peer: ``receive`` chunks, ``finish`` at the end of input, pull ``next_event`` until it is None.

    ``lines``: how many newlines have ended a line. After a fault that closes, the dialogue drops all further input.
    """

    __slots__ = ("_after_cr", "_at", "_closed", "_ended", "_held", "_line", "_skipped", "_swallows", "lines")

    def __init__(self) -> None:
        self._held = b""  # received; parsed up to _at
        self._at = 0
        self._line = bytearray()  # the line begun, without telnet sequences
        self._after_cr = False  # of the line begun: telnet writes CR NUL for CR
        self._swallows = False  # the rest of a line that was too long is dropped
        self._skipped = -1  # bytes of the subnegotiation so far, -1 without one
        self.lines = 0
        self._ended = False
        self._closed = False

    def receive(self, chunk: bytes) -> None:
        """Store the bytes of one read."""
        self._held = self._held[self._at :] + chunk
        self._at = 0

    def finish(self) -> None:
        """The input has ended: a line begun counts, as a line without its newline."""
        self._ended = True

    @property
    def has_input(self) -> bool:
        """Whether bytes wait to be parsed, or an end of input to be acted on."""
        return self._ended or self._at < len(self._held)

    @property
    def is_fed(self) -> bool:
        """Whether bytes wait to be parsed."""
        return self._at < len(self._held)

    @property
    def is_amid(self) -> bool:
        """Whether a line or a telnet sequence is begun, and its end has not come."""
        return bool(self._line) or self._swallows or self._skipped >= 0 or self._at < len(self._held)

    def next_event(self) -> Event | None:
        """The next event in order, or ``MORE``; None if it needs more input."""
        for _ in range(PIECES):
            if self._closed or self._at >= len(self._held):
                break
            octet = self._held[self._at]
            before = self._at
            event: Event | None = None
            if self._skipped >= 0:
                event = self._skip()
            elif octet == IAC:
                event = self._negotiate()
            elif not self._line and not self._swallows and (end := _end_of(_EMPTY_LINES, self._held, before)) > before:
                self._at = end
                self.lines += 1
                event = MORE
            elif octet == LF:
                event = self._end_line() or MORE
            elif (end := _end_of(_PLAIN, self._held, before)) > before:
                event = self._extend(end)
            elif octet == NUL and self._after_cr:
                self._at, self._after_cr = before + 1, False
            else:
                event = self._refuse(foreign_octet(octet))
            if event is not None:
                return event
            if self._at == before:
                break  # an incomplete telnet sequence
        else:
            return MORE
        return self._last_line() if self._ended and not self._closed else None

    def _extend(self, end: int) -> Fault | None:
        """Append the bytes up to ``end`` to the line."""
        start, self._at = self._at, end
        self._after_cr = self._held[end - 1] == CR
        if self._swallows:
            return None
        line = self._line
        line += self._held[start : min(end, start + MAX_LINE + 3)]
        if len(line) <= MAX_LINE or (len(line) <= MAX_LINE + 2 and len(line.rstrip(b"\r")) <= MAX_LINE):
            return None  # a CR may belong to the end of the line
        foreign = foreign_line(bytes(line[:MAX_LINE]))  # what all cuts of the input have by now
        line.clear()
        if foreign:
            return self._refuse(foreign)
        self._swallows = True
        return Fault(CommandError(413, "line-too-long", f"a line may have {MAX_LINE} bytes; the rest of it is dropped"))

    def _end_line(self) -> Request | Fault | None:
        self._at += 1
        self.lines += 1
        self._after_cr = False
        if self._swallows:
            self._swallows = False
            return None
        return self._read_line(ended=True)

    def _last_line(self) -> Request | Fault | None:
        """The line that the end of input ends. What is still held is half a telnet sequence, part of the line."""
        if self._skipped < 0 and not self._swallows:
            self._line += self._held[self._at :]
        self._held, self._at = b"", 0
        return self._read_line(ended=False)

    def _read_line(self, *, ended: bool) -> Request | Fault | None:
        line = bytes(self._line).strip(b"\r")
        self._line.clear()
        if foreign := foreign_line(line):
            return self._refuse(foreign)
        json = line.lower().split()[-1:] == [b"json"]
        try:
            text = line.decode("utf-8").strip(" \t")
        except UnicodeDecodeError as error:
            wrong = f"byte {error.start + 1} of the line is 0x{line[error.start]:02X}; expected UTF-8"
            return Fault(CommandError(400, "invalid-utf8", wrong), json)
        if not text:
            return None
        control = _CONTROL.search(text)
        if control:
            wrong = f"the line holds the control character U+{ord(control[0]):04X}; expected printable text"
            return Fault(CommandError(400, "control-character", wrong), json)
        words = _words_of(text)
        if words is None:
            wrong = "a quote is open at the end of the line, or something stands right behind one that is closed"
            return Fault(CommandError(400, "open-quote", wrong), json)
        at = len(words) - 1
        while at > 0 and "=" in words[at] and not isinstance(words[at], Quoted):
            at -= 1
        json = words[at].casefold() == "json" and not isinstance(words[at], Quoted)
        if json and len(words) > 1:
            del words[at]
        return Request(tuple(words), json, ended)

    def _refuse(self, error: CommandError) -> Fault:
        self._closed = True
        self._held = b""
        return Fault(error, closes=True)

    # Telnet

    def _negotiate(self) -> Answer | Fault | Interrupt | None:
        """Parse the sequence that IAC opens; leave an incomplete one."""
        held, at = self._held, self._at
        if at + 1 == len(held):
            return None
        command = held[at + 1]
        if command < FIRST_COMMAND or command == IAC:
            # No telnet command: a byte of the line. Telnet writes it as IAC IAC.
            self._at = at + 1 if command == IAC else at
            return self._extend(self._at + 1)
        if command in (DO, DONT, WILL, WONT):
            return self._answer(command)
        self._at = at + 2
        if command == SB:
            self._skipped = 0
        elif command == IP:
            self._line.clear()
            self._swallows = False
            return INTERRUPT
        return None

    def _answer(self, command: int) -> Answer | Fault | None:
        held, at = self._held, self._at
        if at + 2 == len(held):
            return None
        option = held[at + 2]
        if command in (DONT, WONT) and option in (LF, CR):
            return self._extend(at + 2)
        self._at = at + 3
        if command == DO:
            return Answer(bytes((IAC, WONT, option)))
        return Answer(bytes((IAC, DONT, option))) if command == WILL else None

    def _skip(self) -> Fault | None:
        """Drop a subnegotiation up to its IAC SE; one longer than a line may be is a fault."""
        held, at = self._held, self._at
        iac = held.find(IAC, at)
        end = len(held) if iac < 0 else iac
        self._skipped += end - at
        if self._skipped > MAX_LINE:
            self._at = max(at, end - (self._skipped - MAX_LINE))
            self._skipped, self._swallows = -1, True
            self._line.clear()
            wrong = f"a telnet subnegotiation may have {MAX_LINE} bytes; the rest of the line is dropped"
            return Fault(CommandError(413, "line-too-long", wrong))
        self._at = end
        if iac < 0 or iac + 1 == len(held):
            return None
        self._at = iac + 2
        if held[iac + 1] == SE:
            self._skipped = -1
        else:
            self._skipped += 2
        return None


def _words_of(text: str) -> list[str] | None:
    """The words between blanks, those in quotes without them; None where a quote does not close."""
    words: list[str] = []
    for match in _WORD.finditer(text):
        if match["plain"] is None:
            words.append(match["name"] + match["text"] if match["name"] else Quoted(match["text"]))
        elif _OPEN.match(match["plain"]):
            return None
        else:
            words.append(match["plain"])
    return words


def _end_of(pattern: re.Pattern[bytes], held: bytes, at: int) -> int:
    match = pattern.match(held, at)
    return match.end() if match else at
