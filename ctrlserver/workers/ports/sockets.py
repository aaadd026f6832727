"""Sockets of the parent that its workers read or accept from, and the configs of the workers.

Model: ``SharedDatagrams`` stands in the parent where one process has its ``DatagramPort``. It binds a UDP socket for
each worker, all at one address (SO_REUSEPORT), and reads none of them: the kernel gives all datagrams of a peer to one.
``replicas`` does the same for the listening socket of a TCP port.

Rules:

- The first socket is bound alone, and shares its address only afterwards. So a port that another server has is refused
  as in one process, even if that server shares its own.
- The parent keeps all of them open. What arrives for a worker that is gone waits in its socket for the next one.
- A UDP socket from systemd is one: the first worker reads it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from attrs import evolve, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from zope.interface import implementer

from ctrlserver.config import ListenerConfig
from ctrlserver.config.endpoints import behind_proxy, transport_word
from ctrlserver.lane.due import Due
from ctrlserver.linux.arrivals import charged_and_drops
from ctrlserver.net.terms import DatagramTerms
from ctrlserver.net.udp.port import DatagramPort
from ctrlserver.workers.ordered.shared import Tally


def for_worker(config: ListenerConfig) -> ListenerConfig:
    """The config of the same listener in a worker.

    Injections and answers are the parent's. An endpoint of systemd means nothing in a worker.
    """
    text = behind_proxy(config.endpoint) or config.endpoint
    if text.partition(":")[0].lower() == "systemd":
        kind = "udp" if config.inherited_datagrams is not None else transport_word(text)
        text = {"tcp": "tcp:0", "udp": "udp:0", "unix": rf"unix:/systemd/{config.name}"}[kind]
        front = "" if behind_proxy(config.endpoint) is None else "haproxy:"
        config = evolve(config, endpoint=front + text)
    return evolve(config, inject=(), answers=())


def replicas(first: socket.socket, number: int) -> list[socket.socket]:
    """So many more sockets at the address of ``first``, which is bound; ``OSError`` if one cannot be had."""
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made: list[socket.socket] = []
    try:
        for _ in range(number):
            made.append(sock := socket.socket(first.family, first.type))
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reuse = first.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            if first.family == socket.AF_INET6:
                only = first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            sock.bind(first.getsockname())
    except OSError:
        for sock in made:
            sock.close()
        raise
    return made


@implementer(IListeningPort)
@frozen
class _BoundDatagrams:
    """What the rest knows of a bound UDP port: its address."""

    address: IPv4Address | IPv6Address

    def startListening(self) -> None:
        """It is bound."""

    def stopListening(self) -> None:
        """Whoever owns the sockets closes them."""

    def getHost(self) -> IAddress:
        """The address."""
        return self.address


class SharedDatagrams(DatagramPort):
    """A UDP port with a socket for each of ``workers``, in ``sockets``."""

    def __init__(
        self,
        options: DatagramTerms,
        workers: int,
        tally: Tally,
        reactor: object,
        clock: Callable[[], float],
        due: Due,
    ) -> None:
        super().__init__(options, None, reactor, clock, due)
        self.sockets: list[socket.socket] = []
        self.counted: list[int] = []
        """Of each socket the kernel's count of drops when nobody read it last: whoever reads it counts from there."""
        self._workers = workers
        self._tally = tally
        self.row = tally.another()
        """Where the workers count the open streams of its peers."""

    def listen(self, number: int, interface: str) -> IListeningPort:
        """Bind; ``CannotListenError`` if that fails."""
        try:
            found = socket.getaddrinfo(
                interface, number, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
            )
            family, kind, _, _, address = found[0]
            first = socket.socket(family, kind)
            try:
                first.setblocking(False)
                first.bind(address)
                rest = replicas(first, self._workers - 1)
            except OSError:
                first.close()
                raise
        except OSError as error:
            raise CannotListenError(interface, number, error) from None
        return self._shared([first, *rest])

    def adopt(self, descriptor: int, family: socket.AddressFamily) -> IListeningPort:
        """Take a duplicate of systemd's socket."""
        self.inherited = True
        return self._shared([socket.fromfd(descriptor, family, socket.SOCK_DGRAM)])

    def _shared(self, sockets: list[socket.socket]) -> IListeningPort:
        self.sockets = sockets
        self.counted = [charged_and_drops(each)[1] for each in sockets]
        name = sockets[0].getsockname()
        kind: Any = IPv4Address if len(name) == 2 else IPv6Address
        port = _BoundDatagrams(kind("UDP", *name))
        self.port = port
        return port

    def take_over(self, old: DatagramPort) -> None:
        """Go on with the sockets of ``old``."""
        assert isinstance(old, SharedDatagrams)
        self.port, old.port, self.sockets, old.sockets = old.port, None, old.sockets, []
        self.inherited, self.counted, self.row = old.inherited, old.counted, old.row

    def lost(self, worker: int) -> None:
        """The worker of that number reads no more; what it had counted is in the book."""
        if worker <= len(self.sockets):
            self.counted[worker - 1] = charged_and_drops(self.sockets[worker - 1])[1]
        self._tally.tell(self.row, worker, 0)

    def stop_listening(self) -> object:
        """Close them; who reads one has a duplicate."""
        self.port, sockets, self.sockets = None, self.sockets, []
        for each in sockets:
            each.close()
        return None
