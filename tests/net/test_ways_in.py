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
from twisted.internet.interfaces import IReactorTime

from ctrlserver.net.modes import EchoStream
from tests.net.conftest import PATIENCE, Serve, in_thread, read_to_end


def send_all(client: socket.socket, *pieces: bytes) -> None:
    for piece in pieces:
        client.sendall(piece)


def reactor_now() -> IReactorTime:
    from twisted.internet import reactor

    assert IReactorTime.providedBy(reactor)
    return reactor


def send_until_it_blocks(client: socket.socket) -> int:
    """Until the other side has taken nothing for a while; the number of bytes sent."""
    sent = 0
    client.settimeout(0.3)
    try:
        while True:
            sent += client.send(b"x" * 65536)
    except TimeoutError:
        client.settimeout(PATIENCE)
        return sent


def reset(client: socket.socket) -> None:
    """Close with RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest_twisted.ensureDeferred
async def test_a_sink_counts_packets_bytes_and_the_incomplete_rest(serve: Serve) -> None:
    served = await serve("fixed:1024")

    def script() -> None:
        client = served.connect()
        send_all(client, b"x" * 1024 * 10_240, b"y" * 100)
        client.shutdown(socket.SHUT_WR)
        assert b"" == read_to_end(client)

    await in_thread(script)
    (record,) = served.records()
    assert (10_240, 10_240 * 1024 + 100, 100) == (record.packets, record.bytes, record.incomplete_bytes)
    assert ("closed", "eof", 1024) == (record.state, record.reason, record.size)
    assert record.seconds > 0


@pytest.mark.parametrize("mode", ["sink", "echo"])
@pytest_twisted.ensureDeferred
async def test_what_came_in_one_read_has_no_rate(serve: Serve, mode: str) -> None:
    served = await serve("fixed:1000", mode)

    def script() -> None:
        client = served.connect()
        client.sendall(b"x" * 8000)
        client.shutdown(socket.SHUT_WR)
        assert (8000 if mode == "echo" else 0) == len(read_to_end(client))

    await in_thread(script)
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

    def script() -> None:
        client = served.connect()
        for size in sizes:
            client.sendall(struct.pack("!I", size) + b"z" * size)
        client.shutdown(socket.SHUT_WR)
        read_to_end(client)

    await in_thread(script)
    (record,) = served.records()
    assert (len(sizes), sum(sizes) + 4 * len(sizes), 0) == (record.packets, record.bytes, record.incomplete_bytes)


@pytest_twisted.ensureDeferred
async def test_an_echo_returns_every_byte_to_a_peer_that_sends_all_first_and_half_closes(serve: Serve) -> None:
    served = await serve("fixed:1024", "echo")
    sent = bytes(range(256)) * 4 * 8 * 1024  # 8 MiB: more than both sockets' buffers hold

    def write(client: socket.socket) -> None:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)

    client = await in_thread(served.connect)
    writing = in_thread(write, client)
    got = await in_thread(read_to_end, client)
    await writing
    assert sent == got
    (record,) = served.records()
    assert (8 * 1024, "eof") == (record.packets, record.reason)
    assert 8 * 1024 == served.book.counters.totals().replies


@pytest_twisted.ensureDeferred
async def test_no_more_is_kept_for_a_peer_than_the_reply_buffer_holds(serve: Serve) -> None:
    served = await serve("fixed:10", "echo", reply_buffer=1000)
    client = await in_thread(lambda: served.connect(receive_buffer=4096))
    sent = await in_thread(send_until_it_blocks, client)
    (stream,) = served.listener.streams()
    assert isinstance(stream, EchoStream)
    assert stream._outbox is not None
    assert len(stream._outbox.block()) <= 1000
    reading = in_thread(read_to_end, client, False)
    await in_thread(client.shutdown, socket.SHUT_WR)
    assert len(await reading) == sent
    client.close()


@pytest_twisted.ensureDeferred
async def test_a_canned_reply_answers_each_packet_once_however_many_come_at_once(serve: Serve) -> None:
    served = await serve("fixed:1", "reply", reply=b"0123456789")

    def write(client: socket.socket) -> None:
        client.sendall(b"q" * 1_000_000)
        client.shutdown(socket.SHUT_WR)

    client = await in_thread(served.connect)
    writing = in_thread(write, client)
    got = await in_thread(read_to_end, client)
    await writing
    assert b"0123456789" * 1_000_000 == got
    (record,) = served.records()
    assert (1_000_000, "eof") == (record.packets, record.reason)


@pytest_twisted.ensureDeferred
async def test_a_packet_cut_in_two_gets_one_reply(serve: Serve) -> None:
    served = await serve("line", "reply", reply=b"\x06")

    def script() -> bytes:
        client = served.connect()
        client.sendall(b"hel")
        client.sendall(b"lo\r\nworld\n")
        first = client.recv(1)
        client.sendall(b"rest without an end")
        client.shutdown(socket.SHUT_WR)
        return first + read_to_end(client)

    assert b"\x06\x06" == await in_thread(script)
    (record,) = served.records()
    assert (2, 19) == (record.packets, record.incomplete_bytes)


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
async def test_an_echo_peer_that_resets_without_reading_still_has_its_packets_counted(serve: Serve) -> None:
    served = await serve("fixed:1024", "echo")

    def script() -> None:
        client = served.connect(receive_buffer=4096)
        client.sendall(b"x" * (20 * 1024 + 7))
        reset(client)

    await in_thread(script)
    await served.book.closed.get()
    (record,) = served.records()
    assert ("closed", "reset") == (record.state, record.reason)
    # Twisted's own transport gives up on what was unread when a write fails; the lane reads it.
    assert record.packets == 20 if served.lane is not None else record.packets <= 20


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
async def test_good_packets_before_a_fault_are_answered(serve: Serve) -> None:
    served = await serve("netstring", "reply", reply=b"k")

    def script() -> bytes:
        client = served.connect()
        client.sendall(b"3:abc,0:,garbage")
        return read_to_end(client)

    assert b"kk" == await in_thread(script)
    (record,) = served.records()
    assert (2, "fault") == (record.packets, record.reason)


@pytest_twisted.ensureDeferred
async def test_a_peer_that_never_reads_its_replies_is_closed_as_a_slow_reader(serve: Serve) -> None:
    served = await serve("fixed:1024", "echo", stall_timeout=0.2)
    sweeping = task.LoopingCall(served.listener.sweep)
    sweeping.start(0.02)

    def script() -> int:
        client = served.connect(receive_buffer=4096)
        sent = 0
        try:
            while True:
                sent += client.send(b"x" * 65536)
        except (ConnectionResetError, BrokenPipeError):
            client.close()
        return sent

    sent = await in_thread(script)
    sweeping.stop()
    (record,) = served.records()
    assert "slow-reader" == record.reason
    assert record.bytes < sent


@pytest_twisted.ensureDeferred
async def test_replies_that_never_went_out_are_not_counted_as_given(serve: Serve) -> None:
    served = await serve("fixed:1", "reply", reply=b"x" * 1000)
    client = await in_thread(lambda: served.connect(receive_buffer=4096))
    await in_thread(client.sendall, b"q" * 50_000)
    while not served.listener.open_streams.waiting:
        await task.deferLater(reactor_now(), 0)
    await in_thread(reset, client)
    await served.book.closed.get()
    totals = served.book.counters.totals()
    assert 50_000 == totals.packets
    assert totals.replies < 50_000


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

    def script() -> None:
        client = served.connect()
        client.sendall(b"anything at all")
        client.shutdown(socket.SHUT_WR)
        read_to_end(client)

    await in_thread(script)
    (record,) = served.records()
    assert (0, 15, None) == (record.packets, record.bytes, record.size)


@pytest_twisted.ensureDeferred
async def test_the_last_packets_are_kept_where_asked(serve: Serve) -> None:
    served = await serve("line", keep=2)

    def script() -> None:
        client = served.connect()
        client.sendall(b"one\ntwo\nthree\n")
        client.shutdown(socket.SHUT_WR)
        read_to_end(client)

    await in_thread(script)
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


DENSE = b"0:,1:a," * 30_000
"""More packets than one turn may cut."""


@pytest.mark.parametrize("keep", [0, 5])
@pytest_twisted.ensureDeferred
async def test_more_packets_than_a_turn_cuts_are_counted_exactly_to_the_end(serve: Serve, keep: int) -> None:
    served = await serve("netstring", keep=keep)

    def script() -> None:
        client = served.connect()
        send_all(client, DENSE + b"9:abc")
        client.shutdown(socket.SHUT_WR)
        assert b"" == read_to_end(client)

    await in_thread(script)
    (record,) = served.records()
    assert (60_000, len(DENSE) + 5, 5, "eof") == (
        record.packets,
        record.bytes,
        record.incomplete_bytes,
        record.reason,
    )


@pytest.mark.parametrize(("mode", "expected"), [("echo", DENSE), ("reply", b"OK" * 60_000)])
@pytest_twisted.ensureDeferred
async def test_more_packets_than_a_turn_cuts_are_answered_in_order(serve: Serve, mode: str, expected: bytes) -> None:
    served = await serve("netstring", mode, reply=b"OK")

    def write(client: socket.socket) -> None:
        client.sendall(DENSE)
        client.shutdown(socket.SHUT_WR)

    client = await in_thread(served.connect)
    writing = in_thread(write, client)
    got = await in_thread(read_to_end, client)
    await writing
    assert expected == got
    (record,) = served.records()
    assert (60_000, "eof") == (record.packets, record.reason)
    assert 60_000 == served.book.counters.totals().replies


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
