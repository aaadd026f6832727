from __future__ import annotations

import json
from typing import Any

import pytest

from ctrlserver.admin.conditions import Condition
from ctrlserver.admin.levels import Level
from ctrlserver.admin.limits import Limits
from ctrlserver.admin.session import Access
from ctrlserver.admin.waiting import GRID_SECONDS, TICK_SECONDS, Reading, Readings
from ctrlserver.stats.rename import Renames
from tests.admin.conftest import Peer, Server, refusal, stuck

# wait


def test_a_condition_that_holds_is_answered_at_once(server: Server, peer: Peer) -> None:
    server.stream(10)
    assert ["packets_total 10", "OK 1"] == peer.asks("wait packets_total>=10")
    assert {"ok": True, "command": "wait", "data": {"packets_total": 10}} == peer.asks_json("wait packets_total>=10")


@pytest.mark.parametrize(
    "line",
    [
        "packets_total >= 10",
        "packets_total >=10 timeout=1h",
        "timeout=1h packets_total>= 10",
        "condition=packets_total >= 10",
        '"packets_total >= 10"',
        "timeout=1h 'packets_total >= 10'",
    ],
)
def test_a_condition_may_have_blanks_around_its_operator(server: Server, peer: Peer, line: str) -> None:
    server.stream(10)
    assert ["packets_total 10", "OK 1"] == peer.asks(f"wait {line}")
    assert {"packets_total": 10} == peer.asks_json(f"wait {line}")["data"]


def test_what_follows_a_condition_is_not_taken_for_a_part_of_it(peer: Peer) -> None:
    usage = "usage: wait CONDITION [timeout=T]"
    assert [f'ERR 400 unknown-argument "5s" is nothing that "wait" takes; {usage}'] == peer.asks("wait packets > 1 5s")
    assert peer.asks("wait packets > timeout=5s")[0].startswith('ERR 400 bad-argument condition "packets>": expected')


def test_wait_answers_within_a_tick_of_the_moment(server: Server, peer: Peer) -> None:
    assert b"" == peer.says(b"wait packets_total>=10\n")
    server.clock.advance(5.0)
    server.stream(10)
    assert b"" == peer.transport.sent
    server.clock.advance(TICK_SECONDS)
    assert b"packets_total 10\r\nOK 1\r\n" == peer.transport.sent


def test_wait_gives_up_after_ten_seconds_with_the_value_seen_last(server: Server, peer: Peer) -> None:
    server.stream(3)
    peer.says(b"wait packets_total>=10\n")
    server.clock.advance(9.99)
    assert b"" == peer.transport.sent
    server.clock.advance(0.01)
    wrong = b"ERR 408 timeout packets_total>=10 did not hold within 10 s; packets_total is 3\r\n"
    assert wrong == peer.transport.sent


def test_a_timeout_may_be_given_and_the_last_look_counts(server: Server, peer: Peer) -> None:
    peer.says(b"wait packets_total>=1 timeout=10ms\nwait timeout=0 run.packets>=1 json\n")
    server.stream(1)
    assert TICK_SECONDS > 0.01
    server.clock.advance(0.01)
    assert peer.transport.sent.startswith(b"packets_total 1\r\nOK 1\r\n")
    assert {"run.packets": 1} == json.loads(peer.transport.sent.splitlines()[-1])["data"]
    assert ("400", "bad-argument") == refusal(peer.asks("wait packets_total>=5 timeout=2h"))
    assert "did you mean 3600?" in peer.asks("wait packets_total>=5 timeout=2h")[0]


def test_later_lines_wait_their_turn_and_the_end_of_input_too(server: Server, peer: Peer) -> None:
    peer.says(b"wait packets_total>=1\n\nping\nver")
    assert "producing" == peer.transport.producerState
    peer.ends()
    server.stream(1)
    server.clock.advance(TICK_SECONDS)
    assert peer.transport.sent.startswith(b"packets_total 1\r\nOK 1\r\nOK pong\r\nERR 404 ")
    assert peer.transport.disconnecting


