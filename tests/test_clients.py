"""The clients of the tests, at servers that reset."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import connected
from tests.ports import free_port
from tests.servers import PATIENCE, reset_at_close


class ResetWhileConnecting(socket.socket):
    """Until it asks whether it is connected, ``listening`` has accepted the connection and reset it."""

    listening: socket.socket

    def connect(self, address: Any) -> None:
        self.setblocking(False)
        self.connect_ex(address)
        near, _ = self.listening.accept()
        reset_at_close(near)
        near.close()
        self.settimeout(PATIENCE)
        problem = self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        raise OSError(problem, os.strerror(problem))


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as each:
        each.settimeout(PATIENCE)
        yield each


def test_a_connection_that_is_reset_before_connect_returns_is_one_that_the_server_has_closed(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ResetWhileConnecting.listening = listening
    with ResetWhileConnecting() as told, pytest.raises(ConnectionResetError):
        told.connect(listening.getsockname())
    monkeypatch.setattr("tests.clients.socket.socket", ResetWhileConnecting)
    with connected(listening.getsockname(), receive_buffer=4096) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert b"" == client.recv(10)
        with pytest.raises(BrokenPipeError):
            client.sendall(b"x")


def test_one_that_is_reset_a_moment_later_is_handed_over_too(listening: socket.socket) -> None:
    with connected(listening.getsockname()) as client:
        near, _ = listening.accept()
        reset_at_close(near)
        near.close()
        with pytest.raises(ConnectionResetError):
            client.recv(10)


def test_a_client_that_does_not_connect_leaves_no_socket_open(tmp_path: Path) -> None:
    nobody = ("127.0.0.1", free_port())
    before = len(os.listdir("/proc/self/fd"))
    for where, problem in ((nobody, ConnectionRefusedError), (tmp_path / "nobody", FileNotFoundError)):
        with pytest.raises(problem):
            connected(where)
    assert before == len(os.listdir("/proc/self/fd"))


def test_a_unix_socket_is_connected_by_its_path(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as near:
        near.bind(str(tmp_path / "x.sock"))
        near.listen()
        with connected(tmp_path / "x.sock") as client:
            accepted, _ = near.accept()
            with accepted:
                client.sendall(b"x")
                assert b"x" == accepted.recv(10)
