"""The sockets of streams that systemd passed on: they are systemd's before and after us.

Rule: a unix socket keeps its file and the permissions of it, and goes on to queue connections when we close our
descriptor of it.

Beware: Twisted's port for such a socket makes its file writable to all users at the start, and shuts the socket down
and removes the file at the end. Those of TCP are as they should be.
"""

from __future__ import annotations

import socket
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.tcp import Port as TCPPort
from twisted.internet.unix import Port as UNIXPort
from twisted.python.failure import Failure
from zope.interface import implementer


def server_endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """The endpoint of a good endpoint string."""
    endpoint: Any = serverFromString(reactor, text)
    if isinstance(endpoint, AdoptedStreamServerEndpoint) and endpoint.addressFamily == socket.AF_UNIX:
        return _InheritedUnix(reactor, endpoint.fileno)
    return endpoint  # type: ignore[no-any-return]


@implementer(IStreamServerEndpoint)
@frozen
class _InheritedUnix:
    reactor: Any
    descriptor: int

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        port = InheritedUnixPort(self.descriptor, factory, self.reactor)
        port.startListening()
        return port


class InheritedUnixPort(UNIXPort):
    """Listens on a duplicate of ``descriptor``."""

    _shouldShutdown = False

    factory: Any
    fileno: Any

    def __init__(self, descriptor: int, factory: IProtocolFactory, reactor: Any) -> None:
        self._inherited = socket.socket(fileno=socket.dup(descriptor))
        super().__init__(self._inherited.getsockname(), factory, reactor=reactor)

    def startListening(self) -> None:
        """Read the socket as it is."""
        self._inherited.setblocking(False)
        self._inherited.listen(self.backlog)
        self.factory.doStart()
        self.connected, self.numberAccepts = True, 100
        self.socket, self.fileno = self._inherited, self._inherited.fileno
        self.startReading()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        """Close our descriptor, and nothing else."""
        TCPPort.connectionLost(self, reason)
