"""Claims about the counters of streams, and their totals."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.stats.counters import REASONS, Counters, Origin, StreamCounters, Sums, Totals

ORIGIN = Origin("data", "tcp", "fixed:1024", "echo", 1024)
ORIGINS = (
    ORIGIN,
    Origin("data", "tcp", "fixed:1024", "echo", 1024, by_size=True),
    Origin("lines", "tcp", "line", "sink"),
    Origin("lines", "tcp", "line", "sink"),
)
NOTHING = Totals(0, 0, 0, 0, 0, 0, 0, 0)

# Each step opens a stream, or adds to or closes one of the open ones.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.sampled_from(ORIGINS)),
        st.tuples(st.just("data"), st.integers(0, 9), st.integers(0, 50), st.integers(1, 9000), st.integers(0, 5)),
        st.tuples(st.just("close"), st.integers(0, 9), st.sampled_from(REASONS), st.integers(0, 1023)),
    ),
    max_size=40,
)


def add(stream: StreamCounters, packets: int, octets: int, replies: int, now: float) -> None:
    """Count as the shell does."""
    if stream.first < 0:
        stream.first = now
    if not stream.origin.by_size:
        stream.packets += packets
        stream.unanswered += packets - min(packets, replies)
    stream.bytes += octets
    stream.last = now


def sums_of(streams: list[StreamCounters], listener: str) -> Sums:
    """By their definition."""
    own = [stream for stream in streams if stream.origin.listener == listener]
    open_ones = sum(stream.state == "open" for stream in own)
    return Sums(open_ones, len(own), sum(stream.whole() for stream in own), sum(stream.bytes for stream in own))


def test_no_stream_yet_totals_are_nothing_and_every_reason_stands_at_zero() -> None:
    counters = Counters()
    assert NOTHING == counters.totals()
    assert counters.closed_by_reason == dict.fromkeys(REASONS, 0)


def test_streams_are_numbered_from_one_in_order_of_opening() -> None:
    counters = Counters()
    assert [1, 2, 3] == [counters.opened(ORIGIN, "a:1", 0.0).stream for _ in range(3)]
    assert [1, 2, 3] == list(counters.open)


def test_a_new_stream_has_seen_nothing() -> None:
    stream = Counters().opened(ORIGIN, "10.0.0.1:5", 4.5)
    seen = (stream.peer, stream.opened, stream.packets, stream.bytes, stream.first, stream.last, stream.state)
    assert ("10.0.0.1:5", 4.5, 0, 0, -1.0, -1.0, "open") == seen
    assert (None, None, None) == (stream.reason, stream.run, stream.kept)


def test_packets_of_a_fixed_size_follow_from_the_bytes_open_and_closed() -> None:
    counters = Counters()
    stream = counters.opened(Origin("data", "tcp", "fixed:1024", "echo", 1024, by_size=True), "a:1", 0.0)
    stream.bytes += 5 * 1024 - 1
    assert (4, 4) == (stream.whole(), counters.totals().packets)
    stream.bytes += 2
    assert (5, 5) == (counters.totals().packets, counters.totals().replies)
    stream.unanswered += 2
    counters.closed(stream, "reset", 1)
    assert (5, 3) == (counters.totals().packets, counters.totals().replies)
    assert 5 == stream.packets


def test_packets_whose_replies_are_swallowed_have_none_and_a_duplicate_is_no_reply_more() -> None:
    counters = Counters()
    assert not counters.struck
    counters.struck = True
    streams = [counters.opened(ORIGIN, "a:1", 0.0) for _ in range(2)]
    for stream in streams:
        stream.packets, stream.swallowed, stream.duplicated = 10, 3, 2
    for _ in range(2):
        totals = counters.totals()
        assert (20, 14, 6, 4) == (totals.packets, totals.replies, totals.swallowed, totals.duplicated)
        counters.closed(streams.pop(), "injected")


def test_a_sink_has_no_replies() -> None:
    counters = Counters()
    counters.opened(Origin("data", "tcp", "line", "sink"), "a:1", 0.0).packets += 5
    assert 0 == counters.totals().replies


def test_a_stream_costs_slots_only() -> None:
    assert not hasattr(Counters().opened(ORIGIN, "a:1", 0.0), "__dict__")


@given(STEPS)
def test_totals_equal_the_sum_over_all_streams_and_only_grow(steps: list[tuple[object, ...]]) -> None:
    counters = Counters()
    streams: list[StreamCounters] = []
    before = counters.totals()
    for now, step in enumerate(steps):
        still_open = [stream for stream in streams if stream.state == "open"]
        match step:
            case ("open", Origin() as origin):
                streams.append(counters.opened(origin, "a:1", float(now)))
            case ("data", int(which), int(packets), int(octets), int(replies)) if still_open:
                add(still_open[which % len(still_open)], packets, octets, replies, float(now))
            case ("close", int(which), str(reason), int(incomplete)) if still_open:
                counters.closed(still_open[which % len(still_open)], reason, incomplete)
        after = counters.totals()
        assert after == Totals(
            streams_open=sum(stream.state == "open" for stream in streams),
            streams_total=len(streams),
            packets=sum(stream.whole() for stream in streams),
            bytes=sum(stream.bytes for stream in streams),
            incomplete_bytes=sum(stream.incomplete_bytes for stream in streams),
            faults=sum(stream.reason == "fault" for stream in streams),
            rejected=0,
            replies=sum(stream.replies() for stream in streams),
            listeners={name: sums_of(streams, name) for name in {stream.origin.listener for stream in streams}},
        )
        assert counters.last_data() == max((stream.last for stream in streams), default=-1.0)
        for grows in ("streams_total", "packets", "bytes", "incomplete_bytes", "faults", "replies"):
            assert getattr(before, grows) <= getattr(after, grows)
        before = after
    closed = [stream.reason for stream in streams if stream.state == "closed"]
    assert counters.closed_by_reason == {reason: closed.count(reason) for reason in REASONS}


def test_a_close_is_counted_by_its_reason_and_told_to_the_stream() -> None:
    counters = Counters()
    stream = counters.opened(ORIGIN, "a:1", 0.0)
    counters.closed(stream, "slow-reader", 100)
    assert ("closed", "slow-reader", 100) == (stream.state, stream.reason, stream.incomplete_bytes)
    assert 1 == counters.closed_by_reason["slow-reader"]


def test_only_the_first_close_of_a_stream_counts() -> None:
    counters = Counters()
    stream = counters.opened(ORIGIN, "a:1", 0.0)
    add(stream, 3, 3072, 0, 1.0)
    counters.closed(stream, "kicked")
    once = counters.totals()
    counters.closed(stream, "eof", 7)
    assert counters.totals() == once
    assert ("kicked", 0, 1) == (stream.reason, stream.incomplete_bytes, len(counters.recent))


def test_a_reason_that_is_none_is_refused_and_changes_nothing() -> None:
    counters = Counters()
    stream = counters.opened(ORIGIN, "a:1", 0.0)
    before = counters.totals()
    with pytest.raises(KeyError, match="bored"):
        counters.closed(stream, "bored")
    assert counters.totals() == before
    assert counters.open == {1: stream}
    assert "open" == stream.state


def test_the_streams_closed_last_stay_on_view_up_to_the_bound() -> None:
    counters = Counters(closed_kept=2)
    for stream in [counters.opened(ORIGIN, "a:1", 0.0) for _ in range(4)]:
        counters.closed(stream, "eof")
    assert [3, 4] == [stream.stream for stream in counters.recent]
    assert counters.totals() == evolve(NOTHING, streams_total=4, listeners={"data": Sums(streams=4)})


def test_rejected_connections_are_counted_in_all_and_by_reason() -> None:
    counters = Counters()
    for reason in ("limit", "drain", "limit"):
        counters.rejected(reason)
    assert counters.totals() == evolve(NOTHING, rejected=3)
    assert {"limit": 2, "drain": 1} == counters.rejected_by_reason
