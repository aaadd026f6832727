"""An admin port that listens on the loopback, and blocking clients of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast

from attrs import define
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort

from ctrlserver.admin.ports import AdminPorts
from ctrlserver.admin.protocol import AdminConnection
from ctrlserver.desk import Desk
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from tests.clients import connected

reactor = cast(Any, installed_reactor)


def desk_of(streams: int) -> Desk:
    book = Book(version="1.2.3", now=0.0, wall=1_700_000_000.0)
    origin = Origin("data", "tcp", "fixed:1024", "sink", 1024)
    for _ in range(streams):
        book.stream_opened(origin, "10.0.0.1:1", 0.0)
    return Desk(book, "1.2.3", lambda: 0.0, lambda _: False)


@define
class Admin:
    """A listening admin port, on the loopback."""

    factory: AdminPorts
    port: IListeningPort

    def connect(self, receive_buffer: int = 0) -> socket.socket:
        return connected(("127.0.0.1", cast(Any, self.port.getHost()).port), receive_buffer=receive_buffer)

    @property
    def connections(self) -> list[AdminConnection]:
        return cast(list[AdminConnection], [*self.factory._open, *self.factory._refused])


def read_all(client: socket.socket) -> bytes:
    octets = bytearray()
    while chunk := client.recv(65536):
        octets += chunk
    return bytes(octets)


def ask(client: socket.socket, octets: bytes) -> bytes:
    """Blocking, as ``nc -N`` does it: send all, end the sending side, read to the end."""
    with client:
        client.sendall(octets)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def until(condition: Callable[[], bool], seconds: float = 30.0) -> Deferred[None]:
    """Fires when the condition holds; asked at every turn of the reactor."""
    finished: Deferred[None] = Deferred()
    ends = reactor.seconds() + seconds

    def look() -> None:
        if condition():
            finished.callback(None)
        elif reactor.seconds() > ends:
            finished.errback(AssertionError("it did not come to hold"))
        else:
            reactor.callLater(0.001, look)

    look()
    return finished
