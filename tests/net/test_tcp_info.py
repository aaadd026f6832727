from __future__ import annotations

import socket
import sys

import pytest
import pytest_twisted

from ctrlserver.linux.tcp_info import socket_of, tcp_figures
from tests.net.conftest import Serve, in_thread, read_to_end
from tests.servers import reset_at_close

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is read on Linux only")


@pytest_twisted.ensureDeferred
async def test_round_trip_and_retransmissions_are_known_while_open_and_after_the_close(serve: Serve) -> None:
    served = await serve("fixed:4", "echo")

    def begin() -> socket.socket:
        client = served.connect()
        client.sendall(b"ping")
        assert b"ping" == client.recv(4)
        return client

    client = await in_thread(begin)
    (record,) = served.records()
    assert record.rtt_seconds is not None
    assert 0 < record.rtt_seconds < 10
    assert record.retransmits is not None
    client.shutdown(socket.SHUT_WR)
    await in_thread(read_to_end, client)
    (record,) = served.records()
    assert "closed" == record.state
    assert record.rtt_seconds is not None
    assert record.retransmits is not None


@pytest_twisted.ensureDeferred
async def test_they_are_known_after_a_reset_too(serve: Serve) -> None:
    served = await serve("fixed:4")

    def script() -> None:
        with served.connect() as client:
            client.sendall(b"ping")
            reset_at_close(client)

    await in_thread(script)
    await served.book.closed.get()
    (record,) = served.records()
    assert ("reset", 1) == (record.reason, record.packets)
    assert record.rtt_seconds is not None
    assert record.retransmits is not None


def test_a_socket_of_another_kind_or_closed_has_no_figures() -> None:
    left, right = socket.socketpair()
    assert tcp_figures(left) is None
    left.close()
    assert tcp_figures(left) is None
    right.close()
    assert socket_of(object()) is None
