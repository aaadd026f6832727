"""The port by HTTP on real sockets, as the config changes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet import reactor as installed

from ctrlserver.admin.ports import AdminPorts
from ctrlserver.config import AdminConfig, Config, HttpConfig
from ctrlserver.desk import Desk, Health
from ctrlserver.life.question_ports import QuestionPorts
from ctrlserver.net.gate import Reserve, Seats
from ctrlserver.net.listeners import CannotBind
from ctrlserver.net.proxied import Door
from ctrlserver.stats.book import Book
from tests.net.conftest import PATIENCE, in_thread

reactor = cast(Any, installed)
LOOPBACK = "tcp:0:interface=127.0.0.1"
WITHOUT = Config(admin=())
WITH = evolve(WITHOUT, http=HttpConfig(LOOPBACK))


class Ports:
    def __init__(self) -> None:
        book = Book(version="test", now=time.monotonic(), wall=time.time())
        self.health = Health(live=True, ready=True)
        desk = Desk(book, "1", time.monotonic, lambda _: False, health=lambda: self.health)
        self.reserve = Reserve(Seats(), room=10)
        self.shared = AdminPorts(desk, reactor, reserve=self.reserve)
        self.bound = QuestionPorts(self.shared, Door(Seats(), book.counters.rejected, reactor, admin=True), reactor)

    def change(self, config: Config) -> Any:
        return self.bound.prepare(config)()

    @property
    def number(self) -> int:
        held = self.bound._held
        assert held is not None
        return int(cast(Any, held.port.getHost()).port)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.number), PATIENCE)


@pytest.fixture
def ports() -> Iterator[Ports]:
    made = Ports()
    yield made
    pytest_twisted.blockon(made.bound.close())
    made.bound.end()


def read_all(client: socket.socket) -> bytes:
    octets = b""
    while chunk := client.recv(65536):
        octets += chunk
    return octets


async def get(client: socket.socket, path: str, host: str = "localhost") -> bytes:
    """As a browser asks, on a connection of its own."""
    with client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return await in_thread(read_all, client)


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_asked_to_answers_by_http(ports: Ports) -> None:
    ports.bound.bind(WITH)
    assert (await get(ports.connect(), "/livez")).endswith(b"\r\n\r\nlive\n")
    answer = await get(ports.connect(), "/readyz")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nready\n")
    ports.health = Health(live=True, ready=False, reasons=("draining", "stopping"))
    answer = await get(ports.connect(), "/readyz")
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert answer.endswith(b"\r\n\r\nnot ready: draining, stopping\n")
    assert (await get(ports.connect(), "/livez")).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest_twisted.ensureDeferred
async def test_half_closed_after_its_request_a_client_is_answered(ports: Ports) -> None:
    ports.bound.bind(WITH)
    with ports.connect() as client:
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert (await in_thread(read_all, client)).endswith(b"\r\n\r\nlive\n")


@pytest_twisted.ensureDeferred
async def test_a_refusal_reaches_a_client_that_goes_on_sending(ports: Ports) -> None:
    ports.bound.bind(WITH)
    with ports.connect() as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nX: " + b"a" * 1_000_000)
        assert (await in_thread(client.recv, 65536)).startswith(b"HTTP/1.1 431 ")


@pytest_twisted.ensureDeferred
async def test_connections_take_descriptors_of_the_reserve_and_give_them_back(ports: Ports) -> None:
    ports.bound.bind(WITH)
    assert (await get(ports.connect(), "/livez")).endswith(b"live\n")
    assert 0 == ports.reserve.taken


@pytest_twisted.ensureDeferred
async def test_a_reload_adds_changes_and_removes_it(ports: Ports) -> None:
    ports.bound.bind(WITHOUT)
    assert ports.bound._held is None
    ports.change(WITH)
    number = ports.number
    assert (await get(ports.connect(), "/livez", "lab.example")).startswith(b"HTTP/1.1 421 ")
    ports.change(evolve(WITH, http=HttpConfig(LOOPBACK, ("lab.example",))))
    assert number == ports.number
    assert (await get(ports.connect(), "/livez", "lab.example:80")).endswith(b"live\n")
    closed = ports.change(WITHOUT)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number), PATIENCE)
    await closed


@pytest_twisted.ensureDeferred
async def test_if_any_port_cannot_be_bound_all_is_as_before(ports: Ports) -> None:
    ports.bound.bind(WITH)
    number = ports.number
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(CannotBind, match="cannot listen for http"):
            ports.bound.prepare(evolve(WITHOUT, http=HttpConfig(taken)))
        with pytest.raises(CannotBind, match="cannot listen for admin"):
            ports.bound.prepare(Config(admin=(AdminConfig(taken),), http=HttpConfig("tcp:0:interface=127.0.0.2")))
    assert number == ports.number
    assert (await get(ports.connect(), "/livez")).endswith(b"live\n")
