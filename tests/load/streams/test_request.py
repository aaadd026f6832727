from __future__ import annotations

from collections.abc import Iterator

import pytest

from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.plan.pattern import Pattern, Sizes, payload_pattern, size_pattern
from ctrlserver.load.streams.outgoing import UNLIMITED
from ctrlserver.load.streams.request import RequestStream
from ctrlserver.load.streams.wire import CLOSED, COMPLETE, ENDED, REPLY_FAULT, SURPLUS
from ctrlserver.stats.latency import bucket_of
from ctrlserver.wire.framing import parse_framing
from tests.lanes import Bench

CONSTANT = size_pattern(Sizes(100, 100), parse_framing("fixed:100"), 1)
RANDOM = size_pattern(Sizes(10, 300), parse_framing("int16"), 1, 4000)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def stream(
    bench: Bench, pattern: Pattern = CONSTANT, reply: str = "fixed:100", in_flight: int = 1, combine: bool = True
) -> RequestStream:
    made = RequestStream(
        bench.line(pattern),
        reply_spec=parse_framing(reply),
        in_flight=in_flight,
        combine=combine,
        timing=Timing(),
    )
    made.reason = COMPLETE
    return made


def echo_until_done(bench: Bench) -> None:
    echoed = 0

    def echo() -> bool:
        nonlocal echoed
        echoed += bench.theirs.send(bench.got[echoed:]) if len(bench.got) > echoed else 0
        return bool(bench.told.done or bench.told.failures)

    bench.turn(echo)


@pytest.mark.parametrize("combine", [True, False])
@pytest.mark.parametrize("in_flight", [1, 2, 7, 1000])
@pytest.mark.parametrize(("pattern", "reply"), [(CONSTANT, "fixed:100"), (RANDOM, "int16")], ids=["constant", "random"])
def test_every_packet_is_sent_and_answered(
    bench: Bench, pattern: Pattern, reply: str, in_flight: int, combine: bool
) -> None:
    sent = stream(bench, pattern, reply, in_flight, combine)
    limit = pattern.bytes_of(50)
    sent.start(limit)
    echo_until_done(bench)
    assert [] == bench.told.failures
    assert (50, 50, limit, limit) == (sent.packets, sent.replies, sent.sent, sent.reply_bytes)
    assert (pattern.block * 20)[:limit] == bytes(bench.got)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_no_more_than_the_packets_in_flight_go_without_a_reply(bench: Bench, in_flight: int) -> None:
    sent = stream(bench, in_flight=in_flight)
    sent.start(UNLIMITED)
    bench.turn_deaf()
    assert in_flight == sent.packets
    bench.answer(b"x" * 100)
    assert (in_flight + 1, 1) == (sent.packets, sent.replies)


def test_half_a_reply_lets_nothing_go(bench: Bench) -> None:
    sent = stream(bench)
    sent.start(UNLIMITED)
    bench.answer(b"x" * 50)
    assert (1, 0) == (sent.packets, sent.replies)
    bench.answer(b"x" * 50)
    assert (2, 1) == (sent.packets, sent.replies)


def test_replies_of_another_framing_are_counted(bench: Bench) -> None:
    pattern = payload_pattern(b"PING\r\n", parse_framing("raw"))
    sent = stream(bench, pattern, "line", 2)
    sent.start(pattern.bytes_of(3))
    bench.answer(b"+PONG\r\n+PO")
    bench.answer(b"NG\r\n")
    bench.answer(b"+PONG\r\n")
    assert [sent] == bench.told.done
    assert (3, 21) == (sent.replies, sent.reply_bytes)


def test_a_stream_goes_on_after_it_was_done(bench: Bench) -> None:
    sent = stream(bench, in_flight=2)
    sent.start(CONSTANT.bytes_of(2))
    bench.answer(b"x" * 200)
    assert [sent] == bench.told.done
    sent.start(CONSTANT.bytes_of(3))
    assert (3, 2) == (sent.packets, sent.replies)
    bench.answer(b"x" * 100)
    assert [sent, sent] == bench.told.done


def test_at_the_end_of_the_time_the_replies_are_awaited(bench: Bench) -> None:
    sent = stream(bench, in_flight=3)
    sent.start(UNLIMITED)
    bench.answer(b"x" * 100)
    sent.end_at_packet(ENDED)
    assert [] == bench.told.done
    bench.answer(b"x" * 300)
    assert [sent] == bench.told.done
    assert (4, 4, ENDED) == (sent.packets, sent.replies, sent.reason)


