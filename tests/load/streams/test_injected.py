"""Streams that misbehave, against a target that records every byte."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.strikes import Injection
from ctrlserver.lane.due import Due
from ctrlserver.load.measure.due import Releases
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.plan.pattern import Pattern, Sizes, size_pattern
from ctrlserver.load.plan.pieces import Flow, Pieces
from ctrlserver.load.plan.recount import Recount
from ctrlserver.load.streams.answers import Answers
from ctrlserver.load.streams.injected import Injected
from ctrlserver.load.streams.outgoing import UNLIMITED
from ctrlserver.load.streams.sender import WRITE_BYTES
from ctrlserver.load.streams.wire import COMPLETE, CUT, ENDED, INJECTED, RESET
from ctrlserver.wire.framing import parse_framing
from tests.lanes import Bench
from tests.servers import reset_at_close

EQUAL = size_pattern(Sizes(1000, 1000), parse_framing("fixed:1000"), 1)
MIXED = size_pattern(Sizes(10, 3000), parse_framing("int16"), 1, 40_000)


class Plug:
    """The connection of a stream under test."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def unwritten(self) -> int:
        return 0

    def hang_up(self, *, reset: bool) -> None:
        if reset:
            reset_at_close(self.bench.ours)
        self.bench.ours.close()


class Stage:
    """A bench with a timer, and the streams of one injection."""

    def __init__(self, buffer: int = 0) -> None:
        self.bench = Bench(buffer)
        reactor: Any = MemoryReactorClock()
        self.moments = Due(self.bench.lane, reactor)

    def stream(
        self, spec: str, pattern: Pattern = EQUAL, framing: str = "fixed:1000", *, single: bool = False, **more: Any
    ) -> Injected:
        course = Injection(parse_spec(spec), 1).stream("tcp")
        line = self.bench.line(pattern)
        made = Injected(
            line,
            flow=Flow(Pieces(course, pattern, line.sendable, most=WRITE_BYTES, single=single, datagrams=False)),
            moments=self.moments,
            recount=Recount(parse_framing(framing)),
            connection=Plug(self.bench),
            **{"stays": False, **more},
        )
        made.reason = COMPLETE
        return made

    def close(self) -> None:
        self.moments.stop()
        self.bench.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


@pytest.fixture
def narrow() -> Iterator[Stage]:
    made = Stage(8192)
    yield made
    made.close()


