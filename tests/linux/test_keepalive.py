"""Claims about what the kernel knows of a peer's machine; ``integration/test_dead_peers.py`` has dead ones."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

import pytest

from ctrlserver.linux.keepalive import send_probes, unanswered_seconds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's options")


@pytest.mark.parametrize(
    ("idle", "interval", "seconds"), [(1, 1, 1.0), (1, 1, 2.0), (5, 1, 11.0), (30, 10, 60.0), (450, 150, 900.0)]
)
def test_accepted_sockets_are_probed_after_half_the_time_with_several_probes_in_the_rest(
    idle: int, interval: int, seconds: float
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        send_probes(listening, seconds)
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as near:
            assert near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert idle == near.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            assert interval == near.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)


def test_a_peer_that_reads_nothing_owes_no_answer() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as near,
    ):
        assert 0.0 == unanswered_seconds(near)
        near.setblocking(False)
        with suppress(BlockingIOError):
            while near.send(bytes(1 << 16)):
                pass
        assert 0.0 == unanswered_seconds(near)


def test_what_is_no_tcp_connection_owes_nothing() -> None:
    near, far = socket.socketpair()
    with far:
        assert 0.0 == unanswered_seconds(near)
        near.close()
        assert 0.0 == unanswered_seconds(near)
