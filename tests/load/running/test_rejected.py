"""A target that resets each connection as soon as it has accepted it; it may be told at connect, or a moment later."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from twisted.internet import reactor as installed
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.client.admin import open_admin
from ctrlserver.client.connect import TARGET_RESET
from ctrlserver.client.target import Target, parse_target
from ctrlserver.errors import LoadError
from ctrlserver.lane.lane import Lane
from ctrlserver.load.running.connect_mode import ConnectSlot, Slots
from ctrlserver.load.running.transports import transport_of
from ctrlserver.load.streams.wire import Opened
from tests.peers import Admin
from tests.runs import good, load, options
from tests.servers import PATIENCE, Servers, reset_at_close

reactor: Any = installed

LIMIT = "the server says that it has rejected 1 connection (max_streams)"


@define(eq=False)
class Rejecting:
    """Reads a listening socket: what comes is reset, and counted as a server does that has all its streams."""

    listening: socket.socket
    servers: Servers

    def fileno(self) -> int:
        return self.listening.fileno()

    def logPrefix(self) -> str:
        return "rejecting"

    def connectionLost(self, reason: object) -> None:
        pass

    def doRead(self) -> None:
        near, _ = self.listening.accept()
        self.servers.stats["rejected_max_streams_total"] = 1
        reset_at_close(near)
        near.close()


@pytest.fixture(params=["tcp", "unix"])
def listening(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[socket.socket]:
    family, where = (
        (socket.AF_UNIX, str(tmp_path / "x")) if request.param == "unix" else (socket.AF_INET, ("127.0.0.1", 0))
    )
    with socket.socket(family) as each:
        each.bind(where)
        each.listen()
        yield each


@pytest.fixture
def target(listening: socket.socket, servers: Servers) -> Iterator[Target]:
    """The target that rejects."""
    servers.stats["rejected_max_streams_total"] = 0
    reader = Rejecting(listening, servers)
    reactor.addReader(reader)
    yield target_of(listening)
    reactor.removeReader(reader)


def target_of(listening: socket.socket, host: str = "127.0.0.1") -> Target:
    where = listening.getsockname()
    return parse_target(f"unix:{where}" if isinstance(where, str) else f"{host}:{where[1]}")


@pytest.mark.parametrize("mode", ["send", "request", "receive"])
@pytest_twisted.ensureDeferred
async def test_the_limit_that_rejected_it_is_told(target: Target, servers: Servers, mode: str) -> None:
    result = good(await load(target, mode=mode, packets=10_000, admin=servers.listen(Admin)), 1)
    assert result.error is not None
    assert result.error.endswith(LIMIT)


@pytest.mark.parametrize("listening", ["tcp"], indirect=True)
@pytest_twisted.ensureDeferred
async def test_over_tls_too(target: Target, servers: Servers) -> None:
    pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
    over_tls = parse_target(f"tls:{target.text}")
    result = good(await load(over_tls, packets=10, admin=servers.listen(Admin), insecure=True), 1)
    assert result.error is not None
    assert TARGET_RESET in result.error
    assert result.error.endswith(LIMIT)


@pytest.mark.parametrize("listening", ["tcp"], indirect=True)
@pytest_twisted.ensureDeferred
async def test_an_admin_port_that_does_so_is_one_line(target: Target) -> None:
    with pytest.raises(LoadError) as caught:
        await (await open_admin(reactor, target, PATIENCE)).version()
    assert str(caught.value) in (
        f"cannot connect to the admin port {target.text}: {TARGET_RESET}",
        f'{target.text} is not a ctrlserver admin port: asked "version json", it closed the connection',
        f"{target.text} is not a ctrlserver admin port: it has closed the connection",
    )


def reset_connection(listening: socket.socket) -> socket.socket:
    """Its connect(2) has been answered, and its server has reset it; nobody has looked yet."""
    ours = socket.socket()
    ours.setblocking(False)
    ours.connect_ex(listening.getsockname())
    near, _ = listening.accept()
    reset_at_close(near)
    near.close()
    return ours


def slots_of(listening: socket.socket, host: str = "127.0.0.1") -> Slots:
    idle: Any = MemoryReactorClock()
    lane = Lane(idle)
    asked = options(target_of(listening, host), mode="connect")
    return Slots(idle, lane, asked, transport_of(idle, lane, asked))


@pytest.mark.parametrize("listening", ["tcp"], indirect=True)
def test_a_reset_that_is_seen_at_connect_is_counted_as_one(listening: socket.socket) -> None:
    slots = slots_of(listening)
    slots.lane.start()
    slots._opened = 1  # so that the run goes on
    slot = ConnectSlot(slots)
    slot.sock = reset_connection(listening)
    slot.ready(0)
    assert {TARGET_RESET: 1} == slots.failures
    slots.lane.stop()


@pytest.mark.parametrize("listening", ["tcp"], indirect=True)
@pytest_twisted.ensureDeferred
async def test_a_reset_of_the_connection_that_looks_for_the_address_is_told(listening: socket.socket) -> None:
    slots = slots_of(listening, "localhost")
    with reset_connection(listening) as ours:

        async def connected(_: int) -> list[Opened]:
            return [Opened(ours, slots.lane, "here:1", "there:2")]

        slots._transport.connections.open = connected  # type: ignore[method-assign, assignment]
        with pytest.raises(LoadError, match=f"^cannot connect to localhost:.*: {TARGET_RESET}$"):
            await slots.open()
