"""The connections of a run: opened all before the first byte is sent, taken over from Twisted, closed by Twisted.

Rules: streams are connected through Twisted endpoints, a bounded number at a time; the first failure ends it all. A
connection's plain socket is then ours to read and write: its transport reads nothing and only closes it.

Beware: where a host name has several addresses, the one that answers the first stream is used for all of them.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any, cast

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from ctrlserver.addresses import text_of
from ctrlserver.client.connect import connect, endpoint_of
from ctrlserver.client.target import TLS, Target
from ctrlserver.errors import LoadError
from ctrlserver.lane.lane import Lane
from ctrlserver.load.opening.tls import TlsConnection, Verification
from ctrlserver.load.plan.options import Options
from ctrlserver.load.streams.wire import Opened
from ctrlserver.looks import deadlines

#: Connects under way at once: kind to a target with a short backlog, where a SYN too many costs a second.
CONNECTS_AT_ONCE = 64

#: Seconds to wait until Twisted reports that a connection is closed.
CLOSE_SECONDS = 2.0


class Held(Protocol):
    """One connection whose socket a stream reads and writes.

    ``ready`` fires when it is connected, or fails with a LoadError; ``gone`` fires when it is closed.
    """

    transport: ITCPTransport

    def __init__(self, lane: Lane, name: str) -> None:
        self.ready: Deferred[Opened] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self._lane = lane
        self._name = name
        self._hung_up = False

    def connectionMade(self) -> None:
        """Stop Twisted's reading before it begins, and find the socket."""
        transport = self.transport
        transport.stopReading()  # type: ignore[attr-defined]
        handle = transport.getHandle()  # type: ignore[attr-defined]
        if not isinstance(handle, socket.socket):
            self.ready.errback(LoadError(f"cannot send to {self._name}: it is no plain socket (TCP or unix)"))
            return
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)  # an urgent byte is a byte of the stream
        local = ""
        if handle.family in (socket.AF_INET, socket.AF_INET6):
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            local = text_of(transport.getHost())
        self.ready.callback(Opened(handle, self._lane, local, text_of(transport.getPeer()), self))

    def unwritten(self) -> int:
        """None: the stream writes to the kernel itself."""
        return 0

    def hang_up(self, *, reset: bool) -> None:
        """Close the socket in the next turn of the reactor; over TCP ``reset`` is an RST."""
        self._hung_up = True
        if reset:
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Closed."""
        self.gone.callback(None)

    def close(self) -> None:
        """Close it; our side of the socket first, so that Twisted does not wait for room in its send buffer."""
        if self._hung_up:
            return  # a reset stays one
        with suppress(AttributeError, OSError):  # no plain socket, or the other side was first
            self.transport.getHandle().shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
        self.transport.loseConnection()


class Connections:
    """The connections of one run; ``made`` has those that are open, in no order."""

    def __init__(self, reactor: IReactorTime, lane: Lane, options: Options) -> None:
        self._reactor = reactor
        self._target = target = options.target
        self._streams = options.streams
        self._timeout = options.connect_timeout
        self._verification: Verification | None = None
        if target.transport == TLS:
            self._verification = Verification(target.host, options.cafile, options.insecure)

        def make() -> Held | TlsConnection:
            if target.over_tls:
                return TlsConnection(reactor, lane, target.text, self._verification)
            return Held(lane, target.text)

        self._factory: Factory[Held | TlsConnection] = Factory.forProtocol(cast("Any", make))
        self._factory.noisy = False
        self.made: list[Held | TlsConnection] = []
        self._first_words = b""

    async def open(self, numbers: range, first_words: bytes = b"") -> list[Opened]:
        """Connect once for each stream of ``numbers``; LoadError in one line, and nothing under way, if one fails.

        ``first_words`` are said on each at once: connecting all of them may take longer than a target waits for a word.
        """
        self._first_words = first_words
        target = self._target
        places = [f" (stream {number} of {self._streams})" for number in numbers] if len(numbers) > 1 else [""]
        opened = [await self._connected(self._endpoint(target), target.text + places[0])] * len(numbers)
        endpoint = self._same_address(self.made[0])
        remaining = iter(range(1, len(numbers)))

        async def connect_some() -> None:
            for index in remaining:
                opened[index] = await self._connected(endpoint, target.text + places[index])

        crew = [Deferred.fromCoroutine(connect_some()) for _ in range(min(CONNECTS_AT_ONCE, len(numbers) - 1))]
        try:
            await gatherResults(crew, consumeErrors=True)
        except FirstError as first_error:
            raise cast("Exception", first_error.subFailure.value) from None
        finally:
            for member in crew:
                member.cancel()
        return opened

    async def _connected(self, endpoint: IStreamClientEndpoint, name: str) -> Opened:
        held = cast("Held | TlsConnection", await connect(self._reactor, endpoint, self._factory, name, self._timeout))
        self.made.append(held)
        held.ready.addTimeout(self._timeout, deadlines(self._reactor))
        try:
            opened = await held.ready
        except defer.TimeoutError:
            raise LoadError(f"cannot connect to {name}: no TLS handshake within {self._timeout:g} s") from None
        if self._first_words:
            with suppress(OSError):  # the stream finds out
                opened.socket.send(self._first_words)
        return opened

    def _endpoint(self, target: Target) -> IStreamClientEndpoint:
        endpoint = endpoint_of(target, self._reactor)
        return endpoint if self._verification is None else wrapClientTLS(self._verification, endpoint)

    def _same_address(self, first: Held | TlsConnection) -> IStreamClientEndpoint:
        """Where the other streams go: to the address the first one found, without another look-up of the name."""
        peer = first.transport.getPeer()
        host, port = getattr(peer, "host", None), getattr(peer, "port", None)
        if not self._target.host or not isinstance(host, str) or not isinstance(port, int):
            return self._endpoint(self._target)
        if scope := getattr(peer, "scopeID", 0):
            host = f"{host.partition('%')[0]}%{scope}"
        return self._endpoint(Target(self._target.text, host, port))

    def close(self) -> None:
        """Close them all."""
        for held in self.made:
            held.close()

    async def gone(self) -> None:
        """Wait, a little while, until they are closed."""
        gone = gatherResults([held.gone for held in self.made], consumeErrors=True)
        gone.addTimeout(CLOSE_SECONDS, self._reactor)
        try:
            await gone
        except defer.TimeoutError:  # the kernel closes them when the process ends
            pass
        except FirstError as error:  # cancelled: each of them says so
            raise CancelledError from error
