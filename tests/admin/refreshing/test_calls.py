"""A connection whose desk has its numbers from workers: replies wait for a round, and nothing else is different."""

from __future__ import annotations

import json

import pytest
from twisted.logger import LogEvent

from ctrlserver.admin.protocol import UNREAD
from ctrlserver.errors import CommandError
from ctrlserver.stats.kept import Fetched, KeptPackets
from tests.admin.conftest import Peer, Server, stuck
from tests.admin.workers import Workers


@pytest.fixture
def workers(server: Server) -> Workers:
    return Workers(server)


def packets_in(octets: bytes) -> list[int]:
    """The value of each ``packets_total`` line."""
    return [int(line.split()[1]) for line in octets.splitlines() if line.startswith(b"packets_total ")]


def test_a_reply_waits_for_the_numbers_of_now_and_has_them(server: Server, workers: Workers) -> None:
    peer = server.connect()
    workers.count(server.stream(open=True), 7)
    assert b"" == peer.says(b"stats packets_total\n")
    workers.answer()
    assert b"packets_total 7\r\nOK 1\r\n" == peer.transport.sent


def test_replies_keep_the_order_of_their_lines_and_nothing_is_read_meanwhile(server: Server, workers: Workers) -> None:
    peer = server.connect()
    assert b"OK pong\r\n" == peer.says(b"ping\nstats packets_total\nping\nno\nwhoami json\n")
    assert "paused" == peer.transport.producerState
    workers.answer()
    kinds = [line[:7] for line in peer.transport.sent.splitlines()]
    assert [b"OK pong", b"packets", b"OK 1", b"OK pong", b"ERR 404", b'{"ok":t'] == kinds
    assert "producing" == peer.transport.producerState
    assert 1 == len(workers.rounds)


def test_questions_that_arrived_together_share_a_round_and_those_after_it_have_another(
    server: Server, workers: Workers
) -> None:
    peer = server.connect()
    stream = server.stream(open=True)
    peer.says(b"stats packets_total\n" * 50)
    workers.answer()
    workers.count(stream, 1)
    peer.says(b"stats packets_total\n" * 50)
    workers.answer()
    assert [0] * 50 + [1] * 50 == packets_in(peer.transport.sent)
    assert 2 == len(workers.rounds)


def test_who_asks_while_a_round_is_under_way_gets_what_was_counted_until_then(server: Server, workers: Workers) -> None:
    first, others = server.connect(), [server.connect() for _ in range(60)]
    stream = server.stream(open=True)
    first.says(b"stats packets_total\n")
    workers.count(stream, 5)
    for other in others:
        assert b"" == other.says(b"stats packets_total\n")
    workers.answer()
    assert [0] == packets_in(first.transport.sent)
    assert all(b"" == other.transport.sent for other in others)
    workers.answer()
    assert [[5]] * 60 == [packets_in(other.transport.sent) for other in others]
    assert 2 == len(workers.rounds)


def test_after_a_change_the_next_question_has_a_round_of_its_own(server: Server, workers: Workers) -> None:
    peer = server.connect()
    stream = server.stream(open=True)
    peer.says(b"stats packets_total\nstats packets_total\nreset\nstats packets\nstats packets\n")
    workers.count(stream, 3)
    workers.answer()
    assert 1 == len(workers.under_way)
    workers.answer()
    assert 2 == len(workers.rounds)
    assert [0, 0, 0, 3, 3] == packets_in(peer.transport.sent)


def test_a_change_by_another_makes_no_reader_wait_again(server: Server, workers: Workers) -> None:
    one, other = server.connect(), server.connect()
    other.says(b"stats packets_total\n")
    one.says(b"drain on\n")
    workers.answer()
    assert [0] == packets_in(other.transport.sent)


