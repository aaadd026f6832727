"""What every stream must do, whichever way its bytes come in: on the lane, or by a Twisted protocol."""

from __future__ import annotations

import fcntl
import gc
import socket
import struct
import termios
import time
import weakref

import pytest
import pytest_twisted
from twisted.internet import task

from ctrlserver.net.modes import EchoStream
from tests.net.conftest import DENSE, PATIENCE, Serve, exchange, in_thread, reactor_now, read_to_end, reset


@pytest_twisted.ensureDeferred
async def test_a_sink_counts_packets_bytes_and_the_incomplete_rest(serve: Serve) -> None:
    served = await serve("fixed:1024")
    assert b"" == await exchange(served, b"x" * 1024 * 10_240, b"y" * 100)
    (record,) = served.records()
    assert (10_240, 10_240 * 1024 + 100, 100) == (record.packets, record.bytes, record.incomplete_bytes)
    assert ("closed", "eof", 1024) == (record.state, record.reason, record.size)
    assert record.seconds > 0


@pytest.mark.parametrize("mode", ["sink", "echo"])
@pytest_twisted.ensureDeferred
async def test_what_came_in_one_read_has_no_rate(serve: Serve, mode: str) -> None:
    served = await serve("fixed:1000", mode)
    assert (8000 if mode == "echo" else 0) == len(await exchange(served, b"x" * 8000))
    (record,) = served.records()
    assert (8, 0.0, None, None) == (
        record.packets,
        record.seconds,
        record.packets_per_second,
        record.bits_per_second,
    )


@pytest_twisted.ensureDeferred
async def test_a_length_prefixed_sink_counts_packets_of_all_sizes(serve: Serve) -> None:
    served = await serve("int32")
    sizes = [0, 1, 1023, 1024, 70_000, 5] * 20
    await exchange(served, *(struct.pack("!I", size) + b"z" * size for size in sizes))
    (record,) = served.records()
    assert (len(sizes), sum(sizes) + 4 * len(sizes), 0) == (record.packets, record.bytes, record.incomplete_bytes)


@pytest_twisted.ensureDeferred
async def test_a_reset_in_mid_packet_leaves_the_whole_packets_counted(serve: Serve) -> None:
    served = await serve("fixed:1024")

    def script() -> None:
        client = served.connect()
        client.sendall(b"x" * (5 * 1024 + 7))
        reset(client)

    await in_thread(script)
    await served.book.closed.get()
    (record,) = served.records()
    assert (5, 7, "reset") == (record.packets, record.incomplete_bytes, record.reason)


@pytest_twisted.ensureDeferred
async def test_a_fault_closes_the_stream_and_keeps_the_good_packets(serve: Serve) -> None:
    served = await serve("int32", max_packet=1000)

    def script() -> bytes:
        client = served.connect()
        client.sendall(struct.pack("!I", 3) + b"abc" + struct.pack("!I", 1001))
        return read_to_end(client)

    assert b"" == await in_thread(script)
    (record,) = served.records()
    assert (1, "fault") == (record.packets, record.reason)
    totals = served.book.counters.totals()
    assert (1, 0) == (totals.faults, totals.streams_open)


@pytest_twisted.ensureDeferred
async def test_a_stream_that_is_over_leaves_no_cycle_behind(serve: Serve) -> None:
    served = await serve("int32", "echo")
    if not served.lane is not None:
        pytest.skip("a protocol lives as long as Twisted holds it")
    client = await in_thread(served.connect)
    await in_thread(client.sendall, struct.pack("!I", 4) + b"ping")
    assert await in_thread(client.recv, 100) == struct.pack("!I", 4) + b"ping"
    (stream,) = served.listener.streams()
    assert isinstance(stream, EchoStream)
    gone = weakref.ref(stream._framing)  # the one part that may hold much
    del stream
    gc.collect()
    gc.disable()
    try:
        client.close()
        await served.book.closed.get()
        await task.deferLater(reactor_now(), 0)
        assert gone() is None
    finally:
        gc.enable()


@pytest_twisted.ensureDeferred
async def test_raw_counts_bytes_and_no_packets(serve: Serve) -> None:
    served = await serve("raw")
    await exchange(served, b"anything at all")
    (record,) = served.records()
    assert (0, 15, None) == (record.packets, record.bytes, record.size)


