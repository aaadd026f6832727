"""A parent with the planes of workers behind it, all in one process; TLS listeners and their clients."""

from __future__ import annotations

import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred, succeed

from ctrlserver.config import ListenerConfig
from ctrlserver.stats.book import Book
from ctrlserver.workers.ports.given import GivenPlane
from ctrlserver.workers.ports.listeners import SharingPlane
from ctrlserver.workers.ports.sockets import for_worker
from tests.certificates import certificate
from tests.net.conftest import PATIENCE, reactor_now
from tests.runs import reached
from tests.workers.conftest import sockets

LOOPBACK = "tcp:0:interface=127.0.0.1"
ECHO = ListenerConfig(name="one", endpoint=LOOPBACK, mode="echo", framing="line")


def book() -> Book:
    return Book(version="test", now=time.monotonic(), wall=time.time())


class Shop:
    """A parent and its workers. Connections go to the workers in turn; what they release is told by ``refresh``."""

    def __init__(self, *listeners: ListenerConfig, workers: int = 2, balance: str = "exact") -> None:
        self.book = book()
        self.balance = balance
        self.handed: list[tuple[int, str, str]] = []
        self.taken: Counter[int] = Counter()
        self.asked = 0
        self.has_room = True
        self.plane = SharingPlane(
            listeners,
            self.book,
            reactor_now(),
            time.monotonic,
            workers=workers,
            balance=balance,
            hand=self.hand,
            flush=lambda: None,
            has_room=lambda: self.has_room,
            refresh=self.refresh,
        )
        self.plane.bind()
        self.workers: dict[int, GivenPlane] = {}
        for number in range(1, workers + 1):
            self.begin(number, listeners)

    def begin(self, number: int, listeners: Any) -> None:
        """Start that worker."""
        configs, given = [for_worker(each) for each in listeners], self.plane.given(number)
        plane = GivenPlane(configs, book(), reactor_now(), time.monotonic, given, self.plane.generation)
        plane.bind()
        self.workers[number] = plane

    def hand(self, listener: int, descriptor: int, peer: str, strike: str) -> int | None:
        worker = len(self.handed) % len(self.workers) + 1
        self.handed.append((listener, peer, strike))
        self.workers[worker].take(descriptor, self.plane.generation, listener, peer, strike)
        self.taken[worker] += 1
        return worker

    def refresh(self) -> Deferred[None]:
        self.asked += 1
        for number, worker in self.workers.items():
            self.plane.seating.released(number, worker.released(self.taken[number]))
        return succeed(None)

    def reload(self, *listeners: ListenerConfig) -> None:
        self.plane.prepare(listeners).put()
        for number, worker in self.workers.items():
            worker.prepare([for_worker(each) for each in listeners], self.plane.given(number)).put()

    def address(self, name: str = "one") -> Any:
        (record,) = [each for each in self.plane.records() if each.name == name]
        host, _, port = record.address.rpartition(":")
        return (host.strip("[]"), int(port)) if host else record.address

    def open(self) -> list[int]:
        return [len(worker._counters.open) for worker in self.workers.values()]

    def total(self, name: str) -> int:
        return sum(getattr(worker._book.stats(time.monotonic()), name) for worker in self.workers.values())

    def figure(self, name: str) -> Any:
        return getattr(self.book.stats(time.monotonic()), name)

    def close(self) -> None:
        for plane in (self.plane, *self.workers.values()):
            pytest_twisted.blockon(plane.stop_listening())
            plane.drain()
            plane.stop()


Open = Callable[..., Shop]


@pytest.fixture
def shop() -> Iterator[Open]:
    """Begins one. No socket of any is left at the end, whichever way a connection went."""
    up: list[Shop] = []
    before = sockets()

    def begin(*listeners: ListenerConfig, **options: Any) -> Shop:
        up.append(made := Shop(*(listeners or (ECHO,)), **options))
        return made

    yield begin
    for each in up:
        each.close()
    pytest_twisted.blockon(ensureDeferred(reached(lambda: sockets() <= before)))


def asked(client: socket.socket, line: bytes = b"a\n") -> bytes:
    """The answer to a line."""
    with client:
        client.sendall(line)
        return client.recv(100)


class Tls:
    """TLS clients of a listener in mode echo, whose certificate they know."""

    def __init__(self, folder: Path) -> None:
        (folder / "pem").write_bytes(certificate("localhost"))
        self.context = ssl.create_default_context(cafile=str(folder / "pem"))
        endpoint = f"ssl:7:privateKey={folder / 'pem'}"
        self.config = ListenerConfig(name="one", endpoint=endpoint, mode="echo", framing="line")

    def asked(self, plain: socket.socket) -> bytes:
        """The answer to a line, or OpenSSL's words against the certificate."""
        plain.settimeout(PATIENCE)
        try:
            with self.context.wrap_socket(plain, server_hostname="localhost") as client:
                return asked(client)
        except ssl.SSLCertVerificationError as error:
            return error.verify_message.encode()


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    """The listener's files are in the test's folder."""
    pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
    return Tls(tmp_path)
