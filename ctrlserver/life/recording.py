"""The runs of a server are kept in its history: what is written when, and by which thread.

Model: the reactor's thread hands runs over, those that began and ended at once, the active one every
``CHECKPOINT_SECONDS``; one thread writes them, all that wait in one transaction; another one reads. At most one write
is under way, and one begins ``APART_SECONDS`` after the one before, so runs that end meanwhile are the next batch.

Rules:

- Nothing here waits for the file, but for the opening at the start (a quarter of a second where it is locked).
- A run that ends is put beside the file at once, before anybody is told (``history/ended.py``): a SIGKILL takes none.
- What cannot be written now is tried again at the next checkpoint. It is held until then, ``MOST_HELD`` runs at most;
  more are read from the file beside the history once it can be written. ``history_lost_total`` has the number of those
  that are not in that file either.
- That the file cannot be had is one line of the log when it begins, and one when it is over; ``health`` has the reason,
  and the server is ready all the same.
- A run has its number from the history, so that it is the same after a restart and no other server's.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attrs import frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from ctrlserver import __version__
from ctrlserver.config import Config
from ctrlserver.errors import CommandError, HistoryError
from ctrlserver.history.ended import EndedRuns, rows_of
from ctrlserver.history.opening import Damaged
from ctrlserver.history.reading import Reading
from ctrlserver.history.store import Store
from ctrlserver.stats.book import Book
from ctrlserver.stats.chosen import Chosen, Listed, listed
from ctrlserver.stats.records import RunRecord, describe, timestamp
from ctrlserver.words import counted

CHECKPOINT_SECONDS = 10.0
"""What a run that a crash ends has lost at most."""

APART_SECONDS = 1.0
"""Beside a load each write takes the interpreter's lock from the reactor's thread, so runs that follow each other soon
share one. SIGKILL takes none of them: they are in the file beside the history."""

MOST_HELD = 10_000
"""Runs that wait to be written: 10 MB. A thousand runs a minute make ten minutes."""

LEAST_DRAIN_SECONDS = 1.0
"""The last runs have so long to be written, even where streams have no time to end."""

_COUNTERS = tuple(each.name for each in describe() if each.record == "stats" and each.kind == "counter")


@frozen
class HistoryFile:
    """Where the history is; ``own``: in a folder of ours, which is made where it is missing."""

    path: str
    own: bool = False


@frozen
class _Work:
    """What one write is to do."""

    records: tuple[RunRecord, ...]
    totals: Mapping[str, int] | None
    begins: bool
    goes_on: bool
    keep: int
    since: str | None
    tidies: bool
    ends: bool
    ended: tuple[str, int]
    given_up: frozenset[int]


class Recording:
    """Keeps the runs of ``book`` in ``file``; without one nothing is kept. ``wall`` gives seconds since 1970."""

    log = Logger()

    def __init__(
        self,
        book: Book,
        reactor: IReactorTime,
        clock: Callable[[], float],
        wall: Callable[[], float],
        in_use: Callable[[], Config],
        file: HistoryFile | None,
    ) -> None:
        self.trouble = ""
        self._book = book
        self._reactor: Any = reactor
        self._clock = clock
        self._wall = wall
        self._in_use = in_use
        self._file = file
        self._pending: dict[int, RunRecord] = {}
        self._in_hand: dict[int, RunRecord] = {}  # those that are being written
        self._given_up: set[int] = set()  # the file beside the history has them, and memory no longer
        self._written_at = -APART_SECONDS
        self._begun = self._is_writing = self._look_due = False
        self._over: Deferred[None] | None = None
        self._every = LoopingCall(self._checkpoint)
        self._every.clock = reactor
        if file is not None:
            who = (__version__, socket.gethostname(), os.getpid())
            self._store = Store(file.path, who, lambda: timestamp(wall()), self._put_aside, own=file.own)
            self._reading, self._ended_runs = Reading(file.path), EndedRuns(file.path)
            self._writers, self._readers = _a_thread("history-writer"), _a_thread("history-reader")

    # The start

    def begin(self) -> None:
        """Open the file; the server goes on without it where that cannot be done."""
        if self._file is None:
            return
        self._book.runs.number = self._number
        self._book.runs.on_begin = self._soon
        try:
            self._store.open()
            self._book.lifetime = self._store.begin(go_on=self._in_use().keep_totals)
            self._book.runs.newest = self._store.newest
            self._begun = True
            self._tell_lost(self._left_out())
        except HistoryError as error:
            self._in_trouble(str(error))
            self._book.runs.newest = max(self._store.newest, self._reading.newest())
        self._writers.start()
        self._readers.start()
        self._readers.callInThread(self._look_ahead)
        self._every.start(CHECKPOINT_SECONDS, now=False)

    def _look_ahead(self) -> None:
        """Whoever asks first finds the file open, and the index of its runs in memory."""
        with suppress(HistoryError):
            self._reading.page(Chosen(), 1, None, ())

    def _number(self, newest: int) -> int:
        found = None if self._store.shared is None else self._store.shared.next(newest)
        return newest + 1 if found is None else found

    def reasons(self) -> Sequence[str]:
        """What is wrong, for ``health``; the server is ready all the same."""
        return [f"runs are not kept: {self.trouble}"] if self.trouble else ()

    # What is written

    def ended(self, record: RunRecord) -> None:
        """A run has ended, and nobody is told before this is done."""
        if self._file is not None:
            self._ended_runs.add(record)
            self._hold({record.run: record})
            self._soon()

    def _soon(self) -> None:
        """Write in a moment: by then a run that has begun has its first data, and is written with the one before."""
        if not self._look_due:
            self._look_due = True
            self._reactor.callLater(max(0.0, self._written_at + APART_SECONDS - self._clock()), self._look)

    def _look(self) -> None:
        self._look_due = False
        if self._over is None:
            self._hold_active()
            if self._pending:
                self._write()

    def _hold_active(self) -> None:
        active = self._book.runs.active()
        if active is not None:
            self._hold({active.run: active})

    def _hold(self, records: Mapping[int, RunRecord]) -> None:
        """Have these wait, too; what is known of them meanwhile is newer."""
        self._pending.update(records)
        while len(self._pending) > MOST_HELD:
            run = next(iter(self._pending))
            del self._pending[run]
            if self._ended_runs.has(run):
                self._given_up.add(run)
            else:
                self._book.history_lost += 1

    def _checkpoint(self) -> None:
        self._hold_active()
        self._write(whole=True)

    def _write(self, *, whole: bool = False, ends: bool = False) -> None:
        """Write what waits, unless that is under way; ``whole``: also what is due from time to time."""
        if self._is_writing or (self.trouble and not whole):
            return
        self._is_writing, self._written_at = True, self._clock()
        config, self._in_hand, self._pending = self._in_use(), self._pending, {}
        totals = None
        if config.keep_totals and whole:
            stats = self._book.stats(self._clock())
            totals = {name: getattr(stats, name) for name in _COUNTERS}
        since = timestamp(self._wall() - config.history_age) if config.history_age else None
        begins, goes_on = not self._begun, config.keep_totals
        ended, given_up = self._ended_runs.mark(), frozenset(self._given_up)
        work = _Work(
            tuple(self._in_hand.values()),
            totals,
            begins,
            goes_on,
            config.history_runs,
            since,
            whole,
            ends,
            ended,
            given_up,
        )
        done = deferToThreadPool(self._reactor, self._writers, self._carry_out, work)
        done.addCallbacks(self._written, self._not_written, callbackArgs=(work,))

    def _carry_out(self, work: _Work) -> tuple[int, Mapping[str, int]]:
        """In the writer's thread: how many runs were lost, and the lifetime totals where they are known now."""
        try:
            return self._try(work)
        except Damaged:  # it is put aside
            return self._try(work)

    def _try(self, work: _Work) -> tuple[int, Mapping[str, int]]:
        store, totals, lifetime, lost = self._store, work.totals, {}, 0
        if work.begins:
            lifetime = dict(store.begin(go_on=work.goes_on))
            totals = None if totals is None else {name: lifetime.get(name, 0) + value for name, value in totals.items()}
        if work.records or totals is not None:
            rows = {row[0]: row for row in rows_of(work.ended) if row[0] in work.given_up} if work.given_up else {}
            lost = store.write(work.records, totals, [*rows.values()]) + len(work.given_up) - len(rows)
        if work.tidies:
            store.tidy(work.keep, work.since)
        if work.ends:
            store.end()
            store.close()
        return lost, lifetime

    def _written(self, done: tuple[int, Mapping[str, int]], work: _Work) -> None:
        self._is_writing, self._in_hand = False, {}
        self._ended_runs.written(work.ended)
        self._given_up -= work.given_up
        lost, lifetime = done
        if work.begins:
            self._begun = True
            self._book.lifetime = lifetime
        self._tell_lost(lost + self._left_out())
        if self.trouble:
            self.trouble = ""
            self.log.info("the history is kept again, in {path}", event="history-again", path=self._store.path)
        self._go_on(failed=False, ended=work.ends)

    def _not_written(self, failure: Failure) -> None:
        held, self._in_hand, self._pending = {**self._in_hand, **self._pending}, {}, {}
        self._is_writing = False
        self._hold(held)
        if failure.check(HistoryError) is None:
            self.log.failure("the history cannot be written", failure, event="bug")
        self._in_trouble(failure.getErrorMessage())
        self._go_on(failed=True)

    def _left_out(self) -> int:
        """Of the runs that dead servers have left."""
        left_out, self._store.left_out = self._store.left_out, 0
        return left_out

    def _tell_lost(self, lost: int) -> None:
        if lost:
            self._book.history_lost += lost
            told = "{runs} could not be kept in the history: another run has the number, or what was beside it is gone"
            self.log.warn(told, event="runs-lost", runs=counted(lost, "run"))

    def _go_on(self, *, failed: bool, ended: bool = False) -> None:
        if self._over is None:
            if self._pending and not failed:
                self._soon()
        elif failed or ended:
            self._over.callback(None)
        else:
            self._write(whole=True, ends=True)

    def _in_trouble(self, why: str) -> None:
        if not self.trouble:
            self.log.warn(
                "runs are not kept: {why}; they wait, and the file is tried again every {seconds:g} s",
                event="history-not-kept",
                why=why,
                seconds=CHECKPOINT_SECONDS,
            )
        self.trouble = why

    def _put_aside(self, line: str) -> None:
        self._reactor.callFromThread(self.log.warn, "{line}", event="history-damaged", line=line)

    # What is read

    def runs(self, chosen: Chosen, limit: int, before: int | None = None) -> Deferred[Listed]:
        """The newest that are chosen, of those listed after run ``before`` if it is given; those in memory if need be.

        ``CommandError`` 404 where there is no run ``before``.
        """
        memory = self._book.runs.records(self._clock())
        named = [record.run for record in memory]
        after = next((record for record in memory if record.run == before), None)

        def read() -> Listed:
            first = after
            try:
                if first is None and before is not None and (first := self._reading.run(before)) is None:
                    raise CommandError(404, "unknown-run", f"no run {before}")
                page = self._reading.page(chosen, limit, first, named)
            except HistoryError as error:
                if isinstance(error, Damaged):
                    self._store.doubt = error
                if before is not None and first is None:
                    raise CommandError(
                        503, "no-history", f"run {before} is in the history, which cannot be read"
                    ) from None
                page = None
            return listed(memory, chosen, limit, first, page)

        return deferToThreadPool(self._reactor, self._readers, read)

    def run(self, number: int) -> Deferred[RunRecord | None]:
        """The run of this number; None where there is none."""
        record = self._book.runs.record(number, self._clock())
        if record is not None:
            return succeed(record)
        return deferToThreadPool(self._reactor, self._readers, self._read_run, number)

    def _read_run(self, number: int) -> RunRecord | None:
        try:
            return self._reading.run(number)
        except HistoryError:
            return None

    # The end

    def end(self, seconds: float) -> Deferred[object]:
        """Write what waits; fires when that is done, after ``seconds`` at the latest, or one."""
        if self._file is None or not self._every.running:
            return succeed(None)
        self._every.stop()
        self._over = Deferred()
        if not self._is_writing:
            self._write(whole=True, ends=True)
        self._over.addTimeout(max(seconds, LEAST_DRAIN_SECONDS), self._reactor)
        return self._over.addBoth(self._ended)

    def _ended(self, over: object) -> object:
        late = isinstance(over, Failure) and over.check(defer.TimeoutError)
        why = self.trouble or "the disk does not answer"
        beside, held = self._ended_runs, {**self._in_hand, **self._pending}.values()
        lost = sum(not (beside.has(each.run) or (each.state == "ended" and beside.add(each))) for each in held)
        lost += sum(not beside.has(run) for run in self._given_up)
        path, waits = beside.name, len(held) + len(self._given_up) > lost
        beside.close()
        if waits:
            self.log.warn("{path} has the last runs until the next start: {why}", event="runs-wait", path=path, why=why)
        if lost:
            self._book.history_lost += lost
            told = "{lost} could not be kept in the history: {why}"
            self.log.warn(told, event="runs-lost", lost=counted(lost, "run"), why=why)
        if late:
            return None
        self._store.close()
        self._writers.stop()
        closed = deferToThreadPool(self._reactor, self._readers, self._reading.close)  # it may be reading
        closed.addCallback(lambda _: self._readers.stop())
        return closed.addTimeout(LEAST_DRAIN_SECONDS, self._reactor).addErrback(lambda _: None)


def _a_thread(name: str) -> ThreadPool:
    """A pool of one thread, begun when there is something to do; the process ends though it may hang."""
    pool = ThreadPool(0, 1, name)
    pool.threadFactory = lambda **options: threading.Thread(daemon=True, **options)  # type: ignore[assignment]
    return pool
