"""Stores on a clock set by hand, and runs to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from ctrlserver.history.store import Store
from ctrlserver.stats.records import RunRecord, timestamp

EPOCH = 1_795_000_000.0


def a_run(run: int, *, state: str = "ended", at: float | None = None, **values: Any) -> RunRecord:
    """Run ``run``, which began ``at`` seconds after ``EPOCH``: its number, if it is not said."""
    known: dict[str, Any] = {
        "name": None,
        "started": timestamp(EPOCH + (run if at is None else at)),
        "seconds": 1.5,
        "streams": 2,
        "packets": 100 * run,
        "bytes": 102400 * run,
        "packets_per_second": 66.7,
        "bits_per_second": 546133.3,
        "incomplete_bytes": 0,
        "faults": 0,
        "expected_packets": None,
        "complete": None,
        "listeners": "data",
    }
    return RunRecord(run=run, state=state, **{**known, **values})


class Stores:
    """Those of one test; closed after it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []
        self.made: list[Store] = []
        self._seconds = count()

    def __call__(self, **options: Any) -> Store:
        """One that is open."""
        store = Store(
            str(self.path),
            ("1.0", "here", 1000 + len(self.made)),
            lambda: timestamp(EPOCH + next(self._seconds)),
            self.said.append,
            **options,
        )
        self.made.append(store)
        store.open()
        return store

    def close(self) -> None:
        for store in self.made:
            store.close()


def labelled(**labels: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
    return labels