def packets(pattern: Pattern, number: int) -> list[bytes]:
    octets = pattern.block * (pattern.bytes_of(number) // len(pattern.block) + 1)
    return [octets[pattern.bytes_of(at) : pattern.bytes_of(at + 1)] for at in range(number)]


def whole(stage: Stage, stream: Injected, number: int, expected: int) -> bytes:
    """All that came of so many packets."""
    stream.start(stream.line.pattern.bytes_of(number))
    stage.bench.turn(lambda: stage.bench.told.done and len(stage.bench.got) >= expected)
    stage.bench.turn_deaf(2)
    stage.bench.take()
    return bytes(stage.bench.got)


@pytest.mark.parametrize("buffer", [0, 8192])
@pytest.mark.parametrize(("pattern", "framing"), [(EQUAL, "fixed:1000"), (MIXED, "int16")], ids=["equal", "mixed"])
@pytest.mark.parametrize("single", [False, True])
def test_each_tenth_packet_arrives_twice_and_all_others_once(
    buffer: int, pattern: Pattern, framing: str, single: bool
) -> None:
    stage = Stage(buffer)
    try:
        stream = stage.stream("10th*duplicate", pattern, framing, single=single)
        each = packets(pattern, 995)
        wanted = b"".join(packet * (2 if number % 10 == 0 else 1) for number, packet in enumerate(each, 1))
        assert wanted == whole(stage, stream, 995, len(wanted))
        assert (995, len(wanted), 99) == (stream.packets, stream.moved, stream.outcome().duplicated)
        assert 995 + 99 == stream.outcome().expected_packets
        assert 0 == stream.incomplete_bytes
    finally:
        stage.close()


@pytest.mark.parametrize("buffer", [0, 8192])
def test_what_is_cut_short_shifts_the_packets_and_is_counted_as_the_server_will(buffer: int) -> None:
    stage = Stage(buffer)
    try:
        stream = stage.stream("3*ok->5th*truncate(10)")
        each = packets(EQUAL, 40)
        wanted = b"".join(packet[:10] if n > 3 and (n - 3) % 5 == 0 else packet for n, packet in enumerate(each, 1))
        assert wanted == whole(stage, stream, 40, len(wanted))
        assert (40, 7, 33_070 // 1000) == (
            stream.packets,
            stream.outcome().truncated,
            stream.outcome().expected_packets,
        )
    finally:
        stage.close()


def test_the_bits_that_turn_are_those_of_the_seed(stage: Stage) -> None:
    stream = stage.stream("2nd*corrupt(3 bits)")
    got = whole(stage, stream, 6, 6000)
    differing = [
        sum((one ^ other).bit_count() for one, other in zip(got[at : at + 1000], packet, strict=True))
        for at, packet in zip(range(0, 6000, 1000), packets(EQUAL, 6), strict=True)
    ]
    assert [0, 3, 0, 3, 0, 3] == differing
    assert (3, 6, False) == (stream.outcome().corrupted, stream.outcome().expected_packets, stream.outcome().faulty)


def test_a_drip_leaves_in_its_pieces_at_its_pace(stage: Stage) -> None:
    stream = stage.stream("2nd*drip(250B/20ms)")
    began = time.monotonic()
    assert b"".join(packets(EQUAL, 3)) == whole(stage, stream, 3, 3000)
    assert time.monotonic() - began >= 0.08  # 4 pieces, and the time of the last
    assert (1, 6) == (stream.outcome().dripped, stream.writes)


def test_at_the_end_of_the_time_a_drip_goes_out_whole(stage: Stage) -> None:
    stream = stage.stream("drip(1B/1h)")
    stream.start(UNLIMITED)
    stage.bench.turn(lambda: len(stage.bench.got) == 1)
    assert stream.idle
    stream.end_at_packet(ENDED)
    stage.bench.turn(lambda: stage.bench.told.done and len(stage.bench.got) == 1000)
    assert (1, ENDED, 0) == (stream.packets, stream.reason, stream.incomplete_bytes)


def test_a_reset_follows_its_packet_and_is_one_on_the_wire(stage: Stage) -> None:
    stream = stage.stream("3*ok->reset")
    stream.start(EQUAL.bytes_of(100))
    stage.bench.turn(lambda: stage.bench.told.done)
    assert b"".join(packets(EQUAL, 4)) == received(stage, 4000)
    with pytest.raises(ConnectionResetError):
        stage.bench.theirs.recv(1)
    assert (4, INJECTED, "reset", 0) == (
        stream.packets,
        stream.reason,
        stream.struck.end,
        stream.struck.unconfirmed_bytes,
    )
    assert stream.over
    assert [stream] == stage.bench.told.done
    assert not stage.bench.told.failures


def test_a_close_follows_its_packet_in_order(stage: Stage) -> None:
    stream = stage.stream("4th*close")
    stream.start(EQUAL.bytes_of(100))
    stage.bench.turn(lambda: stage.bench.told.done)
    assert b"".join(packets(EQUAL, 4)) == received(stage, 4000)
    assert b"" == stage.bench.theirs.recv(1)
    assert (4, INJECTED, "close") == (stream.packets, stream.reason, stream.struck.end)


def received(stage: Stage, nbytes: int) -> bytes:
    while len(stage.bench.got) < nbytes:
        select.select([stage.bench.theirs], [], [], 20)
        stage.bench.got += stage.bench.theirs.recv(nbytes - len(stage.bench.got))
    return bytes(stage.bench.got)


def test_a_reset_that_the_target_has_no_room_for_tells_what_may_be_lost(
    narrow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctrlserver.load.streams.departure.ARRIVAL_NS", 20_000_000)
    pattern = size_pattern(Sizes(100, 100), parse_framing("fixed:100"), 1)
    stream = narrow.stream("reset", pattern, "fixed:100")
    reserve = narrow.bench.ours.send(bytes(1 << 20))
    assert reserve < 1 << 20
    narrow.bench.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    stream.start(100)
    while not narrow.bench.told.done:
        narrow.bench.turn_deaf(1)
    assert 100 == stream.struck.unconfirmed_bytes


def test_a_half_close_follows_its_packet_and_the_target_may_go_on(stage: Stage) -> None:
    stream = stage.stream("2nd*half-close")
    stream.start(EQUAL.bytes_of(100))
    stage.bench.turn(lambda: stage.bench.told.done)
    assert b"".join(packets(EQUAL, 2)) == received(stage, 2000)
    assert b"" == stage.bench.theirs.recv(1)
    assert (INJECTED, "half-close", False) == (stream.reason, stream.struck.end, stream.over)
    stream.half_close()  # the run's own, which has nothing left to do
    stage.bench.theirs.close()
    stage.bench.turn(lambda: stage.bench.told.ended)
    assert not stage.bench.told.failures


def test_a_stall_sends_and_reads_nothing_more(stage: Stage) -> None:
    stream = stage.stream("2*ok->stall")
    stream.start(EQUAL.bytes_of(100))
    stage.bench.turn(lambda: stage.bench.told.done and len(stage.bench.got) == 2000)
    stage.bench.theirs.send(b"x" * 100)
    stage.bench.turn_deaf(20)
    assert 100 == len(stage.bench.ours.recv(1000, socket.MSG_PEEK))
    assert (2, INJECTED, "stall") == (stream.packets, stream.reason, stream.struck.end)
    stream.relent()
    stage.bench.turn_deaf(20)
    with pytest.raises(BlockingIOError):
        stage.bench.ours.recv(1000, socket.MSG_PEEK)


def test_a_stall_lasts_to_the_end_of_the_time_where_there_is_one(stage: Stage) -> None:
    stream = stage.stream("2*ok->stall", stays=True)
    stream.start(UNLIMITED)
    stage.bench.turn(lambda: len(stage.bench.got) == 2000)
    stage.bench.turn_deaf(20)
    assert (True, True, []) == (stream.active, stream.idle, stage.bench.told.done)
    stream.end_at_packet(ENDED)
    assert (INJECTED, [stream]) == (stream.reason, stage.bench.told.done)


def test_what_the_target_says_is_read_at_the_rate(stage: Stage) -> None:
    stream = stage.stream("slow-read(10000B/s)")
    stage.bench.theirs.send(b"x" * 2500)
    stream.start(EQUAL.bytes_of(2))
    began = time.monotonic()
    stage.bench.turn(lambda: len(stage.bench.got) == 2000 and not pending(stage))
    assert time.monotonic() - began >= 0.2  # 5 reads of 500 bytes, each but the first after 50 ms
    assert 2 == stream.outcome().slowed


def pending(stage: Stage) -> int:
    try:
        return len(stage.bench.ours.recv(10_000, socket.MSG_PEEK))
    except BlockingIOError:
        return 0


def test_a_target_that_ends_a_stream_after_a_strike_fails_no_run(narrow: Stage) -> None:
    stream = narrow.stream("1*duplicate")
    stream.start(UNLIMITED)
    narrow.bench.turn_deaf()
    reset_at_close(narrow.bench.theirs)
    narrow.bench.theirs.close()
    narrow.bench.turn(lambda: narrow.bench.told.done)
    assert (RESET, []) == (stream.reason, narrow.bench.told.failures)
    assert "the target reset the connection after" in str(stream.struck.said)


def test_a_target_that_ends_a_stream_that_nothing_struck_fails_the_run(narrow: Stage) -> None:
    stream = narrow.stream("1000000*ok->duplicate")
    stream.start(UNLIMITED)
    narrow.bench.turn_deaf()
    reset_at_close(narrow.bench.theirs)
    narrow.bench.theirs.close()
    narrow.bench.turn(lambda: narrow.bench.told.failures)
    assert RESET == stream.reason


def test_a_length_that_is_corrupt_is_known_to_break_the_framing(stage: Stage) -> None:
    pattern = size_pattern(Sizes(1, 1), parse_framing("int64"), 1)
    stream = stage.stream("2*ok->corrupt(60 bits)", pattern, "int64")
    whole(stage, stream, 5, 45)
    assert (2, True) == (stream.outcome().expected_packets, stream.outcome().faulty)


def test_a_packet_under_way_that_is_cut_off_is_incomplete(narrow: Stage) -> None:
    stream = narrow.stream("duplicate")
    stream.start(UNLIMITED)
    narrow.bench.turn_deaf()
    stream.cut(CUT)
    assert stream.moved == 2000 * stream.packets + stream.moved % 2000
    assert stream.outcome().expected_packets == stream.moved // 1000
    assert stream.incomplete_bytes == min(stream.moved % 2000, 999)


def test_by_a_schedule_what_is_due_is_struck_as_well(stage: Stage) -> None:
    stream = stage.stream("2nd*duplicate", releases=Releases(Timing()))
    stream.start(EQUAL.bytes_of(6))
    for _ in range(6):
        stream.release(1, 0, 0)
    stage.bench.turn(lambda: stage.bench.told.done and len(stage.bench.got) == 9000)
    assert (6, 3, 9) == (stream.packets, stream.outcome().duplicated, stream.outcome().expected_packets)


def request(stage: Stage, spec: str, in_flight: int = 1, timing: Timing | None = None) -> Injected:
    answers = Answers(parse_framing("fixed:1000"), in_flight, timing or Timing())
    return stage.stream(spec, single=True, answers=answers)


def echo(stage: Stage, until: Any) -> None:
    """Turn until something is so, and echo what comes meanwhile."""
    answered = 0

    def turned() -> object:
        nonlocal answered
        if len(stage.bench.got) > answered:
            answered += stage.bench.theirs.send(stage.bench.got[answered:])
        return until()

    stage.bench.turn(turned)


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_packet_sent_twice_is_answered_twice_and_each_answer_timed(stage: Stage, in_flight: int) -> None:
    timing = Timing()
    stream = request(stage, "5th*duplicate", in_flight, timing)
    stream.start(EQUAL.bytes_of(52))
    echo(stage, lambda: stage.bench.told.done)
    assert (52, 62, COMPLETE) == (stream.packets, stream.replies, stream.reason)
    assert 62 == len(timing.service.now)
    assert not stage.bench.told.failures


def test_a_packet_that_lacks_its_end_awaits_no_answer(stage: Stage) -> None:
    timing = Timing()
    stream = request(stage, "5th*truncate(300)", 2, timing)
    stream.start(EQUAL.bytes_of(20))
    echo(stage, lambda: stage.bench.told.done)
    assert (20, 17_200 // 1000) == (stream.packets, stream.replies)
    assert stream.replies == stream.outcome().expected_packets == len(timing.service.now)
    assert not stage.bench.told.failures


def test_after_a_half_close_the_answers_are_still_awaited(stage: Stage) -> None:
    stream = request(stage, "3rd*half-close", 3)
    stream.start(EQUAL.bytes_of(50))
    echo(stage, lambda: stage.bench.told.done)
    assert (3, 3, INJECTED) == (stream.packets, stream.replies, stream.reason)


def test_a_reset_awaits_no_answer(stage: Stage) -> None:
    stream = request(stage, "3rd*reset", 1)
    stream.start(EQUAL.bytes_of(50))
    echo(stage, lambda: stage.bench.told.done)
    assert (3, INJECTED) == (stream.packets, stream.reason)
    assert stream.replies in (2, 3)  # the third may have come while its packet was not acknowledged yet
    assert not stage.bench.told.failures


def test_answers_are_read_at_the_rate(stage: Stage) -> None:
    stream = request(stage, "slow-read(20000B/s)")
    began = time.monotonic()
    stream.start(EQUAL.bytes_of(3))
    echo(stage, lambda: stage.bench.told.done)
    assert time.monotonic() - began >= 0.1
    assert (3, 3) == (stream.replies, stream.outcome().slowed)
