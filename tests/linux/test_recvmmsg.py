"""The table that the kernel fills: what it says is what the socket module says of the same datagrams.

Rules: sockets on loopback only; what is sent there is in the receiver's queue when `send` returns, so nothing waits.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterator

import pytest

from ctrlserver.linux.recvmmsg import ROOM_BYTES, ROWS, Messages, messages
from ctrlserver.linux.udp import SOL_UDP, UDP_GRO, UDP_SEGMENT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recvmmsg is Linux's")

Make = Callable[..., socket.socket]


@pytest.fixture
def make() -> Iterator[Make]:
    """``make()`` is a socket bound on loopback, ``make(to=other)`` is connected to another one as well."""
    made: list[socket.socket] = []

    def new(host: str = "127.0.0.1", to: socket.socket | None = None) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        made.append(sock)
        sock.bind((host, 0))
        if to is not None:
            sock.connect(to.getsockname())
        return sock

    yield new
    for sock in made:
        sock.close()


def table_of(sock: socket.socket, content: memoryview | None = None, batches: bool = False) -> Messages:
    table = messages(sock, content, batches)
    assert table is not None
    return table


def test_nothing_waits_in_an_empty_socket(make: Make) -> None:
    table = table_of(make())
    assert 0 == table.read()
    assert [] == table.sizes(0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_sender_is_who_the_socket_module_says(make: Make, host: str) -> None:
    receiver = make(host)
    senders = [make(host, receiver) for _ in range(3)]
    for sender in senders:
        sender.send(b"one")
    expected = [receiver.recvfrom(10)[1] for _ in senders]
    for sender in senders:
        sender.send(b"two")
    table = table_of(receiver)
    assert 3 == table.read()
    assert expected == [table.address(table.name(row)) for row in range(3)]
    assert not table.alike(3)
    assert table.alike(1)


def test_sizes_are_those_of_the_datagrams_in_order_though_none_is_copied(make: Make) -> None:
    receiver = make()
    sender = make(to=receiver)
    sizes = [0, 1, 64, 1400, 9000, 65507]
    for size in sizes:
        sender.send(bytes(size))
    table = table_of(receiver)
    assert len(sizes) == table.read()
    assert sizes == table.sizes(len(sizes))
    assert table.alike(len(sizes))
    assert table.segments(len(sizes)) is None


def test_a_call_brings_no_more_than_the_table_holds_and_the_next_one_the_rest(make: Make) -> None:
    receiver = make()
    sender = make(to=receiver)
    for number in range(ROWS + 3):
        sender.send(bytes(number))
    table = table_of(receiver)
    assert ROWS == table.read()
    assert list(range(ROWS)) == table.sizes(ROWS)
    assert 3 == table.read()
    assert [ROWS, ROWS + 1, ROWS + 2] == table.sizes(3)


def test_each_row_has_its_own_content(make: Make) -> None:
    receiver = make()
    sender = make(to=receiver)
    table = table_of(receiver, memoryview(bytearray(3 * ROOM_BYTES)))
    sent = [b"first", b"", b"x" * 65507]
    for datagram in sent:
        sender.send(datagram)
    rows = table.read()
    assert sent == [bytes(table.content(row, size) or b"") for row, size in enumerate(table.sizes(rows))]


def test_batches_and_datagrams_are_told_apart_call_after_call(make: Make) -> None:
    receiver = make()
    receiver.setsockopt(SOL_UDP, UDP_GRO, 1)
    sender = make(to=receiver)
    table = table_of(receiver, batches=True)
    for _ in range(3):
        sender.sendmsg([bytes(1001)], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", 100))])
        sender.send(bytes(100))
        sender.sendmsg([bytes(128)], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", 64))])
        assert 3 == table.read()
        assert [1001, 100, 128] == table.sizes(3)
        assert [100, 0, 64] == table.segments(3)
        sender.send(b"")
        assert (1, None) == (table.read(), table.segments(1))


def test_an_error_of_an_answer_sent_before_is_passed_over(make: Make) -> None:
    receiver = make()
    gone = make()
    table = table_of(receiver)
    receiver.connect(gone.getsockname())
    gone.close()
    receiver.send(b"nobody is there")
    assert (0, 0) == (table.read(), table.read())


def test_a_socket_without_a_known_kind_of_address_has_no_table() -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        assert messages(one, None, False) is None