@pytest.mark.parametrize(
    "line", ["ping", "version", "health", "whoami", "describe packets", "help", "rename", "config"]
)
def test_what_reads_no_number_waits_for_nobody(server: Server, workers: Workers, line: str) -> None:
    assert server.connect().says(f"{line}\n".encode()) != b""
    assert [] == workers.rounds


@pytest.mark.parametrize("line", ["no", "stats a b", "run x", "kick", "streams nowhere", "wait x", "runs limit=no"])
def test_a_line_that_is_refused_waits_for_nobody(server: Server, workers: Workers, line: str) -> None:
    assert server.connect().says(f"{line}\n".encode()).startswith(b"ERR 40")
    assert [] == workers.rounds


ALL = [[3, 2, 1]]


@pytest.mark.parametrize(
    ("line", "looked_at"),
    [
        ("stats", []),
        ("streams", ALL),
        ("streams json", ALL),
        ("streams limit=2", [[3, 2]]),
        ("streams open limit=1", [[3]]),
        ("streams closed", [[]]),
        ("streams open limit=1 offset=1", [[2]]),
        ("streams find=10.0.0.1 limit=2", [[3, 2]]),
        ("streams find=nothing", [[]]),
        ("streams sort=stream limit=2", [[3, 2]]),
        ("streams sort=-stream limit=2", [[1, 2]]),
        ("streams worker=1 limit=2", [[3, 2]]),
        ("streams listener=data limit=1", [[3]]),
        ("streams listener=lines", [[]]),
        ("streams peer=10.0.0.1 limit=1", [[3]]),
        ("streams sort=packets limit=1", [[2]]),
        ("streams sort=-packets limit=1 offset=1 open", [[3]]),
        ("streams sort=-packets limit=9 listener=lines", [[]]),
        ("streams sort=nothing", [[]]),
        ("streams sort=size limit=1", [[1, 2, 3]]),
        ("streams fields=stream,packets", []),
        ("streams sort=packets fields=stream", []),
        ("streams fields=stream sort=-retransmits limit=1", [[1, 2, 3]]),
        ("streams fields=rtt_seconds limit=1", [[3]]),
        ("streams fields=lost limit=1", [[3]]),
        ("wait stream.1.packets>=1", [[]]),
        ("wait stream.2.retransmits>=1", [[2]]),
        ("wait stream.2.lost>=1", [[2]]),
        ("watch 1", []),
        ("peers", []),
        ("runs", []),
        ("listeners", []),
        ("workers", []),
        ("inject", []),
    ],
)
def test_what_costs_a_look_at_a_stream_is_asked_for_where_it_is_read(
    server: Server, workers: Workers, line: str, looked_at: list[list[int]]
) -> None:
    for packets in (2, 4, 3):
        server.stream(packets, open=True)
    server.connect().says(f"{line}\n".encode())
    workers.answer()
    assert looked_at == workers.looked_at
    assert 1 == len(workers.rounds)


# Ends


def test_the_end_of_input_is_answered_after_the_round(server: Server, workers: Workers) -> None:
    peer = server.connect()
    peer.says(b"stats packets_total\nping")
    peer.ends()
    assert (b"", True) == (peer.transport.sent, peer.transport.is_open)
    workers.answer()
    assert b"packets_total 0\r\nOK 1\r\nOK pong\r\n" == peer.transport.sent
    assert peer.transport.disconnecting


def test_a_connection_lost_meanwhile_leaves_nothing_to_do(server: Server, workers: Workers) -> None:
    gone, there = server.connect(), server.connect()
    gone.says(b"stats\n")
    there.says(b"stats packets_total\n")
    gone.connection.connectionLost()
    workers.answer_all()
    assert b"" == gone.transport.sent
    assert [0] == packets_in(there.transport.sent)
    there.connection.connectionLost()
    assert [] == server.clock.getDelayedCalls()


