"""The runs of a server, kept in a file of SQLite. No Twisted: each call may take its time, and is made off the reactor.

::

    open() -> begin() -> write(...), write(...), ... -> close()

Rules:

- A run is written when it begins, at checkpoints, and when it ends: one row, under its number. A row of another
  server is never written over.
- A run that has ended is in a file beside this one until it is here (ended.py): the next server that looks enters what
  one that died has left.
- A server lives while it holds its byte of ``FILE-shared``. The active run of one that does not is ``interrupted``,
  with what its last checkpoint said; the next server that looks says so.
- ``HistoryError`` where something cannot be written: nothing of the call has been written then, and it may be made
  again. A damaged file is put aside by then, and a new one is in its place.
- A file that somebody has taken away is made anew, and the one beside it, too.
- The newest runs are those of the greatest numbers: a clock may be set back.

Beware: while data flow, each statement takes the interpreter's lock from the reactor's thread several times. So a run
is one statement.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from attrs import define, field

from ctrlserver.errors import HistoryError
from ctrlserver.history.ended import left
from ctrlserver.history.entries import COLUMNS, NEWEST, row_of
from ctrlserver.history.opening import OPENING_SECONDS, Damaged, Upgrade, opened, packaged, put_aside, told, transaction
from ctrlserver.history.shared import Shared, identity
from ctrlserver.stats.records import RunRecord

BUSY_SECONDS = 5.0
"""For so long a write waits for another program that has the file locked."""

DELETED_AT_ONCE = 5000
"""Runs past their time that one call deletes, so that it stays short."""

_ENTRY = f"""
INSERT INTO runs (daemon, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run) DO UPDATE SET state = excluded.state, name = excluded.name, began = excluded.began,
    listeners = excluded.listeners, labels = excluded.labels, record = excluded.record
