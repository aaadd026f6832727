"""What comes to a UDP socket is counted before the kernel queues or drops it, whatever becomes of it.

Rules: sockets on loopback only; what is sent there has come when `send` returns, so nothing waits.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NoReturn

import pytest

from ctrlserver.linux import arrivals as module
from ctrlserver.linux.arrivals import Arrivals, arrivals, charged_and_drops
from ctrlserver.linux.udp import SOL_UDP, UDP_GRO, UDP_SEGMENT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="socket filters of this kind are Linux's")


@pytest.fixture(params=["127.0.0.1", "::1"])
def receiver(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A bound socket that nobody reads but the test."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    if family == socket.AF_INET6 and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((request.param, 0))
        sock.setblocking(False)
        yield sock


@pytest.fixture
def sender(receiver: socket.socket) -> Iterator[socket.socket]:
    with socket.socket(receiver.family, socket.SOCK_DGRAM) as sock:
        sock.connect(receiver.getsockname())
        yield sock


@pytest.fixture
def counts(receiver: socket.socket) -> Iterator[Arrivals]:
    made = arrivals(receiver)
    if made is None:
        pytest.skip("bpf is refused here")
    receiver.setsockopt(SOL_UDP, UDP_GRO, 1)
    yield made
    made.close()


def send_batch(sock: socket.socket, size: int, segment: int) -> int:
    """One batch; gives its datagrams."""
    sock.sendmsg([bytes(size)], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", segment))])
    return -(-size // segment)


def test_a_batch_is_counted_as_one_message_and_as_what_is_beyond_its_first_datagram(
    counts: Arrivals, sender: socket.socket
) -> None:
    assert (0, 0, 0) == counts.now()
    sender.send(b"x" * 1000)
    sender.send(b"")
    assert (2, 0, 0) == counts.now()
    for size, segment, packets in [(300, 100, 3), (301, 100, 4), (100, 100, 1), (50 * 64 - 63, 64, 50), (2, 1, 2)]:
        messages, beyond, _ = counts.now()
        assert packets == send_batch(sender, size, segment)
        assert (messages + 1, beyond + packets - 1) == counts.now()[:2]
    assert (7, 2 + 3 + 0 + 49 + 1, 49) == counts.now()


def test_what_the_kernel_drops_is_counted_as_what_it_keeps(
    counts: Arrivals, receiver: socket.socket, sender: socket.socket
) -> None:
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sent = sum(send_batch(sender, 64 * (each % 60 + 1), 64) for each in range(200))
    messages, beyond, most_beyond = counts.now()
    assert (200, sent, 59) == (messages, messages + beyond, most_beyond)
    look = counts.look()
    assert 0 < look.drops < 200
    assert look.charged_bytes > 0
    assert not look.quiet
    read = 0
    while not counts.look().quiet:
        receiver.recv(65536)
        read += 1
    assert 200 == read + look.drops


@pytest.mark.usefixtures("counts")
def test_all_bytes_of_a_datagram_and_a_batch_pass_the_filter(receiver: socket.socket, sender: socket.socket) -> None:
    datagram, batch = os.urandom(9000), os.urandom(40_000)
    sender.send(datagram)
    sender.sendmsg([batch], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", 1000))])
    assert [datagram, batch] == [receiver.recv(65536), receiver.recv(65536)]


def test_what_waited_before_is_not_counted_and_a_closed_count_leaves_the_socket_as_it_was(
    receiver: socket.socket, sender: socket.socket
) -> None:
    sender.send(b"before")
    for _ in range(2):  # the second time there must be no filter left
        made = arrivals(receiver)
        if made is None:
            pytest.skip("bpf is refused here")
        sender.send(b"counted")
        assert (1, 0, 0) == made.now()
        made.close()
    sender.send(b"after")
    assert [b"before", b"counted", b"counted", b"after"] == [receiver.recv(100) for _ in range(4)]


def test_nothing_is_left_open_by_a_count_that_was_closed(receiver: socket.socket) -> None:
    if (made := arrivals(receiver)) is None:
        pytest.skip("bpf is refused here")
    made.close()
    before = sorted(os.listdir("/proc/self/fd"))
    again = arrivals(receiver)
    assert again is not None
    again.close()
    assert before == sorted(os.listdir("/proc/self/fd"))


def test_a_socket_that_came_with_a_filter_keeps_it(receiver: socket.socket, sender: socket.socket) -> None:
    """A classic filter of one instruction, ``return 3``: so much of the message is kept, its UDP header first."""
    code = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 8 + 3), 8)
    so_attach_filter = 26
    receiver.setsockopt(socket.SOL_SOCKET, so_attach_filter, struct.pack("@HP", 1, ctypes.addressof(code)))
    assert arrivals(receiver) is None
    sender.send(b"x" * 100)
    assert b"xxx" == receiver.recv(1000)


def test_a_socket_in_which_batches_may_wait_is_not_counted(receiver: socket.socket) -> None:
    receiver.setsockopt(SOL_UDP, UDP_GRO, 1)
    assert arrivals(receiver) is None


@pytest.mark.usefixtures("counts")
def test_a_second_count_of_a_socket_is_refused(receiver: socket.socket) -> None:
    receiver.setsockopt(SOL_UDP, UDP_GRO, 0)
    assert arrivals(receiver) is None


@pytest.mark.parametrize("refused", [0, 5])
def test_a_system_that_refuses_leaves_the_socket_as_it_was(
    monkeypatch: pytest.MonkeyPatch, receiver: socket.socket, refused: int
) -> None:
    """The call for a map is 0, that for a program 5: the one may be allowed and not the other."""
    real = module._system_call()
    if real is None:
        pytest.skip("no bpf here")
    before = sorted(os.listdir("/proc/self/fd"))

    def call(command: int, attributes: bytes) -> int:
        if command == refused:
            raise PermissionError
        return real(command, attributes)

    monkeypatch.setattr(module, "_system_call", lambda: call)
    assert arrivals(receiver) is None
    assert before == sorted(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(module, "_system_call", lambda: None)
    assert arrivals(receiver) is None


def test_a_socket_that_does_not_tell_has_no_drops() -> None:
    class Silent:
        def getsockopt(self, *_: int) -> NoReturn:
            raise OSError

    assert (0, 0) == charged_and_drops(Silent())  # type: ignore[arg-type]
