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


def success_rows(command: str, rows: Iterable[Mapping[str, Value]], total: Callable[[int], int]) -> Iterator[bytes]:
    """The same line for a list, in pieces made row by row; ``total`` gets the number of rows when all are made."""
    count, end = 0, b"]}\r\n"
    yield _line({"ok": True, "command": command, "data": []}).removesuffix(end)
    for row in rows:
        yield (b"," if count else b"") + _octets(row)
        count += 1
    yield b'],"total":%d}\r\n' % total(count)


def failure(code: int, id: str, message: str) -> bytes:
    """The reply to what could not be done."""
    return _line({"ok": False, "error": {"code": code, "id": id, "message": message}})


def _line(frame: Mapping[str, Content]) -> bytes:
    return _octets(frame) + b"\r\n"


def _octets(content: Content) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")
