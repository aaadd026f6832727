"""The only place where objects are wired.

Rules:

- All or nothing at start: when one port cannot be bound, those already bound are closed again and the program leaves
  with one line that names the port.
- Ports are bound in ``privilegedStartService``, before ``twistd`` sheds its privileges; ``twist`` has no such step, so
  ``startService`` binds what is not bound yet.
- At the end: first no new streams, then the streams are closed, then the run is ended and logged.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

from attrs import evolve
from twisted.application.service import MultiService
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ctrlserver import __version__
from ctrlserver.addresses import text_of
from ctrlserver.admin.protocol import AdminFactory
from ctrlserver.config import Config, ListenerConfig
from ctrlserver.config.endpoints import is_any_port
from ctrlserver.desk import Desk
from ctrlserver.lane.lane import Lane
from ctrlserver.linux.descriptors import descriptors_in_use, raise_descriptor_limit
from ctrlserver.net.gate import Gate, Reserve, Seats, room_for_admin, seats_for
from ctrlserver.net.listeners import Listener, transport_word
from ctrlserver.net.rejections import RejectionLog
from ctrlserver.net.replies import CannedReply
from ctrlserver.net.source import source_packets
from ctrlserver.net.terms import Terms
from ctrlserver.net.udp.port import DatagramTerms
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.stats.records import RunRecord
from ctrlserver.stats.runs import summary_line
from ctrlserver.wire.datagram import DATAGRAM
from ctrlserver.wire.probe import has_numpy

#: Seconds between two looks at the counters: the grain of the rates, of a run's end and of the loop lag.
TICK_SECONDS = 0.25

#: Ports the kernel may choose for TCP until one is free for UDP too: one in a thousand is taken on a busy machine.
PORT_TRIES = 8


class CannotStart(SystemExit, Exception):
    """The daemon cannot start; its text is the one line for the operator.

    An ``Exception`` too, since ``twistd`` takes its pid file back, and tells a waiting parent, for those only. The line
    goes to the real standard error: by then ``twistd`` has turned ``sys.stderr`` into log lines.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 1
        if sys.__stderr__ is not None:
            sys.__stderr__.write(f"{message}\n")
            sys.__stderr__.flush()


