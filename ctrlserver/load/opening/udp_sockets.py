"""The sockets of a run over UDP: one connected socket for each stream, so each is a stream of its own to the receiver.

Rules: the name is looked up once, bounded in time; a failure is a ``LoadError`` in one line. A connected socket reports
an error when nothing listens at the other end (ICMP), takes datagrams of its target alone, and needs no address a send.

Beware: connecting sends nothing, so nobody has answered yet. Where a name has addresses of both kinds IPv4 is taken,
because there is no way to try: ``udp:[::1]:22222`` asks for the other.
"""

from __future__ import annotations

import errno
import socket
from contextlib import suppress

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IReactorTime, IResolutionReceiver
from zope.interface import implementer

from ctrlserver.addresses import host_port, ip_version
from ctrlserver.client.target import Target
from ctrlserver.errors import LoadError
from ctrlserver.lane.lane import Lane

#: Bytes the kernel may queue for us: of a burst of replies. It gives less if its limit is lower.
RECEIVE_BYTES = 4 << 20

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class HeldDatagrams:
    """One connected UDP socket; ``local`` and ``peer`` are ``host:port``."""

    def __init__(self, sock: socket.socket, lane: Lane, peer: str) -> None:
        self.socket = sock
        self.lane = lane
        self.local = host_port(*sock.getsockname()[:2])
        self.peer = peer


class DatagramSockets:
    """The sockets of one run; ``made`` has those that are open."""

    def __init__(self, reactor: IReactorTime, lane: Lane, target: Target, timeout: float) -> None:
        self._reactor = reactor
        self._lane = lane
        self._target = target
        self._timeout = timeout
        self.made: list[HeldDatagrams] = []

    async def open(self, number: int) -> list[HeldDatagrams]:
        """``number`` sockets; LoadError in one line if one cannot be opened."""
        family, host = await self._address()
        for _ in range(number):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
                sock.connect((host, self._target.port))
                self.made.append(HeldDatagrams(sock, self._lane, host_port(host, self._target.port)))
            except OSError as error:
                sock.close()
                raise LoadError(f"cannot send to {self._target.text}: {_reason(error)}") from None
        return self.made

    def close(self) -> None:
        """Close them all."""
        for held in self.made:
            held.socket.close()

    async def gone(self) -> None:
        """At once: nobody has to agree."""

    async def _address(self) -> tuple[socket.AddressFamily, str]:
        host = self._target.host
        if version := ip_version(host):
            return _FAMILIES[version], host
        found = _Found()
        resolver: IHostnameResolver = self._reactor.nameResolver  # type: ignore[attr-defined]
        resolver.resolveHostName(found, host, self._target.port, transportSemantics="UDP")
        found.whole.addTimeout(self._timeout, self._reactor)
        try:
            addresses = await found.whole
        except defer.TimeoutError:
            late = f"the host name was not resolved within {self._timeout:g} s"
            raise LoadError(f"cannot send to {self._target.text}: {late}") from None
        hosts = [str(getattr(address, "host", "")) for address in addresses]
        for version, family in _FAMILIES.items():
            for known in hosts:
                if ip_version(known) == version:
                    return family, known
        raise LoadError(f"cannot send to {self._target.text}: the host name does not resolve")


@implementer(IResolutionReceiver)
class _Found:
    """Gathers the addresses of one name."""

    def __init__(self) -> None:
        self.whole: Deferred[list[IAddress]] = Deferred()
        self._addresses: list[IAddress] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N803  (Twisted's name)
        """Nothing to do yet."""

    def addressResolved(self, address: IAddress) -> None:
        """One of them."""
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        """All of them."""
        if not self.whole.called:
            self.whole.callback(self._addresses)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL):
        return "no route to the host"
    return error.strerror or str(error)
