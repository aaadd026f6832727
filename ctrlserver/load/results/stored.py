"""Reads result documents back from files, for ``compare`` and ``plot``.

Rules: a file that is no result is a UsageError in one line that names the file and the reason. The events of
``--json-stream`` are read too: their end holds the whole document. Only what readers rely on is checked, so a document
of another version of ctrlload is read if its schema has the same name. No text of it has control characters after that.

Beware: do not trust a file: a figure may be missing or of another type, and then counts as unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

from ctrlserver.errors import HistoryError, UsageError
from ctrlserver.load.results.result import SCHEMA
from ctrlserver.load.results.schemas import shipped_schema
from ctrlserver.words import did_you_mean, harmless, printable, quoted

#: A day of intervals of a second takes about 30 MB.
MOST_BYTES = 48 << 20

#: How a file of SQLite begins.
_DATABASE = b"SQLite format 3\0"

_SHAPES: dict[str, tuple[type, ...]] = {
    "target": (str,),
    "options": (dict,),
    "sent": (dict,),
    "intervals": (list,),
    "latency": (dict, type(None)),
    "schedule": (dict, type(None)),
}


#: Of the document of a search.
_SEARCH_SHAPES: dict[str, tuple[type, ...]] = {"target": (str,), "options": (dict,), "steps": (list,)}


def is_search(document: Mapping[str, object]) -> bool:
    """Whether it is the document of ``ctrlload search``."""
    return document.get("schema") == _schema_of("search")


def _schema_of(name: str) -> object:
    return shipped_schema(name)["properties"]["schema"]["const"]


def read_result(path: str, *, searches: bool = False) -> dict[str, object]:
    """The document in the file ``path``, or in a history (``FILE:last``); with ``searches`` that of a search too."""
    named = printable(path)
    kept = _in_history(path)
    content = _in_file(path, named) if kept is None else kept
    try:
        return parsed_result(content, searches=searches)
    except ValueError as error:
        raise UsageError(f"{named}: no result of ctrlload: {error}") from None


def _in_history(path: str) -> bytes | None:
    """What ``FILE:last`` names; None for the name of a file."""
    if ":" not in path:
        return None
    from ctrlserver.history.results import reference_in, result_at

    try:
        found = reference_in(path)
        return None if found is None else result_at(*found, MOST_BYTES + 1)
    except HistoryError as error:
        raise UsageError(printable(str(error))) from None


def _in_file(path: str, named: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        near = _near(Path(path)) if isinstance(error, FileNotFoundError) else ""
        raise UsageError(f"{named}: cannot be read: {getattr(error, 'strerror', None) or error}{near}") from None
    if content.startswith(_DATABASE):
        raise UsageError(f"{named}: a history: expected one of its results, such as {named}:last")
    return content


def _near(path: Path) -> str:
    """``'; did you mean "result.json"?'``: of the same folder."""
    try:
        return printable(did_you_mean(path.name, [each.name for each in path.parent.iterdir()]))
    except OSError:
        return ""


def parsed_result(content: bytes, *, searches: bool = False) -> dict[str, object]:
    """The document that a file's ``content`` is; ValueError in words."""
    document = _parsed(content)
    if isinstance(document, dict) and is_search(document):
        if not searches:
            raise ValueError("it is the document of a search, whose runs are steps; ctrlload plot draws it")
        return _shaped(document, _SEARCH_SHAPES)
    return _checked(document)


def _parsed(content: bytes) -> object:
    """One document, or the last event of several; ValueError in words."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES >> 20} MiB")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    if not text.strip():
        raise ValueError("the file is empty")
    try:
        return _loaded(text)
    except json.JSONDecodeError as error:
        if not text.lstrip().startswith('{"event"'):
            raise ValueError(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    with suppress(json.JSONDecodeError):
        event = _loaded(text.strip().rpartition("\n")[2])
        if isinstance(event, Mapping) and event.get("event") == "end":
            return event
    raise ValueError("events of a run that has not ended")


def _loaded(text: str) -> object:
    try:
        return harmless(cast("object", json.loads(text, parse_constant=_refused)))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refused(constant: str) -> object:
    raise ValueError(f"{constant} is no number of JSON")


def _checked(document: object) -> dict[str, object]:
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    if document.get("event") == "end":
        return _checked(document.get("result"))
    given = document.get("schema")
    if given == _schema_of("comparison"):
        raise ValueError("it is a comparison; expected the results that were compared")
    if given != SCHEMA:
        words = "without a schema" if given is None else f"its schema is {quoted(given)}"
        raise ValueError(f"{words}, expected {quoted(SCHEMA)}")
    return _shaped(document, _SHAPES)


def _shaped(document: dict[str, object], shapes: Mapping[str, tuple[type, ...]]) -> dict[str, object]:
    for key, kinds in shapes.items():
        if not isinstance(document.get(key), kinds):
            raise ValueError(f"{quoted(key)} is missing or of another type")
    return document
