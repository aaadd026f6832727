from __future__ import annotations

import pytest
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, IReactorTime
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent
from zope.interface.verify import verifyObject

from ctrlserver.admin.commands.table import COMMANDS
from ctrlserver.admin.limits import Limits
from ctrlserver.admin.protocol import UNREAD
from tests.admin.conftest import TCP_HOST, Peer, Server, stuck

LIMITS = Limits()


def test_the_connection_is_what_twisted_asks_for(server: Server, peer: Peer) -> None:
    assert verifyObject(IHalfCloseableProtocol, peer.connection)
    assert verifyObject(IPushProducer, peer.connection)
    assert verifyObject(IReactorTime, server.clock)
    assert isinstance(peer.transport, StringTransport)
    assert peer.transport.producer is peer.connection
    assert peer.transport.streaming


def test_n_lines_in_one_read_are_n_replies_in_order(peer: Peer) -> None:
    assert b"OK pong\r\nERR 404 " == peer.says(b"ping\nx\nping\r\nunrename y\nping")[:17]
    assert 4 == peer.transport.sent.count(b"\r\n")
    assert b"OK pong\r\n" == peer.says(b"\n")


def test_telnet_answers_keep_their_place_among_the_replies(peer: Peer) -> None:
    assert b"OK pong\r\n\xff\xfc\x06OK pong\r\n" == peer.says(b"ping\nxx\xff\xf4\xff\xfd\x06ping\n")


def test_a_fault_in_a_line_leaves_the_connection_open(peer: Peer) -> None:
    answer = peer.says(b"x\x80\n" + b"x" * 3000 + b"\nping\n")
    assert [b"ERR 400", b"ERR 413", b"OK pong"] == [line[:7] for line in answer.splitlines()]
    assert peer.transport.is_open


