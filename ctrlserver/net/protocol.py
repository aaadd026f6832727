"""The other way in: a Twisted ``Protocol`` that feeds the same streams as the lane.

It serves what cannot be on a lane: a transport that is not a plain socket (TLS, endpoint wrappers), a reactor without
descriptors, a system without epoll.

Rules:

- The write buffer of a Twisted transport has no bound. The transport reports when it holds more than 64 KiB (push
  producer). From then on it gets nothing, the stream keeps its one chunk of replies, and reading is paused until the
  buffer is empty. What a full one holds is counted for ``memory_limit``; so is what OpenSSL keeps, as long as it does.
- Data that arrives while reading is paused is kept here: TLS delivers all records of one read, paused or not. So are
  bytes that a stream leaves for a later turn.
- A TLS peer that has said farewell gets what it is owed before the stream ends (``farewell.py``).
- Twisted closes a socket whose write failed, with its unread input. Here that is read first (``net/unread.py``).
- All that the first turn of the reactor reads has one time, for TLS hands over what one read brought record by record.
- A connection that ends before its TLS handshake is complete ends for the reason ``handshake``; after
  ``HANDSHAKE_SECONDS`` we end it.
- Twisted closes the socket before it reports the loss of the connection. So the TCP figures are read one step earlier,
  when the transport stops its producer.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.addresses import peer_name
from ctrlserver.errors import lacks_memory
from ctrlserver.farewell import half_close
from ctrlserver.lane.lane import COPY_BYTES
from ctrlserver.linux.keepalive import unanswered_seconds
from ctrlserver.linux.tcp_info import socket_of, tcp_figures
from ctrlserver.looks import deadlines
from ctrlserver.net.modes import open_stream
from ctrlserver.net.proxied import Announced
from ctrlserver.net.stream import OpenStreams, Stream
from ctrlserver.net.unread import connection_below, read_to_the_end
from ctrlserver.stats.counters import TcpFigures

#: For a TLS handshake: many times what the worst link and the slowest device need for two round trips. Without this
#: limit a silent peer would hold a descriptor for ever, since ``idle_timeout`` is off by default.
HANDSHAKE_SECONDS = 10.0

#: What OpenSSL keeps for a connection: from its start, and from its first data, once 64 KiB came or went in one go.
OPENSSL_FIRST_BYTES, OPENSSL_BYTES = 28 << 10, 108 << 10

log = Logger()


@implementer(IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class StreamProtocol(Protocol):
    """One connection: a protocol to Twisted, a ``Link`` to its stream."""

    transport: ITCPTransport
    stream: Stream

    def __init__(self, streams: OpenStreams, reactor: IReactorTime, peer: str) -> None:
        self._streams = streams
        self._reactor = reactor
        self._peer = peer
        self._full = False
        self._held = False
        self._lost = False
        self._shaking = False  # hands, for TLS
        self._below: Any = None  # the connection at the bottom of the transport
        self._openssl = 0  # bytes
        self._unsent = 0  # bytes in its write buffer; 0 unless that is full
        self._rest = b""
        self._soon: IDelayedCall | None = None  # to go on with what the stream left for a later turn
        self._ended = False
        self._deadline: IDelayedCall | None = None  # of the TLS handshake, then of the close
        self._last_figures: TcpFigures | None = None
        self._time: Callable[[], float] = self._first_turn

    # IProtocol, IHalfCloseableProtocol, IHandshakeListener

    def connectionMade(self) -> None:
        """Open the stream."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        if (sock := socket_of(self.transport)) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)  # an urgent byte is a byte of the stream
        below = self._below = connection_below(self.transport)
        if below is not None:
            read_to_the_end(below, self._reads_on, self._short_of_memory, self._reactor)
        IConsumer(self.transport).registerProducer(self, True)
        self.stream = open_stream(self._streams, self, self._peer, self._streams.clock())
        self.stream.counters.path = self
        if ISSLTransport.providedBy(self.transport):
            half_close(self.transport, self.readConnectionLost)
            self._shaking = True
            self._openssl = OPENSSL_FIRST_BYTES
            self._count_held()
            self._end_within(HANDSHAKE_SECONDS, lambda: self._handshake_failed(f"not over in {HANDSHAKE_SECONDS:g} s"))

    def handshakeCompleted(self) -> None:
        """The TLS handshake is complete."""
        self._shaking = False
        if self.stream.counters.state == "open":
            self._cancel_deadline()

    def dataReceived(self, data: bytes) -> None:
        """Feed the stream; without memory for that it ends."""
        try:
            self._feed(data)
        except MemoryError:
            self._short_of_memory(Failure())
        self._relieve_memory()

    def _relieve_memory(self) -> None:
        """Hold to the limit at once: many connections may have data, or be full, in one turn of the reactor."""
        book = self._streams.terms.book
        if book.memory.due:
            book.relieve_memory(self._streams.clock())

    def _feed(self, data: bytes) -> None:
        """Feed the stream, in chunks no larger than the replies that it may owe."""
        view, step = memoryview(data), min(COPY_BYTES, self._streams.terms.reply_buffer)
        now = self._time()
        for start in range(0, len(view), step):
            if self._held or self._soon is not None:
                self._rest += data[start:]
                self._count_held()
                return
            if self.stream.counters.state != "open":
                return
            end = min(start + step, len(view))
            left = self.stream.received(view[start:end], now)
            if left:
                self._rest = bytes(view[end - left :])
                self._count_held()
                if not self._held:
                    self._soon = self._reactor.callLater(0, self._go_on)
                    IPushProducer(self.transport).pauseProducing()
                return

    def _go_on(self) -> None:
        self._soon = None
        if self.stream.counters.state == "open" and not self._held:  # else it goes on when it is released
            self.release()

    def _first_turn(self) -> float:
        """The time of the first data, until the reactor's turn is over."""
        now = self._streams.clock()
        self._time = lambda: now
        if self._openssl:
            self._openssl = OPENSSL_BYTES
            self._count_held()
        self._reactor.callLater(0, self._end_first_turn)
        return now

    def _end_first_turn(self) -> None:
        self._time = self._streams.clock

    def _handshake_failed(self, why: str) -> None:
        counters = self.stream.counters
        if counters.state == "open":
            self._streams.terms.gate.seats.last_handshake = f"{counters.peer}: {why}"
            self.stream.abort("handshake", self._streams.clock())

    def readConnectionLost(self) -> None:
        """The peer half-closed."""
        if self._soon is not None or self._held:
            self._ended = True
        else:
            self.stream.ended(self._streams.clock())

    def writeConnectionLost(self) -> None:
        """We half-closed; Twisted reports the loss of the whole connection separately."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is lost."""
        self._cancel_deadline()
        self._lost = True
        self._short_of_memory(reason)
        if self._shaking:
            self._handshake_failed(tls_fault(reason.value))
        self.stream.gone()
        if isinstance(reason.value, ConnectionDone):
            self.stream.abort("eof", self._streams.clock())
        else:
            self.stream.lost(self._streams.clock())

    def _short_of_memory(self, reason: Failure) -> None:
        """End the stream if ``reason`` is want of memory."""
        if lacks_memory(reason.value) and self.stream.counters.state == "open":
            log.failure("the stream of {peer} ends", reason, event="bug", peer=self._peer)
            self.stream.abort("limit", self._streams.clock())

    def _reads_on(self) -> bool | None:
        """Whether unread input counts and can be taken now; None if it can be taken later."""
        if self.stream.counters.state != "open":
            return False
        self.stream.gone()
        return None if self._soon is not None else True

    # IPushProducer: the transport reports the state of its write buffer

    def pauseProducing(self) -> None:
        """The write buffer is full; how full is known once this write is over."""
        self._full = True
        self._reactor.callLater(0, self._measure)

    def _measure(self) -> None:
        below = self._below
        if self._full and below is not None:
            self._unsent = len(below.dataBuffer) + below._tempDataLen
            self._count_held()
            self._relieve_memory()

    def _count_held(self) -> None:
        """Tell the stream what is held for its peer here: unread and unsent bytes, and those of OpenSSL."""
        self.stream.beside = len(self._rest) + self._unsent + self._openssl
        self.stream.hold()

    def resumeProducing(self) -> None:
        """The write buffer is empty."""
        self._full = False
        if self._unsent:
            self._unsent = 0
            self._count_held()
        if self._held:
            self.stream.writable(self._streams.clock())

    def stopProducing(self) -> None:
        """The transport is about to close its socket."""
        self._full = True
        self._last_figures = self.tcp_figures()

    # Link

    def since(self, now: float) -> float:
        """``now``: Twisted does not report when it saw the data."""
        return now

    def tcp_figures(self) -> TcpFigures | None:
        """Round trip and retransmissions from the kernel; those before the close once Twisted has closed the socket."""
        sock = socket_of(self.transport)
        return self._last_figures if sock is None else tcp_figures(sock) or self._last_figures

    def unanswered_seconds(self) -> float:
        """For how long the peer's machine has owed an answer, from the kernel."""
        sock = socket_of(self.transport)
        return 0.0 if sock is None else unanswered_seconds(sock)

    def sender(self) -> Callable[[bytes | memoryview], int]:
        """A function that takes all of a block, or nothing while the write buffer is full."""
        return self._send

    def _send(self, block: bytes | memoryview) -> int:
        if self._full:
            return 0
        self.transport.write(bytes(block))
        return len(block)

    def hold(self) -> None:
        """Pause reading."""
        self._held = True
        self._count_held()
        IPushProducer(self.transport).pauseProducing()

    def release(self) -> None:
        """Read again, first the data that is kept here."""
        self._held = False
        rest, self._rest = self._rest, b""
        if rest:
            self._count_held()
        self.dataReceived(rest)
        if not self._held and self._soon is None and self.stream.counters.state == "open":
            if self._ended:
                self.stream.ended(self._streams.clock())
            else:
                IPushProducer(self.transport).resumeProducing()

    def close(self) -> None:
        """Close once the write buffer is empty, at the latest after the stall timeout."""
        self._rest = b""
        IConsumer(self.transport).unregisterProducer()
        self.transport.loseConnection()
        if not self._lost:
            self._end_within(self._streams.terms.stall_timeout, self.transport.abortConnection)

    def drop(self) -> None:
        """Close, and discard the write buffer."""
        self._rest = b""
        IConsumer(self.transport).unregisterProducer()
        try:
            self.transport.abortConnection()
        except Exception as error:
            if not lacks_memory(error) or self._below is None:
                raise
            self._below.abortConnection()  # TLS has no memory for its farewell

    def _end_within(self, seconds: float, end: Callable[[], object]) -> None:
        self._cancel_deadline()
        self._deadline = deadlines(self._reactor).callLater(seconds, end)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()


def tls_fault(error: BaseException | None) -> str:
    """Why OpenSSL gave up, in its own words; that the peer closed where it has none."""
    queue = error.args[0] if error is not None and error.args else None
    return str(queue[-1][-1]) if isinstance(queue, list) and queue else "the peer closed the connection"


class StreamFactory(Factory):
    """Makes the protocols of one listener; ``reactor`` keeps their timers."""

    noisy = False
    makes: type[StreamProtocol] = StreamProtocol

    def __init__(self, streams: OpenStreams, reactor: IReactorTime) -> None:
        self._streams = streams
        self._reactor = reactor

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """A protocol for one connection, accepted or rejected."""
        peer = addr.peer if isinstance(addr, Announced) else peer_name(addr)
        return self.makes(self._streams, self._reactor, peer) if self._streams.admits(peer) else Rejected()


class Rejected(Protocol):
    """A connection past a limit: closed as soon as it is made, whatever wraps it."""

    transport: ITCPTransport

    def connectionMade(self) -> None:
        """Close at once."""
        self.transport.abortConnection()
