"""The admin line protocol, outgoing half: what commands give back -> bytes; no clock, no socket.

Rules: a text reply is zero or more body lines and one status line that starts with OK or ERR, each ended by CRLF; a
JSON reply is exactly one line, whatever happens. A reply holds its value once, and makes text of it only for a reply in
text, a long one in steps. ``value`` is what stands under ``data`` in JSON.

Beware: no body line may start with OK or ERR, or a reader stops too early; ``_text`` puts a space before one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import ClassVar, Final, TypeAlias

from attrs import frozen

from ctrlserver.errors import CommandError
from ctrlserver.render.jsonline import Content, Row, failure, success, success_rows
from ctrlserver.render.text import TableText, record_lines
from ctrlserver.stats.records import Value

#: Lines of a listing made in one step, together about as long as a row of a table takes.
LINES_A_STEP = 16

_HTTP_HEAD: Final = (
    b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
)


@frozen
class Word:
    """No body, one word of status; ``value`` is its small object for JSON. ``closes``: the connection ends with it."""

    word: str
    value: Mapping[str, Content]
    closes: bool = False

    def text(self) -> Iterator[bytes]:
        """The status line."""
        yield _text(status=self.word)


@frozen
class Record:
    """One record: a line for each field, and their number."""

    value: Mapping[str, Value]
    closes: ClassVar[bool] = False

    def text(self) -> Iterator[bytes]:
        """All lines in one piece."""
        lines = record_lines(self.value)
        yield _text(*lines, status=str(len(lines)))


@frozen
class Table:
    """Records in rows, ``total`` where they are the first of more.

    ``value`` may make each row when its turn comes; for a long text it is gone through twice. ``promised`` is how many
    it had when ``total`` was counted: what has gone since is gone from the total too. A None among the rows is a step
    that has not made one yet; ``total`` may be known only when all are made.
    """

    value: Iterable[Mapping[str, Value] | None]
    total: int | Callable[[], int]
    promised: int | None = None

    def total_of(self, count: int) -> int:
        """How many there are in all, now that ``count`` rows were made."""
        total = self.total() if callable(self.total) else self.total
        return total if self.promised is None else total - (self.promised - count)

    def text(self) -> Iterator[bytes]:
        """A piece for each row, empty while the widths of the columns are not known, then one for each line."""
        text, count = TableText(), -1
        for row in self.value:
            if row is not None:
                text.add(row)
            yield b""
        for line in text.lines(row for row in self.value if row is not None):
            yield _text(line)
            count += 1
        count = max(0, count)
        yield _text(status=count_text(count, self.total_of(count)))


@frozen
class Listing:
    """Lines of a form of their own, and the same as rows for JSON; either may be an iterator, and only one is used.

    ``count`` of ``total`` things are shown; without ``total`` the lines, or in JSON the rows, are all there is. A thing
    that has gone before its turn is shown no more.
    """

    lines: Iterable[str]
    value: Iterable[Row]
    count: int
    total: int | None = None

    def total_of(self, count: int) -> int:
        """How many there are in all, where ``count`` were made."""
        return count if self.total is None else self.total

    def text(self) -> Iterator[bytes]:
        """A piece for some lines at a time."""
        lines = iter(self.lines)
        while some := list(islice(lines, LINES_A_STEP)):
            yield _text(*some)
        yield _text(status=count_text(self.count, self.total_of(self.count)))


@frozen
class Document:
    """Lines of a form of their own, and in JSON one object."""

    lines: Sequence[str]
    value: Mapping[str, Content]
    closes: ClassVar[bool] = False

    def text(self) -> Iterator[bytes]:
        """All lines in one piece."""
        yield _text(*self.lines, status=str(len(self.lines)))


Long: TypeAlias = Table | Listing
"""What is made in steps, for it may be long."""

Reply: TypeAlias = Word | Record | Document | Long
"""What a command gives back."""


def count_text(count: int, total: int) -> str:
    """``5``, or ``100 of 5231`` for a list that was cut."""
    return str(count) if count == total else f"{count} of {total}"


def encode_in_steps(command: str, reply: Reply, *, json: bool) -> Iterator[bytes]:
    """The reply to ``command`` in pieces, some empty. Each takes as long as a row, some lines, or a short reply."""
    if not json:
        return reply.text()
    if isinstance(reply, Long):
        return success_rows(command, reply.value, reply.total_of)
    return iter((success(command, dict(reply.value)),))


def _text(*body: str, status: str | None = None) -> bytes:
    lines = [f" {line}" if line.startswith(("OK", "ERR")) else line for line in body]
    if status is not None:
        lines.append(f"OK {status}")
    return "\r\n".join((*lines, "")).encode("utf-8", "backslashreplace")


def encode_error(error: CommandError, *, json: bool) -> bytes:
    """``ERR 404 unknown-command ...``, one line, or the same in JSON; after a head of HTTP for who asked by HTTP."""
    if json:
        return failure(error.code, error.id, error.message)
    line = f"ERR {error.code} {error.id} {error.message}\r\n".encode("utf-8", "backslashreplace")
    return _HTTP_HEAD % len(line) + line if error.id == "http-request" else line
