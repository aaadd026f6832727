"""A log event of Twisted -> its line: text for people, or one flat JSON object.

Rules:

- A JSON line has ``ts`` (UTC, milliseconds), ``level``, ``event`` (a short name, given as ``event=`` where the line is
  logged), the fields of the event, ``source`` (the logger) and ``message``, which is the text. A failure adds
  ``traceback``. A field whose name is one of these has a "_" behind it.
- No control character is written raw, whoever said it: text shows its escape, JSON is ASCII.
- Each part has a bound, so that one event is never a megabyte.
- Want of memory is no bug: whoever logs such a failure, its line says what failed and where, without a traceback.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from twisted.logger import LogLevel, eventAsText, formatEvent

from ctrlserver.errors import lacks_memory
from ctrlserver.words import printable

FORMATS = ("text", "json")

_LONGEST_FIELD = 1_000
_LONGEST_MESSAGE = 4_000
_LONGEST_TRACEBACK = 16_000

_RESERVED = ("ts", "level", "event", "source", "message", "traceback")
_LEGACY = frozenset(("time", "system", "isError", "logLevel", "failure", "why", "message", "format", "printed"))
"""What Twisted's old logger puts beside its text."""


def text_line(event: Mapping[str, Any], *, stamped: bool = True) -> str:
    """``2026-11-26T07:00:36+0000 [source#level] text``; further lines of a text are indented. No newline at the end.

    ``stamped`` False: without the time, for a log that has its own.
    """
    text = eventAsText(dict(event), includeTimestamp=stamped).rstrip("\n")
    if len(text) > _LONGEST_TRACEBACK:
        text = _ends(text, _LONGEST_TRACEBACK)
    return re.sub(r"[^\n\t]+", lambda part: printable(part[0]), text).replace("\n", "\n\t")


def json_line(event: Mapping[str, Any]) -> str:
    """One JSON object, flat and in ASCII."""
    source = str(event.get("log_namespace", "-"))
    level = getattr(event.get("log_level"), "name", "info")
    record: dict[str, object] = {"ts": _stamp(event.get("log_time")), "level": level, "event": _name(event, source)}
    old = _LEGACY if source == "log_legacy" or "log_legacy" in event else frozenset[str]()
    for key, value in event.items():
        if key != "event" and not key.startswith("log_") and key not in old:
            record[f"{key}_" if key in _RESERVED else key] = _plain(value)
    record["source"] = source
    failure = event.get("log_failure")
    message = formatEvent(dict(event))
    if failure is not None:
        what = f"{failure.type.__name__}: {failure.getErrorMessage()}"
        message = f"{message}: {what}" if message else what
    record["message"] = _ends(message, _LONGEST_MESSAGE)
    if failure is not None:
        record["traceback"] = _ends(failure.getTraceback(), _LONGEST_TRACEBACK)
    return json.dumps(record)


def out_of_memory(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is written of a failure for want of memory; None if ``event`` is none."""
    by_old_logger = "failure" in event  # Twisted's, whose text has the traceback in it
    failure = event["failure"] if by_old_logger else event.get("log_failure")
    if failure is None or not lacks_memory(failure.value):
        return None
    what = str(event.get("why") or "an error that nobody handled") if by_old_logger else formatEvent(dict(event))
    frames = failure.frames
    return {
        "log_time": event.get("log_time"),
        "log_namespace": event.get("log_namespace"),
        "log_level": LogLevel.warn,
        "log_format": "out of memory at {where}: {what}",
        "event": "out-of-memory",
        "where": f"{os.path.basename(frames[-1][1])}:{frames[-1][2]}" if frames else "an unknown place",
        "what": _ends(what, _LONGEST_FIELD),
    }


def _name(event: Mapping[str, Any], source: str) -> str:
    """The event's own name; of others' lines, where they come from."""
    if isinstance(name := event.get("event"), str):
        return name
    if event.get("log_failure") is not None:
        return "failure"
    return source if source in ("stdout", "stderr") else "message"


def _stamp(seconds: object) -> str:
    moment = datetime.fromtimestamp(seconds if isinstance(seconds, int | float) else 0, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    try:
        return _ends(str(value), _LONGEST_FIELD)
    except Exception:  # a line about a broken object is to be written all the same
        return f"<{type(value).__name__}>"


def _ends(text: str, most: int) -> str:
    """``text`` without its middle where it is longer than ``most``: a traceback says most at its end."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"
