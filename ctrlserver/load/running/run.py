"""One load run: its phases, from the first connect to the last close, and its result document.

    phase        who                     ends when
    ask first    Transport.ask_first     the admin port has answered; skipped without ``--admin``
    open         Work.open               all streams are connected and greeted
    start        Starting.wait           the moment has come; skipped without ``--start-at``
    ----------------------------------------------------------- the first byte
    warm up      Sending, Work           its time is up; skipped without ``--warm-up``
    measure      Sending, Work           all is sent, the time or the schedule is over, or a stream has failed
    ----------------------------------------------------------- the last byte
    reconcile    Ending.reconcile        the server's counts equal ours, or cannot change any more, or rest for 10 s
    drain        Ending.drain            the target has closed its side after ours, or takes too long
    close        Work, connections       every socket is closed
    result       LoadRun._result

An error skips what is left up to "close", where the server is asked why. The result is made in any case.

Who knows what: ``Sending`` knows the clock (sending.py), a ``Work`` the mode (work.py), a ``Transport`` what differs
between TCP, TLS and UDP (transports.py). ``LoadRun`` knows the order of the phases, and neither mode nor transport.

What an interrupt (Ctrl-C) does depends on the phase. Before the first byte it skips to "close". While packets are sent
it ends the sending, and all later phases follow. After the last byte it shortens their waits. A second one always skips
to "close".

Rules:

- The admin port is checked, and all streams are connected, before the start is waited for and the first byte is sent.
- Nothing hangs: every wait is bounded, and what makes no progress for too long is reported in one line.
- The result is whole and valid however the run ends. ``run`` raises nothing that a target or an admin port can cause.
- The first error is the one reported; what follows from our own cancelling is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime

from attrs import asdict, evolve
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ctrlserver.errors import CtrlServerError, LoadError
from ctrlserver.lane.lane import Lane
from ctrlserver.lane.spinning import EVER, SpinningLane
from ctrlserver.load.measure.confidence import Until
from ctrlserver.load.measure.counts import StreamCount, Volume
from ctrlserver.load.measure.injections import ServerInjections
from ctrlserver.load.measure.intervals import Watcher
from ctrlserver.load.measure.reasons import struck_words, why
from ctrlserver.load.measure.reconciling import NOT_COMPARED, Reconciliation
from ctrlserver.load.plan.modes import CONNECT, RECEIVE, REQUEST, SEND
from ctrlserver.load.plan.options import Options
from ctrlserver.load.results.judging import judged
from ctrlserver.load.results.result import Environment, Result
from ctrlserver.load.results.shards import ShardOf
from ctrlserver.load.running.asking import OTHERS_ON_VIEW, read
from ctrlserver.load.running.connect_mode import Slots
from ctrlserver.load.running.download import Downloads
from ctrlserver.load.running.ending import Ending
from ctrlserver.load.running.send_mode import Requests, Streams
from ctrlserver.load.running.sending import Sending
from ctrlserver.load.running.starting import Starting
from ctrlserver.load.running.transports import transport_of
from ctrlserver.load.running.work import GRACE_SECONDS, Work
from ctrlserver.load.streams.injected import Injected
from ctrlserver.load.streams.outgoing import Conversation
from ctrlserver.load.streams.wire import REFUSED
from ctrlserver.looks import deadlines

#: Seconds that the lane waits for more before it gives the reactor a turn. By a schedule most packets go alone, and one
#: turn of the reactor for each wake-up of the pacer and for each reply took a third of the processor time.
LINGER_SECONDS = 0.001

#: Seconds that the server has to say why a run failed.
WHY_SECONDS = 1.0

#: What is told of datagrams with a number and a time if the server did not look at these.
NO_PROBING = "the server does not look for probe packets: order and jitter are not known (probe = true in its listener)"

#: The work of each mode.
WORK: dict[str, type[Work]] = {
    SEND: Streams,
    REQUEST: Requests,
    RECEIVE: Downloads,
    CONNECT: Slots,
}


def utc_now() -> str:
    """ISO 8601 UTC with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _lane(reactor: IReactorTime, options: Options) -> Lane:
    """One that spins where a sleep would show in the figures, or is not wanted."""
    if options.busy_poll:
        return SpinningLane(reactor, LINGER_SECONDS, EVER)
    if options.mode == REQUEST and options.curve is not None:
        return SpinningLane(reactor, LINGER_SECONDS)
    return Lane(reactor, linger=LINGER_SECONDS)


