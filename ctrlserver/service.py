"""The only place where objects are wired.

Rules:

- The start is all or nothing: if one port cannot be bound, the service closes the others and the program exits with one
  line that names the port, on standard error and in the log.
- ``privilegedStartService`` binds the ports, before ``twistd`` gives up its privileges. ``twist`` has no such step, so
  ``startService`` binds them if they are not bound yet.
- The end: first the data ports are closed, then the streams have ``drain_timeout`` to end (``life/draining.py``). Then
  the others are ended, the run is ended and logged, and the admin ports and their connections are closed.
"""

from __future__ import annotations

import atexit
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any, NoReturn

from attrs import evolve
from twisted.application.service import MultiService
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ctrlserver import __version__, terminal
from ctrlserver.admin.ports import AdminPorts
from ctrlserver.config import Config
from ctrlserver.config.changes import in_the_way
from ctrlserver.config.shown import as_tables
from ctrlserver.config.workers import conflicts_of_workers
from ctrlserver.desk import Desk, Health
from ctrlserver.errors import CommandError, ConfigError, UsageError
from ctrlserver.lane.clock import keep_monotonic_time
from ctrlserver.life.alone import LonePlane
from ctrlserver.life.draining import Draining
from ctrlserver.life.question_ports import QuestionPorts
from ctrlserver.life.recording import HistoryFile, Recording
from ctrlserver.life.reloading import Read, Reloading
from ctrlserver.life.run_lines import RunLines
from ctrlserver.life.supervision import Supervision
from ctrlserver.life.tracing import Tracing
from ctrlserver.linux.descriptors import descriptors_in_use, raise_descriptor_limit
from ctrlserver.linux.memory import give_back_large_blocks, memory_there_is
from ctrlserver.logs.log import LOG
from ctrlserver.net.gate import Reserve, room_for_admin
from ctrlserver.net.injected.orders import record_of
from ctrlserver.net.listeners import CannotBind
from ctrlserver.net.plane import SWEEP_SECONDS
from ctrlserver.net.proxied import Door
from ctrlserver.stats.book import Book
from ctrlserver.stats.records import InjectionRecord, RunRecord
from ctrlserver.words import counted

if TYPE_CHECKING:
    from ctrlserver.workers.plane import SharedPlane

#: Seconds between two readings of the counters: the resolution of the rates, of a run's end and of the loop lag.
TICK_SECONDS = SWEEP_SECONDS

#: Seconds by which the loop may be late while the server is ready for new streams.
READY_LAG_SECONDS = 1.0