@pytest_twisted.ensureDeferred
async def test_the_last_packets_are_kept_where_asked(serve: Serve) -> None:
    served = await serve("line", keep=2)
    await exchange(served, b"one\ntwo\nthree\n")
    kept = served.book.counters.recent[0].kept
    assert kept is not None
    assert [(2, b"two"), (3, b"three")] == kept.last(10)


@pytest_twisted.ensureDeferred
async def test_a_kicked_stream_is_over_for_that_reason_alone(serve: Serve) -> None:
    served = await serve("fixed:4", "echo")

    def begin() -> socket.socket:
        client = served.connect()
        client.sendall(b"ping")
        assert b"ping" == client.recv(4)
        return client

    client = await in_thread(begin)
    (stream,) = served.listener.streams()
    stream.abort("kicked", 0.0)
    assert b"" == await in_thread(read_to_end, client)
    (record,) = served.records()
    assert ("kicked", 1) == (record.reason, record.packets)
    assert {"kicked": 1} == {reason: n for reason, n in served.book.counters.closed_by_reason.items() if n}


@pytest_twisted.ensureDeferred
async def test_a_hundred_streams_at_once_are_each_counted_on_their_own(serve: Serve) -> None:
    served = await serve("fixed:100")

    def script() -> dict[str, int]:
        clients = [served.connect() for _ in range(100)]
        expected = {}
        for number, client in enumerate(clients):
            client.sendall(b"x" * 100 * number)
            expected[":".join(map(str, client.getsockname()))] = number
        for client in clients:
            client.shutdown(socket.SHUT_WR)
        for client in clients:
            read_to_end(client)
        return expected

    expected = await in_thread(script)
    assert expected == {record.peer: record.packets for record in served.records()}
    totals = served.book.counters.totals()
    assert (totals.streams_total, totals.streams_open, totals.packets) == (100, 0, sum(range(100)))


@pytest.mark.parametrize("mode", ["sink", "echo"])
@pytest_twisted.ensureDeferred
async def test_an_urgent_byte_is_a_byte_of_the_stream(serve: Serve, mode: str) -> None:
    served = await serve("fixed:8", mode)

    def script() -> bytes:
        client = served.connect()
        client.sendall(b"abc")
        client.send(b"!", socket.MSG_OOB)
        client.sendall(b"defg")
        client.shutdown(socket.SHUT_WR)
        return read_to_end(client)

    assert (b"abc!defg" if mode == "echo" else b"") == await in_thread(script)
    (record,) = served.records()
    assert (1, 8, 0) == (record.packets, record.bytes, record.incomplete_bytes)


@pytest.mark.parametrize("mode", ["sink", "echo"])
@pytest_twisted.ensureDeferred
async def test_urgent_bytes_that_come_before_the_connection_is_accepted_count(serve: Serve, mode: str) -> None:
    served = await serve("fixed:1", mode)
    client = served.connect()  # by the kernel alone: the reactor waits for this function
    for byte in (b"a", b"b", b"c"):
        client.send(byte, socket.MSG_OOB)
    client.shutdown(socket.SHUT_WR)
    assert (b"abc" if mode == "echo" else b"") == await in_thread(read_to_end, client)
    (record,) = served.records()
    assert (3, 3) == (record.packets, record.bytes)


@pytest.mark.parametrize("keep", [0, 5])
@pytest_twisted.ensureDeferred
async def test_more_packets_than_a_turn_cuts_are_counted_exactly_to_the_end(serve: Serve, keep: int) -> None:
    served = await serve("netstring", keep=keep)
    assert b"" == await exchange(served, DENSE + b"9:abc")
    (record,) = served.records()
    assert (60_000, len(DENSE) + 5, 5, "eof") == (
        record.packets,
        record.bytes,
        record.incomplete_bytes,
        record.reason,
    )


@pytest.mark.parametrize("mode", ["sink", "echo", "reply"])
@pytest_twisted.ensureDeferred
async def test_all_that_was_acknowledged_before_a_reset_is_counted(serve: Serve, mode: str) -> None:
    served = await serve("netstring", mode, reply=b"more than the buffers hold" * 99)
    sent = DENSE[:49_000]

    def script() -> None:
        client = served.connect(receive_buffer=4096)
        client.sendall(sent)
        end = time.monotonic() + PATIENCE
        while struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))[0] and time.monotonic() < end:
            time.sleep(0.001)
        reset(client)

    await in_thread(script)
    await served.book.closed.get()
    (record,) = served.records()
    assert (len(sent), 14_000, "reset") == (record.bytes, record.packets, record.reason)