WHERE"""
_WRITE = f"{_ENTRY} daemon = excluded.daemon"
_ENTER = f"{_ENTRY} state != 'ended' AND began = excluded.began"
_OTHER = "SELECT count(*) FROM runs WHERE run = :run AND began != :began"

_INTERRUPT = "UPDATE runs SET state = 'interrupted' WHERE daemon = ? AND state = 'active'"
_OVERDUE = "DELETE FROM runs WHERE run IN (SELECT run FROM runs WHERE state != 'active' {which} LIMIT ?)"


@define(eq=False)
class Store:
    """The file at ``path``. ``aside`` is called with a line for the log when a damaged file was put aside.

    ``who``: version, host and process of the server. ``clock`` gives the time of day as a timestamp. ``own``: the
    folder is made where it is missing.
    """

    path: str
    who: tuple[str, str, int]
    clock: Callable[[], str]
    aside: Callable[[str], object] = lambda _: None
    upgrades: Sequence[Upgrade] = field(factory=packaged)
    own: bool = False
    newest: int = field(default=0, init=False)
    """The greatest number of a run that was in the file before this server's."""
    doubt: Damaged | None = field(default=None, init=False)
    """What a reader says of the file: it is examined before the next write."""
    left_out: int = field(default=0, init=False)
    """Runs that dead servers have left and that are not entered, for others have their numbers."""
    daemon: int | None = field(default=None, init=False)
    shared: Shared | None = field(default=None, init=False)
    _connection: sqlite3.Connection | None = field(default=None, init=False)
    _file: tuple[int, int] | None = field(default=None, init=False)
    _registered_in: sqlite3.Connection | None = field(default=None, init=False)
    _seconds: float = field(default=0.0, init=False)
    _began: str = field(default="", init=False)
    _lifetime: Mapping[str, int] | None = field(default=None, init=False)

    def open(self) -> None:
        """Have the file, and the next number; ``HistoryError`` where that cannot be."""
        if self._connection is not None and self._file != identity(self.path):
            self._give_up()  # somebody has taken it away
        if self._connection is None and self.own:
            with told(self.path):
                os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        if self.shared is None:
            self.shared = Shared(self.path)
        self.shared.renew()
        doubt, self.doubt = self.doubt, None
        if doubt is not None:
            self._give_up()
            self._put_aside(doubt, self.shared)
        if self._connection is not None:
            return
        try:
            connection = opened(self.path, self.upgrades)
        except Damaged as wrong:
            self._put_aside(wrong, self.shared)
            connection = opened(self.path, self.upgrades)
        with told(self.path):
            self.newest = _newest(connection)
        self._connection, self._file, self._seconds = connection, identity(self.path), 0.0
        self.shared.at_least(self.newest)

    def write(
        self,
        records: Sequence[RunRecord],
        totals: Mapping[str, int] | None = None,
        ended: Sequence[Sequence[Any]] = (),
    ) -> int:
        """Write how these runs are now, and the totals; how many could not be, for their numbers are another's.

        ``ended``: rows of runs of this server that have ended, to be entered as well.
        """
        self.open()
        known = self.daemon is not None and self._registered_in is self._connection
        alone = known and totals is None and len(records) == 1 and not ended
        with self._at_work(alone=alone) as connection:
            daemon = self.daemon if known and self.daemon is not None else self._registered(connection, self.clock())
            lost = self._enter(connection, daemon, ended)
            for record in records:
                lost += _put(connection, _WRITE, daemon, row_of(record))
            if totals is not None:
                connection.execute(
                    "UPDATE daemons SET seen = ?, totals = ? WHERE daemon = ?",
                    (self.clock(), json.dumps(totals), daemon),
                )
        self._registered_in = connection
        return lost

    def begin(self, *, go_on: bool) -> Mapping[str, int]:
        """The server is here; runs of those that died are ``interrupted``. It waits for nobody, and is done once.

        With ``go_on``, the lifetime totals of servers that have ended: nobody else has them from then on.
        """
        if self._lifetime is None:
            totals: dict[str, int] = {}
            with left(self.path) as rows, self._at_work(OPENING_SECONDS) as connection:
                daemon = self._registered(connection, self.clock())
                left_out = self._find_dead(connection, rows)
                if go_on:
                    which = "totals IS NOT NULL AND heir IS NULL AND ended AND daemon != ?"
                    for (text,) in connection.execute(f"SELECT totals FROM daemons WHERE {which}", (daemon,)):
                        for name, value in _totals_in(text):
                            totals[name] = totals.get(name, 0) + value
                    connection.execute(f"UPDATE daemons SET heir = ? WHERE {which}", (daemon, daemon))
                    connection.execute("UPDATE daemons SET totals = ? WHERE daemon = ?", (json.dumps(totals), daemon))
            self._lifetime = totals
            self.left_out += left_out
        return self._lifetime

    def tidy(self, keep: int, since: str | None) -> None:
        """Say which runs were interrupted; delete those past the newest ``keep``, and those from before ``since``."""
        with left(self.path) as rows, self._at_work() as connection:
            left_out = self._find_dead(connection, rows)
            connection.execute("UPDATE daemons SET ended = 0 WHERE daemon = ? AND ended", (self.daemon,))
            (number,) = connection.execute("SELECT count(*) FROM runs").fetchone()
            if number > keep:
                connection.execute(_OVERDUE.format(which="ORDER BY run"), (min(number - keep, DELETED_AT_ONCE),))
            if since is not None:
                connection.execute(_OVERDUE.format(which="AND began < ?"), (since, DELETED_AT_ONCE))
            connection.execute(
                "DELETE FROM daemons WHERE ended AND (totals IS NULL OR heir IS NOT NULL)"
                " AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.daemon = daemons.daemon)"
            )
        self.left_out += left_out

    def end(self) -> None:
        """The server ends in good order, and has no active run: one that is here had an end that was lost."""
        with self._at_work() as connection:
            connection.execute(_INTERRUPT, (self.daemon,))
            connection.execute("UPDATE daemons SET seen = ?, ended = 1 WHERE daemon = ?", (self.clock(), self.daemon))

    def close(self) -> None:
        """No more calls; without ``end`` this server is dead from now on."""
        self._give_up()
        if self.shared is not None:
            self.shared.close()
            self.shared = None

    def _registered(self, connection: sqlite3.Connection, now: str) -> int:
        """The number of this server in the file; a new one where the file has none of it."""
        assert self.shared is not None
        self._began = self._began or now
        if self.daemon is not None:
            known = connection.execute(
                "SELECT 1 FROM daemons WHERE daemon = ? AND began = ? AND pid = ?",
                (self.daemon, self._began, self.who[2]),
            ).fetchone()
            if known:
                return self.daemon
        version, host, pid = self.who
        made = connection.execute(
            "INSERT INTO daemons (version, host, pid, began, seen) VALUES (?, ?, ?, ?, ?)",
            (version, host, pid, self._began, now),
        )
        assert made.lastrowid is not None
        self.daemon = made.lastrowid
        self.shared.lives(self.daemon)
        return self.daemon

    def _enter(self, connection: sqlite3.Connection, daemon: int | None, rows: Sequence[Sequence[Any]]) -> int:
        """Rows of runs that have ended; how many are left out, for others have their numbers."""
        left_out = 0
        for row in rows:
            with suppress(ValueError):  # a text that is none
                left_out += _put(connection, _ENTER, daemon, row)
        return left_out

    def _find_dead(self, connection: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> int:
        """What they have left is entered, and their active runs are interrupted; how many are left out."""
        assert self.shared is not None
        left_out = self._enter(connection, self.daemon, rows)
        if rows:
            self.newest = _newest(connection)
            self.shared.at_least(self.newest)
        there = connection.execute("SELECT daemon FROM daemons WHERE NOT ended").fetchall()
        for (daemon,) in there:
            if daemon == self.daemon or self.shared.is_alive(daemon):
                continue
            connection.execute(_INTERRUPT, (daemon,))
            connection.execute("UPDATE daemons SET ended = 1 WHERE daemon = ?", (daemon,))
        return left_out

    @contextmanager
    def _at_work(self, seconds: float | None = None, *, alone: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction, or one statement ``alone``; an error gives the file up, and is told as one of ours."""
        self.open()
        assert self._connection is not None
        assert self.shared is not None
        try:
            wait = BUSY_SECONDS if seconds is None else seconds
            if wait != self._seconds:
                with told(self.path):
                    self._connection.execute(f"PRAGMA busy_timeout = {int(wait * 1000)}")
                self._seconds = wait
            with told(self.path), nullcontext() if alone else transaction(self._connection):
                yield self._connection
        except Damaged as wrong:
            self._give_up()
            self._put_aside(wrong, self.shared)
            raise
        except HistoryError:
            self._give_up()
            raise

    def _put_aside(self, wrong: HistoryError, shared: Shared) -> None:
        when = self.clock().replace("-", "").replace(":", "").partition(".")[0]
        if (name := put_aside(self.path, when, shared, self.upgrades)) is not None:
            self.aside(f"{wrong}; it is kept as {name}, and a new one is made")

    def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _put(connection: sqlite3.Connection, statement: str, daemon: int | None, row: Sequence[Any]) -> int:
    """1 where the row is left out, for another run has its number; not where another server has entered this one."""
    if connection.execute(statement, (daemon, *row)).rowcount:
        return 0
    return int(connection.execute(_OTHER, {"run": row[0], "began": row[3]}).fetchone()[0])


def _newest(connection: sqlite3.Connection) -> int:
    return int(connection.execute(NEWEST).fetchone()[0])


def _totals_in(text: str) -> Iterator[tuple[str, int]]:
    """Those that a start has left; none where somebody has spoilt them."""
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            yield from ((name, value) for name, value in found.items() if type(value) is int and value >= 0)
