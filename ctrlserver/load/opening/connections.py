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
from ctrlserver.load.opening.tls import ClientCreator, TlsLink, Verification

#: Connects under way at once: kind to a target with a short backlog, where a SYN too many costs a second.
CONNECTS_AT_ONCE = 64

#: Seconds to wait until Twisted reports that a connection is closed.
CLOSE_SECONDS = 2.0


class Held(Protocol):
    """One connection whose socket someone else reads and writes; ``gone`` fires when it is closed."""

    transport: ITCPTransport

    def __init__(self, lane: Lane) -> None:
        self.gone: Deferred[None] = Deferred()
        self.lane = lane
        self.socket: socket.socket | None = None
        self.local = ""
        self.peer = ""

    def connectionMade(self) -> None:
        """Stop Twisted's reading before it begins, and find the socket."""
        transport = self.transport
        transport.stopReading()  # type: ignore[attr-defined]
        handle = transport.getHandle()  # type: ignore[attr-defined]
        if isinstance(handle, socket.socket):
            self.socket = handle
            if handle.family in (socket.AF_INET, socket.AF_INET6):
                handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.local = text_of(transport.getHost())
            self.peer = text_of(transport.getPeer())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Closed."""
        self.gone.callback(None)

    def close(self) -> None:
        """Close it; our side of the socket first, so that Twisted does not wait for room in its send buffer."""
        if self.socket is not None:
            with suppress(OSError):  # the other side was first
                self.socket.shutdown(socket.SHUT_WR)
        self.transport.loseConnection()


class Connections:
    """The connections of one run; ``made`` has those that are open, in no order."""

    def __init__(
        self,
        reactor: IReactorTime,
        lane: Lane,
        target: Target,
        timeout: float,
        cafile: str | None = None,
        insecure: bool = False,
    ) -> None:
        self._reactor = reactor
        self._target = target
        self._timeout = timeout
        self._verification: Verification | None = None
        if target.transport == TLS:
            self._verification = Verification(target.host, cafile, insecure)
        verification = self._verification

        def make() -> Held | TlsLink:
            return TlsLink(reactor, lane, target.text, verification) if target.over_tls else Held(lane)

        self._factory: Factory[Held | TlsLink] = Factory.forProtocol(cast("Any", make))
        self._factory.noisy = False
        self.made: list[Held | TlsLink] = []

    async def open(self, number: int) -> list[Held | TlsLink]:
        """Connect ``number`` times; LoadError in one line, and nothing under way, if one fails."""
        first = await self._connected(self._endpoint(self._target), 1, number)
        held = [first] * number
        endpoint = self._same_address(first)
        remaining = iter(range(1, number))

        async def connect_some() -> None:
            for index in remaining:
                held[index] = await self._connected(endpoint, index + 1, number)

        crew = [Deferred.fromCoroutine(connect_some()) for _ in range(min(CONNECTS_AT_ONCE, number - 1))]
        try:
            await gatherResults(crew, consumeErrors=True)
        except FirstError as first_error:
            raise cast("Exception", first_error.subFailure.value) from None
        finally:
            for member in crew:
                member.cancel()
        return held

    async def _connected(self, endpoint: IStreamClientEndpoint, stream: int, number: int) -> Held | TlsLink:
        name = self._target.text if number == 1 else f"{self._target.text} (stream {stream} of {number})"
        protocol = await connect(self._reactor, endpoint, self._factory, name, self._timeout)
        held = cast("Held | TlsLink", protocol)
        self.made.append(held)
        if isinstance(held, TlsLink):
            held.ready.addTimeout(self._timeout, self._reactor)
            try:
                await held.ready
            except defer.TimeoutError:
                late = f"no TLS handshake within {self._timeout:g} s"
                raise LoadError(f"cannot connect to {name}: {late}") from None
            return held
        if held.socket is None:
            raise LoadError(f"cannot send to {self._target.text}: it is no plain socket (TCP or unix)")
        return held

    def _endpoint(self, target: Target) -> IStreamClientEndpoint:
        endpoint = endpoint_of(target, self._reactor, self._timeout)
        if self._verification is None:
            return endpoint
        return wrapClientTLS(ClientCreator(self._verification), endpoint)

    def _same_address(self, first: Held | TlsLink) -> IStreamClientEndpoint:
        """Where the other streams go: to the address the first one found, without another look-up of the name."""
        peer = first.transport.getPeer()
        host, port = getattr(peer, "host", None), getattr(peer, "port", None)
        if not self._target.host or not isinstance(host, str) or not isinstance(port, int):
            return self._endpoint(self._target)
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
