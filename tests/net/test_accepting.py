from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from attrs import define
from twisted.internet import reactor as installed_reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher

from ctrlserver.net.accepting import ACCEPTS_A_GO, accept_few, endpoint_of
from tests.certificates import certificate
from tests.clients import connected

reactor = cast(Any, installed_reactor)


class Counting(Factory):
    """Notes its connections."""

    def __init__(self) -> None:
        self.made: list[Protocol] = []

    def buildProtocol(self, addr: object) -> Protocol:
        self.made.append(Protocol())
        return self.made[-1]


@define
class Exhausted:
    """A listening socket in a process that has no descriptor left."""

    listening: socket.socket

    def fileno(self) -> int:
        return self.listening.fileno()

    def accept(self) -> tuple[socket.socket, Any]:
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.fixture
def factory() -> Counting:
    return Counting()


@pytest.fixture
def port(factory: Counting) -> Iterator[Any]:
    """A port that the reactor does not read: its ``doRead`` is the test's to call."""
    ports: list[IListeningPort] = []
    serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory).addCallback(ports.append)
    listening = cast(Any, ports[0])
    yield listening
    for protocol in factory.made:
        cast(Any, protocol).transport.abortConnection()
    if listening.connected:
        pytest_twisted.blockon(listening.stopListening())


@pytest.fixture
def complaints() -> Iterator[list[LogEvent]]:
    events: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn or "EMFILE" in str(event):
            events.append(event)

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)


def connect(port: Any, count: int) -> list[socket.socket]:
    return [connected(("127.0.0.1", port.getHost().port)) for _ in range(count)]


def test_one_go_makes_a_few_connections_whole_and_the_rest_wait(port: Any, factory: Counting) -> None:
    accept_few(port, "admin", reactor)
    clients = connect(port, 5)
    made = []
    for _ in range(4):
        port.doRead()
        made.append(len(factory.made))
    assert [ACCEPTS_A_GO, 2 * ACCEPTS_A_GO, 5, 5] == made
    peers = {client.getsockname()[1] for client in clients}
    assert peers == {cast(Any, protocol).transport.getPeer().port for protocol in factory.made}
    for client in clients:
        client.close()


def test_a_stop_holds_for_the_rest_of_the_go(port: Any, factory: Counting) -> None:
    accepting = accept_few(port, "http", reactor)
    assert accepting is not None
    build = factory.buildProtocol

    def build_and_stop(address: Any) -> Any:
        accepting.stop()
        return build(address)

    cast(Any, factory).buildProtocol = build_and_stop
    clients = connect(port, 3)
    for number in (1, 2):
        accepting.go_on()
        port.doRead()
        assert number == len(factory.made)
        assert port not in reactor.getReaders()
    for client in clients:
        client.close()


def test_who_is_rejected_is_closed_and_nothing_is_made_of_it(port: Any, factory: Counting) -> None:
    accepting = accept_few(port, "http", reactor)
    assert accepting is not None
    peers: list[int] = []

    def first(sock: socket.socket) -> bool:
        peers.append(sock.getpeername()[1])
        return len(peers) == 1

    accepting.rejects = first
    clients = connect(port, 2)
    while len(peers) < 2:
        port.doRead()
    assert [client.getsockname()[1] for client in clients] == peers
    assert (1, b"") == (len(factory.made), clients[0].recv(1))
    for client in clients:
        client.close()


def test_more_connections_than_twisted_would_queue_wait_in_the_kernel(port: Any) -> None:
    accept_few(port, "admin", reactor)
    clients = connect(port, 200)  # the 52nd of a queue of 50 would wait a second and more for each try
    for client in clients:
        client.close()


@pytest_twisted.ensureDeferred
async def test_without_descriptors_the_port_pauses_and_says_so_once_a_second_with_the_number_of_pauses(
    port: Any, factory: Counting, complaints: list[LogEvent]
) -> None:
    clock = Clock()
    accept_few(port, "admin", cast(Any, clock))
    clients = connect(port, 3)
    listening, port.socket = port.socket, Exhausted(port.socket)
    for _ in range(25):
        port.doRead()
        clock.advance(0.09)
        assert port not in reactor.getReaders()
        clock.advance(0.011)
        assert port in reactor.getReaders()
    assert 3 == len(complaints)
    assert "descriptors" == complaints[0]["lacking"]
    assert 1 == complaints[0]["number"]
    assert 20 <= sum(line["number"] for line in complaints) <= 25
    port.socket = listening
    await deferLater(reactor, 0)
    port.doRead()
    port.doRead()
    assert 3 == len(factory.made)
    for client in clients:
        client.close()


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_stopped_while_it_pauses_is_left_alone(port: Any) -> None:
    clock = Clock()
    accept_few(port, "admin", cast(Any, clock))
    listening, port.socket = port.socket, Exhausted(port.socket)
    port.doRead()
    port.socket = listening
    await port.stopListening()
    clock.advance(1)
    assert port not in reactor.getReaders()


@pytest.mark.filterwarnings(
    "ignore:Passing pyOpenSSL:DeprecationWarning", "ignore:X509:DeprecationWarning"
)  # Twisted's
@pytest.mark.parametrize("form", ["ssl:0:interface=127.0.0.1:privateKey={file}", "tls:{folder}:0:interface=127.0.0.1"])
@pytest_twisted.ensureDeferred
async def test_a_tls_client_that_offers_protocols_is_served_without_one(tmp_path: Path, form: str) -> None:
    pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
    file = tmp_path / "localhost.pem"
    file.write_bytes(certificate("localhost"))
    endpoint = endpoint_of(reactor, form.format(file=file, folder=tmp_path))
    port: Any = await endpoint.listen(cast(Any, Factory.forProtocol(Protocol)))
    address = ("127.0.0.1", port.getHost().port)

    def negotiated() -> str | None:
        offering = ssl.create_default_context(cafile=str(file))
        offering.set_alpn_protocols(["h2", "http/1.1"])
        with connected(address) as plain, offering.wrap_socket(plain, server_hostname="localhost") as client:
            return client.selected_alpn_protocol()

    assert None is await deferToThread(negotiated)
    await port.stopListening()