def test_what_was_allowed_and_not_sent_is_not_awaited_at_the_end_of_the_time() -> None:
    bench = Bench(buffer=4096)
    try:
        sent = stream(bench, in_flight=10_000)
        sent.start(UNLIMITED)
        bench.turn_deaf()
        begun = -(-sent.sent // 100)
        assert begun < 10_000
        sent.end_at_packet(ENDED)
        echo_until_done(bench)
        assert (begun, begun) == (sent.packets, sent.replies)
    finally:
        bench.close()


@pytest.mark.parametrize(
    ("reply", "words"),
    [(b"x" * 200, "2 replies for 1 packet"), (b"x" * 150, "1 reply and 50 bytes more for 1 packet")],
)
def test_a_target_that_answers_too_much_is_told(bench: Bench, reply: bytes, words: str) -> None:
    sent = stream(bench)
    sent.start(CONSTANT.bytes_of(1))
    bench.answer(reply)
    assert [f"stream 1 (there:2): the target answers too much: {words} (framing fixed:100)"] == bench.told.failures
    assert SURPLUS == sent.reason


def test_a_reply_after_the_last_one_is_too_much_until_we_have_closed_our_side(bench: Bench) -> None:
    sent = stream(bench)
    sent.start(CONSTANT.bytes_of(1))
    bench.answer(b"x" * 100)
    sent.half_close()
    bench.answer(b"good-bye")
    bench.take()
    assert [] == bench.told.failures
    bench.theirs.close()
    bench.turn(lambda: bench.told.ended)


def test_a_late_reply_is_too_much(bench: Bench) -> None:
    sent = stream(bench)
    sent.start(CONSTANT.bytes_of(1))
    bench.answer(b"x" * 100)
    bench.answer(b"x" * 100)
    assert SURPLUS == sent.reason
    assert bench.told.failures[0].endswith("the target answers too much: 2 replies for 1 packet (framing fixed:100)")


def test_a_reply_that_breaks_its_framing_is_told(bench: Bench) -> None:
    sent = stream(bench, reply="netstring")
    sent.start(UNLIMITED)
    bench.answer(b"HTTP/1.1 400 Bad Request\r\n")
    assert REPLY_FAULT == sent.reason
    assert bench.told.failures[0].startswith("stream 1 (there:2): a reply breaks framing netstring: ")


def test_a_close_with_replies_outstanding_is_early(bench: Bench) -> None:
    sent = stream(bench, in_flight=2)
    sent.start(UNLIMITED)
    bench.answer(b"x" * 100)
    bench.take()
    bench.theirs.close()
    bench.turn(lambda: bench.told.failures)
    assert CLOSED == sent.reason
    assert [
        "stream 1 (there:2): the target closed the connection early, after 3 packets had been sent and 1 reply had come"
    ] == bench.told.failures


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"", "the target does not answer; mode request needs a server that does, such as one with --mode echo"),
        (b"x" * 9, "the target does not answer; 9 bytes of a reply have come"),
        (b"x" * 109, "the target does not answer any more, after 1 reply; 9 bytes of a reply have come"),
    ],
)
def test_a_stall_says_that_the_target_does_not_answer(bench: Bench, reply: bytes, words: str) -> None:
    sent = stream(bench)
    sent.start(UNLIMITED)
    if reply:
        bench.answer(reply)
    sent.stall(10)
    assert [f"no progress on stream 1 (there:2) for 10 s: {words}"] == bench.told.failures


def test_a_stall_says_that_the_target_does_not_read() -> None:
    bench = Bench(buffer=4096)
    try:
        sent = stream(bench, in_flight=10_000)
        sent.start(UNLIMITED)
        bench.turn_deaf()
        sent.stall(10)
        assert bench.told.failures[0].endswith("the target does not read")
    finally:
        bench.close()


@pytest.mark.parametrize("nanoseconds", [0, 1, 1023, 2047, 2048, 2049, 4095, 4096, 123_456, 10**9, 36 * 10**11])
def test_the_bucket_that_request_ready_computes_in_place_is_that_of_stats_latency(
    bench: Bench, nanoseconds: int
) -> None:
    """The formula stands in RequestStream.ready (streams/request.py) and in bucket_of (stats/latency.py)."""
    moments = iter([0, nanoseconds])
    timing = Timing()
    framing = parse_framing("fixed:100")
    sent = RequestStream(
        bench.line(CONSTANT), reply_spec=framing, in_flight=1, timing=timing, clock=lambda: next(moments)
    )
    sent.start(UNLIMITED)
    bench.answer(b"x" * 100)
    assert {bucket_of(nanoseconds): 1} == dict(timing.service.now.counts)
