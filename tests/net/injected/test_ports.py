"""Listening sockets that refuse for a while: real sockets on loopback."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from ctrlserver.net.injected.ports import bring_back, may_withdraw, withdraw


def answer(family: int, address: Any) -> str:
    """What a connect meets: the name of its error, or nothing."""
    with socket.socket(family) as client:
        return errno.errorcode.get(client.connect_ex(address), "")


def bind_error(family: int, address: Any, *options: int) -> str:
    """What somebody else meets who wants the address."""
    with socket.socket(family) as other:
        for option in options:
            other.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            other.bind(address)
            other.listen()
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return ""


Listen = Callable[..., socket.socket]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Sockets as Twisted makes them."""
    made: list[socket.socket] = []

    def begin(family: int, address: Any) -> socket.socket:
        sock = socket.socket(family)
        made.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen()
        return sock

    yield begin
    for sock in made:
        sock.close()


FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "::")]


@pytest.mark.parametrize(("family", "host"), FAMILIES)
@pytest.mark.parametrize("chosen", ["by the kernel", "by us"])
def test_a_port_refuses_and_is_the_same_port_afterwards(listen: Listen, family: int, host: str, chosen: str) -> None:
    sock = listen(family, (host, 0))
    if chosen == "by us":
        number = sock.getsockname()[1]
        sock.close()
        sock = listen(family, (host, number))
    address = sock.getsockname()
    for _ in range(3):
        assert sock is withdraw(None, sock)
        assert "ECONNREFUSED" == answer(family, address)
        assert address == sock.getsockname()
        bring_back(sock)
        assert "" == answer(family, address)


@pytest.mark.parametrize(("family", "host"), FAMILIES)
def test_while_it_refuses_nobody_else_can_have_the_address(listen: Listen, family: int, host: str) -> None:
    sock = listen(family, (host, 0))
    address = sock.getsockname()
    with socket.create_connection(address[:2]), sock.accept()[0]:
        for _ in range(2):
            withdraw(None, sock)
            for options in (
                (),
                (socket.SO_REUSEADDR,),
                (socket.SO_REUSEPORT,),
                (socket.SO_REUSEADDR, socket.SO_REUSEPORT),
            ):
                assert "EADDRINUSE" == bind_error(family, address, *options), options
            bring_back(sock)
    assert "EADDRINUSE" == bind_error(family, address, socket.SO_REUSEPORT)


def test_open_connections_go_on_and_those_not_yet_accepted_are_reset(listen: Listen) -> None:
    sock = listen(socket.AF_INET, ("127.0.0.1", 0))
    with (
        socket.create_connection(sock.getsockname()) as one,
        sock.accept()[0] as accepted,
        socket.create_connection(sock.getsockname()) as other,
    ):
        withdraw(None, sock)
        accepted.sendall(b"x")
        assert b"x" == one.recv(1)
        with pytest.raises(ConnectionResetError):
            other.recv(1)


@define
class UnixPort:
    """What is needed of a port of Twisted's."""

    _bindPath: bytes
    fileno: Any = None

    def createInternetSocket(self) -> socket.socket:
        return socket.socket(socket.AF_UNIX)


def test_a_unix_socket_refuses_and_its_file_stays_with_its_permissions(listen: Listen, tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    sock = listen(socket.AF_UNIX, path)
    os.chmod(path, 0o640)
    port = UnixPort(path.encode())
    fresh = withdraw(port, sock)
    assert -1 == sock.fileno()
    assert "ECONNREFUSED" == answer(socket.AF_UNIX, path)
    assert 0o640 == stat.S_IMODE(os.stat(path).st_mode)
    bring_back(fresh)
    assert "" == answer(socket.AF_UNIX, path)
    assert port.fileno() == fresh.fileno()
    fresh.close()


def test_a_unix_socket_whose_file_cannot_be_made_anew_goes_on(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        os.rename(path, path + ".moved")
        with pytest.raises(FileNotFoundError):
            withdraw(UnixPort(path.encode()), sock)
        assert "" == answer(socket.AF_UNIX, path + ".moved")


def test_where_the_folder_is_not_ours_to_write_that_is_known_before(tmp_path: Path) -> None:
    assert may_withdraw(str(tmp_path / "x.sock"))
    assert may_withdraw("x.sock") == os.access(".", os.W_OK)
    assert not may_withdraw(str(tmp_path / "nowhere" / "x.sock"))
