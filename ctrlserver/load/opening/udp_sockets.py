"""The sockets of a run over UDP: one connected socket for each stream, so each is a stream of its own to the receiver.

Rules: the name is looked up once, bounded in time; a failure is a ``LoadError`` in one line. A connected socket reports
an error when nothing listens at the other end (ICMP), takes datagrams of its target alone, and needs no address a send.

Beware: connecting sends nothing, so nobody has answered yet. Of several addresses of a name the first is taken to which
there is a way, IPv4 before IPv6: whether somebody listens there only packets would tell. An error names the others.
"""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from operator import itemgetter
from typing import Any, cast

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool

from ctrlserver.addresses import host_port
from ctrlserver.client.connect import NO_LOCAL_PORT, NO_SUCH_HOST
from ctrlserver.errors import LoadError
from ctrlserver.lane.lane import Lane
from ctrlserver.load.plan.options import Options
from ctrlserver.load.streams.wire import Opened
from ctrlserver.looks import deadlines

#: Bytes the kernel may queue for us: of a burst of replies. It gives less if its limit is lower.
RECEIVE_BYTES = 4 << 20


class DatagramSockets:
    """The sockets of one run; ``made`` has those that are open."""

    def __init__(self, reactor: IReactorTime, lane: Lane, options: Options) -> None:
        self._reactor = reactor
        self._lane = lane
        self._target = options.target
        self._timeout = options.connect_timeout
        self.made: list[socket.socket] = []
        self.elsewhere = ""  # the other addresses of the name, for an error

    async def open(self, numbers: range, first_words: bytes = b"") -> list[Opened]:
        """A socket for each of ``numbers``; LoadError in one line if one cannot be opened.

        Nothing is said before the packets.
        """
        addresses = await self._addresses()
        opened = []
        for _ in numbers:
            sock, address = self._connected(addresses)
            opened.append(Opened(sock, self._lane, host_port(*sock.getsockname()[:2]), host_port(*address[:2])))
        return opened

    def close(self) -> None:
        """Close them all."""
        for sock in self.made:
            sock.close()

    async def gone(self) -> None:
        """At once: nobody has to agree."""

    def _connected(self, addresses: list[tuple[int, Any]]) -> tuple[socket.socket, Any]:
        """A socket connected to the first of ``addresses`` that can be, the only one that is left in it then."""
        problem = OSError()
        for family, address in addresses:
            sock = socket.socket(family, socket.SOCK_DGRAM)
            self.made.append(sock)
            try:
                sock.setblocking(False)
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
                sock.connect(address)
            except OSError as error:
                problem = error
                continue
            if others := [f"udp:{host_port(*each[:2])}" for _, each in addresses if each != address]:
                self.elsewhere = f"; {self._target.host} has other addresses: {', '.join(others)}"
                addresses[:] = [(family, address)]
            return sock, address
        raise LoadError(f"cannot send to {self._target.text}: {_reason(problem)}")

    async def _addresses(self) -> list[tuple[int, Any]]:
        """The families and the addresses of the target, IPv4 first."""
        host, port, reactor = self._target.host, self._target.port, cast("Any", self._reactor)
        found = deferToThreadPool(
            reactor, reactor.getThreadPool(), socket.getaddrinfo, host, port, type=socket.SOCK_DGRAM
        )
        found.addTimeout(self._timeout, deadlines(self._reactor))
        try:
            answers = await found
        except defer.TimeoutError:
            words = f"the host name was not resolved within {self._timeout:g} s"
        except (OSError, UnicodeError):
            words = NO_SUCH_HOST
        else:
            return sorted({(family, address): None for family, _, _, _, address in answers}, key=itemgetter(0))
        raise LoadError(f"cannot send to {self._target.text}: {words}")


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return "no route to the host"
    if error.errno in (errno.EAGAIN, errno.EADDRNOTAVAIL):
        return NO_LOCAL_PORT
    return error.strerror or str(error)