def test_no_more_than_some_lines_are_read_ahead(server: Server, peer: Peer) -> None:
    peer.says(b"wait packets_total>=1\n" + b"ping\n" * 10)
    assert "paused" == peer.transport.producerState
    server.stream(1)
    server.clock.advance(TICK_SECONDS)
    assert b"packets_total 1\r\nOK 1\r\n" + b"OK pong\r\n" * 10 == peer.transport.sent
    assert "producing" == peer.transport.producerState


def test_a_wait_may_last_longer_than_silence(server: Server, peer: Peer) -> None:
    peer.says(b"wait packets_total>=1 timeout=1h\n")
    for _ in range(3599):
        server.clock.advance(1.0)
    assert peer.transport.is_open
    server.stream(1)
    server.clock.advance(1.0)
    assert peer.transport.sent.endswith(b"OK 1\r\n")
    server.clock.advance(299)
    assert peer.transport.is_open


def test_runs_and_streams_may_be_waited_for_before_they_are_there(server: Server) -> None:
    of_run, of_stream = server.connect(), server.connect()
    of_run.says(b"wait run.complete==1\n")
    of_stream.says(b"wait stream.1.packets>=4\n")
    server.clock.advance(1.0)
    server.book.runs.start("soak", 4, server.clock.seconds())
    server.stream(4)
    server.clock.advance(TICK_SECONDS)
    assert b"run.complete true\r\nOK 1\r\n" == of_run.transport.sent
    assert b"stream.1.packets 4\r\nOK 1\r\n" == of_stream.transport.sent


