"""One load run: connect, send, reconcile, drain, and the result document of it.

Rules:

- The admin port is checked, and all streams are connected, before the first byte is sent.
- Nothing hangs: every wait is bounded, and what goes on too long without progress is told in one line.
- The result is whole and valid however the run ends. ``run`` raises nothing that a target or an admin port can cause.
- ``interrupt`` ends the sending and the rest is done in order; asked a second time it leaves at once.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from random import getrandbits

from attrs import evolve
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ctrlserver.client.admin import open_admin
from ctrlserver.client.target import UDP
from ctrlserver.errors import CtrlServerError, LoadError
from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.counts import Connected, Counts, Replies, StreamCount, Volume
from ctrlserver.load.measure.intervals import Watcher
from ctrlserver.load.measure.reconciling import ByAddress, Comparison, OfDatagrams, OverUnix
from ctrlserver.load.opening.connections import Connections, Held
from ctrlserver.load.opening.greeting import await_greetings, expect_silence
from ctrlserver.load.opening.udp_sockets import DatagramSockets
from ctrlserver.load.plan.modes import CONNECT, RECEIVE, REQUEST
from ctrlserver.load.plan.options import Options
from ctrlserver.load.results.result import Environment, Result, as_document
from ctrlserver.load.results.thresholds import judge
from ctrlserver.load.running.connect_mode import Address, Connecting, failure_words
from ctrlserver.load.running.download import end_sources
from ctrlserver.load.running.ending import OTHERS_ON_VIEW, Ending
from ctrlserver.load.running.sending import GRACE_SECONDS, Sending
from ctrlserver.load.streams.making import make_streams
from ctrlserver.load.streams.outgoing import CLOSED, COMPLETE, ENDED, Outgoing
from ctrlserver.load.streams.receive import ReceiveStream

#: Seconds that the lane waits for more before it lets the reactor have a turn. By a schedule most packets go alone, and
#: a turn of the reactor for each wake-up of the pacer and each reply was a third of the processor time.
LINGER_SECONDS = 0.001


def utc_now() -> str:
    """ISO 8601 UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class LoadRun:
    """One run of ``options``; ``wall`` gives the timestamp of its start."""

    log = Logger()

    def __init__(
        self, reactor: IReactorTime, options: Options, watcher: Watcher, wall: Callable[[], str] = utc_now
    ) -> None:
        self._reactor = reactor
        self._options = options
        self._watcher = watcher
        self._wall = wall
        self._lane = Lane(reactor, linger=LINGER_SECONDS)
        self._connections: Connections | DatagramSockets
        if options.target.transport == UDP:
            self._connections = DatagramSockets(reactor, self._lane, options.target, options.connect_timeout)
        else:
            verified = (options.cafile, options.insecure)
            self._connections = Connections(reactor, self._lane, options.target, options.connect_timeout, *verified)
        self._sending: Sending
        if options.mode == CONNECT:
            self._sending = Connecting(reactor, self._lane, options, watcher)
        else:
            self._sending = Sending(reactor, self._lane, options, watcher)
        self._ending: Ending | None = None
        self._whole: Deferred[Result] | None = None
        self._ending_sources: Deferred[None] | None = None
        self._connected = False
        self._server: str | None = None
        self._newest_before = 0
        self._open_before: dict[int, tuple[int, int]] = {}
        self._dropped_before: int | None = None
        self._interrupted = False
        self._cancelled = False
        self._error: str | None = None
        self._started = ""

    def run(self) -> Deferred[Result]:
        """Run it all; the result comes whatever happens."""
        self._started = self._wall()
        self._whole = Deferred.fromCoroutine(self._run())
        return self._whole

    def interrupt(self) -> None:
        """End the sending and report; the second time, or before anything is sent, report at once."""
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
            await self._connect()
            self._connected = True
            await self._sending.run()
            if self._sending.error is None:
                self._tell_early_ends()
                self._tell_failures()
                await self._end()
            else:
                self._failed(self._sending.error)
        except CtrlServerError as error:
            self._failed(str(error))
        except Exception as error:  # of our own, or the cancelling of whatever was awaited; the document is owed anyway
            if not self._cancelled:
                self.log.failure("the run failed by an error of ctrlload's own")
                self._failed(f"an error of ctrlload's own: {type(error).__name__}: {error}")
        with suppress(CancelledError):  # interrupted once more: leave
            await self._close()
        return self._result()

    def _failed(self, message: str) -> None:
        """The first error is the one that is told; what is cancelled by us is none."""
        if self._error is None and not self._cancelled:
            self._error = message

    async def _ask_first(self) -> None:
        """See that the admin port is one before anything is sent."""
        admin = self._options.admin
        if admin is not None:
            if self._options.mode == RECEIVE:
                self._sending.ending_early = self._end_sources
            client = await open_admin(self._reactor, admin, self._options.connect_timeout)
            try:
                self._server = await client.version()
                self._newest_before = await client.newest_stream()
                if self._options.target.transport == UDP:
                    self._open_before = await client.open_counts(OTHERS_ON_VIEW)
                    self._dropped_before = await client.dropped()
            finally:
                client.close()

    async def _connect(self) -> None:
        if not Lane.supported(self._reactor):
            raise LoadError("ctrlload needs Linux and a reactor that watches descriptors, such as epoll")
        self._lane.start()
        if isinstance(self._sending, Connecting):
            self._sending.address = await self._find()
            return
        opened = await self._connections.open(self._options.streams)
        sending = self._sending
        sending.streams += make_streams(self._options, opened, sending, sending.timing, getrandbits(16))
        if self._options.target.transport != UDP and not self._options.target.over_tls:
            await self._greet()

    async def _find(self) -> Address:
        """Where connect mode connects; of a name or an endpoint string by one connection, which is not counted."""
        target = self._options.target
        for family, is_one in ((socket.AF_INET, isIPAddress), (socket.AF_INET6, isIPv6Address)):
            if is_one(target.host):
                return Address(family, (target.host, target.port))
        (held,) = await self._connections.open(1)
        assert isinstance(held, Held)
        assert held.socket is not None
        address = Address(held.socket.family, held.socket.getpeername())
        held.close()
        return address

    async def _greet(self) -> None:
        """Hear what the target says first, and see that it says nothing else."""
        options, streams = self._options, self._sending.streams
        if options.greeting is not None:
            await await_greetings(self._reactor, self._lane, streams, options.greeting, options.stall_timeout)
        elif options.mode == REQUEST and options.payload is not None:
            await expect_silence(self._reactor, streams)

    def _end_sources(self) -> None:
        """The time is up: have the server end our streams, so that all it sent is counted here too."""
        streams = [stream for stream in self._sending.streams if isinstance(stream, ReceiveStream) and stream.active]
        for stream in streams:
            stream.patient = True
        self._ending_sources = Deferred.fromCoroutine(self._ask_to_end(streams))
        self._ending_sources.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _ask_to_end(self, streams: Sequence[ReceiveStream]) -> None:
        options = self._options
        assert options.admin is not None
        try:
            await end_sources(self._reactor, options.admin, options.connect_timeout, streams, self._newest_before)
        except LoadError as error:
            self._watcher.note(f"the server was not asked to end the download: {error}")
        else:
            await deferLater(self._reactor, options.stall_timeout)
        for stream in streams:
            stream.patient = False
            stream.end_at_packet(ENDED)

    def _tell_early_ends(self) -> None:
        """A download that the target ended: no failure, where no number was asked for."""
        closed = [stream for stream in self._sending.streams if stream.reason == CLOSED]
        if self._options.mode == RECEIVE and closed:
            more = f", and {len(closed) - 1} more streams" if len(closed) > 1 else ""
            self._watcher.note(f"{closed[0]}{more}: the target ended the download, {closed[0].so_far()}")

    def _tell_failures(self) -> None:
        """Connections that failed where others did not: no failure of the run."""
        if isinstance(self._sending, Connecting) and self._sending.failures:
            self._watcher.note(f"{failure_words(self._sending.failures)}; the first: {self._sending.first_failure}")

    async def _end(self) -> None:
        """Reconcile, if a server is to be asked, and let the streams end."""
        options, streams = self._options, self._sending.streams
        gentle = self._interrupted or self._sending.ended_early
        patience = GRACE_SECONDS if gentle else options.stall_timeout
        self._ending = ending = Ending(self._reactor, self._lane.clock, streams, patience, gentle)
        if options.admin is None:
            pass
        elif options.mode == RECEIVE and not all(stream.eof or stream.reason == COMPLETE for stream in streams):
            self._watcher.note("what was on its way when the download was cut off is not known: not reconciled")
        else:
            try:
                await ending.reconcile(options.admin, options.connect_timeout, self._comparison())
            except LoadError as error:
                self._failed(str(error))
            if ending.reconciliation is not None and ending.reconciliation.unclear is not None:
                self._watcher.note(ending.reconciliation.unclear)
        await ending.drain()
        if ending.failure is not None:
            self._failed(ending.failure)

    def _comparison(self) -> Comparison:
        """How the server's counts are to be compared with ours."""
        options, streams = self._options, self._sending.streams
        counts = [self._stream_count(stream) for stream in streams]
        seconds = max(stream.last for stream in streams) - self._sending.began
        if options.target.transport == UDP:
            return OfDatagrams(counts, self._newest_before, seconds, self._open_before, self._dropped_before)
        kind = ByAddress if all(stream.local for stream in streams) else OverUnix
        verb = "received" if options.mode == RECEIVE else "sent"
        return kind(counts, options.framing.text, self._newest_before, seconds, verb)

    async def _close(self) -> None:
        """Leave nothing open."""
        if isinstance(self._sending, Connecting):
            self._sending.close()
        for stream in self._sending.streams:
            stream.leave()
        if self._ending_sources is not None:
            self._ending_sources.cancel()
        self._lane.stop()
        self._connections.close()
        if not self._cancelled:
            await self._connections.gone()

    def _stream_count(self, stream: Outgoing) -> StreamCount:
        outcome = None if self._ending is None else self._ending.reconciliation
        packets, nbytes = (None, None) if outcome is None else outcome.counted.get(stream.number, (None, None))
        return StreamCount(
            stream=stream.number,
            local=stream.local,
            target=stream.target,
            packets=stream.packets,
            bytes=stream.sent,
            seconds=round(stream.seconds, 6),
            incomplete_bytes=stream.incomplete_bytes,
            writes=stream.writes,
            replies=stream.replies if stream.counts_replies else None,
            received_packets=packets,
            received_bytes=nbytes,
            reason=stream.reason,
        )

    def _connections_made(self, opened: int, seconds: float) -> Connected | None:
        sending = self._sending
        if not isinstance(sending, Connecting):
            return None
        return Connected.of(opened, {} if sending.warming else sending.failures, seconds)

    def _result(self) -> Result:
        options, sending = self._options, self._sending
        counts = sending.counts()
        last = sending.last_moved()
        mark, marked_at = (counts, last) if sending.warming else (sending.mark, sending.marked_at)
        volume = counts.since(mark)
        receiving, connecting = options.mode == RECEIVE, isinstance(sending, Connecting)
        seconds = last - marked_at if volume.packets or volume.bytes or connecting else 0.0
        moved = Volume.of(volume, seconds)
        outcome = None if self._ending is None else self._ending.reconciliation
        open_loop = sending.open_loop if self._connected and not sending.warming else None
        result = Result(
            started=self._started,
            target=options.target.text,
            options=options.as_options(),
            labels=dict(options.labels),
            environment=Environment.here(self._server),
            intervals=sending.intervals,
            sent=Volume.of(Counts(), 0.0) if receiving or connecting else moved,
            downloaded=moved if receiving else None,
            connections=self._connections_made(volume.packets, seconds),
            warm_up=Volume.of(mark, marked_at - sending.began) if options.warm_up > 0 else None,
            replies=Replies(volume.replies, volume.reply_bytes) if options.mode == REQUEST else None,
            received=None if outcome is None else outcome.received,
            reconciled=None if outcome is None else outcome.reconciled,
            streams=[self._stream_count(stream) for stream in sending.streams],
            interrupted=self._interrupted,
            error=self._error,
            difference=None if outcome is None else outcome.difference,
            latency=None if sending.warming else sending.timing.latencies(),
            schedule=None if open_loop is None else open_loop.scheduled(volume.packets, seconds),
            delivery=None if outcome is None else outcome.delivery,
        )
        return evolve(result, thresholds=judge(options.fail_if, as_document(result)))
