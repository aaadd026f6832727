"""A run as a row of the file, and what is asked of such rows.

Rules: what is stored has the fields' own names, so a rename can be undone. A stored record may be of an earlier
version, which did not know all fields, or of a later one: then the fields that are not known here are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from attrs import evolve, fields

from ctrlserver.history.shared import MOST
from ctrlserver.stats.chosen import Chosen, has_label, is_like
from ctrlserver.stats.records import RunRecord

_OWN_COLUMNS = ("listeners", "labels")
_HAS_LISTENER = "EXISTS (SELECT 1 FROM json_each(listeners) WHERE value = ?)"
_KNOWN = tuple(each for each in fields(RunRecord) if each.name not in _OWN_COLUMNS)


def condition(chosen: Chosen) -> tuple[str, list[Any]]:
    """What is chosen, in SQL over the columns of ``runs``, with its values; see ``FUNCTIONS``."""
    parts: list[str] = ["1"]
    values: list[Any] = []
    for sql, value in (
        ("began >= ?", chosen.since),
        ("began < ?", chosen.until),
        ("is_like(name, ?)", chosen.name),
        (f"CASE WHEN json_valid(listeners) THEN {_HAS_LISTENER} END", chosen.listener),
    ):
        if value is not None:
            parts.append(sql)
            values.append(value)
    for name, value in chosen.labels:
        parts.append("has_label(labels, ?, ?)")
        values += [name, value]
    return " AND ".join(parts), values


@lru_cache(1000)
def _labels(text: str) -> Mapping[str, Sequence[Any]]:
    found: Mapping[str, Sequence[Any]] = json.loads(text)
    return found


def _has_label(text: str, name: str, value: str) -> bool:
    with suppress(ValueError, TypeError, AttributeError):
        return has_label(_labels(text), name, value)
    return False  # somebody has spoilt the row, which hides no other


FUNCTIONS: Mapping[str, tuple[int, Callable[..., bool]]] = {
    "is_like": (2, is_like),
    "has_label": (3, _has_label),
}
"""What ``condition`` calls: the number of arguments, and the function."""

encoded = json.JSONEncoder(separators=(",", ":")).encode

COLUMNS = "run, state, name, began, listeners, labels, record"

NEWEST = f"SELECT coalesce(max(run), 0) FROM runs WHERE run < {MOST}"
"""The greatest number that others can follow; somebody may have spoilt a row."""


def row_of(record: RunRecord) -> tuple[Any, ...]:
    """The values of ``COLUMNS``."""
    whole = {each.name: getattr(record, each.name) for each in _KNOWN}
    names, labels = list(record.listener_names), {name: list(values) for name, values in record.labels.items()}
    texts = (encoded(each) for each in (names, labels, whole))
    return (record.run, record.state, record.name, record.started, *texts)


def record_of(row: Sequence[Any]) -> RunRecord:
    """The record of such a row."""
    run, state, _, began, listeners, labels, text = row
    whole = json.loads(text)
    values = {each.name: whole.get(each.name, None if each.default is _NOTHING else each.default) for each in _KNOWN}
    names = json.loads(listeners)
    made = RunRecord(**values, listeners=",".join(names) or None, labels=_labels(labels))
    return evolve(made, run=run, state=state, started=began)


_NOTHING = fields(RunRecord).run.default