def test_all_who_wait_share_one_reading_and_none_costs_anything_once_gone(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = 0
    totals = type(server.book.counters).totals

    def counted(*arguments: Any) -> Any:
        nonlocal readings
        readings += 1
        return totals(*arguments)

    peers = [server.connect() for _ in range(60)]
    for peer in peers:
        peer.says(b"wait packets_total>=1\n")
    monkeypatch.setattr(type(server.book.counters), "totals", counted)
    server.clock.advance(TICK_SECONDS)
    assert 1 == readings
    for peer in peers:
        peer.connection.connectionLost()
    assert [] == server.clock.getDelayedCalls()


def test_one_look_during_which_the_process_was_paused_makes_no_later_one_late(
    server: Server, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, pauses = Reading.value, [1.0]

    def paused_once(reading: Reading, condition: Condition) -> object:
        server.clock.rightNow += pauses.pop() if pauses else 0.0
        return value(reading, condition)

    peer.says(b"wait packets_total>=10\n")
    monkeypatch.setattr(Reading, "value", paused_once)
    server.clock.advance(TICK_SECONDS)
    assert [] == pauses
    server.stream(10)
    server.clock.advance(TICK_SECONDS)
    assert b"packets_total 10\r\nOK 1\r\n" == peer.transport.sent


def test_who_begins_to_wait_for_a_value_that_others_have_seen_is_looked_at_too(server: Server) -> None:
    first, second = server.connect(), server.connect()
    first.says(b"wait streams_open>=100\n")
    stream = server.stream(open=True)
    server.clock.advance(TICK_SECONDS)
    server.book.stream_closed(stream, "eof", 0, server.clock.seconds())
    assert b"" == second.says(b"wait streams_open>=1\n")
    server.stream(open=True)
    server.clock.advance(TICK_SECONDS)
    assert b"streams_open 1\r\nOK 1\r\n" == second.transport.sent


def test_the_stop_of_the_server_ends_what_waits(server: Server) -> None:
    waiting, watching = server.connect(), server.connect()
    waiting.says(b"wait packets_total>=1\n")
    watching.says(b"watch 1 json\n")
    server.factory.close()
    assert b"ERR 503 stopping the server stops\r\n" == waiting.transport.sent
    assert 503 == json.loads(watching.transport.sent)["error"]["code"]
    assert waiting.transport.disconnecting
    waiting.connection.connectionLost()
    watching.connection.connectionLost()
    assert [] == server.clock.getDelayedCalls()


# Ctrl-C

CTRL_C, MARK = b"\xff\xf4\xff\xfd\x06", b"\xff\xfc\x06"
INTERRUPTED = b"ERR 499 interrupted packets_total>=5 did not hold until Ctrl-C; packets_total is 3\r\n"


@pytest.mark.parametrize("ahead", [b"", b"half a l", b"\n", b"\xff\xf1"])
def test_ctrl_c_of_telnet_ends_a_wait_with_one_line_after_the_timing_mark(
    server: Server, peer: Peer, ahead: bytes
) -> None:
    server.stream(3)
    peer.says(b"wait packets_total>=5 timeout=1h\n" + ahead)
    server.clock.advance(1.0)
    assert MARK + INTERRUPTED == peer.says(CTRL_C)
    assert ["OK pong"] == peer.asks("ping")
    peer.connection.connectionLost()
    assert [] == server.clock.getDelayedCalls()


def test_the_lines_around_a_ctrl_c_are_carried_out_after_it(server: Server, peer: Peer) -> None:
    server.stream(3)
    peer.says(b"wait packets_total>=5 timeout=1h json\nping\n")
    replied = peer.says(b"\xff\xf4version x\n").splitlines()
    assert {"code": 499, "id": "interrupted"}.items() <= json.loads(replied[0])["error"].items()
    assert [b"OK pong", b"ERR 400"] == [line[:7] for line in replied[1:]]


def test_ctrl_c_is_a_last_look(server: Server, peer: Peer) -> None:
    peer.says(b"wait packets_total>=5\n")
    server.stream(5)
    assert b"packets_total 5\r\nOK 1\r\n" == peer.says(b"\xff\xf4")


def test_ctrl_c_shortens_no_pause_after_a_wrong_answer(server: Server) -> None:
    server.access = Access(Level.VIEWER, Level.ADMIN, b"0123456789abcdef")
    peer = server.connect()
    peer.says(b"auth\nauth " + b"0" * 64 + b"\n")
    assert b"" == peer.says(b"\xff\xf4")
    server.clock.advance(1.0)
    assert b"ERR 403 wrong-answer" in peer.transport.sent


@pytest.mark.parametrize("cut", range(len(CTRL_C)))
def test_ctrl_c_of_telnet_ends_a_watch_and_the_line_after_it_is_carried_out(
    server: Server, peer: Peer, cut: int
) -> None:
    peer.says(b"watch 1\n")
    server.clock.advance(1.0)
    replied = peer.says(CTRL_C[:cut]) + peer.says(CTRL_C[cut:] + b"ping\n")
    assert b"OK 1\r\nOK pong\r\n" == replied.replace(MARK, b"")
    assert replied.startswith(MARK) or cut > 1


# watch


def rows_of(octets: bytes) -> list[list[str]]:
    return [line.split() for line in octets.decode().splitlines()]


def test_watch_gives_a_row_for_each_interval_below_a_head(server: Server, peer: Peer) -> None:
    head = rows_of(peer.says(b"watch 1 2\n"))
    assert ["#", "time", "seconds", "packets", "bytes", "packets_per_second"] == head[0][:6]
    server.stream(5)
    server.clock.advance(1.0)
    server.stream(7)
    server.clock.advance(1.0)
    _, one, two, status = rows_of(peer.transport.sent)
    assert ["1.0", "5", "5120", "5.0", "40960.0", "0", "1", "1", "0", "0", "0.0"] == one[1:]
    assert ["1.0", "7", "7168"] == two[1:4]
    assert ["OK", "2"] == status
    assert ["OK pong"] == peer.asks("ping")


def test_those_who_watch_at_one_pace_share_readings_and_rows(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    peers = [server.connect() for _ in range(10)]
    for peer in peers:
        peer.says(b"watch 1 json\n")
        server.clock.advance(0.003)
    server.stream(8)
    made = 0
    interval = type(server.book).interval

    def counted(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        return interval(*arguments)

    server.clock.advance(1.02)
    monkeypatch.setattr(type(server.book), "interval", counted)
    server.clock.advance(1.0)
    assert 1 == made
    rows = [[json.loads(line)["data"]["packets"] for line in peer.transport.sent.splitlines()] for peer in peers]
    assert [[8, 0]] * 10 == rows


def test_ten_who_watch_share_a_reading_until_all_had_slices_and_the_next_rows_have_another(server: Server) -> None:
    readings = Readings(server.desk, server.clock)
    first = readings.recent()
    server.clock.advance(2 * 10 * Limits().slice_seconds / Limits().share)
    assert first is readings.recent()
    server.clock.advance(GRID_SECONDS / 2)
    assert first is not readings.recent()


def test_watch_in_json_is_a_line_for_each_interval_and_one_at_the_end(server: Server, peer: Peer) -> None:
    assert b"" == peer.says(b"watch 0.5 2 json\n")
    server.clock.advance(0.5)
    server.clock.advance(0.5)
    one, two, last = map(json.loads, peer.transport.sent.splitlines())
    assert one["ok"] is two["ok"] is True
    assert (0.5, "watch") == (one["data"]["seconds"], one["command"])
    assert {"ok": True, "command": "watch", "data": [], "count": 2, "total": 2} == last


@pytest.mark.parametrize("line", [b"\n", b"\r\n", b"quit\n", b"x\x80\n", b"stop\r\nping\n", b"\r\nping\n"])
def test_any_line_ends_a_watch_and_is_dropped(server: Server, peer: Peer, line: bytes) -> None:
    peer.says(b"watch 1\n")
    server.clock.advance(1.0)
    replied = peer.says(line)
    assert (b"OK 1\r\nOK pong\r\n" if line.endswith(b"ping\n") else b"OK 1\r\n") == replied
    assert peer.transport.is_open
    assert "producing" == peer.transport.producerState
    server.clock.advance(60.0)
    assert peer.transport.sent.endswith(replied)


def test_half_a_line_ends_no_watch_and_other_protocols_end_the_connection(server: Server, peer: Peer) -> None:
    peer.says(b"watch 1\n")
    server.clock.advance(1.0)
    assert b"" == peer.says(b"sto")
    assert peer.says(b"\x01").startswith(b"OK 1\r\nERR 400 control-character ")
    assert peer.transport.disconnecting


def test_a_watch_goes_on_after_the_end_of_input(server: Server, peer: Peer) -> None:
    peer.says(b"watch 100 4\n")
    peer.ends()
    for _ in range(400):
        server.clock.advance(1.0)
    assert peer.transport.sent.endswith(b"OK 4\r\n")
    assert peer.transport.disconnecting


def test_a_peer_that_does_not_read_misses_intervals_and_the_next_row_covers_them(server: Server, peer: Peer) -> None:
    stuck(peer)
    peer.says(b"watch 1 json\n")
    for _ in range(20):
        server.clock.advance(1.0)
    assert peer.transport.producer_paused
    rows = len(peer.transport.sent.splitlines())
    server.clock.advance(1.0)
    peer.transport.stuck = False
    peer.transport.drain()
    lines = [json.loads(line)["data"]["seconds"] for line in peer.transport.sent.splitlines()]
    assert rows + 1 == len(lines)
    assert 21.0 == sum(lines)
    assert lines[-1] > 1.0


def test_a_peer_that_never_reads_its_watch_is_dropped(server: Server, peer: Peer) -> None:
    stuck(peer)
    peer.says(b"watch 1\n")
    for _ in range(100):
        server.clock.advance(1.0)
    assert peer.transport.is_aborted


def test_renames_hold_for_watch(server: Server, peer: Peer) -> None:
    server.book.renames = Renames((("packets", "messages"),))
    assert b" messages " in peer.says(b"watch 1\n")


@pytest.mark.parametrize("line", ["watch", "watch 0", "watch 0.01", "watch x", "watch 1 0", "watch 1 2 3"])
def test_a_bad_interval_is_told(peer: Peer, line: str) -> None:
    assert "400" == refusal(peer.asks(line))[0]
