"""What every UDP port must do, whichever way in it has: many messages a call or one on the lane, or Twisted.

Rules: the reactor does not run while a test sends, so what it sends waits and is read together.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_network
from typing import NoReturn

import pytest
import pytest_twisted
from twisted.logger import capturedLogs

from ctrlserver.addresses import peer_name
from ctrlserver.linux.udp import SOL_UDP, UDP_SEGMENT
from ctrlserver.net.gate import Gate, Seats
from ctrlserver.stats.kept import PACKET_OVERHEAD, KeptPackets
from ctrlserver.wire.probe import encode
from tests.net.conftest import in_thread
from tests.net.udp.conftest import Serve, check, linux, send_batch


@pytest_twisted.ensureDeferred
async def test_datagrams_of_one_turn_have_no_rate(serve: Serve, way: str) -> None:
    if way == "twisted":
        pytest.skip("Twisted hands over one datagram at a time")
    served = serve()
    client = served.connect()
    for _ in range(20):
        client.send(b"x" * 1000)
    await served.until(lambda totals: totals.packets == 20)
    (record,), (run,) = served.records(), served.book.runs.records(0.0)
    assert (20, 0.0, None, None) == (
        record.packets,
        record.seconds,
        record.packets_per_second,
        record.bits_per_second,
    )
    assert (20, 0.0, None) == (run.packets, run.seconds, run.bits_per_second)


@pytest_twisted.ensureDeferred
async def test_each_datagram_is_a_packet_and_each_peer_a_stream(serve: Serve) -> None:
    served = serve()
    one, other = served.connect(), served.connect()
    sizes = [0, 1, 64, 1400, 9000, 65507]
    for size in sizes:
        one.send(b"x" * size)
    other.send(b"y" * 100)
    await served.until(lambda totals: totals.packets == len(sizes) + 1)
    by_peer = {record.peer: record for record in served.records()}
    record = by_peer[":".join(map(str, one.getsockname()))]
    check(record, packets=len(sizes), bytes=sum(sizes))
    check(record, protocol="udp", framing="datagram", mode="sink", state="open", reason=None)
    record = by_peer[":".join(map(str, other.getsockname()))]
    check(record, packets=1, bytes=100, size=100)


@pytest_twisted.ensureDeferred
async def test_the_datagrams_of_many_peers_in_turn_are_counted_peer_by_peer(serve: Serve) -> None:
    served = serve()
    clients = [served.connect() for _ in range(7)]
    for round_ in range(40):  # more than one call brings
        for number, client in enumerate(clients):
            if round_ <= number * 5:
                client.send(b"x" * (number + round_))
    packets = [min(40, number * 5 + 1) for number in range(7)]
    await served.until(lambda totals: totals.packets == sum(packets))
    by_peer = {record.peer: record for record in served.records()}
    for number, (client, count) in enumerate(zip(clients, packets, strict=True)):
        record = by_peer[":".join(map(str, client.getsockname()))]
        check(record, packets=count, bytes=sum(number + at for at in range(count)))


class NoRoom(KeptPackets):
    """There is no memory for packets of more than 50 bytes."""

    def add(self, packets: list[bytes]) -> None:
        if len(packets[0]) > 50:
            raise MemoryError
        super().add(packets)


def no_memory(*_: object) -> NoReturn:
    raise MemoryError


@pytest.mark.parametrize(("mode", "keep"), [("sink", 5), ("echo", 0), ("echo", 5)])
@pytest_twisted.ensureDeferred
async def test_without_memory_for_more_than_that_datagrams_are_counted(serve: Serve, mode: str, keep: int) -> None:
    served = serve(mode, keep=keep)
    poor, other = served.connect(), served.connect()
    poor.send(b"first")
    await served.until(lambda totals: totals.packets == 1)
    (stream,) = served.port.peers.by_address.values()
    stream.counters.kept = NoRoom(5, 100) if keep else None
    stream.answer = no_memory if mode == "echo" and not keep else stream.answer
    with capturedLogs() as lines:
        for client in (poor, other, poor, other, poor):
            client.send(b"x" * 100)
        await served.until(lambda totals: totals.packets == 6)
    by_peer = {record.peer: record for record in served.records()}
    check(by_peer[peer_name(poor.getsockname())], packets=4, bytes=305, state="open")
    check(by_peer[peer_name(other.getsockname())], packets=2, bytes=200, state="open")
    assert (3 if mode == "echo" else 0) == stream.counters.unanswered
    assert {"datagrams of {peer} were counted and no more"} == {line["log_format"] for line in lines}
    assert all(line["log_failure"].check(MemoryError) for line in lines)
    if stream.counters.kept is not None:
        poor.send(b"fifth")
        await served.until(lambda totals: totals.packets == 7)
        assert [(5, b"fifth")] == stream.counters.kept.last(5)
        assert 2 * (100 + PACKET_OVERHEAD) + 5 + PACKET_OVERHEAD == served.book.memory.held


@pytest_twisted.ensureDeferred
async def test_without_memory_for_its_stream_a_peer_is_rejected_and_the_others_are_counted(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    known, new = served.connect(), served.connect()
    known.send(b"first")
    await served.until(lambda totals: totals.packets == 1)
    monkeypatch.setattr(served.book, "stream_opened", no_memory)
    for client in (known, new, known, new, known):
        client.send(b"x")
    await served.until(lambda totals: totals.packets == 4)
    assert 2 == served.book.counters.rejected_by_reason["max-streams"]


@pytest_twisted.ensureDeferred
async def test_a_thousand_waiting_datagrams_are_all_counted(serve: Serve) -> None:
    served = serve()
    client = served.connect()
    for _ in range(1000):
        client.send(b"x" * 10)
    totals = await served.until(lambda totals: totals.packets + totals.dropped == 1000)
    check(totals, packets=1000, bytes=10_000, streams_total=1)


@linux
@pytest_twisted.ensureDeferred
async def test_a_batch_is_counted_datagram_by_datagram_however_it_is_read(serve: Serve) -> None:
    served = serve()
    client = served.connect()
    send_batch(client, 50, 1000)
    client.sendmsg([b"x" * 1001], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", 100))])  # ten and a last one of one byte
    totals = await served.until(lambda totals: totals.packets >= 61)
    check(totals, packets=61, bytes=51_001, streams_total=1)


@pytest_twisted.ensureDeferred
async def test_datagrams_of_a_network_that_is_not_allowed_are_counted_as_rejected_only(serve: Serve) -> None:
    served = serve(gate=Gate(Seats(), networks=[ip_network("10.0.0.0/8")]))
    client = served.connect()
    for _ in range(3):
        client.send(b"x" * 64)
    totals = await served.until(lambda totals: totals.rejected == 3)
    check(totals, packets=0, bytes=0, streams_total=0)
    assert {"not-allowed": 3} == served.book.counters.rejected_by_reason


@pytest_twisted.ensureDeferred
async def test_while_the_server_drains_known_peers_go_on_and_new_ones_are_rejected(serve: Serve) -> None:
    served = serve(gate=Gate(seats := Seats()))
    known, new = served.connect(), served.connect()
    known.send(b"x" * 64)
    await served.until(lambda totals: totals.packets == 1)
    seats.draining = True
    for client in (new, known, new):
        client.send(b"x" * 64)
    totals = await served.until(lambda totals: totals.rejected == 2 and totals.packets == 2)
    check(totals, packets=2, bytes=128, streams_total=1)
    assert {"draining": 2} == served.book.counters.rejected_by_reason


@linux
@pytest_twisted.ensureDeferred
async def test_lost_and_late_probe_packets_are_found_in_batches_too(serve: Serve) -> None:
    served = serve(probe=True)
    client = served.connect()
    for sequence in (0, 1, 3, 2, 6):
        client.send(encode(sequence, 0).ljust(64, b"."))
    batch = b"".join(encode(sequence, 0).ljust(64, b".") for sequence in range(7, 57)) + encode(60, 0)
    client.sendmsg([batch], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", 64))])
    await served.until(lambda totals: totals.packets == 56)
    (record,) = served.records()
    check(record, lost=5, duplicate=0, out_of_order=1)  # lost: 4, 5, 57, 58 and 59


@pytest_twisted.ensureDeferred
async def test_probe_packets_read_together_are_all_entered_and_too_short_ones_are_not(serve: Serve) -> None:
    served = serve(probe=True)
    client = served.connect()
    client.send(encode(0, 0))
    await served.until(lambda totals: totals.packets == 1)
    for sequence in range(1, 101):
        client.send(encode(sequence, 0).ljust(24 + sequence, b"."))
    for sequence in range(110, 210):
        client.send(encode(sequence, 0)[: 24 if sequence % 10 else 23])
    await served.until(lambda totals: totals.packets == 201)
    (record,) = served.records()
    check(record, lost=9 + 10, duplicate=0, out_of_order=0)


@linux
@pytest_twisted.ensureDeferred
async def test_an_echo_returns_each_datagram_as_it_came(serve: Serve) -> None:
    served = serve("echo")
    client = served.connect()
    sent = [b"a", b"", b"b" * 5000, *[b"x" * 700] * 20]

    def script() -> list[bytes]:
        for datagram in sent[:3]:
            client.send(datagram)
        send_batch(client, 20, 700)
        return [client.recv(65536) for _ in sent]

    assert sent == await in_thread(script)
    assert served.book.counters.totals().replies == len(sent)


@linux
@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("size", [1, 64, 1400, 9000])
async def test_waiting_datagrams_are_echoed_one_by_one_to_their_senders(serve: Serve, size: int) -> None:
    served = serve("echo")
    clients = [served.connect() for _ in range(2)]
    sent = [[bytes([number]) * size for number in numbers] for numbers in (range(40), range(40, 80))]
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        client.send(b"first")
    await served.until(lambda totals: totals.replies == 2)
    for client, datagrams in zip(clients, sent, strict=True):
        for datagram in datagrams:
            client.send(datagram)
    await served.until(lambda totals: totals.packets == 82)
    for client, datagrams in zip(clients, sent, strict=True):
        assert [b"first", *datagrams] == [client.recv(65536) for _ in range(41)]
    assert 82 == served.book.counters.totals().replies


@linux
@pytest_twisted.ensureDeferred
async def test_each_datagram_gets_one_reply(serve: Serve) -> None:
    served = serve("reply", reply=b"OK\r\n")
    client = served.connect()

    def script() -> list[bytes]:
        send_batch(client, 60, 10)
        client.send(b"")
        return [client.recv(65536) for _ in range(61)]

    assert [b"OK\r\n"] * 61 == await in_thread(script)
    assert 61 == served.book.counters.totals().replies


@pytest_twisted.ensureDeferred
async def test_an_answer_that_the_socket_does_not_accept_is_counted_as_unanswered(serve: Serve) -> None:
    served = serve("reply", reply=b"x" * 65508)  # longer than any datagram: no socket takes it
    client = served.connect()
    client.send(b"one")
    client.send(b"two")
    totals = await served.until(lambda totals: totals.packets == 2)
    assert 0 == totals.replies


@linux
@pytest_twisted.ensureDeferred
async def test_the_last_packets_are_kept(serve: Serve) -> None:
    served = serve(keep=3)
    client = served.connect()
    client.send(b"one")
    send_batch(client, 2, 4)
    await served.until(lambda totals: totals.packets == 3)
    kept = served.book.counters.open[1].kept
    assert kept is not None
    assert [(1, b"one"), (2, b"xxxx"), (3, b"xxxx")] == kept.last(10)


@linux
@pytest_twisted.ensureDeferred
async def test_a_kept_packet_is_the_content_of_its_datagram(serve: Serve) -> None:
    served = serve(keep=100)
    client = served.connect()
    for number in range(100):
        client.send(b"%d" % number * (number % 7))
    await served.until(lambda totals: totals.packets == 100)
    kept = served.book.counters.open[1].kept
    assert kept is not None
    assert [(number + 1, b"%d" % number * (number % 7)) for number in range(100)] == kept.last(100)


@pytest_twisted.ensureDeferred
async def test_a_silent_peer_s_stream_ends_as_idle_and_its_next_datagram_begins_another(serve: Serve) -> None:
    served = serve(idle_timeout=10.0)
    client, other = served.connect(), served.connect()
    client.send(b"one")
    await served.until(lambda totals: totals.packets == 1)
    served.time.ahead = 9.0
    other.send(b"two")
    await served.until(lambda totals: totals.packets == 2)
    served.time.ahead = 10.5
    served.port.peers.sweep(served.time())
    assert ["open", "closed"] == [record.state for record in served.records()]
    assert "idle" == served.records()[1].reason
    client.send(b"three")
    totals = await served.until(lambda totals: totals.packets == 3)
    check(totals, streams_total=3, streams_open=2)


@pytest_twisted.ensureDeferred
async def test_peers_beyond_the_table_are_counted_together_and_as_rejected(serve: Serve) -> None:
    served = serve(max_streams=2)
    clients = [served.connect() for _ in range(5)]
    for round_ in range(2):
        for client in clients:
            client.send(b"x" * 10)
        await served.until(lambda totals, packets=5 * (round_ + 1): totals.packets == packets)  # type: ignore[misc]
    totals = served.book.counters.totals()
    check(totals, packets=10, bytes=100, streams_total=3, rejected=6)
    others, *streams = served.records()
    check(others, peer="*", packets=6)
    assert [2, 2] == [record.packets for record in streams]
    assert {"udp-streams": 6} == served.book.counters.rejected_by_reason
    assert 6 == served.book.stats(0.0).rejected_udp_streams_total
    assert served.gate.seats.last_refused in [f"127.0.0.1:{client.getsockname()[1]}" for client in clients]


@pytest_twisted.ensureDeferred
async def test_a_kicked_peer_comes_back_as_a_new_stream(serve: Serve) -> None:
    served = serve()
    client = served.connect()
    client.send(b"one")
    await served.until(lambda totals: totals.packets == 1)
    (stream,) = served.port.peers.by_address.values()
    stream.abort("kicked", served.time())
    stream.abort("drain", served.time())
    client.send(b"two")
    totals = await served.until(lambda totals: totals.packets == 2)
    check(totals, streams_total=2, streams_open=1)
    assert "kicked" == served.records()[1].reason


@linux
@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("mode", ["echo", "reply"])
@pytest.mark.parametrize("max_streams", [100, 0], ids=["a stream of its own", "one of the others"])
async def test_a_peer_that_would_answer_the_answer_is_counted_and_not_answered(
    serve: Serve, mode: str, max_streams: int
) -> None:
    served = serve(mode, max_streams=max_streams)
    looping, client = served.connect(), served.connect()
    served.port.peers.options.answering.add(looping.getsockname()[1])
    for sent in (1, 41):
        for _ in range(1 if sent == 1 else 40):
            looping.send(b"loop")
        await served.until(lambda totals, sent=sent: totals.packets == sent)  # type: ignore[misc]
    assert (0, 41) == (served.book.counters.totals().replies, served.book.stats(0.0).unanswered_loops_total)
    client.send(b"asked")
    await served.until(lambda totals: totals.replies == 1)
    assert (b"asked" if mode == "echo" else b"\x06") == client.recv(100)
    looping.setblocking(False)
    with pytest.raises(BlockingIOError):
        looping.recv(100)


@linux
def test_a_port_that_answers_is_one_that_no_other_port_of_the_server_answers(serve: Serve) -> None:
    shared: set[int] = set()
    ports = [serve(mode, answering=shared).number for mode in ("echo", "reply", "sink")]
    assert set(ports[:2]) == shared
