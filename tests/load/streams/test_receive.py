from __future__ import annotations

from collections.abc import Iterator

import pytest

from ctrlserver.load.streams.outgoing import UNLIMITED
from ctrlserver.load.streams.receive import ReceiveStream
from ctrlserver.load.streams.wire import CLOSED, COMPLETE, CUT, ENDED, REPLY_FAULT, RESET, STALLED
from ctrlserver.wire.framing import parse_framing
from tests.lanes import Bench
from tests.servers import reset_at_close


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def stream(bench: Bench, framing: str = "fixed:100", words: bytes | None = None, strict: bool = False) -> ReceiveStream:
    spec = parse_framing(framing)
    made = ReceiveStream(bench.line(), spec=spec, words=words, strict=strict)
    made.reason = COMPLETE
    return made


def asked(bench: Bench) -> bytes:
    """What the stream has said to the target."""
    bench.turn_deaf(2)
    bench.take()
    return bytes(bench.got)


@pytest.mark.parametrize(
    ("framing", "words", "limit", "said"),
    [
        ("fixed:100", None, 700, b"7\n"),
        ("fixed:100", None, UNLIMITED, b"\n"),
        ("fixed:100", None, 0, b"0\n"),
        ("line", None, 7, b""),
        ("raw", None, UNLIMITED, b""),
        ("raw", b"GET /\r\n", UNLIMITED, b"GET /\r\n"),
        ("fixed:100", b"", 700, b""),
    ],
)
def test_a_source_is_asked_for_its_packets_and_a_foreign_target_only_with_a_payload(
    bench: Bench, framing: str, words: bytes | None, limit: int, said: bytes
) -> None:
    stream(bench, framing, words).start(limit)
    assert said == asked(bench)


def test_exactly_the_packets_asked_for_are_read_and_no_byte_more(bench: Bench) -> None:
    came = stream(bench)
    came.start(300)
    bench.answer(b"x" * 250)
    assert ([], 2, 50) == (bench.told.done, came.packets, came.incomplete_bytes)
    bench.answer(b"x" * 250)
    assert [came] == bench.told.done
    assert (3, 300, 0, COMPLETE) == (came.packets, came.received, came.incomplete_bytes, came.reason)
    assert b"x" * 200 == bench.ours.recv(1000)


def test_packets_of_a_framing_by_content_are_counted(bench: Bench) -> None:
    came = stream(bench, "line")
    came.start(3)
    bench.answer(b"a\nbb\nc")
    assert (2, 6, 1) == (came.packets, came.received, came.incomplete_bytes)
    bench.answer(b"cc\n")
    assert [came] == bench.told.done
    assert (3, 9) == (came.packets, came.received)


def test_what_breaks_the_framing_ends_the_stream_and_the_packets_before_it_count(bench: Bench) -> None:
    came = stream(bench, "netstring")
    came.start(UNLIMITED)
    bench.answer(b"3:abc,HTTP/1.1 400")
    assert (REPLY_FAULT, 1) == (came.reason, came.packets)
    assert bench.told.failures[0].startswith("stream 1 (there:2): a packet breaks framing netstring: ")


def test_a_close_ends_the_download_where_no_number_was_asked_for(bench: Bench) -> None:
    came = stream(bench)
    came.start(1000)
    bench.answer(b"x" * 250)
    bench.take()
    bench.theirs.close()
    bench.turn(lambda: bench.told.done)
    assert ([], CLOSED, 2, 50) == (bench.told.failures, came.reason, came.packets, came.incomplete_bytes)
    assert "2 packets and 50 bytes of another had come" == came.so_far()


def test_a_close_before_the_number_asked_for_is_a_failure(bench: Bench) -> None:
    came = stream(bench, strict=True)
    came.start(1000)
    bench.answer(b"x" * 200)
    assert b"10\n" == asked(bench)
    bench.theirs.close()
    bench.turn(lambda: bench.told.failures)
    words = "the target closed the connection early: 2 packets had come, 10 were asked for"
    assert [f"stream 1 (there:2): {words}"] == bench.told.failures
    assert CLOSED == came.reason


def test_a_reset_is_believed_after_what_came_before_it(bench: Bench) -> None:
    came = stream(bench)
    came.start(UNLIMITED)
    bench.theirs.send(b"x" * 300)
    reset_at_close(bench.theirs)
    bench.theirs.close()
    bench.turn(lambda: bench.told.failures)
    assert (RESET, 3) == (came.reason, came.packets)
    assert bench.told.failures[0].startswith("stream 1 (there:2): the target reset the connection, 3 packets had come;")
    assert "--payload ''" in bench.told.failures[0]


def test_at_the_end_of_the_time_nothing_more_is_read(bench: Bench) -> None:
    came = stream(bench)
    came.start(UNLIMITED)
    bench.answer(b"x" * 150)
    came.end_at_packet(ENDED)
    assert ([came], ENDED, True) == (bench.told.done, came.reason, came.over)
    bench.theirs.send(b"x" * 150)  # the lane is not to hear of it, so there is nothing to wait for
    bench.turn_deaf(2)
    assert 150 == came.received


def test_a_patient_stream_reads_on_until_the_target_ends_it(bench: Bench) -> None:
    came = stream(bench)
    came.patient = True
    came.start(UNLIMITED)
    came.end_at_packet(ENDED)
    bench.answer(b"x" * 300)
    assert [] == bench.told.done
    bench.take()
    bench.theirs.close()
    bench.turn(lambda: bench.told.done)
    assert (ENDED, 3, True) == (came.reason, came.packets, came.eof)


def test_a_reset_of_a_stream_that_was_to_be_ended_cuts_it(bench: Bench) -> None:
    came = stream(bench)
    came.patient = True
    came.start(UNLIMITED)
    came.end_at_packet(ENDED)
    reset_at_close(bench.theirs)
    bench.theirs.close()
    bench.turn(lambda: bench.told.done)
    assert ([], CUT) == (bench.told.failures, came.reason)


def test_a_target_that_has_gone_quiet_is_told_that_no_more_is_said(bench: Bench) -> None:
    came = stream(bench, words=b"")
    came.start(UNLIMITED)
    came.quiet(9.0, 10.0)
    assert not came.half_closed
    bench.answer(b"x" * 100)
    came.quiet(1.9, 10.0)
    assert not came.half_closed
    came.quiet(2.0, 10.0)
    assert b"" == bench.theirs.recv(10)
    came.quiet(3.0, 10.0)
    assert [] == bench.told.failures


def test_a_stall_says_what_had_come(bench: Bench) -> None:
    came = stream(bench, "raw")
    came.start(UNLIMITED)
    bench.answer(b"x" * 7)
    came.stall(3)
    words = "no progress on stream 1 (there:2) for 3 s: the target sends nothing, 7 bytes had come"
    assert ([words], STALLED) == (bench.told.failures, came.reason)


def test_a_stall_without_a_byte_says_what_mode_receive_needs(bench: Bench) -> None:
    came = stream(bench, "raw")
    came.start(UNLIMITED)
    came.stall(3)
    needs = "mode receive needs a server that sends, such as one with --mode source"
    assert bench.told.failures[0].endswith(f"the target sends nothing, 0 bytes had come; {needs}")