@pytest.mark.parametrize(("line", "told"), [("stats", b"ERR 503 stopping"), ("stats json", b'{"ok":false')])
def test_when_the_server_ends_who_waits_is_told(server: Server, workers: Workers, line: str, told: bytes) -> None:
    peer = server.connect()
    peer.says(f"{line}\nping\n".encode())
    server.factory.close()
    assert peer.transport.sent.startswith(told)
    assert (1, True) == (peer.transport.sent.count(b"\n"), peer.transport.disconnecting)
    workers.answer()
    assert 1 == peer.transport.sent.count(b"\n")


def test_quit_behind_a_question_closes_after_its_reply(server: Server, workers: Workers) -> None:
    peer = server.connect()
    peer.says(b"stats packets_total\nquit\nping\n")
    assert peer.transport.is_open
    workers.answer()
    assert b"packets_total 0\r\nOK 1\r\nOK bye\r\n" == peer.transport.sent
    assert peer.transport.disconnecting


def test_an_http_request_behind_a_question_is_refused_after_its_reply(server: Server, workers: Workers) -> None:
    peer = server.connect()
    peer.says(b"stats packets_total\nGET / HTTP/1.1\r\n\r\n")
    workers.answer()
    assert peer.transport.sent.startswith(b"packets_total 0\r\nOK 1\r\nHTTP/1.0 400 ")
    assert peer.transport.disconnecting


def test_an_interrupt_ends_a_wait_that_waits_for_its_first_round(server: Server, workers: Workers) -> None:
    peer = server.connect()
    peer.says(b"wait packets_total>=1\n\xff\xf4\xff\xfd\x06ping\n")
    workers.answer_all()
    assert peer.transport.sent.startswith(b"\xff\xfc\x06ERR 499 interrupted ")
    assert peer.transport.sent.endswith(b"\r\nOK pong\r\n")


# Failures


def test_a_round_that_fails_is_an_error_to_who_waited_and_logged(
    server: Server, workers: Workers, logged: list[LogEvent]
) -> None:
    peer, other = server.connect(), server.connect()
    peer.says(b"stats\nping\n")
    other.says(b"stats packets_total\n")
    workers.answer(ZeroDivisionError("boom"))
    assert b'ERR 500 internal "stats" failed; the log of the server says why\r\nOK pong\r\n' == peer.transport.sent
    assert 1 == len(logged)
    assert "boom" in logged[0]["log_failure"].getTraceback()
    workers.answer()
    assert [0] == packets_in(other.transport.sent)


