from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ctrlserver.load.plan.pattern import Pattern, Sizes, size_pattern
from ctrlserver.load.streams.outgoing import UNLIMITED
from ctrlserver.load.streams.send import PacketStream, SendStream
from ctrlserver.load.streams.sender import Sender
from ctrlserver.load.streams.wire import CLOSED, COMPLETE, CUT, ENDED, RESET, STALLED
from ctrlserver.wire.framing import parse_framing
from tests.lanes import Bench
from tests.servers import reset_at_close

CONSTANT = size_pattern(Sizes(1000, 1000), parse_framing("fixed:1000"), 1)
RANDOM = size_pattern(Sizes(10, 3000), parse_framing("int16"), 1, 40_000)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


@pytest.fixture
def narrow() -> Iterator[Bench]:
    made = Bench(buffer=8192)
    yield made
    made.close()


def stream(bench: Bench, pattern: Pattern = CONSTANT, *, combine: bool = True) -> Sender:
    line = bench.line(pattern)
    made = SendStream(line) if combine else PacketStream(line, packets=pattern.packet_views())
    made.reason = COMPLETE
    return made


def expected(pattern: Pattern, nbytes: int) -> bytes:
    return (pattern.block * (nbytes // len(pattern.block) + 1))[:nbytes]


@pytest.mark.parametrize("combine", [True, False])
@pytest.mark.parametrize("pattern", [CONSTANT, RANDOM], ids=["constant", "random"])
@pytest.mark.parametrize("buffer", [0, 8192])
def test_exactly_the_bytes_of_the_pattern_arrive_in_order(pattern: Pattern, combine: bool, buffer: int) -> None:
    bench = Bench(buffer)
    try:
        sent = stream(bench, pattern, combine=combine)
        limit = pattern.bytes_of(997)
        sent.start(limit)
        bench.turn(lambda: bench.told.done and len(bench.got) >= limit)
        assert expected(pattern, limit) == bytes(bench.got)
        assert (997, limit, 0) == (sent.packets, sent.sent, sent.incomplete_bytes)
        assert not bench.told.failures
        if not combine and not buffer:
            assert sent.writes >= 997
        if combine and not buffer:
            assert sent.writes < 100
    finally:
        bench.close()


def test_a_stream_with_nothing_to_send_is_done_at_once(bench: Bench) -> None:
    sent = stream(bench)
    sent.start(0)
    assert [sent] == bench.told.done


def test_a_stream_goes_on_where_it_stopped(bench: Bench) -> None:
    sent = stream(bench, RANDOM)
    sent.start(RANDOM.bytes_of(3))
    bench.turn(lambda: bench.told.done)
    sent.start(RANDOM.bytes_of(8))
    bench.turn(lambda: len(bench.told.done) == 2 and len(bench.got) == sent.sent)
    assert expected(RANDOM, RANDOM.bytes_of(8)) == bytes(bench.got)


def test_at_the_end_of_the_time_the_packet_begun_is_ended(narrow: Bench) -> None:
    sent = stream(narrow)
    sent.start(UNLIMITED)
    narrow.turn_deaf()
    assert sent.incomplete_bytes > 0
    begun = sent.packets + 1
    sent.end_at_packet(ENDED)
    narrow.turn(lambda: narrow.told.done)
    assert (begun, 0, ENDED) == (sent.packets, sent.incomplete_bytes, sent.reason)


def test_a_stream_that_is_cut_reports_the_rest_of_its_packet(narrow: Bench) -> None:
    sent = stream(narrow)
    sent.start(UNLIMITED)
    narrow.turn_deaf()
    sent.cut(CUT)
    assert CUT == sent.reason
    assert sent.sent == sent.packets * 1000 + sent.incomplete_bytes
    assert sent.over


def test_a_new_limit_never_ends_in_a_packet_that_was_begun(narrow: Bench) -> None:
    sent = stream(narrow)
    sent.start(UNLIMITED)
    narrow.turn_deaf()
    begun = sent.packets + 1
    sent.bound(0)
    narrow.turn(lambda: narrow.told.done)
    assert begun == sent.packets


def test_what_a_target_says_is_read_and_dropped(bench: Bench) -> None:
    sent = stream(bench)
    sent.start(CONSTANT.bytes_of(100))
    bench.theirs.send(b"x" * 10_000)
    bench.turn(lambda: bench.told.done and len(bench.got) == 100_000)
    assert not bench.told.failures
    with pytest.raises(BlockingIOError):
        bench.ours.recv(1)


def test_the_target_s_close_after_ours_ends_the_stream(bench: Bench) -> None:
    sent = stream(bench)
    sent.start(CONSTANT.bytes_of(1))
    bench.turn(lambda: bench.told.done)
    sent.half_close()
    bench.theirs.close()
    bench.turn(lambda: bench.told.ended)
    assert COMPLETE == sent.reason
    assert not bench.told.failures


def test_a_target_that_closes_its_side_may_go_on_reading(bench: Bench) -> None:
    sent = stream(bench)
    sent.start(CONSTANT.bytes_of(100_000))
    bench.theirs.shutdown(socket.SHUT_WR)
    bench.turn(lambda: bench.told.done and len(bench.got) == sent.limit)
    assert sent.eof
    sent.half_close()
    assert not sent.check_broken()
    assert 0 == sent.unsent_bytes()


def test_a_reset_says_how_many_packets_had_been_sent(narrow: Bench) -> None:
    sent = stream(narrow)
    sent.start(UNLIMITED)
    narrow.turn_deaf()
    reset_at_close(narrow.theirs)
    narrow.theirs.close()
    narrow.turn(lambda: narrow.told.failures)
    assert [f"stream 1 (there:2): the target reset the connection after {sent.packets} packets had been sent"] == (
        narrow.told.failures
    )
    assert RESET == sent.reason


def test_a_close_before_all_was_sent_is_told_as_early(bench: Bench) -> None:
    sent = stream(bench)
    sent.start(CONSTANT.bytes_of(10))
    bench.turn(lambda: bench.told.done and len(bench.got) == 10_000)
    bench.theirs.close()
    bench.turn(lambda: sent.eof)
    sent.start(UNLIMITED)
    bench.turn(lambda: bench.told.failures)
    assert CLOSED == sent.reason
    assert "closed the connection early, after" in bench.told.failures[0]


def test_a_stall_names_the_stream_and_what_the_target_does_not_do(bench: Bench) -> None:
    sent = stream(bench)
    sent.start(UNLIMITED)
    sent.stall(10.0)
    assert ["no progress on stream 1 (there:2) for 10 s: the target does not read"] == bench.told.failures
    assert STALLED == sent.reason


def test_an_error_of_our_own_ends_the_stream_and_not_the_lane(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = stream(bench)
    sent.start(UNLIMITED)
    monkeypatch.setattr(SendStream, "_write", lambda self: self.nothing_of_that_name)
    monkeypatch.setattr(type(bench.lane), "log", Quiet())
    bench.turn_deaf(2)
    assert "an error of ctrlload's own" in bench.told.failures[0]


class Quiet:
    def failure(self, text: str, **more: object) -> None:
        """The lane's log of the exception."""
