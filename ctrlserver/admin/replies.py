"""The admin line protocol, outgoing half: what commands give back -> bytes; no clock, no socket.

Rules: a text reply is zero or more body lines and one status line that starts with OK or ERR, each ended by CRLF; a
JSON reply is exactly one line, whatever happens. A reply shape holds its value once and makes the text only when it is
asked for. ``value`` is what stands under ``data`` in JSON, ``total`` how many there are of a list that may be cut.

Beware: no body line may start with OK or ERR, or a reader stops too early; ``encode_reply`` puts a space before one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import field, frozen

from ctrlserver.errors import CommandError
from ctrlserver.render.jsonline import Content, failure, success
from ctrlserver.render.text import record_lines, table_lines
from ctrlserver.stats.records import Value


class Reply(Protocol):
    """What a command gives back."""

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
    """Records in rows, ``total`` where they are the first of more."""

    value: Sequence[Mapping[str, Value]]
    total: int
    closes: bool = field(default=False, init=False)

    def text(self) -> tuple[Sequence[str], str]:
        """One header line and a line for each row; how many rows, and of how many."""
        return table_lines(self.value) if self.value else (), count_text(len(self.value), self.total)


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


def count_text(count: int, total: int) -> str:
    """``5``, or ``100 of 5231`` for a list that was cut."""
    return str(count) if count == total else f"{count} of {total}"


def encode_reply(command: str, reply: Reply, *, json: bool) -> bytes:
    """The whole reply to ``command``, status line included."""
    if json:
        return success(command, reply.value, reply.total)
    body, status = reply.text()
    lines = [f" {line}" if line.startswith(("OK", "ERR")) else line for line in body]
    return "\r\n".join((*lines, f"OK {status}", "")).encode("utf-8", "backslashreplace")


def encode_error(error: CommandError, *, json: bool) -> bytes:
    """``ERR 404 unknown-command ...``, one line, or the same in JSON."""
    if json:
        return failure(error.code, error.id, error.message)
    return f"ERR {error.code} {error.id} {error.message}\r\n".encode("utf-8", "backslashreplace")