def test_an_http_request_is_answered_once_and_closed(peer: Peer) -> None:
    answer = peer.says(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert f"Content-Length: {len(body)}" in head.decode().split("\r\n")
    assert body.startswith(b"ERR 400 http-request ")
    assert 1 == body.count(b"\n")
    assert peer.transport.disconnecting
    assert b"" == peer.says(b"ping\n")


def test_the_end_of_input_is_answered_flushed_and_closed(peer: Peer) -> None:
    peer.says(b"ping\nping json")
    peer.ends()
    assert b'OK pong\r\n{"ok":true,"command":"ping","data":{"ping":"pong"}}\r\n' == peer.transport.sent
    assert peer.transport.disconnecting
    assert peer.transport.producer is None


def test_an_end_without_any_input_closes(peer: Peer) -> None:
    peer.ends()
    assert b"" == peer.transport.sent
    assert peer.transport.disconnecting


def test_an_error_inside_a_command_is_500_logged_once_and_survived(
    server: Server, peer: Peer, logged: list[LogEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(type(server.book), "stats", breaks)
    assert ['ERR 500 internal "stats" failed; the log of the server says why'] == peer.asks("stats")
    assert 1 == len(logged)
    assert "boom" in logged[0]["log_failure"].getTraceback()
    assert {"code": 500, "id": "internal"}.items() <= peer.asks_json("stats")["error"].items()
    assert ["OK pong"] == peer.asks("ping")


def test_errors_inside_commands_write_a_line_a_second_at_most_and_the_number_of_the_others(
    server: Server, logged: list[LogEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(server.book), "stats", lambda *_: 1 / 0)
    monkeypatch.setattr(type(server.book), "record", lambda *_: 1 / 0)
    server.stream()
    for line in ("stats", "stats json", "streams", "streams json", "stats"):
        assert b"internal" in server.connect().says(f"{line}\n".encode())
        server.clock.advance(0.1)
    assert 1 == len(logged)
    server.factory.journal.tell_left_out(server.clock.seconds())
    assert 1 == len(logged)
    server.factory.journal.tell_left_out(server.clock.seconds() + 1)
    assert [None, 4] == [event.get("number") for event in logged]


# A peer that does not read


def test_while_a_peer_reads_nothing_no_line_is_carried_out_and_nothing_is_read(peer: Peer) -> None:
    stuck(peer)
    reply = len(peer.says(b"stats\n"))
    for _ in range(2000):
        peer.says(b"stats\n")
    assert LIMITS.read_bytes < len(peer.transport.sent) <= LIMITS.read_bytes + reply <= UNREAD
    assert "paused" == peer.transport.producerState


def test_all_replies_arrive_once_the_peer_reads(peer: Peer) -> None:
    stuck(peer)
    peer.says(b"stats\n" * 1000 + b"quit\n")
    while peer.transport.producer_paused:
        peer.transport.drain()
    lines = peer.transport.sent.split(b"\r\n")
    assert 1000 == sum(line[3:4].isdigit() for line in lines if line.startswith(b"OK "))
    assert [b"OK bye", b""] == lines[-2:]
    assert peer.transport.disconnecting


def test_reading_goes_on_once_the_peer_reads(peer: Peer) -> None:
    stuck(peer)
    peer.says(b"stats\n" * 1000)
    assert "paused" == peer.transport.producerState
    while peer.transport.producer_paused:
        peer.transport.drain()
    assert "producing" == peer.transport.producerState


def test_the_end_of_input_waits_for_the_peer_to_read(peer: Peer) -> None:
    stuck(peer)
    peer.says(b"help\n" * 200)
    peer.ends()
    assert peer.transport.is_open
    while peer.transport.producer_paused:
        peer.transport.drain()
    assert peer.transport.disconnecting
    assert 200 == peer.transport.sent.count(b"\r\nOK %d\r\n" % len(COMMANDS))


def test_a_peer_stalled_with_unread_output_is_aborted(server: Server, peer: Peer) -> None:
    stuck(peer)
    peer.says(b"stats\n" * 200)
    server.clock.advance(29.9)
    assert not peer.transport.is_aborted
    server.clock.advance(0.2)
    assert peer.transport.is_aborted


def test_a_peer_that_stalls_after_many_turns_is_aborted_as_soon(server: Server) -> None:
    server.bounded(turn_seconds=-1.0)
    peer = stuck(server.connect())
    peer.says(b"stats\n" * 500)
    server.clock.advance(31)
    for _ in range(500):
        server.clock.advance(0)
    assert peer.transport.producer_paused
    assert not peer.transport.is_aborted
    server.clock.advance(30.1)
    assert peer.transport.is_aborted


def test_input_does_not_excuse_a_stalled_peer(server: Server, peer: Peer) -> None:
    stuck(peer)
    peer.says(b"stats\n" * 150)
    assert peer.transport.producer_paused
    for _ in range(10):
        server.clock.advance(3.1)
        peer.says(b"ping\n")
    assert peer.transport.is_aborted


def test_a_slow_peer_that_makes_progress_is_not_aborted(server: Server, peer: Peer) -> None:
    stuck(peer)
    for _ in range(1000):
        server.stream(1)
    peer.says(b"streams limit=1000 json\n")
    while peer.transport.producer_paused:
        server.clock.advance(29)
        peer.transport.drain()
    assert server.clock.seconds() > 60
    assert not peer.transport.is_aborted


def test_a_peer_that_never_reads_its_last_reply_is_aborted(server: Server, peer: Peer) -> None:
    stuck(peer)
    peer.says(b"help\n" * 200)
    peer.ends()
    server.clock.advance(30.1)
    assert peer.transport.is_aborted


# Time


def test_an_idle_connection_is_closed(server: Server, peer: Peer) -> None:
    for _ in range(29):
        server.clock.advance(10)
    assert peer.transport.is_open
    server.clock.advance(10)
    assert peer.transport.disconnecting
    assert not peer.transport.is_aborted


def test_input_keeps_a_connection(server: Server, peer: Peer) -> None:
    for _ in range(10):
        server.clock.advance(299)
        peer.says(b"\n")
    assert peer.transport.is_open


@pytest.mark.parametrize("begun", [b"p", b"x" * 3000, b"\xff\xfa\x18", b"ping\np"])
@pytest.mark.parametrize("more", [b"", b"x", b"\xff\xf1", b"\xff\xfd\x01"])
def test_a_line_begun_has_ten_seconds_however_its_bytes_come(server: Server, begun: bytes, more: bytes) -> None:
    peer = server.connect()
    peer.says(begun)
    for _ in range(9):
        server.clock.advance(1)
        peer.says(more)
    assert peer.transport.is_open
    server.clock.pump([0.9, 0.2, 0])
    assert peer.transport.disconnecting
    assert peer.transport.sent.endswith(b"ERR 408 timeout a line has 10 s to end, and this one has not\r\n")
    assert b"" == peer.says(b"ing\n")


def test_a_line_that_ends_in_time_is_carried_out_and_the_next_has_its_own_time(server: Server, peer: Peer) -> None:
    for _ in range(5):
        peer.says(b"pi")
        server.clock.advance(9)
        assert b"OK pong\r\n" == peer.says(b"ng\n")
    peer.says(b"ping\npi")
    server.clock.advance(9)
    peer.says(b"ng\npi")
    server.clock.advance(9)
    assert b"OK pong\r\n" == peer.says(b"ng\n")
    server.clock.advance(250)
    assert peer.transport.is_open


@pytest.mark.parametrize("octets", [b"\xff\xf1", b"\xff\xfe\x01", b"\xff\xfd\x01", b"x\xff\xf4"])
def test_bytes_that_are_no_line_keep_no_seat(server: Server, peer: Peer, octets: bytes) -> None:
    for _ in range(40):
        peer.says(octets)
        server.clock.advance(8)
    server.clock.advance(0)
    assert peer.transport.disconnecting


# How many


def test_the_sixty_fifth_connection_is_turned_away(server: Server) -> None:
    peers = [server.connect() for _ in range(64)]
    late = server.connect()
    assert late.transport.sent.startswith(b"ERR 503 too-many-connections ")
    assert late.transport.disconnecting
    assert b"" == late.says(b"ping\n")
    late.connection.connectionLost()
    assert server.connect().transport.disconnecting
    peers[7].connection.connectionLost()
    assert ["OK pong"] == server.connect().asks("ping")
    assert ["OK pong"] == peers[0].asks("ping")


def test_past_the_sixty_fourth_four_more_come_in_by_a_unix_socket(server: Server) -> None:
    for _ in range(64):
        server.connect()
    local = [server.connect(UNIXAddress("/run/x.sock")) for _ in range(5)]
    assert [["OK pong"]] * 4 == [peer.asks("ping") for peer in local[:4]]
    assert local[4].transport.sent.startswith(b"ERR 503 too-many-connections 68 connections are open")
    assert server.connect().transport.sent.startswith(b"ERR 503 too-many-connections 64 connections are open")


def test_a_peer_from_the_network_takes_no_seat_of_the_unix_socket_by_a_proxys_either(server: Server) -> None:
    path = UNIXAddress("/run/x.sock")
    for _ in range(64):
        assert server.connect(path, TCP_HOST).transport.is_open
    assert server.connect(path, TCP_HOST).transport.sent.startswith(b"ERR 503 too-many-connections 64 ")
    assert ["OK pong"] == server.connect(path).asks("ping")


def test_those_of_the_unix_socket_are_among_the_sixty_four(server: Server) -> None:
    for _ in range(4):
        server.connect(UNIXAddress("/run/x.sock"))
    assert ["OK pong"] * 60 == [server.connect().asks("ping")[0] for _ in range(60)]
    assert server.connect().transport.sent.startswith(b"ERR 503 ")


def test_a_lost_connection_leaves_nothing_behind(server: Server) -> None:
    server.bounded(turn_seconds=-1.0)
    peer = server.connect()
    peer.says(b"ping\nping\nping\n")
    peer.connection.stopProducing()
    peer.connection.connectionLost()
    assert [] == server.clock.getDelayedCalls()
    server.factory.close()
    assert b"" == peer.transport.sent


def test_closing_the_factory_closes_its_connections(server: Server, peer: Peer) -> None:
    other = server.connect()
    stuck(other).says(b"stats\n" * 400)
    server.factory.close()
    assert peer.transport.disconnecting
    assert other.transport.disconnecting
    assert b"" == peer.says(b"ping\n")
