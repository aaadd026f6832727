"""What a peer sees of an injection, and what is counted, by both ways in."""

from __future__ import annotations

import socket
import time

import pytest
import pytest_twisted

from ctrlserver.lane.costly import Costly
from ctrlserver.net.injected.links import StruckLink
from ctrlserver.net.modes import EchoStream
from ctrlserver.net.stream import Stream
from tests.net.conftest import PATIENCE, Serve, Served, exchange, in_thread, read_to_end
from tests.net.injected.conftest import Begin, end


def packets(number: int, size: int = 4) -> bytes:
    return b"".join(b"%0*d" % (size, n) for n in range(1, number + 1))


def read(client: socket.socket, nbytes: int) -> bytes:
    got = b""
    while len(got) < nbytes:
        more = client.recv(nbytes - len(got))
        assert more, f"the end after {got!r}"
        got += more
    return got


@pytest.mark.parametrize("mode", ["sink", "echo", "reply"])
@pytest_twisted.ensureDeferred
async def test_a_reset_is_one_and_the_packet_that_it_struck_is_the_last_that_counts(
    serve: Serve, order: Begin, mode: str
) -> None:
    served = await serve("fixed:4", mode)
    injected = order(served, "2*ok->1*reset->off")

    def script() -> None:
        client = served.connect()
        client.sendall(packets(10))
        with pytest.raises(ConnectionResetError):
            read(client, 100)
        client.close()

    await in_thread(script)
    await served.book.closed.get()
    (record,) = served.records()
    assert ("injected", 3, 12, 1) == (record.reason, record.packets, record.bytes, record.injected)
    assert 1 == injected.injection.hits.total
    answers = {"sink": b"", "echo": packets(5), "reply": b"\x06" * 5}[mode]
    assert answers == await exchange(served, packets(5)), "no other stream is struck"


@pytest.mark.parametrize("mode", ["sink", "echo"])
@pytest_twisted.ensureDeferred
async def test_a_close_lets_the_answers_before_it_leave(serve: Serve, order: Begin, mode: str) -> None:
    served = await serve("fixed:4", mode)
    order(served, "3*ok->close")

    def script() -> bytes:
        client = served.connect()
        client.sendall(packets(4))
        return read_to_end(client)

    assert (packets(3) if mode == "echo" else b"") == await in_thread(script)
    (record,) = served.records()
    assert ("injected", 4) == (record.reason, record.packets)
    assert (3 if mode == "echo" else 0) == served.book.counters.totals().replies


@pytest.mark.parametrize("mode", ["sink", "echo"])
@pytest_twisted.ensureDeferred
async def test_after_a_half_close_the_peer_reads_the_end_and_is_read_to_its_own(
    serve: Serve, order: Begin, mode: str
) -> None:
    served = await serve("fixed:4", mode)
    order(served, "1*ok->half-close")

    def script() -> bytes:
        client = served.connect()
        client.sendall(packets(2))
        got = read_to_end(client, close=False)
        client.sendall(packets(3))
        client.shutdown(socket.SHUT_WR)
        client.close()
        return got

    assert (packets(1) if mode == "echo" else b"") == await in_thread(script)
    await served.book.closed.get()
    (record,) = served.records()
    assert ("eof", 5, 1) == (record.reason, record.packets, record.injected)
    assert (1 if mode == "echo" else 0) == served.book.counters.totals().replies


@pytest_twisted.ensureDeferred
async def test_swallowed_answers_are_missing_and_counted(serve: Serve, order: Begin) -> None:
    served = await serve("fixed:4", "echo")
    order(served, "3rd*swallow")
    served.book.counters.struck = True
    expected = b"".join(b"%04d" % n for n in range(1, 101) if n % 3)
    assert expected == await exchange(served, packets(100))
    totals = served.book.counters.totals()
    assert (100, 67, 33) == (totals.packets, totals.replies, totals.swallowed)
    assert 33 == served.records()[0].injected


@pytest.mark.parametrize("framing", ["fixed:4", "line", "netstring", "int16", "varint"])
@pytest_twisted.ensureDeferred
async def test_a_delay_keeps_order_and_the_answers_come_in_time(serve: Serve, order: Begin, framing: str) -> None:
    served = await serve(framing, "echo")
    order(served, "2nd*delay(100ms)")
    sent = {
        "fixed:4": b"aaaabbbbcccc",
        "line": b"aa\nb\r\nc\n",
        "netstring": b"1:a,2:bb,0:,",
        "int16": b"\0\1a\0\2bb\0\0",
        "varint": b"\1a\2bb\0",
    }[framing]
    first = {"fixed:4": 4, "line": 3, "netstring": 4, "int16": 3, "varint": 2}[framing]

    def script() -> tuple[bytes, bytes, float]:
        client = served.connect()
        began = time.monotonic()
        client.sendall(sent)
        at_once = read(client, first)
        late = read(client, len(sent) - first)
        took = time.monotonic() - began
        client.close()
        return at_once, late, took

    at_once, late, took = await in_thread(script)
    assert sent == at_once + late
    assert 0.1 <= took < PATIENCE
    (record,) = served.records()
    assert 1 == record.injected


