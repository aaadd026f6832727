"""Socket options that not every kernel has, or not for everybody."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ctrlserver.linux.udp import first_client_port, try_option, widen


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        yield made


def test_an_option_that_the_kernel_has_is_set(sock: socket.socket) -> None:
    assert try_option(sock, socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)


def test_an_option_that_no_kernel_has_is_no_error(sock: socket.socket) -> None:
    assert not try_option(sock, socket.SOL_SOCKET, 99_999, 1)


def test_a_receive_buffer_is_widened_and_size_zero_leaves_it(sock: socket.socket) -> None:
    before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    widen(sock, 0)
    assert before == sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    small = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    widen(sock, 32768)
    assert small < sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def test_the_first_port_of_clients_is_the_systems_and_at_most_linuxs_usual_one() -> None:
    assert 0 < first_client_port() <= 32_768
