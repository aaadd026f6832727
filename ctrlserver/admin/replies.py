"""The admin line protocol, outgoing half: what commands give back -> bytes; no clock, no socket.

Rules: a text reply is zero or more body lines and one status line that starts with OK or ERR, each ended by CRLF; a
JSON reply is exactly one line, whatever happens. A reply holds its value once, and makes text of it only for a reply in
text, a long one bit by bit (``encode_in_steps``). ``value`` is what stands under ``data`` in JSON; ``total`` is how
many rows there are in all where a list was cut.

Beware: no body line may start with OK or ERR, or a reader stops too early; ``_text`` puts a space before one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeAlias

from attrs import field, frozen

from ctrlserver.errors import CommandError
from ctrlserver.render.jsonline import Content, failure, success, success_rows
from ctrlserver.render.text import TableText, record_lines
from ctrlserver.stats.records import Value

#: Lines of a listing made in one step, together about as long as a row of a table takes.
LINES_A_STEP = 16


class Whole(Protocol):
    """What a command gives back that is made in one step."""

    @property
    def value(self) -> Content:
        """What JSON shows under ``data``."""

    @property
    def total(self) -> int | None:
        """How many rows there are in all, of a list; else None."""

    @property
    def closes(self) -> bool:
        """The connection ends with this reply."""

    def text(self) -> tuple[Sequence[str], str]:
        """The body lines, and what follows ``OK``."""


@frozen
class Word:
    """No body, one word of status; ``value`` is its small object for JSON."""

    word: str
    value: Mapping[str, Content]
    closes: bool = False
    total: None = field(default=None, init=False)

    def text(self) -> tuple[Sequence[str], str]:
        """No lines; the word."""
        return (), self.word


@frozen
class Record:
    """One record: a line for each field."""

    value: Mapping[str, Value]
    total: None = field(default=None, init=False)
    closes: bool = field(default=False, init=False)

    def text(self) -> tuple[Sequence[str], str]:
        """A line for each field; how many."""
        lines = record_lines(self.value)
        return lines, str(len(lines))


@frozen
class Table:
    """Records in rows, ``total`` where they are the first of more.

    ``value`` may be an iterator that makes each row when its turn comes. ``promised`` is how many it had when ``total``
    was counted: what has gone since is gone from the total too.
    """

    value: Iterable[Mapping[str, Value]]
    total: int
    promised: int | None = None
    closes: bool = field(default=False, init=False)

    def total_of(self, count: int) -> int:
        """How many there are in all, now that ``count`` rows were made."""
        return self.total if self.promised is None else self.total - (self.promised - count)


@frozen
class Body:
    """Lines of a form of their own; they show ``count`` things of ``total``, by default their own number."""

    lines: Sequence[str]
    value: Content
    count: int | None = None
    total: int | None = None
    closes: bool = field(default=False, init=False)

    def text(self) -> tuple[Sequence[str], str]:
        """The lines; how many things are in them."""
        count = len(self.lines) if self.count is None else self.count
        return self.lines, count_text(count, count if self.total is None else self.total)


@frozen
class Listing:
    """Lines of a form of their own about ``count`` things of ``total``, which may be many; one of the two is made."""

    lines: Iterable[str]
    value: Iterable[Mapping[str, Value]]
    count: int
    total: int
    closes: bool = field(default=False, init=False)

    def total_of(self, count: int) -> int:
        """How many there are in all."""
        return self.total


Long: TypeAlias = Table | Listing
"""What is made in steps, for it may be long."""

Reply: TypeAlias = Whole | Long
"""What a command gives back."""


def count_text(count: int, total: int) -> str:
    """``5``, or ``100 of 5231`` for a list that was cut."""
    return str(count) if count == total else f"{count} of {total}"


def encode_in_steps(command: str, reply: Reply, *, json: bool) -> Iterator[bytes]:
    """The reply to ``command`` in pieces, some empty. Each takes as long as a row, some lines, or a short reply."""
    if isinstance(reply, Long):
        if json:
            return success_rows(command, reply.value, reply.total_of)
        return _table_steps(reply) if isinstance(reply, Table) else _listing_steps(reply)
    if json:
        return iter((success(command, reply.value, reply.total),))
    body, status = reply.text()
    return iter((_text(*body, status=status),))


def _table_steps(table: Table) -> Iterator[bytes]:
    text, count = TableText(), 0
    for row in table.value:
        text.add(row)
        count += 1
        yield b""
    for line in text.lines():
        yield _text(line)
    yield _text(status=count_text(count, table.total_of(count)))


def _listing_steps(listing: Listing) -> Iterator[bytes]:
    lines = iter(listing.lines)
    while some := list(islice(lines, LINES_A_STEP)):
        yield _text(*some)
    yield _text(status=count_text(listing.count, listing.total))


def _text(*body: str, status: str | None = None) -> bytes:
    lines = [f" {line}" if line.startswith(("OK", "ERR")) else line for line in body]
    if status is not None:
        lines.append(f"OK {status}")
    return "\r\n".join((*lines, "")).encode("utf-8", "backslashreplace")


def encode_error(error: CommandError, *, json: bool) -> bytes:
    """``ERR 404 unknown-command ...``, one line, or the same in JSON."""
    if json:
        return failure(error.code, error.id, error.message)
    return f"ERR {error.code} {error.id} {error.message}\r\n".encode("utf-8", "backslashreplace")