class CannotStart(SystemExit, Exception):
    """The daemon cannot start; the text is the one line for the operator.

    It is an ``Exception`` too, for only then does ``twistd`` remove its pid file and report to a waiting parent. The
    line goes to the real standard error (``terminal``), for ``twistd`` has redirected ``sys.stderr`` to the log.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 1
        tell_operator(message)


class ControlService(MultiService):
    """The running server: its book, its data plane, its admin ports and the one by HTTP.

    ``clock`` returns monotonic seconds, ``wall`` seconds since 1970. ``read`` reads the config anew; None: no file.
    ``history``: where runs are kept.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: IReactorTime,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        read: Read | None = None,
        history: HistoryFile | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        keep_monotonic_time(reactor)
        self.config = config
        self._reactor = reactor
        self._clock = clock
        self._wall = wall
        self._run_lines = RunLines()
        self.book = Book(
            version=__version__,
            now=clock(),
            wall=wall(),
            run_gap=config.run_gap,
            expected_packets=config.expected_packets,
            renames=config.renames,
            on_run_end=self._run_ended,
        )
        self.recording = Recording(self.book, reactor, clock, wall, lambda: self.config, history)
        give_back_large_blocks()
        self.book.memory.limit = memory_limit(config)
        self.plane = self._plane()
        self._reserve = Reserve(self.plane.seats)
        self.tracing = Tracing(self.book, clock)
        self.tracing.follow()
        self.supervision = Supervision(reactor, self._status)
        self.supervision.setServiceParent(self)  # type: ignore[no-untyped-call]
        self.reloading = Reloading(
            self.book, lambda: self.config, read, self._apply, self.supervision, lambda: self.is_ending
        )
        self._admin = AdminPorts(
            Desk(
                book=self.book,
                version=__version__,
                instance=token_hex(8),
                now=clock,
                kick=self.plane.kick,
                **self.plane.beside(),
                inject=self._inject,
                injections=self.plane.injections,
                end_injections=self.plane.end_orders,
                answer=self.plane.answer,
                answers=self.plane.rules.all,
                end_answers=self.plane.rules.end,
                log=self._set_level,
                listeners=self.plane.records,
                reload=self.reloading.reload,
                config=lambda: as_tables(self.config),
                drain=self._drain,
                health=self._health,
                history=None if history is None else self.recording,
                shutdown=self.end,
            ),
            reactor,
            reserve=self._reserve,
            shared=self.plane.is_busy,
        )
        door = Door(self.plane.seats, self.book.counters.rejected, reactor, admin=True)
        self._ports = QuestionPorts(self._admin, door, reactor)
        self._descriptors = 0
        self._tick = LoopingCall(self._look)
        self._tick.clock = reactor
        self._due = 0.0
        self._lag = 0.0
        self._bound = False
        self.is_ending = False
        self.draining = Draining(self.plane, lambda: len(self.book.counters.open), reactor, self.plane.refresh)

    def _plane(self) -> LonePlane | SharedPlane:
        if self.config.workers == 1:
            return LonePlane(self.config, self.book, self._reactor, self._clock)
        from ctrlserver.workers.plane import SharedPlane

        return SharedPlane(self.config, self.book, self._reactor, self._clock, self._failed)

    # The start

    def privilegedStartService(self) -> None:
        """Bind every port."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._bind()

    def startService(self) -> None:
        """Begin to read the counters."""
        self._bind()
        self.recording.begin()
        super().startService()  # type: ignore[no-untyped-call]
        self._due = self._clock() + TICK_SECONDS
        self._tick.start(TICK_SECONDS, now=False)
        begun = maybeDeferred(self.plane.begin)
        begun.addCallback(lambda _: self._reactor.callLater(0, self.supervision.ready))

    def _bind(self) -> None:
        if self._bound:
            return
        self._bound = True
        self._descriptors = raise_descriptor_limit()
        try:
            self.plane.bind()
            self._ports.bind(self.config)
        except (CannotBind, UsageError) as error:
            self._unbind()
            close_now(self._reactor)
            self.log.error("{error}", event="cannot-start", error=error)
            raise CannotStart(f"ctrlserver: {error}") from None
        terminal.release()
        self._count_seats(descriptors_in_use())

    def _count_seats(self, in_use: int) -> None:
        """Set the limits of streams and admin connections: of the descriptors, the ports and files hold ``in_use``."""
        asked, seats, descriptors = self.config.max_streams, self.plane.seats, self._descriptors
        seats.limit, here = self.plane.seats_for(asked, descriptors, in_use)
        self._reserve.room = room_for_admin(descriptors, here, in_use)
        self.plane.limits_changed()
        if asked is not None and asked > seats.limit:
            self.log.warn(
                "max_streams is {limit}, not {asked}: this process may have {descriptors} descriptors open",
                event="max-streams-lowered",
                limit=seats.limit,
                asked=asked,
                descriptors=descriptors,
            )

    def _unbind(self) -> Deferred[object]:
        return DeferredList([self._ports.close(), self.plane.stop_listening()])  # type: ignore[return-value]

    # While it runs

    def _look(self) -> Deferred[None]:
        now = self._clock()
        self._lag = max(0.0, now - self._due)
        self._due = now + TICK_SECONDS
        self.plane.sweep()
        asked = self._clock()
        return maybeDeferred(self.plane.refresh).addCallback(lambda _: self._count(asked))

    def _count(self, asked: float) -> None:
        """Read the counters, which are of now; the time since ``asked`` was spent waiting, and the loop turned."""
        now = self._clock()
        self._due += now - asked
        self.book.tick(now, max(self._lag, self.plane.lag()), self._wall())
        self._tell_left_out(now)

    def _tell_left_out(self, now: float) -> None:
        LOG.tell_left_out(now)
        self._admin.journal.tell_left_out(now)
        self.tracing.tell_left_out(now)
        self._run_lines.tell_left_out(now)

    def _run_ended(self, record: RunRecord) -> None:
        self.recording.ended(record)
        self._run_lines.ended(record, self._clock())

    def _drain(self, on: bool) -> None:
        """Accept no new streams, or some again."""
        if self.is_ending and not on:
            raise CommandError(503, "stopping", "the server is stopping, and takes no new streams")
        if not self.is_ending and self.plane.seats.draining != on:
            self.plane.seats.draining = on
            self.plane.limits_changed()
            self.log.info(
                "draining: no new streams are accepted" if on else "draining is over: streams are accepted",
                event="draining",
                on=on,
            )

    def _set_level(self, name: str) -> str:
        """Write lines from level ``name`` on; the level until now."""
        before = self.tracing.set_level(name)
        self.plane.limits_changed()
        return before

    def _inject(self, listener: str, spec: str, **options: Any) -> InjectionRecord:
        """Order an injection of a listener."""
        return record_of(self.plane.inject(listener, spec, **options))

    def _health(self) -> Health:
        lag = max(self._lag, self._clock() - self._due)
        found = {
            "stopping": self.is_ending,
            "draining": self.plane.seats.draining and not self.is_ending,
            "ports are not bound": not self._bound,
            f"the loop is {lag:.1f} s late": lag >= READY_LAG_SECONDS,
        }
        reasons = (*(reason for reason, holds in found.items() if holds), *self.plane.reasons())
        return Health(live=True, ready=not reasons, reasons=(*reasons, *self.recording.reasons()))

    def _status(self) -> str:
        """What ``systemctl status`` shows."""
        rate = self.book.stats(self._clock()).packets_per_second
        return f"{counted(len(self.book.counters.open), 'stream')} open, {rate:.0f} packets/s{self.plane.status()}"

    # Another config

    def _apply(self, config: Config) -> None:
        """Go from the config in use to ``config``; if a port cannot be bound, ``CannotBind``, and all is as it was."""
        book, before = self.book, self.config
        config = evolve(config, workers=before.workers, balance=before.balance)  # they need a restart
        for _, message in conflicts_of_workers(config):
            raise ConfigError(message)
        try:
            listeners = self.plane.prepare(config.listeners)
            try:
                put_ports = self._ports.prepare(config)
            except (CannotBind, UsageError):
                listeners.give_up()
                raise
        except CannotBind as error:
            raise CannotBind(f"{error}{in_the_way(before, config)}") from None
        self.config = config
        listeners.put()
        put_ports()
        book.runs.run_gap, book.runs.expected_packets = config.run_gap, config.expected_packets
        book.memory.limit = memory_limit(config)
        if before.log_level != config.log_level:
            self.tracing.set_level(config.log_level)
        if (before.rename, before.published_names) != (config.rename, config.published_names):
            book.renames = config.renames
        connections = self.plane.seats.taken + self._reserve.taken - self._reserve.borrowed
        self._count_seats(descriptors_in_use() - connections)

    # The end

    def _failed(self, reason: str) -> None:
        """Workers cannot be had: the server ends at once, and the program with code 1."""
        if self.is_ending:
            return
        self.log.error("{reason}", event="cannot-go-on", reason=reason)
        tell_operator(f"ctrlserver: {reason}")
        atexit.register(exit_now, 1)
        self.draining.at_once()
        self.end()

    def end(self) -> None:
        """End the server as SIGTERM does; at the second call at once."""
        if self.is_ending:
            self._reactor.callLater(0, self.draining.at_once)  # the reply to the call goes out first
        else:
            self.is_ending = True
            self._reactor.callLater(0, self._stop_reactor)

    def _stop_reactor(self) -> None:
        with suppress(ReactorNotRunning):  # a signal came first
            IReactorCore(self._reactor).stop()

    def stopService(self) -> Deferred[object]:
        """Let the open streams end by themselves, until ``drain_timeout``; then end everything."""
        self.is_ending = True
        self.supervision.stopping()
        over = self.draining.begin(self.config.drain_timeout)
        return over.addCallback(lambda _: self._stop())

    def _stop(self) -> Deferred[object]:
        """Stop listening and end the streams; once their last numbers are in, the rest."""
        if self._tick.running:
            self._tick.stop()
        stopped = [self._unbind(), maybeDeferred(super().stopService)]
        drained = maybeDeferred(self.plane.drain)
        closed = drained.addCallback(lambda _: self._close())
        kept = closed.addCallback(lambda _: self.recording.end(self.config.drain_timeout))
        return kept.addCallback(lambda _: DeferredList(stopped))

    def _close(self) -> None:
        """End the run, and the admin connections."""
        self.book.runs.stop(self._clock())
        self._tell_left_out(math.inf)
        self._ports.end()
        self.plane.stop()
        self._bound = False


def memory_limit(config: Config) -> int:
    """Bytes that may be held for peers."""
    return config.memory_limit or memory_there_is() // 4


def tell_operator(message: str) -> None:
    """Write a line to the real standard error."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"{message}\n")
        sys.__stderr__.flush()


def exit_now(code: int) -> NoReturn:
    """End the process with this code: that of ``twistd`` is 0 once its reactor has stopped."""
    sys.stdout.flush()
    os._exit(code)


def close_now(reactor: object) -> None:
    """Have Twisted close stopped ports now: it does so one reactor turn later, and a start that failed has no turns.

    Without this, a unix socket's file and its lock would be left behind.
    """
    if isinstance(reactor, ReactorBase) and not reactor.running:
        reactor.runUntilCurrent()
