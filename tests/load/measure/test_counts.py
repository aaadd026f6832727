from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.load.measure.counts import Counts, Intervals, StreamCount, Volume, per_second, plain_address, reconcile

counts = st.builds(Counts, *([st.integers(0, 10**12)] * 5))


def stream(number: int = 1, packets: int = 10, nbytes: int = 10240, local: str = "") -> StreamCount:
    return StreamCount(
        stream=number,
        local=local or f"127.0.0.1:{40000 + number}",
        target="127.0.0.1:22222",
        packets=packets,
        bytes=nbytes,
        seconds=1.0,
        incomplete_bytes=0,
        writes=1,
        replies=None,
        received_packets=None,
        received_bytes=None,
        reason="complete",
    )


def record(number: int = 1, packets: int = 10, nbytes: int = 10240, **more: Any) -> dict[str, object]:
    published = {
        "stream": number,
        "peer": f"127.0.0.1:{40000 + number}",
        "framing": "fixed:1024",
        "state": "open",
        "reason": None,
        "packets": packets,
        "bytes": nbytes,
        "seconds": 2.0,
    }
    return {**published, **more}


@given(counts, counts)
def test_what_came_since_is_the_difference(earlier: Counts, more: Counts) -> None:
    later = Counts(
        earlier.packets + more.packets,
        earlier.bytes + more.bytes,
        earlier.writes + more.writes,
        earlier.replies + more.replies,
        earlier.reply_bytes + more.reply_bytes,
    )
    assert more == later.since(earlier)


def test_a_rate_without_time_is_unknown() -> None:
    assert per_second(10, 0.0) is None
    assert per_second(10, 4.0) == 2.5
    assert Volume.of(Counts(), -1.0).packets_per_second is None


def test_a_volume_has_bits_for_bytes() -> None:
    volume = Volume.of(Counts(packets=10, bytes=1000, writes=2), 2.0)
    assert (5.0, 4000.0) == (volume.packets_per_second, volume.bits_per_second)


@given(st.lists(st.tuples(st.floats(0.001, 5.0), st.integers(0, 1000)), min_size=1, max_size=20))
def test_intervals_join_without_a_gap_and_add_up(steps: list[tuple[float, int]]) -> None:
    now, packets, intervals = 100.0, 0, Intervals(100.0)
    for seconds, more in steps[:-1]:
        now += seconds
        packets += more
        intervals.cut(now, Counts(packets, packets * 10), warm_up=False)
    now += steps[-1][0]
    packets += steps[-1][1]
    intervals.end(now, Counts(packets, packets * 10), warm_up=False, shortest=0.05)
    kept = list(intervals.kept)
    assert packets == sum(interval.packets for interval in kept)
    assert packets * 10 == sum(interval.bytes for interval in kept)
    for before, after in pairwise(kept):
        assert before.start_seconds + before.seconds == pytest.approx(after.start_seconds, abs=1e-5)
    assert now - 100.0 == pytest.approx(sum(interval.seconds for interval in kept), abs=1e-3)


def test_a_last_interval_that_is_too_short_is_added_to_the_one_before() -> None:
    intervals = Intervals(0.0)
    intervals.cut(1.0, Counts(100, 1000), warm_up=False)
    assert intervals.end(1.001, Counts(101, 1010), warm_up=False, shortest=0.05) is None
    assert [(0.0, 101)] == [(interval.start_seconds, interval.packets) for interval in intervals.kept]


def test_a_short_run_has_one_interval_all_the_same() -> None:
    intervals = Intervals(0.0)
    assert intervals.end(0.001, Counts(5, 50), warm_up=False, shortest=0.05) == intervals.kept[0]


def test_a_warm_up_is_never_added_to_what_is_measured() -> None:
    intervals = Intervals(0.0)
    intervals.cut(1.0, Counts(100, 1000), warm_up=True)
    intervals.end(1.001, Counts(101, 1010), warm_up=False, shortest=0.05)
    assert [True, False] == [interval.warm_up for interval in intervals.kept]