def test_a_desk_that_raises_is_an_error_and_the_connection_goes_on(
    server: Server, logged: list[LogEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workers, "_fresh", lambda *_, **__: 1 / 0)
    Workers(server)
    peer = server.connect()
    assert peer.says(b"stats\nping\n").startswith(b"ERR 500 internal ")
    assert peer.transport.sent.endswith(b"OK pong\r\n")
    assert "division by zero" in logged[0]["log_failure"].getTraceback()


def test_what_a_desk_refuses_is_told_as_it_is(server: Server, workers: Workers) -> None:
    peer = server.connect()
    peer.says(b"stats\n")
    workers.answer(CommandError(503, "stopping", "the workers end"))
    assert b"ERR 503 stopping the workers end\r\n" == peer.transport.sent


# Packets


def test_the_packets_that_are_shown_are_fetched_once_the_numbers_are_there(server: Server, workers: Workers) -> None:
    peer = server.connect()
    server.stream(open=True)
    peer.says(b"packets 1 limit=1\npackets 1 json\n")
    assert [] == workers.fetched
    workers.answer()
    kept = KeptPackets(10, 1024)
    kept.add([b"gone", b"here"])
    workers.fetches[0].callback(Fetched(kept.newest(1, 1024), 2))
    assert b"# packet 2 4 bytes\r\n" == peer.transport.sent.partition(b"0000")[0]
    text, _, rest = peer.transport.sent.partition(b"OK 1 of 2\r\n")
    assert (text.count(b"\r\n"), b"") == (2, rest)
    workers.fetches[1].callback(Fetched(kept, 2))
    assert ["gone", "here"] == [each["ascii"] for each in json.loads(peer.transport.sent.splitlines()[-1])["data"]]
    assert (1, [(1, 1), (1, 10)]) == (len(workers.rounds), workers.fetched)


def test_packets_that_do_not_come_are_an_error_and_no_guess(server: Server, workers: Workers) -> None:
    peer = server.connect()
    server.stream(open=True)
    peer.says(b"packets 1\nping\n")
    workers.answer()
    workers.fetches[0].errback(CommandError(503, "worker-late", "worker 2 does not answer"))
    assert b"ERR 503 worker-late worker 2 does not answer\r\nOK pong\r\n" == peer.transport.sent


def test_of_a_stream_whose_worker_keeps_no_packets_that_is_told(server: Server, workers: Workers) -> None:
    peer = server.connect()
    server.stream(open=True)
    peer.says(b"packets 1\n")
    workers.answer()
    workers.fetches[0].callback(Fetched(None))
    assert peer.transport.sent.startswith(b"ERR 409 keeps-nothing ")


# Turns


def test_a_flood_of_questions_costs_few_rounds_and_all_are_answered(server: Server, workers: Workers) -> None:
    peers = [server.connect() for _ in range(20)]
    for _ in range(5):
        for peer in peers:
            peer.connection.dataReceived(b"stats packets_total\n" * 30)
    asked = len(workers.rounds)
    while workers.under_way:
        workers.answer()
        while server.clock.getDelayedCalls() and any(call.getTime() <= 0 for call in server.clock.getDelayedCalls()):
            server.clock.advance(0)
    assert {150} == {len(packets_in(peer.transport.sent)) for peer in peers}
    assert 1 == asked
    assert len(workers.rounds) <= 3


def test_a_long_list_is_made_as_it_is_read_after_one_round(server: Server, workers: Workers) -> None:
    for number in range(2000):
        server.stream(number, open=True)
    peer: Peer = stuck(server.connect())
    peer.says(b"streams limit=3000 json\nping\n")
    assert b"" == peer.transport.sent
    workers.answer()
    assert 0 < len(peer.transport.sent) <= UNREAD + 4096
    while peer.transport.producer_paused:
        peer.transport.drain()
    assert 2000 == json.loads(peer.transport.sent.splitlines()[0])["total"]
    assert peer.transport.sent.endswith(b"\r\nOK pong\r\n")
    assert 1 == len(workers.rounds)


def test_a_peer_that_does_not_read_is_answered_once_it_does(server: Server, workers: Workers) -> None:
    peer = stuck(server.connect())
    peer.says(b"stats\n" * 50)
    workers.answer_all()
    drains = 0
    while peer.transport.producer_paused:
        drains += 1
        peer.transport.drain()
        workers.answer_all()
    assert drains > 1
    assert 50 == sum(line.startswith(b"OK ") for line in peer.transport.sent.splitlines())


def test_rounds_that_are_over_at_once_wake_nobody_from_within(server: Server) -> None:
    workers = Workers(server, at_once=True)
    peer = server.connect()
    stream = server.stream(open=True)
    workers.count(stream, 2)
    assert b"packets_total 2\r\nOK 1\r\nOK pong\r\n" == peer.says(b"stats packets_total\nping\n")


def test_kicks_of_open_streams_wait_for_nobody(server: Server, workers: Workers) -> None:
    peer = server.connect()
    numbers = [server.stream(open=True).stream for _ in range(3)]
    said = peer.says("".join(f"kick {number}\n" for number in numbers).encode())
    assert (3, []) == (said.count(b"OK kicked"), workers.rounds)
    assert b"" == peer.says(b"kick 99\n")
    workers.answer()
    assert peer.transport.sent.endswith(b"no stream 99\r\n") or b"ERR 404" in peer.transport.sent
