"""Mode ``source``, by both ways in."""

from __future__ import annotations

import socket

import pytest
import pytest_twisted
from twisted.internet import task

from ctrlserver.net.source import source_packets
from tests.net.conftest import Serve, Served, exchange, in_thread, read_to_end
from tests.servers import reset_at_close

PACKETS = source_packets(1000)


def exactly(client: socket.socket, nbytes: int) -> bytes:
    with client.makefile("rb") as stream:
        return stream.read(nbytes)


async def told(served: Served, *pieces: bytes) -> bytes:
    """All that a peer gets who says these pieces of a line and reads to the end."""

    def script() -> bytes:
        client = served.connect()
        for piece in pieces:
            client.sendall(piece)
        return read_to_end(client)

    return await in_thread(script)


@pytest_twisted.ensureDeferred
async def test_a_peer_gets_exactly_the_packets_it_asks_for(serve: Serve) -> None:
    served = await serve("fixed:1000", "source", canned=PACKETS)
    assert await told(served, b"50", b"00\n") == PACKETS.reply * 5000
    (record,) = served.records()
    assert (5000, 5_000_000, 0) == (record.packets, record.bytes, record.incomplete_bytes)
    assert ("source", "eof", 1000, 1) == (record.mode, record.reason, record.size, record.run)
    assert record.seconds > 0
    assert 0 == served.book.counters.totals().replies


@pytest_twisted.ensureDeferred
async def test_packets_that_went_into_the_kernel_at_once_have_no_rate(serve: Serve) -> None:
    served = await serve("fixed:1000", "source", canned=PACKETS)
    assert 8000 == len(await told(served, b"8\n"))
    (record,), (run,) = served.records(), served.book.runs.records(0.0)
    assert (8, 0.0, None) == (record.packets, record.seconds, record.bits_per_second)
    assert (8, 0.0, None) == (run.packets, run.seconds, run.bits_per_second)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("way", ["lane"], indirect=True)
async def test_a_peer_that_talks_while_it_is_sent_to_gets_all_the_same(serve: Serve) -> None:
    served = await serve("fixed:1000", "source", canned=PACKETS)

    def script() -> int:
        client = served.connect(receive_buffer=4096)  # so that at the close much is still to be sent
        client.sendall(b"5000\n")
        begun = len(client.recv(1000))
        client.sendall(b"and what is more\n" * 5000)
        return begun + len(read_to_end(client))

    assert 5_000_000 == await in_thread(script)
    (record,) = served.records()
    assert (5000, "eof") == (record.packets, record.reason)


@pytest_twisted.ensureDeferred
async def test_a_half_close_ends_the_line_not_the_stream(serve: Serve) -> None:
    served = await serve("fixed:1000", "source", canned=PACKETS)
    assert await exchange(served, b"3") == PACKETS.reply * 3


@pytest_twisted.ensureDeferred
async def test_no_packets_asked_for_is_an_end_at_once_and_no_run(serve: Serve) -> None:
    served = await serve("fixed:1000", "source", canned=PACKETS)
    assert b"" == await told(served, b"0\n")
    (record,) = served.records()
    assert (0, "eof", None) == (record.packets, record.reason, record.run)


@pytest_twisted.ensureDeferred
async def test_an_empty_line_asks_for_packets_until_the_peer_closes(serve: Serve) -> None:
    served = await serve("fixed:1000", "source", canned=PACKETS)

    def script() -> bytes:
        with served.connect() as client:
            client.sendall(b"\n")
            return exactly(client, 20_000_000)

    got = await in_thread(script)
    await served.book.closed.get()
    assert got == PACKETS.reply * 20_000
    (record,) = served.records()
    assert record.bytes >= 20_000_000
    assert record.reason == "eof" or not served.lane is not None  # Twisted's transport tells of its own reset


@pytest_twisted.ensureDeferred
async def test_a_peer_whose_stream_an_operator_ends_gets_all_that_is_counted(serve: Serve) -> None:
    """On the lane also if a line came after the packets had begun, so that nobody has read it."""
    served = await serve("fixed:1000", "source", canned=PACKETS)

    def begin() -> socket.socket:
        client = served.connect()
        client.sendall(b"\n")
        client.recv(1000, socket.MSG_WAITALL)
        if served.lane is not None:
            client.sendall(b"\n")
        return client

    client = await in_thread(begin)
    (stream,) = served.listener.streams()
    stream.abort("kicked", 0.0)
    got = await in_thread(lambda: read_to_end(client))
    (record,) = served.records()
    assert ("kicked", 1000 + len(got)) == (record.reason, record.bytes)


@pytest_twisted.ensureDeferred
async def test_a_peer_that_says_nothing_is_sent_to_after_a_second(serve: Serve) -> None:
    served = await serve("fixed:1000", "source", canned=PACKETS)
    sweeping = task.LoopingCall(served.listener.sweep)
    sweeping.start(0.02)

    def script() -> bytes:
        with served.connect() as client:
            return exactly(client, 10_000)

    assert await in_thread(script) == PACKETS.reply * 10
    await served.book.closed.get()
    sweeping.stop()
    assert served.listener.open_streams.waiting == set()


@pytest_twisted.ensureDeferred
async def test_a_line_that_is_no_number_is_a_fault(serve: Serve) -> None:
    served = await serve("fixed:1000", "source", canned=PACKETS)
    assert b"" == await told(served, b"many\n")
    (record,) = served.records()
    assert (0, "fault") == (record.packets, record.reason)


@pytest_twisted.ensureDeferred
async def test_a_peer_gone_before_it_had_all_is_a_reset(serve: Serve) -> None:
    served = await serve("fixed:1000", "source", canned=PACKETS)

    def script() -> None:
        with served.connect() as client:
            client.sendall(b"1000000000\n")
            exactly(client, 1000)
            reset_at_close(client)

    await in_thread(script)
    await served.book.closed.get()
    (record,) = served.records()
    assert "reset" == record.reason
    assert record.packets < 1_000_000_000


@pytest_twisted.ensureDeferred
async def test_a_peer_that_does_not_read_is_closed_as_a_slow_reader(serve: Serve) -> None:
    served = await serve("fixed:1000", "source", canned=PACKETS, stall_timeout=0.2)
    sweeping = task.LoopingCall(served.listener.sweep)
    sweeping.start(0.02)

    def begin() -> socket.socket:
        client = served.connect(receive_buffer=4096)
        client.sendall(b"\n")
        return client

    client = await in_thread(begin)
    await served.book.closed.get()
    sweeping.stop()
    client.close()
    (record,) = served.records()
    assert "slow-reader" == record.reason
    assert served.listener.open_streams.waiting == set()


@pytest_twisted.ensureDeferred
async def test_many_sources_at_once_send_each_its_own_number(serve: Serve) -> None:
    served = await serve("fixed:1000", "source", canned=PACKETS)

    def script() -> None:
        clients = [served.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            client.sendall(b"%d\n" % (number * 100))
        for number, client in enumerate(clients):
            assert len(read_to_end(client)) == number * 100_000

    await in_thread(script)
    assert sorted(record.packets for record in served.records()) == [number * 100 for number in range(20)]
