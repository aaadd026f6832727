"""The runs in a history file, listed and looked up. No Twisted: each call may take its time, off the reactor.

Rules: a reader never waits for a writer (WAL), and changes nothing. Runs are listed by the time they began, the newest
first, of one time by their number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from attrs import define, field

from ctrlserver.errors import HistoryError
from ctrlserver.history.entries import COLUMNS, FUNCTIONS, NEWEST, condition, record_of
from ctrlserver.history.opening import opened_to_read, told
from ctrlserver.history.shared import identity
from ctrlserver.stats.chosen import Chosen, Page, place_of
from ctrlserver.stats.records import RunRecord

BUSY_SECONDS = 1.0

_PLACES = 500


@define(eq=False)
class Reading:
    """The file at ``path``, which may come and go: it is opened when it is asked for, and again if it is another."""

    path: str
    _connection: sqlite3.Connection | None = field(default=None, init=False)
    _file: tuple[int, int] | None = field(default=None, init=False)

    def page(self, chosen: Chosen, limit: int, before: RunRecord | None, named: Collection[int]) -> Page:
        """The first ``limit`` runs that are chosen, those listed after ``before`` if it is given.

        ``named``: the runs that are in memory. ``HistoryError`` where the file cannot be read.
        """
        chosen_by, values = condition(chosen)
        with self._asked() as connection:
            where = f" WHERE {chosen_by}" if chosen != Chosen() else ""  # without, SQLite counts three times as fast
            after, more = ("", []) if before is None else (" AND (began, run) < (?, ?)", list(place_of(before)))
            rows = connection.execute(
                f"SELECT {COLUMNS} FROM runs WHERE {chosen_by}{after} ORDER BY began DESC, run DESC LIMIT ?",
                (*values, *more, limit),
            ).fetchall()
            (total,) = connection.execute(f"SELECT count(*) FROM runs{where}", values).fetchone()
            known: set[int] = set()
            numbers = list(named)
            for at in range(0, len(numbers), _PLACES):
                some = numbers[at : at + _PLACES]
                places = ",".join("?" * len(some))
                found = connection.execute(
                    f"SELECT run FROM runs WHERE run IN ({places}) AND {chosen_by}", (*some, *values)
                )
                known.update(number for (number,) in found)
        return Page(_readable(rows), total, frozenset(known))

    def run(self, number: int) -> RunRecord | None:
        """The run of this number."""
        with self._asked() as connection:
            row = connection.execute(f"SELECT {COLUMNS} FROM runs WHERE run = ?", (number,)).fetchone()
        return next(iter(_readable([] if row is None else [row])), None)

    def newest(self) -> int:
        """The greatest number; 0 where none can be read."""
        with suppress(HistoryError), self._asked() as connection:
            return int(connection.execute(NEWEST).fetchone()[0])
        return 0

    def close(self) -> None:
        """It may be asked again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    @contextmanager
    def _asked(self) -> Iterator[sqlite3.Connection]:
        """What goes wrong is told as an error of ours, and the file is opened anew the next time."""
        try:
            with told(self.path):
                yield self._opened()
        except HistoryError:
            self.close()
            raise

    def _opened(self) -> sqlite3.Connection:
        there = identity(self.path)
        if self._connection is not None and there != self._file:
            self.close()
        if self._connection is None:
            connection = opened_to_read(self.path, BUSY_SECONDS)
            for name, (places, function) in FUNCTIONS.items():
                connection.create_function(name, places, function, deterministic=True)
            self._connection, self._file = connection, there
        return self._connection


def _readable(rows: Iterable[Sequence[Any]]) -> list[RunRecord]:
    """Their records; a row that somebody has spoilt hides no other."""
    found: list[RunRecord] = []
    for row in rows:
        with suppress(ValueError, TypeError, AttributeError):
            found.append(record_of(row))
    return found
