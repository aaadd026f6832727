"""Peers that leave while a reply of theirs is to come later, on real sockets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from ctrlserver.admin.protocol import LINES_AHEAD
from tests.admin.listening import Admin, until
from tests.certificates import certificate
from tests.clients import connected
from tests.servers import reset_at_close

WAIT = b"wait packets_total>=1 timeout=1h\n"
AHEAD = WAIT + b"ping\n" * LINES_AHEAD


@pytest.mark.parametrize("line", [WAIT, AHEAD, b"watch 3600\n"])
@pytest_twisted.ensureDeferred
async def test_a_peer_of_a_unix_socket_that_half_closes_and_leaves_is_noticed(
    listen: Callable[..., Admin], tmp_path: Path, line: bytes
) -> None:
    admin = listen(f"unix:{tmp_path}/a.sock")
    with connected(tmp_path / "a.sock") as client:
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        await until(lambda: bool(admin.connections) and admin.connections[0]._later is not None)
    await until(lambda: not admin.connections)


@pytest.mark.skipif(not hasattr(socket, "TCP_LINGER2"), reason="Linux's option")
@pytest_twisted.ensureDeferred
async def test_a_tcp_peer_that_half_closes_and_leaves_is_noticed_by_a_probe(listen: Callable[..., Admin]) -> None:
    admin = listen(probed_seconds=2.0)
    said: list[bytes] = []

    def all_wait() -> bool:
        return len(said) == sum(each._later is not None for each in admin.connections)

    for line in (WAIT, AHEAD):
        said.append(line)
        with admin.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)  # seconds until it is forgotten, usually 60
            client.sendall(line)
            client.shutdown(socket.SHUT_WR)
            await until(all_wait)
    await until(lambda: not admin.connections)


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted's own call
@pytest_twisted.ensureDeferred
async def test_a_tls_peer_that_leaves_while_it_waits_is_noticed(listen: Callable[..., Admin], tmp_path: Path) -> None:
    pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
    path = tmp_path / "tls.pem"
    path.write_bytes(certificate())
    admin = listen(f"ssl:0:interface=127.0.0.1:privateKey={path}", probed_seconds=2.0)
    trusts = ssl.create_default_context(cafile=str(path))
    with await deferToThread(lambda: trusts.wrap_socket(admin.connect(), server_hostname="localhost")) as client:
        client.sendall(AHEAD)  # nothing more is read, so its end is not
        await until(lambda: bool(admin.connections) and admin.connections[0]._later is not None)
    await until(lambda: not admin.connections)


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="Linux's option")
@pytest_twisted.ensureDeferred
async def test_a_tcp_peer_is_probed_while_its_reply_is_to_come(listen: Callable[..., Admin]) -> None:
    admin = listen()
    with admin.connect() as client:
        client.sendall(WAIT)
        await until(lambda: bool(admin.connections) and admin.connections[0]._later is not None)
        near = admin.connections[0]._transport().getHandle()
        assert near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert 30 == near.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)


@pytest.mark.parametrize("line", [WAIT, AHEAD, b"watch 3600\n"])
@pytest_twisted.ensureDeferred
async def test_a_peer_that_resets_while_it_waits_is_noticed(listen: Callable[..., Admin], line: bytes) -> None:
    admin = listen()
    with admin.connect() as client:
        client.sendall(line)
        await until(lambda: bool(admin.connections) and admin.connections[0]._later is not None)
        reset_at_close(client)
    await until(lambda: not admin.connections)