@pytest.mark.parametrize("way", ["lane"], indirect=True)
@pytest_twisted.ensureDeferred
async def test_however_much_its_packets_cost_a_struck_stream_is_read_in_time(
    serve: Serve, order: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctrlserver.lane.lane.COSTLY_SECONDS", 0.0)
    monkeypatch.setattr("ctrlserver.lane.costly.COSTLY_SECONDS", 0.0)
    monkeypatch.setattr("ctrlserver.lane.costly.CHEAP_RATE", 1e18)
    served = await serve("fixed:4", "echo")

    def talk() -> socket.socket:
        client = served.connect()
        for _ in range(5):
            client.sendall(b"ping")
            assert b"ping" == read(client, 4)
        return client

    clients = [await in_thread(talk)]
    order(served, "delay(1ms)")
    clients.append(await in_thread(talk))
    assert served.lane is not None
    owners = [type(owner) for owner in served.lane._owners.values()]
    assert (1, 1) == (owners.count(Costly), owners.count(StruckLink))
    for client in clients:
        client.close()


@pytest_twisted.ensureDeferred
async def test_answers_that_wait_leave_although_the_peer_has_half_closed(serve: Serve, order: Begin) -> None:
    served = await serve("fixed:4", "reply", reply=b"ok")
    order(served, "delay(50ms)")
    assert b"ok" * 10 == await exchange(served, packets(10))
    assert "eof" == served.records()[0].reason


@pytest.mark.parametrize("mode", ["sink", "echo"])
@pytest_twisted.ensureDeferred
async def test_a_stalled_stream_reads_no_further_packet_until_the_order_is_over(
    serve: Serve, order: Begin, mode: str
) -> None:
    served = await serve("fixed:4", mode)
    injected = order(served, "3*ok->stall")
    client = await in_thread(served.connect)

    def send() -> bytes:
        client.sendall(packets(10))
        return read(client, 12) if mode == "echo" else b""

    assert (packets(3) if mode == "echo" else b"") == await in_thread(send)
    await hits_of(served, 1)
    (record,) = served.records()
    assert (3, 12, 1) == (record.packets, record.bytes, record.injected)
    end(served, injected)
    if mode == "echo":
        assert packets(10)[12:] == await in_thread(read, client, 28)
    await in_thread(client.close)
    await served.book.closed.get()
    (record,) = served.records()
    assert ("eof", 10) == (record.reason, record.packets)


async def hits_of(served: Served, hits: int) -> None:
    """Wait until the streams have been struck so often."""
    from twisted.internet import reactor, task

    until = time.monotonic() + PATIENCE
    while sum(record.injected for record in served.records()) < hits:
        assert time.monotonic() < until
        await task.deferLater(reactor, 0.005)


@pytest_twisted.ensureDeferred
async def test_a_packet_that_grows_into_a_stall_is_its_hit(serve: Serve, order: Begin) -> None:
    served = await serve("line")
    injected = order(served, "4B*ok->stall")
    client = await in_thread(served.connect)
    client.sendall(b"abcd")
    while served.book.counters.totals().bytes < 4:
        await in_thread(lambda: None)
    client.sendall(b"e\n")
    await hits_of(served, 1)
    assert 1 == injected.injection.hits.total
    end(served, injected)
    await in_thread(client.close)
    await served.book.closed.get()
    (record,) = served.records()
    assert ("eof", 1, 6) == (record.reason, record.packets, record.bytes)


@pytest_twisted.ensureDeferred
async def test_open_streams_are_struck_too_and_plain_again_afterwards(serve: Serve, order: Begin) -> None:
    served = await serve("fixed:4", "echo")

    def ask(client: socket.socket, text: bytes, answer: int) -> bytes:
        client.sendall(text)
        return read(client, answer)

    client = await in_thread(served.connect)
    assert b"1111" == await in_thread(ask, client, b"1111", 4)
    (stream,) = served.listener.streams()
    assert EchoStream is type(stream)
    injected = order(served, "2*swallow", everybody=True)
    assert EchoStream is not type(stream)
    assert b"4444" == await in_thread(ask, client, b"222233334444", 4)
    delayed = order(served, "delay(1h)", everybody=True)
    client.sendall(b"55556666")
    await hits_of(served, 4)
    end(served, injected)
    end(served, delayed)
    assert b"55556666" == await in_thread(read, client, 8)
    assert EchoStream is type(stream)
    assert not hasattr(stream, "struck")
    assert b"7777" == await in_thread(ask, client, b"7777", 4)
    client.close()
    await served.book.closed.get()
    (record,) = served.records()
    assert ("eof", 7, 4) == (record.reason, record.packets, record.injected)


@pytest_twisted.ensureDeferred
async def test_an_open_sink_is_struck_too(serve: Serve, order: Begin) -> None:
    served = await serve("fixed:4")
    client = await in_thread(served.connect)
    await served.book.opened.get()
    (stream,) = served.listener.streams()
    order(served, "reset", everybody=True)
    assert Stream is not type(stream)

    def script() -> None:
        client.sendall(packets(5))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        client.close()

    await in_thread(script)
    await served.book.closed.get()
    (record,) = served.records()
    assert ("injected", 1) == (record.reason, record.injected)
