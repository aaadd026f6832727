"""A reply as exactly one line of JSON.

Rules: success and error have the same frame. The line is compact ASCII and ends with CR LF; no value can contain these.

Beware: NaN and the infinities have no form in JSON and raise ``ValueError``. Records publish ``None`` instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from ctrlserver.stats.records import Value

Content: TypeAlias = Value | Mapping[str, "Content"] | Sequence["Content"]


def success(command: str, value: Content) -> bytes:
    """The reply of a command; a list carries ``total``, its length."""
    frame: dict[str, Content] = {"ok": True, "command": command, "data": value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        frame["total"] = len(value)
    return _line(frame)


Row: TypeAlias = Mapping[str, Value | Iterator[str]]
"""A row of a list. A text that is long comes in parts, and makes a row of many pieces."""


def success_rows(command: str, rows: Iterable[Row | None], total: Callable[[int], int]) -> Iterator[bytes]:
    """The same line for a list, in pieces made row by row; ``total`` gets the number of rows when all are made."""
    count, end = 0, b"]}\r\n"
    yield _line({"ok": True, "command": command, "data": []}).removesuffix(end)
    for row in rows:
        if row is None:
            yield b""
            continue
        comma = b"," if count else b""
        if any(isinstance(value, Iterator) for value in row.values()):
            yield comma
            yield from _in_parts(row)
        else:
            yield comma + octets(row)
        count += 1
    yield b'],"total":%d}\r\n' % total(count)


def success_after_rows(command: str, count: int) -> bytes:
    """The last line of a reply that gave each of ``count`` rows a line of its own."""
    return _line({"ok": True, "command": command, "data": [], "count": count, "total": count})


def _in_parts(row: Row) -> Iterator[bytes]:
    before = b"{"
    for name, value in row.items():
        yield before + octets(name) + b":"
        if isinstance(value, Iterator):
            yield b'"'
            for part in value:
                yield octets(part)[1:-1]
            yield b'"'
        else:
            yield octets(value)
        before = b","
    yield b"}"


def failure(code: int, id: str, message: str) -> bytes:
    """The reply to what could not be done."""
    return _line({"ok": False, "error": {"code": code, "id": id, "message": message}})


def _line(frame: Mapping[str, Content]) -> bytes:
    return octets(frame) + b"\r\n"


def octets(content: Content | Row) -> bytes:
    """The value alone, without the frame of a reply."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")
