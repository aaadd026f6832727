"""A reply as exactly one line of JSON.

Rules: success and error have the same frame; the line is compact ASCII and ends with CR LF, which nothing inside can
hold; no NaN.

Beware: a value that JSON has no word for (NaN, an infinity) raises ``ValueError``: records publish ``None`` instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ctrlserver.stats.records import Value

Content: TypeAlias = Value | Mapping[str, "Content"] | Sequence["Content"]


def success(command: str, value: Content, total: int | None = None) -> bytes:
    """The reply of a command; a list carries ``total``, the number there is, by default the number given."""
    frame: dict[str, Content] = {"ok": True, "command": command, "data": value}
    if total is None and isinstance(value, Sequence) and not isinstance(value, str):
        total = len(value)
    if total is not None:
        frame["total"] = total
    return _line(frame)


def failure(code: int, id: str, message: str) -> bytes:
    """The reply to what could not be done."""
    return _line({"ok": False, "error": {"code": code, "id": id, "message": message}})


def _line(frame: Mapping[str, Content]) -> bytes:
    return json.dumps(frame, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\r\n"
