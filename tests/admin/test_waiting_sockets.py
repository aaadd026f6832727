"""Peers that leave while a reply of theirs is to come later, on real sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted

from tests.admin.listening import Admin, until

WAIT = b"wait packets_total>=1 timeout=1h\n"


@pytest.mark.parametrize("line", [WAIT, WAIT + b"ping\n", b"watch 3600\n"])
@pytest_twisted.ensureDeferred
async def test_a_peer_of_a_unix_socket_that_half_closes_and_leaves_is_noticed(
    listen: Callable[..., Admin], tmp_path: Path, line: bytes
) -> None:
    admin = listen(f"unix:{tmp_path}/a.sock")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "a.sock"))
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        await until(lambda: bool(admin.connections) and admin.connections[0]._later is not None)
    await until(lambda: not admin.connections)


@pytest.mark.parametrize("line", [WAIT, WAIT + b"ping\n", b"watch 3600\n"])
@pytest_twisted.ensureDeferred
async def test_a_peer_that_resets_while_it_waits_is_noticed(listen: Callable[..., Admin], line: bytes) -> None:
    admin = listen()
    with admin.connect() as client:
        client.sendall(line)
        await until(lambda: bool(admin.connections) and admin.connections[0]._later is not None)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await until(lambda: not admin.connections)
