from __future__ import annotations

import base64
import tracemalloc
import zlib

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.stats.hdr import MOST_DECOMPRESSED
from ctrlserver.stats.latency import (
    DIGITS,
    HIGHEST,
    LAST_BUCKET,
    LOWEST,
    UNIT_SECONDS,
    Histogram,
    bucket_of,
    decoded,
    highest_in,
    in_library,
    lowest_in,
    seconds,
)

#: Evenly over the magnitudes, and at their edges.
TIMES = st.one_of(
    st.integers(0, HIGHEST),
    st.integers(0, 41).flatmap(lambda bits: st.integers(max(0, (1 << bits) - 2), min(HIGHEST, (1 << bits) + 2))),
)
#: The library walks its 33 000 counts in Python for each question.
FEW = settings(max_examples=15)

PERCENTILES = (0.1, 50, 90, 99, 99.9, 99.99, 100)


def library(times: list[int]) -> HdrHistogram:
    made = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    for time in times:
        assert made.record_value(time)
    return made


def histogram(times: list[int]) -> Histogram:
    made = Histogram()
    for time in times:
        made.record(time)
    return made


@given(TIMES)
def test_a_bucket_holds_what_the_librarys_holds(time: int) -> None:
    made = library([])
    bucket = bucket_of(time)
    assert made._counts_index_for(time) == bucket
    assert (made.get_lowest_equivalent_value(time), made.get_highest_equivalent_value(time)) == (
        lowest_in(bucket),
        highest_in(bucket),
    )
    assert highest_in(bucket) - lowest_in(bucket) <= time / 1000


@given(TIMES)
def test_the_short_cut_of_a_hot_loop_counts_in_the_same_bucket(time: int) -> None:
    magnitude = max(0, time.bit_length() - 11)
    assert bucket_of(time) == (magnitude << 10) + (time >> magnitude)


@FEW
@given(st.lists(TIMES, min_size=1, max_size=30))
def test_every_number_is_the_librarys(times: list[int]) -> None:
    theirs, ours = library(times), histogram(times).latency()
    assert ours is not None
    expected = [theirs.get_value_at_percentile(percentile) for percentile in (50, 90, 99, 99.9, 99.99)]
    assert [seconds(value) for value in expected] == [ours.p50, ours.p90, ours.p99, ours.p99_9, ours.p99_99]
    assert (len(times), seconds(theirs.get_min_value()), seconds(theirs.get_max_value())) == (
        ours.count,
        ours.min,
        ours.max,
    )
    assert theirs.get_mean_value() * UNIT_SECONDS == pytest.approx(ours.mean, abs=1e-9)


@FEW
@given(st.lists(TIMES, max_size=20), st.lists(TIMES, min_size=1, max_size=20))
def test_what_is_encoded_decodes_and_merges_in_the_library(one: list[int], other: list[int]) -> None:
    merged = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    for times in (one, other):
        merged.add(HdrHistogram.decode(histogram(times).encoded()))
    ours = histogram(one)
    ours.add(histogram(other))
    assert [seconds(merged.get_value_at_percentile(p)) for p in PERCENTILES] == ours.at(PERCENTILES)
    assert merged.get_total_count() == len(ours)


@FEW
@given(st.lists(TIMES, max_size=20))
def test_what_the_library_encodes_is_decoded(times: list[int]) -> None:
    text = library(times).encode().decode()
    assert histogram(times).counts == decoded(text).counts


def test_what_is_no_histogram_of_ours_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="no HDR histogram"):
        decoded("nonsense")
    other = HdrHistogram(1, 1000_000, 2).encode().decode()
    with pytest.raises(ValueError, match="another layout"):
        decoded(other)


def test_a_histogram_that_decompresses_to_more_than_any_has_is_refused_before_it_is_decompressed() -> None:
    text = base64.b64decode(histogram([1, 2, 3]).encoded())
    packer = zlib.compressobj()
    packed = packer.compress(zlib.decompress(text[8:])) + packer.compress(bytes(64 << 20)) + packer.flush()
    bomb = base64.b64encode(text[:4] + len(packed).to_bytes(4, "big") + packed).decode()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"larger than {MOST_DECOMPRESSED} bytes"):
            in_library(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 * MOST_DECOMPRESSED
    finally:
        tracemalloc.stop()


def test_a_histogram_with_a_count_in_each_bucket_is_far_from_the_bound() -> None:
    every = Histogram()
    for bucket in range(LAST_BUCKET + 1):
        every.counts[bucket] = 1 << 40
    octets = zlib.decompress(base64.b64decode(every.encoded())[8:])
    assert len(octets) < MOST_DECOMPRESSED / 8
    assert len(every) == in_library(every.encoded()).get_total_count()


def test_nothing_recorded_tells_nothing() -> None:
    assert Histogram().latency() is None
    assert [0.0, 0.0] == Histogram().at((50, 99))


def test_what_is_out_of_range_counts_at_its_ends() -> None:
    made = histogram([-5, HIGHEST * 1000])
    made.counts[LAST_BUCKET + 70_001] += 1  # as a hot loop would count ten hours
    whole = Histogram()
    whole.add(made)
    assert {0: 1, LAST_BUCKET: 2} == whole.counts
    assert len(whole) == HdrHistogram.decode(made.encoded()).get_total_count()


@given(st.integers(1, 200), TIMES, st.integers(0, 10**9))
def test_a_run_of_moments_is_counted_whole_and_never_flattered(count: int, wait: int, spread: int) -> None:
    made = Histogram()
    now = HIGHEST
    first = now - wait
    last = min(now, first + spread)
    made.record_run(now, count, first, last)
    assert count == len(made)
    exact = histogram([now - first - (last - first) * i // max(1, count - 1) for i in range(count)])
    for percentile, ours in zip(PERCENTILES, made.at(PERCENTILES), strict=True):
        assert exact.at([percentile])[0] <= ours
    assert exact.at([100]) == made.at([100])


@given(st.lists(TIMES, max_size=20), TIMES)
def test_those_above_a_time_are_counted(times: list[int], bound: int) -> None:
    expected = sum(1 for time in times if bucket_of(time) > bucket_of(bound))
    assert expected == histogram(times).count_above(bound)
