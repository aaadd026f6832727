"""Long replies, made piece by piece while others have their turn and the peer reads."""

from __future__ import annotations

import json

import pytest
from twisted.logger import LogEvent

from ctrlserver.admin.making import SLICE
from ctrlserver.admin.protocol import UNREAD
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.kept import KeptPackets
from ctrlserver.stats.records import StreamRecord
from tests.admin.conftest import Peer, Server, stuck


@pytest.mark.parametrize(
    "line", ["streams limit=3000", "streams limit=3000 json", "packets 1 limit=9", "packets 1 json"]
)
def test_a_long_reply_is_made_as_it_is_read(server: Server, line: str) -> None:
    server.stream(open=True).kept = kept = KeptPackets(10, 1 << 20)
    kept.add([bytes(1 << 20)])
    for number in range(2000):
        server.stream(number, open=True)
    whole = server.connect().says(f"{line}\n".encode())
    peer = stuck(server.connect())
    peer.says(f"{line}\n".encode())
    row = max(map(len, whole.split(b"}" if "json" in line else b"\n")))
    assert len(peer.transport.sent) <= UNREAD + min(row, 4096)
    while peer.transport.producer_paused:
        before = len(peer.transport.sent)
        peer.transport.drain()
        assert len(peer.transport.sent) - before <= UNREAD + min(row, 4096)
    assert whole == peer.transport.sent


def test_packets_that_go_while_a_reply_is_read_cost_nothing_and_are_shown_no_more(server: Server) -> None:
    stream = server.stream(open=True)
    stream.kept = kept = KeptPackets(100, 1 << 20)
    kept.add([b"x" * 9000 for _ in range(100)])
    peer = stuck(server.connect())
    peer.says(b"packets 1 limit=100 json\n")
    kept.add([b"y" * 9000 for _ in range(100)])
    while peer.transport.producer_paused:
        peer.transport.drain()
    rows = json.loads(peer.transport.sent)["data"]
    assert list(range(1, 1 + len(rows))) == [row["packet"] for row in rows]
    assert len(rows) < 5
    assert {b"x"[0]} == set(b"".join(bytes.fromhex(row["hex"]) for row in rows))


def test_one_long_reply_is_given_on_in_slices(server: Server, peer: Peer) -> None:
    stuck(peer)
    for _ in range(1000):
        server.stream(1)
    peer.says(b"streams limit=1000 json\n")
    drains = 0
    while peer.transport.producer_paused:
        drains += 1
        peer.transport.drain()
    assert drains >= len(peer.transport.sent) // (UNREAD + SLICE) > 1
    assert peer.transport.sent.endswith(b'"total":1000}\r\n')


@pytest.mark.parametrize("line", ["streams", "streams json"])
def test_between_the_rows_of_a_long_reply_others_have_their_turn_and_it_comes_whole(
    server: Server, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    for number in range(20):
        server.stream(number, open=True)
    whole = server.connect().says(f"{line}\n".encode())
    kicked_by_then, record = [], server.book.record

    def seen(_: object, stream: StreamCounters) -> StreamRecord:
        kicked_by_then.append(len(server.kicked))
        return record(stream)

    monkeypatch.setattr(type(server.book), "record", seen)
    server.bounded(turn_seconds=-1.0)
    one, other = server.connect(), server.connect()
    assert b"" == one.says(f"{line}\nping\n".encode())
    other.says(b"ping\n" * 3 + b"kick 20\n")  # its row has been made by then
    server.clock.advance(0)
    assert [0, 1] == sorted(set(kicked_by_then))
    assert whole + b"OK pong\r\n" == one.transport.sent


def test_a_stream_closed_while_the_reply_is_made_is_not_among_the_open_ones(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = [server.stream(open=True) for _ in range(5)]
    record = server.book.record

    def slow(_: object, stream: StreamCounters) -> StreamRecord:
        server.clock.rightNow += 1.0  # a row fills a turn
        return record(stream)

    monkeypatch.setattr(type(server.book), "record", slow)
    server.bounded(turn_seconds=0.5)
    peer = server.connect()
    peer.says(b"streams open limit=4 json\n")
    server.book.stream_closed(streams[2], "eof", 0, 0.0)
    for _ in range(20):
        server.clock.advance(0)
    reply = json.loads(peer.transport.sent)
    assert ([5, 4, 2], 4) == ([row["stream"] for row in reply["data"]], reply["total"])


@pytest.mark.parametrize("line", ["streams", "streams json"])
def test_a_reply_that_fails_before_any_of_it_was_sent_is_one_error(
    server: Server, peer: Peer, logged: list[LogEvent], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    server.stream()
    server.stream()
    whole = server.book.record
    monkeypatch.setattr(type(server.book), "record", lambda _, stream: whole(stream) if stream.stream == 2 else 1 / 0)
    octets = peer.says(f"{line}\n".encode())
    assert 1 == octets.count(b"\n") == len(logged)
    assert octets.startswith((b"ERR 500 internal", b'{"ok":false,"error":{"code":500'))
    assert ["OK pong"] == peer.asks("ping")


def test_a_line_of_json_that_fails_when_it_is_begun_has_no_end_and_the_connection_is_closed(
    server: Server, peer: Peer, logged: list[LogEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(100):
        server.stream()
    whole = server.book.record
    monkeypatch.setattr(type(server.book), "record", lambda _, stream: whole(stream) if stream.stream > 2 else 1 / 0)
    octets = peer.says(b"streams json\nping\n")
    assert octets.startswith(b'{"ok":true')
    assert b"\n" not in octets
    assert peer.transport.disconnecting
    assert 1 == len(logged)


@pytest.mark.parametrize("line", ["packets 1 limit=9", "packets 1 limit=9 json"])
def test_a_long_listing_is_made_in_many_turns_and_comes_whole(server: Server, line: str) -> None:
    stream = server.stream(open=True)
    stream.kept = KeptPackets(10, 1000)
    stream.kept.add([b"packet %d" % number for number in range(10)])
    whole = server.connect().says(f"{line}\n".encode())
    server.bounded(turn_seconds=-1.0)
    peer = server.connect()
    assert b"" == peer.says(f"{line}\n".encode())
    server.clock.advance(0)
    assert whole == peer.transport.sent
    assert b"of 10" in whole or b'"total":10' in whole


def test_a_peer_lost_in_the_middle_of_its_reply_leaves_nothing_to_do(server: Server) -> None:
    server.stream()
    server.bounded(turn_seconds=-1.0)
    peer = server.connect()
    peer.says(b"streams\n")
    peer.connection.connectionLost()
    server.clock.advance(0)
    assert [] == server.clock.getDelayedCalls()
