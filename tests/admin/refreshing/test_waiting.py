"""``wait`` and ``watch`` where the numbers come from workers: each look waits for a round."""

from __future__ import annotations

import pytest

from ctrlserver.admin.waiting import TICK_SECONDS
from tests.admin.conftest import Server
from tests.admin.workers import Workers


@pytest.fixture
def workers(server: Server) -> Workers:
    return Workers(server)


def test_wait_sees_what_workers_have_counted_within_a_tick_and_a_round(server: Server, workers: Workers) -> None:
    peer, stream = server.connect(), server.stream(open=True)
    peer.says(b"wait packets_total>=3\nping\n")
    workers.answer()
    workers.count(stream, 3)
    server.clock.advance(TICK_SECONDS)
    assert b"" == peer.transport.sent
    workers.answer()
    assert b"packets_total 3\r\nOK 1\r\nOK pong\r\n" == peer.transport.sent
    server.clock.advance(1.0)
    assert [] == workers.under_way


def test_all_who_wait_share_the_round_of_a_look(server: Server, workers: Workers) -> None:
    peers = [server.connect() for _ in range(20)]
    for peer in peers:
        peer.says(b"wait packets_total>=3\n")
        workers.answer_all()
    before = len(workers.rounds)
    for _ in range(10):
        server.clock.advance(TICK_SECONDS)
        workers.answer_all()
    assert 10 == len(workers.rounds) - before


def test_workers_that_answer_slowly_are_asked_for_those_who_wait_a_fifth_of_the_time(
    server: Server, workers: Workers
) -> None:
    server.connect().says(b"wait stream.1.retransmits>=3 timeout=1h\n")
    workers.answer()
    for _ in range(30):
        server.clock.pump([0.01] * 50)
        if workers.under_way:
            server.clock.advance(0.1)
            workers.answer()
    before, since = len(workers.rounds), server.clock.seconds()
    while server.clock.seconds() < since + 10:
        server.clock.advance(0.01)
        if workers.under_way:
            server.clock.advance(0.1)
            workers.answer()
    assert 18 <= len(workers.rounds) - before <= 21


@pytest.mark.parametrize(("what", "looked_at"), [("packets", []), ("retransmits", [2]), ("lost", [2])])
def test_a_look_asks_for_what_costs_a_look_at_a_stream_of_the_one_that_is_waited_for(
    server: Server, workers: Workers, what: str, looked_at: list[int]
) -> None:
    for _ in range(3):
        server.stream(open=True)
    server.connect().says(f"wait stream.2.{what}>=3\n".encode())
    workers.answer()
    server.clock.advance(TICK_SECONDS)
    workers.answer()
    assert [looked_at, looked_at] == workers.looked_at


def test_the_last_look_of_a_wait_has_the_numbers_of_its_moment(server: Server, workers: Workers) -> None:
    peer, stream = server.connect(), server.stream(open=True)
    peer.says(b"wait packets_total>=3 timeout=5ms\n")
    workers.answer()
    workers.count(stream, 3)
    server.clock.advance(0.005)
    assert b"" == peer.transport.sent
    workers.answer()
    assert b"packets_total 3\r\nOK 1\r\n" == peer.transport.sent


def test_an_interrupted_wait_looks_once_more_with_numbers_of_now(server: Server, workers: Workers) -> None:
    peer, stream = server.connect(), server.stream(open=True)
    peer.says(b"wait packets_total>=3\n")
    workers.answer()
    workers.count(stream, 1)
    assert b"\xff\xfc\x06" == peer.says(b"\xff\xf4\xff\xfd\x06")
    workers.answer_all()
    assert peer.transport.sent.startswith(b"\xff\xfc\x06ERR 499 interrupted packets_total>=3 did not hold")
    assert peer.transport.sent.endswith(b"packets_total is 1\r\n")
    assert b"OK pong\r\n" == peer.says(b"ping\n")


def test_a_row_of_watch_has_what_workers_counted_until_it_was_due(server: Server, workers: Workers) -> None:
    peer, stream = server.connect(), server.stream(open=True)
    peer.says(b"watch 1 2\n")
    workers.answer()
    for packets in (3, 5):
        workers.count(stream, packets)
        server.clock.advance(1.0)
        workers.answer()
    _, *rows, status = peer.transport.sent.decode().splitlines()
    assert (["3", "5"], "OK 2") == ([row.split()[2] for row in rows], status)


def test_a_look_whose_round_fails_is_delayed_and_no_more(server: Server, workers: Workers) -> None:
    watcher, waiter = server.connect(), server.connect()
    watcher.says(b"watch 1 1\n")
    workers.answer_all()
    waiter.says(b"wait packets_total>=3 timeout=1s\n")
    workers.answer_all()
    server.clock.advance(1.0)
    while workers.under_way:
        workers.answer(ZeroDivisionError("boom"))
    assert waiter.transport.sent.startswith(b"ERR 408 timeout ")
    assert watcher.transport.sent.endswith(b"\r\nOK 1\r\n")


def test_who_is_gone_meanwhile_is_not_woken(server: Server, workers: Workers) -> None:
    for line in (b"watch 0.1\n", b"wait packets_total>=3 timeout=0.1\n"):
        peer = server.connect()
        peer.says(line)
        workers.answer_all()
        sent = peer.transport.sent
        server.clock.advance(0.1)
        peer.connection.connectionLost()
        workers.answer_all()
        assert sent == peer.transport.sent
        server.clock.advance(2.0)
        workers.answer_all()
        assert [] == server.clock.getDelayedCalls()