class ControlService(MultiService):
    """The running server: its book, its lane, its listeners and its admin ports.

    ``clock`` gives monotonic seconds, ``wall`` seconds since 1970.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: IReactorTime,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.config = config
        self._reactor = reactor
        self._clock = clock
        self.book = Book(
            version=__version__,
            now=clock(),
            wall=wall(),
            run_gap=config.run_gap,
            expected_packets=config.expected_packets,
            renames=config.renames,
            on_run_end=self._run_ended,
        )
        self.seats = Seats()
        self._reserve = Reserve(self.seats)
        self._rejections = RejectionLog(self.book, self.seats)
        self.lane = Lane(reactor, clock) if Lane.supported(reactor) else None
        self.listeners = [
            Listener(self._terms(each), self.lane, reactor, clock, self._datagram_terms(each))
            for each in config.listeners
        ]
        self.admin_ports: list[IListeningPort] = []
        self._admin = AdminFactory(
            Desk(book=self.book, version=__version__, now=clock, kick=self.kick),
            reactor,
            reserve=self._reserve,
        )
        self._tick = LoopingCall(self._look)
        self._tick.clock = reactor
        self._due = 0.0
        self._bound = False

    def _terms(self, listener: ListenerConfig) -> Terms:
        spec = listener.framing_spec
        origin = Origin(
            listener=listener.name,
            protocol=listener.protocol or transport_word(listener.endpoint),
            framing=spec.text,
            mode=listener.mode,
            size=spec.size,
            labels=listener.labels,
            by_size=spec.by_length and spec.size is not None,
        )
        return Terms(
            book=self.book,
            origin=origin,
            spec=spec,
            canned=canned_packets(listener),
            keep=listener.keep,
            keep_bytes=listener.keep_bytes,
            reply_buffer=listener.reply_buffer,
            stall_timeout=listener.stall_timeout,
            idle_timeout=listener.idle_timeout,
            gate=Gate(self.seats, listener.max_streams_per_peer, listener.networks),
            probe=listener.probe and self._probe_ready(),
        )

    def _datagram_terms(self, listener: ListenerConfig) -> DatagramTerms | None:
        if not listener.takes_datagrams:
            return None
        terms = self._terms(listener)
        word = listener.protocol or "udp"
        origin = evolve(terms.origin, protocol=word, framing=DATAGRAM.text, size=None, by_size=False)
        return DatagramTerms(
            terms=evolve(terms, origin=origin, spec=DATAGRAM),
            idle_timeout=listener.udp_idle_timeout,
            max_streams=listener.max_udp_streams,
            receive_buffer=listener.receive_buffer,
            gro=listener.udp_gro,
        )

    def _probe_ready(self) -> bool:
        """Have numpy imported before the first packet comes; true without it too."""
        if not has_numpy():
            self.log.warn("probe: numpy is not installed, so probe packets are decoded one by one, which is slower")
        return True

    # The start

    def privilegedStartService(self) -> None:
        """Bind every port."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._bind()

    def startService(self) -> None:
        """Begin to look at the counters."""
        self._bind()
        super().startService()  # type: ignore[no-untyped-call]
        self._due = self._clock() + TICK_SECONDS
        self._tick.start(TICK_SECONDS, now=False)

    def _bind(self) -> None:
        if self._bound:
            return
        self._bound = True
        descriptors = self._count_seats()
        if self.lane is not None:
            self.lane.start()
        for listener, options in zip(self.listeners, self.config.listeners, strict=True):
            self._bind_listener(listener, options)
        for number, admin in enumerate(self.config.admin, 1):
            name = "admin" if number == 1 else f"admin{number}"
            port = bound(partial(self._listen_admin, admin.endpoint))
            self.admin_ports.append(self._take(name, admin.endpoint, port))
        self._reserve.room = room_for_admin(descriptors, self.seats.limit, descriptors_in_use())

    def _count_seats(self) -> int:
        """Gives the descriptors that this process may have."""
        descriptors = raise_descriptor_limit()
        asked = self.config.max_streams
        self.seats.limit = seats_for(asked, descriptors)
        if asked is not None and asked > self.seats.limit:
            self.log.warn(
                "max_streams is {limit}, not {asked}: this process may have {descriptors} descriptors open",
                limit=self.seats.limit,
                asked=asked,
                descriptors=descriptors,
            )
        return descriptors

    def _bind_listener(self, listener: Listener, options: ListenerConfig) -> None:
        name, where, alone = options.name, options.endpoint, options.datagram_address
        if alone is not None:
            self._take(name, where, bound(lambda: listener.listen_datagrams(*alone)))
            return
        inherited = options.inherited_datagrams
        if inherited is not None:
            self._take(name, where, bound(lambda: listener.adopt_datagrams(*inherited)))
            return
        for _ in range(PORT_TRIES):
            port = bound(lambda: listener.listen(serverFromString(self._reactor, where)))
            if not options.udp or isinstance(port, Failure):
                self._take(name, where, port)
                return
            beside = bound(partial(listener.listen_beside, port))
            if not isinstance(beside, Failure) or not is_any_port(where):
                break
            listener.stop_listening()
        self._take(name, where, port)
        self._take(name, f"{where}, by udp", beside)

    def _listen_admin(self, endpoint: str) -> Deferred[IListeningPort]:
        return maybeDeferred(serverFromString(self._reactor, endpoint).listen, self._admin)

    def _take(self, name: str, where: str, port: IListeningPort | Failure) -> IListeningPort:
        """Say that it is bound, or leave: a server that starts by halves is worse than none."""
        if isinstance(port, Failure):
            self._unbind()
            close_now(self._reactor)
            raise CannotStart(f"ctrlserver: cannot listen for {name} on {where}: {why(port)}")
        self.log.info("listening {name} {address}", name=name, address=transport_and_address(port.getHost()))
        return port

    def _unbind(self) -> Deferred[object]:
        ports, self.admin_ports = self.admin_ports, []
        waiting: list[Deferred[object]] = [maybeDeferred(port.stopListening) for port in ports]
        waiting += [listener.stop_listening() for listener in self.listeners]
        return DeferredList(waiting)  # type: ignore[return-value]

    # While it runs

    def _look(self) -> None:
        now = self._clock()
        lag = max(0.0, now - self._due)
        self._due = now + TICK_SECONDS
        for listener in self.listeners:
            listener.sweep()
        self.book.tick(now, lag)
        self._rejections.look(now)

    def _run_ended(self, record: RunRecord) -> None:
        self.log.info("{line}", line=summary_line(record))

    def kick(self, number: int) -> bool:
        """End stream ``number``; False where no such stream is open."""
        for listener in self.listeners:
            for stream in listener.streams():
                if stream.counters.stream == number:
                    stream.abort("kicked", self._clock())
                    return True
        return False

    # The end

    def stopService(self) -> Deferred[object]:
        """Stop listening, end the run, close the streams and the admin connections."""
        if self._tick.running:
            self._tick.stop()
        stopped = [self._unbind(), maybeDeferred(super().stopService)]
        now = self._clock()
        for listener in self.listeners:
            for stream in listener.streams():
                stream.abort("drain", now)
        self.book.finish(now)
        self._admin.close()
        if self.lane is not None:
            self.lane.stop()
        self._bound = False
        return DeferredList(stopped)  # type: ignore[return-value]


def bound(listen: Callable[[], Deferred[IListeningPort]]) -> IListeningPort | Failure:
    """What ``listen`` comes to, which must be at once."""
    outcome: list[IListeningPort | Failure] = []
    try:
        listen().addBoth(outcome.append)
    except Exception:
        return Failure()
    return outcome[0] if outcome else Failure(CannotListenError(None, None, "the endpoint does not bind at once"))


def close_now(reactor: object) -> None:
    """Let ports that have been told to stop do so: Twisted closes them a turn later, and a start that failed has none.

    Else a unix socket's file and its lock would stay behind.
    """
    if isinstance(reactor, ReactorBase) and not reactor.running:
        reactor.runUntilCurrent()


def why(failure: Failure) -> str:
    """The reason in a few words: the system's own where there is one."""
    error = failure.value
    reason = error.socketError if isinstance(error, CannotListenError) else error
    if "Cannot acquire lock" in str(reason):
        return "another server listens there"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return str(reason)


def transport_and_address(address: IAddress) -> str:
    """``tcp 127.0.0.1:22222``, ``udp [::1]:22222`` or ``unix /run/x.sock``."""
    kind = getattr(address, "type", "TCP").lower() if hasattr(address, "host") else "unix"
    return f"{kind} {text_of(address)}"


def canned_packets(listener: ListenerConfig) -> CannedReply | None:
    """What a listener of mode ``reply`` or ``source`` sends."""
    if listener.mode == "reply":
        return CannedReply(listener.reply_bytes)
    size = listener.framing_spec.size
    return source_packets(size) if listener.mode == "source" and size is not None else None


def build_service(config: Config, reactor: IReactorTime) -> ControlService:
    """The server of ``config``, to be started by ``twistd`` or by a test."""
    return ControlService(config, reactor)
