"""A run as it is kept, and which runs are asked for. PURE but for SQL.

Rules: what is stored has the fields' own names, so a rename can be undone. A stored record may be of an earlier
version, which did not know all fields, or of a later one: then the fields that are not known here are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from attrs import asdict, evolve, fields, frozen

from ctrlserver.stats.records import RunRecord

_OWN_COLUMNS = ("listeners", "labels")
_KNOWN = tuple(each for each in fields(RunRecord) if each.name not in _OWN_COLUMNS)


@frozen
class Choice:
    """Runs that began ``since`` and before ``until`` (timestamps), of such a name, listener and label.

    ``name`` is a pattern of a shell (``soak*``); ``labels`` are pairs of name and value, all of which hold.
    """

    since: str | None = None
    until: str | None = None
    name: str | None = None
    listener: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def takes(self, record: RunRecord) -> bool:
        """Whether a run is one of them."""
        if self.since is not None and record.started < self.since:
            return False
        if self.until is not None and record.started >= self.until:
            return False
        return (
            (self.name is None or _like(record.name, self.name))
            and (self.listener is None or self.listener in record.listener_names)
            and all(has_label(record.labels, name, value) for name, value in self.labels)
        )

    def condition(self) -> tuple[str, list[Any]]:
        """The same in SQL, over the columns of ``runs``; see ``FUNCTIONS``."""
        parts: list[str] = ["1"]
        values: list[Any] = []
        for sql, value in (
            ("began >= ?", self.since),
            ("began < ?", self.until),
            ("is_like(name, ?)", self.name),
            ("EXISTS (SELECT 1 FROM json_each(listeners) WHERE value = ?)", self.listener),
        ):
            if value is not None:
                parts.append(sql)
                values.append(value)
        for name, value in self.labels:
            parts.append("has_label(labels, ?, ?)")
            values += [name, value]
        return " AND ".join(parts), values


def _like(name: str | None, pattern: str) -> bool:
    return name is not None and fnmatchcase(name, pattern)


def has_label(labels: Mapping[str, Sequence[Any]], name: str, value: str) -> bool:
    """Whether the label ``name`` has a value that is written so."""
    return any(value == label_text(each) for each in labels.get(name, ()))


def label_text(value: object) -> str:
    """A label's value as it is typed."""
    return value if isinstance(value, str) else json.dumps(value)


@lru_cache(1000)
def _labels(text: str) -> Mapping[str, Sequence[Any]]:
    found: Mapping[str, Sequence[Any]] = json.loads(text)
    return found


FUNCTIONS: Mapping[str, tuple[int, Callable[..., bool]]] = {
    "is_like": (2, _like),
    "has_label": (3, lambda labels, name, value: has_label(_labels(labels), name, value)),
}
"""What ``Choice.condition`` calls: the number of arguments, and the function."""

COLUMNS = "run, state, name, began, listeners, labels, record"


def row_of(record: RunRecord) -> tuple[Any, ...]:
    """The values of ``COLUMNS``."""
    whole = asdict(record, recurse=False, filter=lambda each, _: each.name not in _OWN_COLUMNS)
    names, labels = list(record.listener_names), {name: list(values) for name, values in record.labels.items()}
    texts = (json.dumps(each, separators=(",", ":")) for each in (names, labels, whole))
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
