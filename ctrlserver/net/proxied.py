"""Connections that come through a proxy (``haproxy:`` endpoints): the PROXY header first, then a stream.

Model::

    proxy --header, data--> Proxied: reads the header --> factory.buildProtocol(the client) --> gate, StreamProtocol
                                                          which takes the transport over: Proxied is out of the way

Before TLS as proxies send it, a header is read by a ``Proxied`` in front of Twisted's TLS. Where a handshake comes
first, it is expected inside TLS, as Twisted's own endpoint does: a second ``Proxied`` waits there.

Rules:

- No stream is opened and no gate is asked before the client is known. A connection takes one of the server's seats
  meanwhile, since it has a descriptor.
- A connection that has brought no header after ``HEADER_SECONDS``, a wrong one, or none before its end, is rejected as
  ``proxy-header``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IListeningPort,
    IReactorTime,
    ISSLTransport,
    IStreamServerEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Port as TCPPort
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.addresses import host_port, peer_name
from ctrlserver.looks import deadlines
from ctrlserver.net.gate import PROXY_HEADER, Seats
from ctrlserver.wire.proxy import WrongHeader, read_header

#: For the header: a proxy sends it at once. Without this limit a silent peer would hold a seat for ever.
HEADER_SECONDS = 10.0

#: The first byte of a TLS handshake.
TLS_HANDSHAKE = 0x16


@implementer(IAddress)
@frozen
class Announced:
    """The client's address in a header, or the proxy's where the header names no other: ``host:port``."""

    peer: str


@frozen
class Door:
    """What the connections of a server share before they are streams; ``rejected`` counts a reason.

    ``admin``: they come to the admin port, which answers while the server drains.
    """

    seats: Seats
    rejected: Callable[[str], None]
    reactor: IReactorTime
    admin: bool = False


class ProxiedFactory(Factory):
    """Stands before ``factory``, and asks each connection for a header. ``tls``: a handshake may come first."""

    noisy = False

    def __init__(self, factory: Any, door: Door, tls: bool = False) -> None:
        self.factory = factory
        self.door = door
        self.tls = tls

    def buildProtocol(self, addr: object) -> Protocol:
        """A protocol that reads the header; the factory's own where that has been read."""
        if isinstance(addr, Announced):
            made: Protocol = self.factory.buildProtocol(addr)
            return made
        return Proxied(self, peer_name(addr))

    def stand_before_tls(self, port: IListeningPort) -> IListeningPort:
        """Where ``port`` wraps this factory in TLS, stand before that too."""
        if isinstance(port, TCPPort) and port.factory not in (None, self):
            port.factory = ProxiedFactory(port.factory, self.door, tls=True)
        return port


def listen_proxied(endpoint: IStreamServerEndpoint, factory: Factory, door: Door) -> Deferred[IListeningPort]:
    """Listen for connections that bring a header, and then are those of ``factory``."""
    proxied = ProxiedFactory(factory, door)
    return maybeDeferred(endpoint.listen, proxied).addCallback(proxied.stand_before_tls)


class Proxied(Protocol):
    """A connection from ``address`` whose header has not come yet."""

    transport: ITCPTransport

    def __init__(self, factory: ProxiedFactory, address: str) -> None:
        self._factory = factory
        self._address = address
        self._octets = b""
        self._deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Wait for the header, if a seat is free."""
        seats = self._factory.door.seats
        if (reason := seats.full() if self._factory.door.admin else seats.refuse()) is not None:
            self._reject(reason)
        else:
            seats.taken += 1
            self._deadline = deadlines(self._factory.door.reactor).callLater(HEADER_SECONDS, self.connectionLost)

    def dataReceived(self, data: bytes) -> None:
        """More of the header, and perhaps what follows it."""
        if self._deadline is None:  # rejected
            return
        self._octets += data
        if self._factory.tls and self._octets[0] == TLS_HANDSHAKE:
            self._leave()
            self._hand_over(self._factory.factory.buildProtocol(None), self._octets)
            return
        try:
            header = read_header(self._octets)
        except WrongHeader:
            self._leave()
            self._reject(PROXY_HEADER)
            return
        if header is not None:
            self._leave()
            peer = self._address if header.client is None else host_port(*header.client)
            self._hand_over(self._factory.factory.buildProtocol(Announced(peer)), self._octets[header.size :])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is lost before its header was whole."""
        if self._deadline is not None:
            self._leave()
            self._reject(PROXY_HEADER)

    def _hand_over(self, protocol: Any, rest: bytes) -> None:
        transport = self.transport
        setattr(transport, "wrappedProtocol" if isinstance(transport, ProtocolWrapper) else "protocol", protocol)
        protocol.makeConnection(transport)
        if ISSLTransport.providedBy(transport) and IHandshakeListener.providedBy(protocol):
            protocol.handshakeCompleted()
        if rest:
            protocol.dataReceived(rest)

    def _reject(self, reason: str) -> None:
        door = self._factory.door
        door.seats.last_refused = self._address
        door.rejected(reason)
        self.transport.abortConnection()

    def _leave(self) -> None:
        """Give the seat back."""
        self._factory.door.seats.taken -= 1
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
