"""Which runs are asked for, and those of memory and of a history as one list.

Rules: runs are listed by the time they began, the newest first, of one time by their number. What is in memory beats
what was stored of the same run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from attrs import frozen

from ctrlserver.stats.records import RunRecord


@frozen
class Chosen:
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
            (self.name is None or is_like(record.name, self.name))
            and (self.listener is None or self.listener in record.listener_names)
            and all(has_label(record.labels, name, value) for name, value in self.labels)
        )


def is_like(name: str | None, pattern: str) -> bool:
    """Whether a name is of this pattern; a run without a name is of none."""
    return name is not None and fnmatchcase(name, pattern)


def has_label(labels: Mapping[str, Sequence[object]], name: str, value: str) -> bool:
    """Whether the label ``name`` has a value that is written so."""
    return any(value == (each if isinstance(each, str) else json.dumps(each)) for each in labels.get(name, ()))


@frozen
class Page:
    """Of the runs in a history the first that are chosen, and how many are in all.

    ``known``: which of the runs in memory are among the latter.
    """

    records: Sequence[RunRecord] = ()
    total: int = 0
    known: frozenset[int] = frozenset()


@frozen
class Listed:
    """``records`` of ``total``, the newest first."""

    records: Sequence[RunRecord]
    total: int


def place_of(record: RunRecord) -> tuple[str, int]:
    """Its place in the order."""
    return record.started, record.run


def listed(
    memory: Sequence[RunRecord], chosen: Chosen, limit: int, before: RunRecord | None = None, page: Page | None = None
) -> Listed:
    """The first ``limit`` that are chosen, of those that are listed after ``before``, if it is given."""
    page = Page() if page is None else page
    here = {record.run for record in memory}
    own = [record for record in memory if chosen.takes(record)]
    total = page.total - len(page.known) + len(own)
    found = [record for record in own if before is None or place_of(record) < place_of(before)]
    found += [record for record in page.records if record.run not in here]
    found.sort(key=place_of, reverse=True)
    return Listed(found[:limit], total)
