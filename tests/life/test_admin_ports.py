"""Admin ports on real sockets, as the config changes."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.interfaces import IListeningPort

from ctrlserver.admin.levels import Level
from ctrlserver.admin.ports import AdminPorts
from ctrlserver.config import AdminConfig
from ctrlserver.desk import Desk
from ctrlserver.errors import ConfigError, UsageError
from ctrlserver.life.admin_ports import BoundAdminPorts
from ctrlserver.net.gate import Seats
from ctrlserver.net.listeners import CannotBind
from ctrlserver.net.proxied import Door
from ctrlserver.stats.book import Book
from tests.net.conftest import PATIENCE, in_thread

reactor = cast(Any, installed)
LOOPBACK = "tcp:0:interface=127.0.0.1"


class Ports:
    """What is bound, and what grants access."""

    def __init__(self) -> None:
        book = Book(version="test", now=time.monotonic(), wall=time.time())
        self.shared = AdminPorts(Desk(book, "1", time.monotonic, lambda _: False), reactor)
        door = Door(Seats(), book.counters.rejected, reactor, admin=True)
        self.bound = BoundAdminPorts(self.shared, door, reactor)

    def change(self, *configs: AdminConfig) -> Any:
        return self.bound.prepare(configs)()

    def number(self, place: int = 0) -> int:
        return int(cast(Any, self.bound._held[place].port.getHost()).port)

    def connect(self, place: int = 0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.number(place)), PATIENCE)

    @property
    def listening(self) -> int:
        """Ports of this process that accept connections."""
        return sum(IListeningPort.providedBy(each) for each in reactor.getReaders())

    @property
    def levels(self) -> list[tuple[Level, Level]]:
        """Of each port the level that its peers begin with, and the one they can reach."""
        return [(each.begins, each.reachable) for each in self.shared.accesses()]


@pytest.fixture
def ports() -> Iterator[Ports]:
    made = Ports()
    yield made
    pytest_twisted.blockon(made.bound.close())
    made.shared.close()


async def answer(client: socket.socket) -> bytes:
    client.sendall(b"ping\n")
    return await in_thread(client.recv, 100)


@pytest_twisted.ensureDeferred
async def test_a_port_that_goes_on_keeps_its_number_and_the_connections_in_use(ports: Ports) -> None:
    ports.bound.bind([AdminConfig(LOOPBACK)])
    number = ports.number()
    with ports.connect() as old:
        assert b"OK pong\r\n" == await answer(old)
        ports.change(AdminConfig(LOOPBACK, level="viewer"), AdminConfig(LOOPBACK))
        assert number == ports.number()
        assert [(Level.VIEWER, Level.VIEWER), (Level.OPERATOR, Level.OPERATOR)] == ports.levels
        with ports.connect() as new:
            assert b"OK pong\r\n" == await answer(new)
        assert b"OK pong\r\n" == await answer(old)
        old.close()


@pytest_twisted.ensureDeferred
async def test_of_a_removed_port_the_connections_go_on(ports: Ports) -> None:
    ports.bound.bind([AdminConfig(LOOPBACK), AdminConfig(LOOPBACK)])
    with ports.connect(1) as old:
        assert b"OK pong\r\n" == await answer(old)
        gone = ports.number(1)
        closed = ports.change(AdminConfig(LOOPBACK))
        assert 1 == len(ports.levels)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gone), PATIENCE)
        await closed
        assert b"OK pong\r\n" == await answer(old)


@pytest_twisted.ensureDeferred
async def test_a_secret_is_read_anew(ports: Ports, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for text in ("correct horse battery", "another horse battery"):
        secret.write_text(text)
        secret.chmod(0o600)
        ports.change(AdminConfig(LOOPBACK, auth=str(secret)))
        assert [text.encode()] == [each.secret for each in ports.shared.accesses()]
    assert [(Level.OPERATOR, Level.ADMIN)] == ports.levels


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (AdminConfig("tcp:0:interface=127.0.0.1:backlog=5", auth="/nonexistent/secret"), UsageError),
        (AdminConfig("tcp:0:interface=127.0.0.1:backlog=5", level="admin"), ConfigError),
        (AdminConfig("tcp:0:interface=203.0.113.7"), CannotBind),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_had_leaves_all_as_it_was(
    ports: Ports, wrong: AdminConfig, error: type[Exception]
) -> None:
    ports.bound.bind([AdminConfig(LOOPBACK)])
    number, listening = ports.number(), ports.listening
    with pytest.raises(error):
        ports.change(AdminConfig(LOOPBACK, level="viewer"), AdminConfig("tcp:0:interface=127.0.0.1:backlog=7"), wrong)
    assert (number, [(Level.OPERATOR, Level.OPERATOR)]) == (ports.number(), ports.levels)
    assert listening == ports.listening
    with ports.connect() as client:
        assert b"OK pong\r\n" == await answer(client)


@pytest_twisted.ensureDeferred
async def test_a_port_whose_unix_socket_file_is_gone_closes_and_its_path_is_free_again(
    ports: Ports, tmp_path: Path
) -> None:
    unix = AdminConfig(f"unix:{tmp_path}/a.sock")
    ports.bound.bind([unix])
    listening = cast(Any, ports.bound._held[0].port).socket
    (tmp_path / "a.sock").unlink()
    await ports.change()
    assert [-1, []] == [listening.fileno(), list(tmp_path.iterdir())]
    ports.change(unix)
    assert (tmp_path / "a.sock").exists()


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_that_cannot_have_its_file_again_is_one_line_and_all_is_as_it_was(
    ports: Ports, tmp_path: Path
) -> None:
    path = tmp_path / "folder" / "a.sock"
    path.parent.mkdir()
    configs = AdminConfig(LOOPBACK), AdminConfig(f"unix:{path}")
    ports.bound.bind(configs)
    before = ports.shared.accesses()
    shutil.rmtree(path.parent)
    with pytest.raises(CannotBind, match=rf"^cannot listen for admin2 on unix:{path}: no such file or dir"):
        ports.change(*configs)
    assert before == ports.shared.accesses()
    path.parent.mkdir()
    ports.change(*configs)
    assert path.exists()