def test_equal_counts_reconcile_and_are_summed() -> None:
    outcome = reconcile([stream(1), stream(2, 5, 5120)], [record(2, 5, 5120, seconds=3.5), record(1)], "fixed:1024")
    assert outcome.reconciled
    assert outcome.settled
    assert outcome.difference is None
    assert {1: (10, 10240), 2: (5, 5120)} == outcome.counted
    assert outcome.received is not None
    assert (15, 15360, 3.5) == (outcome.received.packets, outcome.received.bytes, outcome.received.seconds)


def test_several_streams_took_no_less_than_their_sending() -> None:
    records = [record(2, seconds=0.1), record(1, seconds=0.1)]
    several = reconcile([stream(1), stream(2)], records, "fixed:1024", sending_seconds=5.0).received
    one = reconcile([stream(1)], records, "fixed:1024", sending_seconds=5.0).received
    assert several is not None
    assert one is not None
    assert (5.0, 0.1) == (several.seconds, one.seconds)


def test_the_newest_stream_from_our_address_is_ours() -> None:
    newest_first = [record(1, stream=9), record(1, packets=3, stream=4)]
    assert reconcile([stream(1)], newest_first, "fixed:1024").reconciled


def test_a_stream_from_before_our_time_is_not_ours() -> None:
    outcome = reconcile([stream(1)], [record(1, stream=4)], "fixed:1024", newer_than=4)
    assert not outcome.reconciled
    assert not outcome.settled
    assert outcome.received is None
    assert outcome.difference == "stream 1: the server has no stream from 127.0.0.1:40001"


def test_fewer_packets_of_an_open_stream_may_still_come() -> None:
    outcome = reconcile([stream(1)], [record(1, 9, 9300)], "fixed:1024")
    assert (False, False) == (outcome.reconciled, outcome.settled)


def test_fewer_packets_of_a_closed_stream_will_not_come() -> None:
    outcome = reconcile([stream(1)], [record(1, 9, 9300, state="closed", reason="fault")], "fixed:1024")
    assert (False, True) == (outcome.reconciled, outcome.settled)
    assert outcome.difference == (
        "stream 1 (127.0.0.1:40001): sent 10 packets of 10240 bytes, the server counted 9 of 9300 bytes: "
        "1 packet fewer, 940 bytes fewer; it closed the stream with reason fault"
    )


def test_another_framing_is_named_as_the_cause() -> None:
    outcome = reconcile([stream(1)], [record(1, 20, framing="fixed:512")], "fixed:1024")
    assert outcome.settled
    assert outcome.difference is not None
    assert outcome.difference.endswith("10 packets more, the same bytes; its framing is fixed:512, ours fixed:1024")


def test_a_server_that_counts_no_packets_is_held_to_its_bytes() -> None:
    assert reconcile([stream(1)], [record(1, 0, framing="raw")], "fixed:1024").reconciled
    assert not reconcile([stream(1)], [record(1, 0, 9, framing="raw")], "fixed:1024").reconciled


def test_the_first_stream_that_differs_is_named() -> None:
    records = [record(3, 1), record(2, 1), record(1)]
    outcome = reconcile([stream(1), stream(2), stream(3)], records, "fixed:1024")
    assert outcome.difference is not None
    assert outcome.difference.startswith("stream 2 ")


def test_a_record_without_sense_counts_as_nothing() -> None:
    assert not reconcile([stream(1)], [{"peer": "127.0.0.1:40001", "packets": "x", "stream": 1}], "x").reconciled
    assert not reconcile([stream(1)], [record(1, bytes=True)], "fixed:1024").reconciled


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("127.0.0.1:5", "[::ffff:127.0.0.1]:5"),
        ("[::1]:5", "::1:5"),
        ("[fe80::1%eth0]:5", "[fe80::1]:5"),
    ],
)
def test_two_views_of_one_address_are_the_same(one: str, other: str) -> None:
    assert plain_address(one) == plain_address(other)


def test_another_port_or_host_is_another_address() -> None:
    assert 3 == len({plain_address(text) for text in ("127.0.0.1:5", "127.0.0.1:6", "127.0.0.2:5")})
