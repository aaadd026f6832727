"""Modes ``echo`` and ``reply``, by both ways in: what goes back to a peer, and what does not."""

from __future__ import annotations

import socket

import pytest
import pytest_twisted
from twisted.internet import task

from ctrlserver.net.modes import EchoStream
from tests.net.conftest import DENSE, PATIENCE, Serve, exchange, in_thread, reactor_now, read_to_end, reset


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


@pytest_twisted.ensureDeferred
async def test_an_echo_returns_every_byte_to_a_peer_that_sends_all_first_and_half_closes(serve: Serve) -> None:
    served = await serve("fixed:1024", "echo")
    sent = bytes(range(256)) * 4 * 8 * 1024  # 8 MiB: more than both sockets' buffers hold
    assert sent == await exchange(served, sent)
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
    assert b"0123456789" * 1_000_000 == await exchange(served, b"q" * 1_000_000)
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


@pytest.mark.parametrize(("mode", "expected"), [("echo", DENSE), ("reply", b"OK" * 60_000)])
@pytest_twisted.ensureDeferred
async def test_more_packets_than_a_turn_cuts_are_answered_in_order(serve: Serve, mode: str, expected: bytes) -> None:
    served = await serve("netstring", mode, reply=b"OK")
    assert expected == await exchange(served, DENSE)
    (record,) = served.records()
    assert (60_000, "eof") == (record.packets, record.reason)
    assert 60_000 == served.book.counters.totals().replies
