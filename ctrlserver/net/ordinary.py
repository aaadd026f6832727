"""The ordinary way in: a Twisted ``Protocol`` that feeds the same stream object as the lane.

Rules:

- Used where a lane cannot be: a transport that is not a plain socket (TLS, endpoint wrappers), a reactor without
  descriptors, a system without epoll.
- A transport's own write buffer has no bound. It says when it holds more than 64 KiB (push producer); from then on it
  is sent nothing, the stream keeps its one chunk of replies, and reading is paused until the buffer is empty.
- What comes although reading is paused is held here: TLS hands over all records of one read, whatever it is told.
- A TLS handshake has ``HANDSHAKE_SECONDS``; a peer that has not ended it by then is closed for the reason ``limit``.
- Twisted closes the socket before it says that the connection is lost. The TCP figures are read a step earlier, when it
  tells us as a producer that it is about to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

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
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.addresses import peer_name
from ctrlserver.lane.lane import COPY_BYTES
from ctrlserver.linux.tcp_info import socket_of, tcp_figures
from ctrlserver.net.modes import open_stream
from ctrlserver.net.stream import OpenStreams, Stream
from ctrlserver.stats.counters import TcpFigures

HANDSHAKE_SECONDS: Final = 10.0
"""For a TLS handshake, two round trips and some arithmetic: many times what the worst link and the slowest device need.

Without an end, who connects and says nothing would hold a descriptor for ever, although ``idle_timeout`` is off.
"""


@implementer(IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class StreamProtocol(Protocol):
    """One connection: an ordinary protocol to Twisted, a ``Link`` to its stream."""

    transport: ITCPTransport
    stream: Stream

    def __init__(self, factory: StreamFactory) -> None:
        self._factory = factory
        self._full = False
        self._held = False
        self._lost = False
        self._rest = b""
        self._abort: IDelayedCall | None = None
        self._handshake: IDelayedCall | None = None  # while it lasts, of TLS
        self._last_figures: TcpFigures | None = None

    # IProtocol, IHalfCloseableProtocol, IHandshakeListener

    def connectionMade(self) -> None:
        """Open the stream."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        IConsumer(self.transport).registerProducer(self, True)
        self.stream = open_stream(
            self._factory.streams, self, peer_name(self.transport.getPeer()), self._factory.clock()
        )
        self.stream.counters.path = self
        if ISSLTransport.providedBy(self.transport):
            self._handshake = self._factory.reactor.callLater(HANDSHAKE_SECONDS, self._too_late)

    def handshakeCompleted(self) -> None:
        """TLS is agreed on."""
        self._end_handshake()

    def dataReceived(self, data: bytes) -> None:
        """Feed the stream, in chunks no larger than the replies it may keep."""
        self._feed(data)

    def readConnectionLost(self) -> None:
        """The peer half-closed: what it is owed still goes out."""
        self.stream.ended(self._factory.clock())

    def writeConnectionLost(self) -> None:
        """Our own sending side is closed; the loss of the whole is told separately."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._end_handshake()
        if self._abort is not None:
            self._abort.cancel()
            self._abort = None
        self._lost = True
        self.stream.gone()
        if isinstance(reason.value, ConnectionDone):
            self.stream.abort("eof", self._factory.clock())
        else:
            self.stream.lost(self._factory.clock())

    # IPushProducer: the transport's word on its write buffer

    def pauseProducing(self) -> None:
        """The transport holds enough."""
        self._full = True

    def resumeProducing(self) -> None:
        """The transport has sent everything."""
        self._full = False
        if self._held:
            self.stream.writable(self._factory.clock())

    def stopProducing(self) -> None:
        """The transport is closing; its socket is still there."""
        self._full = True
        self._last_figures = self.tcp_figures()

    # Link

    def since(self, now: float) -> float:
        """Twisted does not tell when it saw the data: the time it was handed over."""
        return now

    def tcp_figures(self) -> TcpFigures | None:
        """What the kernel knows of the connection, or knew before Twisted closed the socket."""
        sock = socket_of(self.transport)
        return self._last_figures if sock is None else tcp_figures(sock) or self._last_figures

    def now(self) -> float:
        """The factory's time."""
        return self._factory.clock()

    def sender(self) -> Callable[[bytes | memoryview], int]:
        """All of a block, or nothing while the transport holds enough."""
        return self._send

    def _send(self, block: bytes | memoryview) -> int:
        if self._full:
            return 0
        self.transport.write(bytes(block))
        return len(block)

    def hold(self) -> None:
        """Read no more for now."""
        self._held = True
        IPushProducer(self.transport).pauseProducing()

    def release(self) -> None:
        """Read again, what is held here first."""
        self._held = False
        rest, self._rest = self._rest, b""
        self._feed(rest)
        if not self._held and self.stream.counters.state == "open":
            IPushProducer(self.transport).resumeProducing()

    def close(self) -> None:
        """Close, after what the transport still holds; it has as long as a slow reader has."""
        self._rest = b""
        IConsumer(self.transport).unregisterProducer()
        self.transport.loseConnection()
        if not self._lost:
            self._abort = self._factory.reactor.callLater(self._factory.streams.terms.stall_timeout, self._give_up)

    def drop(self) -> None:
        """Close, whatever the transport still holds."""
        self._rest = b""
        IConsumer(self.transport).unregisterProducer()
        self.transport.abortConnection()

    def _give_up(self) -> None:
        self._abort = None
        self.transport.abortConnection()

    def _too_late(self) -> None:
        self._handshake = None
        self.stream.abort("limit", self._factory.clock())

    def _end_handshake(self) -> None:
        if self._handshake is not None:
            self._handshake.cancel()
            self._handshake = None

    def _feed(self, data: bytes) -> None:
        view, step = memoryview(data), min(COPY_BYTES, self._factory.streams.terms.reply_buffer)
        for start in range(0, len(view), step):
            if self._held:
                self._rest += data[start:]
                return
            if self.stream.counters.state != "open":
                return
            self.stream.received(view[start : start + step], self._factory.clock())


class StreamFactory(Factory):
    """Makes the streams of one listener that come in the ordinary way.

    ``clock`` gives monotonic seconds; ``reactor`` keeps the timers.
    """

    noisy = False

    def __init__(self, streams: OpenStreams, reactor: IReactorTime, clock: Callable[[], float]) -> None:
        self.streams = streams
        self.reactor = reactor
        self.clock = clock

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """One protocol for each connection."""
        return StreamProtocol(self) if addr is None or self.streams.admits(peer_name(addr)) else TurnedAway()


class TurnedAway(Protocol):
    """A connection past a limit: closed as soon as it is there, whatever wraps it."""

    transport: ITCPTransport

    def connectionMade(self) -> None:
        """Close at once."""
        self.transport.abortConnection()