class LoadRun:
    """One run of ``options``, shown to ``watcher``.

    ``wall`` gives the timestamps of its start, ``now`` the system's clock in seconds since 1970.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        options: Options,
        watcher: Watcher,
        wall: Callable[[], str] = utc_now,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reactor = reactor
        self._options = options
        self._watcher = watcher
        self._wall = wall
        self._lane = _lane(reactor, options)
        self._transport = transport_of(reactor, self._lane, options)
        self._work: Work = WORK[options.mode](reactor, self._lane, options, self._transport)
        self._sending = Sending(reactor, self._lane, options, watcher, self._work)
        self._starting = None if options.start_at is None else Starting(reactor, options.start_at, now)
        self._ending: Ending | None = None
        self._whole: Deferred[Result] | None = None
        self._connected = False
        self._server: str | None = None
        self._server_injections: ServerInjections | None = None
        self._interrupted = False
        self._cancelled = False
        self._error: str | None = None
        self._started = ""
        self._began: str | None = None

    def run(self) -> Deferred[Result]:
        """Go through all phases; fires with the result whatever happens."""
        self._started = self._wall()
        self._whole = Deferred.fromCoroutine(self._run())
        return self._whole

    def interrupt(self) -> None:
        """End the sending and report; the second time, or before the first byte, report at once."""
        if self._whole is None or self._whole.called:
            return
        at_once = self._interrupted or not self._connected
        self._interrupted = True
        if at_once:
            self._cancelled = True
            self._whole.cancel()
        elif self._ending is None:
            self._sending.interrupt()
        else:
            self._ending.hurry(GRACE_SECONDS)

    async def _run(self) -> Result:
        try:
            await self._ask_first()
            await self._open()
            await self._start()
            self._began = self._wall()
            await self._sending.run(0.0 if self._starting is None else self._starting.behind)
            if self._work.error is None:
                await self._end()
            else:
                self._failed(self._work.error)
        except CtrlServerError as error:
            self._failed(str(error))
        except Exception as error:  # of our own, or our cancelling of what was awaited; the result is owed all the same
            if not self._cancelled:
                self.log.failure("the run failed by an error of ctrlload's own")
                self._failed(f"an error of ctrlload's own: {type(error).__name__}: {error}")
        with suppress(CancelledError):  # interrupted once more: leave
            await self._ask_why()
        if self._error is not None and (struck := struck_words(self._server_injections)):
            self._error = f"{self._error}; {struck}"
        with suppress(CancelledError):
            await self._close()
        return self._result()

    def _failed(self, message: str) -> None:
        if self._error is None and not self._cancelled:
            refused = any(stream.reason == REFUSED for stream in self._work.streams)
            self._error = message + (self._transport.elsewhere if refused else "")

    async def _ask_first(self) -> None:
        """LoadError if an admin port is none; else what the later counts are compared with."""
        if servers := self._transport.servers:
            with closing(await servers.open(self._options.connect_timeout)) as client:
                self._server = await client.version()
                await self._transport.ask_first(client)

    async def _ask_why(self) -> None:
        """If the run failed before anything was reconciled, have the server say why, within a short time."""
        if self._server is None or self._error is None or self._ending is not None or self._cancelled:
            return
        asking = Deferred.fromCoroutine(self._why())
        asking.addTimeout(WHY_SECONDS, deadlines(self._reactor))
        with suppress(LoadError, defer.TimeoutError):
            if words := await asking:
                self._error = f"{self._error}; {words}"
        if struck_words(self._server_injections) and self._work.error is not None and self._work.compared_if_failed:
            await self._compare_failed()

    async def _compare_failed(self) -> None:
        """The server's injections struck: what was sent up to the failure is compared all the same."""
        work = self._work
        self._ending = ending = Ending(
            self._reactor, self._lane.clock, work.streams, GRACE_SECONDS, True, self._watcher.waiting
        )
        await self._reconcile(ending)
        outcome = ending.reconciliation
        if not outcome.reconciled and not outcome.settled:  # not all of it may have arrived
            ending.reconciliation = evolve(outcome, reconciled=None, difference=None)

    async def _why(self) -> str | None:
        with closing(await self._transport.servers.open(WHY_SECONDS)) as client:
            await client.version()
            reading = await read(client, len(self._work.streams) + OTHERS_ON_VIEW, self._lane.clock)
        before = self._transport.before
        self._server_injections = ServerInjections.between(before, reading)
        return why(self._work.served_by, self._stream_counts(), reading, before)

    async def _open(self) -> None:
        if not Lane.supported(self._reactor):
            raise LoadError("ctrlload needs Linux and a reactor that watches descriptors, such as epoll")
        self._lane.start()
        await self._work.open()

    async def _start(self) -> None:
        if self._starting is not None:
            await self._starting.wait(self._watcher.starting)
            if (remark := self._starting.remark) is not None:
                self._watcher.note(remark)
        self._connected = True

    async def _end(self) -> None:
        """Reconcile, if there is an admin port, and drain."""
        options, work = self._options, self._work
        work.settle()
        for note in work.notes():
            self._watcher.note(note)
        gentle = self._interrupted or self._sending.ended_early
        patience = GRACE_SECONDS if gentle else options.stall_timeout
        self._ending = ending = Ending(
            self._reactor, self._lane.clock, work.streams, patience, gentle, self._watcher.waiting
        )
        if options.admin:
            await self._reconcile(ending)
        await ending.drain()
        if ending.failure is not None:
            self._failed(ending.failure)

    async def _reconcile(self, ending: Ending) -> None:
        sending = self._sending
        comparison = self._work.comparison(self._stream_counts(), sending.began, sending.plan_ends)
        if comparison is None:
            return
        try:
            await ending.reconcile(self._transport.servers, self._options.connect_timeout, comparison)
        except LoadError as error:
            self._failed(str(error))
        self._server_injections = ending.server_injections or self._server_injections
        outcome = ending.reconciliation
        unlooked = self._options.probe and outcome.delivery is not None and outcome.delivery.duplicate is None
        for words in (outcome.unclear, outcome.remark, NO_PROBING if unlooked else None):
            if words is not None:
                self._watcher.note(words)

    async def _close(self) -> None:
        self._work.close()
        self._lane.stop()
        self._transport.connections.close()
        if not self._cancelled:
            await self._transport.connections.gone()

    def _stream_counts(self) -> list[StreamCount]:
        received = self._outcome.counted
        return [stream_count(stream, *received.get(stream.number, (None, None))) for stream in self._work.streams]

    @property
    def _outcome(self) -> Reconciliation:
        return NOT_COMPARED if self._ending is None else self._ending.reconciliation

    def _result(self) -> Result:
        options, sending, outcome = self._options, self._sending, self._outcome
        news, seconds = sending.measured
        measuring = not sending.warming
        open_loop = sending.open_loop if self._connected and measuring else None
        plan_seconds = 0.0 if open_loop is None else open_loop.plan_seconds()
        injections = self._work.injections
        schedule = None if open_loop is None else open_loop.scheduled(news.packets, seconds)
        if schedule is not None and injections is not None and injections.holds_back:
            schedule = schedule.held_back()
        result = Result(
            started=self._started,
            began=self._began,
            shard=None if options.shard is None else ShardOf(options.shard.index, options.shard.of),
            start=None if self._starting is None else self._starting.outcome,
            target=options.target.text,
            options=options.as_options(),
            labels=dict(options.labels),
            environment=Environment(self._server),
            intervals=list(sending.cuts.kept),
            warm_up=Volume.of(*sending.warmed_up) if options.warm_up > 0 else None,
            received=outcome.received,
            reconciled=outcome.reconciled,
            streams=self._stream_counts(),
            interrupted=self._interrupted,
            error=self._error,
            difference=outcome.difference or outcome.unclear,
            latency=self._work.timing.latencies() if measuring else None,
            schedule=schedule,
            delivery=outcome.delivery,
            injections=injections,
            server_injections=self._server_injections,
            until=None if sending.goals is None else Until.of(sending.goals.told),
            **asdict(self._work.figures(news, seconds, plan_seconds), recurse=False),
        )
        return self._checked(result)

    def _checked(self, result: Result) -> Result:
        try:
            return judged(result, self._options.fail_if)
        except Exception as error:  # of our own; the result is owed all the same
            self.log.failure("a result could not be checked")
            words = f"the result cannot be checked, by an error of ctrlload's own: {type(error).__name__}"
            return evolve(result, error=words if result.error is None else f"{result.error}; {words}")


def stream_count(stream: Conversation, received_packets: int | None, received_bytes: int | None) -> StreamCount:
    """The record of ``stream``; ``received_*`` is what the server counted of it, None where it was not asked."""
    return StreamCount(
        stream=stream.number,
        local=stream.local,
        target=stream.target,
        packets=stream.packets,
        bytes=stream.moved,
        seconds=round(stream.seconds, 6),
        incomplete_bytes=stream.incomplete_bytes,
        writes=stream.writes,
        replies=stream.replies if stream.counts_replies else None,
        received_packets=received_packets,
        received_bytes=received_bytes,
        reason=stream.reason,
        injected=stream.outcome() if isinstance(stream, Injected) else None,
    )
