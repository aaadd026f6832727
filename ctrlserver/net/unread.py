"""Unread input of a Twisted connection that is lost: read first, then closed.

Model: when a peer resets, a write fails before its last data is read, or the reactor sees the reset while reading is
paused. Twisted then closes the socket, with that data. Here the connection first reads on, a part each turn of the
reactor, until the kernel has no more; then Twisted is told of the loss.

Beware: the connection itself is that at the bottom, below TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

#: Bytes of a read: as many as Twisted reads.
READ_BYTES = 1 << 16


def connection_below(transport: Any) -> Connection | None:
    """The connection at the bottom of ``transport``, if it is one of Twisted's own."""
    while not isinstance(transport, Connection | None):
        transport = getattr(transport, "transport", None)
    return transport


def read_to_the_end(
    connection: Any,
    reads_on: Callable[[], bool | None],
    told_first: Callable[[Failure], object],
    reactor: IReactorTime,
) -> None:
    """Have ``connection`` read what it has not read before it is lost.

    ``reads_on``: whether somebody still wants it; None while it can take nothing. ``told_first`` gets the reason of the
    loss, for which TLS may give another one.
    """
    connection.connectionLost = Unread(connection, reads_on, told_first, reactor).lost


class Unread:
    """Stands before ``connection.connectionLost``."""

    def __init__(
        self,
        connection: Any,
        reads_on: Callable[[], bool | None],
        told_first: Callable[[Failure], object],
        reactor: IReactorTime,
    ) -> None:
        self._connection = connection
        self._reads_on = reads_on
        self._told_first = told_first
        self._reactor = reactor
        self._reading = False

    def lost(self, reason: Failure) -> None:
        """The connection is lost; if it was cut off, it first reads on."""
        self._told_first(reason)
        if not reason.check(ConnectionLost) or self._reads_on() is False:
            self._over(reason)
        elif not self._reading:
            self._reading = True
            self._connection.stopWriting()
            self._read(reason)

    def _read(self, reason: Failure) -> None:
        wanted = self._reads_on()
        octets = b""
        if wanted:
            with suppress(OSError, AttributeError):  # nothing more, or closed by now
                octets = self._connection.socket.recv(READ_BYTES)
        if octets:
            self._connection.protocol.dataReceived(octets)
        if octets or wanted is None:
            self._reactor.callLater(0, self._read, reason)
        else:
            self._over(reason)

    def _over(self, reason: Failure) -> None:
        """Tell Twisted, and cut the circle of references."""
        vars(self._connection).pop("connectionLost", None)
        self._connection.connectionLost(reason)
