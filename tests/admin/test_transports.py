"""The admin port over TLS and unix sockets, and what one read of any of them takes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent
from zope.interface import implementer

from ctrlserver.admin.limits import Limits
from ctrlserver.admin.transports import hold_unsent
from tests.admin.listening import Admin, ask, read_all, until
from tests.certificates import certificate
from tests.clients import connected


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted's own call
@pytest_twisted.ensureDeferred
async def test_peers_over_tls_are_served_and_bounded_as_others_are(
    listen: Callable[..., Admin], tmp_path: Path, complaints: list[LogEvent]
) -> None:
    pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
    path = tmp_path / "tls.pem"
    path.write_bytes(certificate())
    admin = listen(f"ssl:0:interface=127.0.0.1:privateKey={path}", connections=1)
    trusts = ssl.create_default_context(cafile=str(path))

    def shaken() -> ssl.SSLSocket:
        return trusts.wrap_socket(admin.connect(), server_hostname="localhost")

    def asked() -> tuple[bytes, bytes]:
        with shaken() as first, shaken() as second:
            refusal = read_all(second)
            first.sendall(b"ping\nquit\n")
            return read_all(first), refusal

    answer, refusal = await deferToThread(asked)
    assert b"OK pong\r\nOK bye\r\n" == answer
    assert refusal.startswith(b"ERR 503 too-many-connections ")
    await until(lambda: not admin.connections)
    assert [] == complaints


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted's own call
@pytest.mark.parametrize("over_tls", [False, True])
@pytest_twisted.ensureDeferred
async def test_one_read_takes_no_more_than_the_limit_says(
    listen: Callable[..., Admin], tmp_path: Path, over_tls: bool
) -> None:
    endpoint = "tcp:0:interface=127.0.0.1"
    if over_tls:
        pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
        path = tmp_path / "tls.pem"
        path.write_bytes(certificate())
        endpoint = f"ssl:0:interface=127.0.0.1:privateKey={path}"
    admin = listen(endpoint)
    with admin.connect():
        await until(lambda: bool(admin.connections))
        transport = admin.connections[0]._transport()
        while over_tls and hasattr(transport, "transport"):
            transport = transport.transport
        assert Limits().read_bytes == transport.bufferSize


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted's own call
@pytest_twisted.ensureDeferred
async def test_a_tls_peer_that_says_nothing_leaves_its_seat_after_ten_seconds(
    listen: Callable[..., Admin], tmp_path: Path
) -> None:
    pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
    path, clock = tmp_path / "tls.pem", Clock()
    path.write_bytes(certificate())
    admin = listen(f"ssl:0:interface=127.0.0.1:privateKey={path}", clock=clock)
    trusts = ssl.create_default_context(cafile=str(path))

    def shaken() -> ssl.SSLSocket:
        client = trusts.wrap_socket(admin.connect(), server_hostname="localhost")
        assert b"OK pong\r\n" == asked(client)
        return client

    def asked(client: ssl.SSLSocket) -> bytes:
        client.sendall(b"ping\n")
        return client.recv(99)

    with admin.connect(), await deferToThread(shaken) as used:
        await until(lambda: len(admin.connections) == 2)
        clock.advance(9.9)
        assert 2 == len(admin.connections)
        clock.pump([0.2, 0])
        await until(lambda: len(admin.connections) == 1)
        clock.advance(200)
        assert b"OK pong\r\n" == await deferToThread(asked, used)


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_is_served_as_well(
    listen: Callable[..., Admin], tmp_path: Path, complaints: list[LogEvent]
) -> None:
    path = tmp_path / "admin.sock"
    listen(f"unix:{path}")
    client = connected(path)
    assert b"OK pong\r\n" == await deferToThread(ask, client, b"ping")
    assert [] == complaints


@implementer(ISystemHandle)
class Handle:
    """A transport's socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def getHandle(self) -> socket.socket:
        return self.sock


def test_the_kernel_takes_little_that_the_peer_does_not_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, connected(server.getsockname()) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sender, _ = server.accept()
        with sender:
            hold_unsent(Handle(sender), 32 * 1024)
            sender.setblocking(False)
            taken = 0
            with suppress(BlockingIOError):
                while taken < 10**8:
                    taken += sender.send(bytes(4096))
    assert taken < 512 * 1024
