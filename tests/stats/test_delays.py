"""Claims about jitter and delays, in bulk and one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.stats.delays import MOST_BUCKETS, Delays

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


def one_by_one(chunks: list[tuple[int, list[int]]]) -> Delays:
    delays = Delays()
    for arrived, sent in chunks:
        for time in sent:
            delays.take(time, arrived)
    return delays


def in_bulk(chunks: list[tuple[int, list[int]]]) -> Delays:
    delays = Delays()
    for arrived, sent in chunks:
        delays.take_all(np.array(sent, np.int64), arrived)
    return delays


def test_nothing_is_known_of_no_packets() -> None:
    assert [None, None] == Delays().seconds((0.5, 0.99))
    assert 0.0 == Delays().jitter


def test_jitter_is_that_of_the_rfc() -> None:
    delays = one_by_one([(NOW, [NOW - 100]), (NOW + 50, [NOW - 66]), (NOW + 90, [NOW + 6])])

    first = 16 / 16  # delays of 100, 116, 84
    assert first + (32 - first) / 16 == delays.jitter


def test_equal_delays_have_no_jitter() -> None:
    assert 0.0 == in_bulk([(NOW + at, [NOW - 100 + at]) for at in range(50)]).jitter


CHUNKS = st.lists(
    st.tuples(
        st.integers(NOW, NOW + SECOND),
        st.lists(
            st.one_of(
                st.integers(NOW - SECOND, NOW + SECOND), st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, NOW])
            ),
            min_size=1,
            max_size=60,
        ),
    ),
    max_size=5,
)


@given(CHUNKS)
def test_bulk_gives_what_one_by_one_gives(chunks: list[tuple[int, list[int]]]) -> None:
    expected, got = one_by_one(chunks), in_bulk(chunks)

    assert expected.seconds((0.0, 0.5, 0.99, 1.0)) == got.seconds((0.0, 0.5, 0.99, 1.0))
    assert got.jitter == pytest.approx(expected.jitter, rel=1e-9, abs=1e-3)


def test_bulk_gives_the_jitter_of_a_chunk_longer_than_its_tail() -> None:
    numbers = np.random.default_rng(1)
    chunks = [(NOW, [NOW - int(n) for n in numbers.integers(0, SECOND, size)]) for size in (3000, 1023, 1024, 1025, 1)]

    assert in_bulk(chunks).jitter == pytest.approx(one_by_one(chunks).jitter, rel=1e-9)


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_within_a_percent_of_the_delay_it_stands_for(delays: list[int], quantile: float) -> None:
    ordered = sorted(delays)
    rank = next(rank for rank in range(1, len(delays) + 1) if rank >= quantile * len(delays))

    (got,) = in_bulk([(NOW, [NOW - delay for delay in delays])]).seconds((quantile,))
    assert got == pytest.approx(ordered[rank - 1] / 1e9, rel=0.008)


def test_a_sender_whose_clock_is_ahead_has_negative_delays() -> None:
    assert [pytest.approx(-0.5, rel=0.008)] == one_by_one([(NOW, [NOW + SECOND // 2])]).seconds((0.5,))


def test_nonsense_times_take_a_bounded_number_of_buckets_alike_in_bulk() -> None:
    """Every bucket of 60 doublings, late and early."""
    steps = [2**power + 2**power * part // 64 for power in range(6, 62) for part in range(64)]
    sent = [NOW - step for step in steps] + [NOW + step for step in steps]
    single, bulk = one_by_one([(NOW, sent)]), in_bulk([(NOW, sent)])
    assert MOST_BUCKETS / 4 < len(single._counts) <= MOST_BUCKETS
    assert single._counts == bulk._counts
    assert len(sent) == sum(bulk._counts.values())
    assert bulk.seconds((0.5, 0.75)) == single.seconds((0.5, 0.75))
    (upper,) = single.seconds((0.75,))
    assert pytest.approx(2.0**34 / 1e9, rel=0.2) == upper


def test_what_was_counted_finely_stays_counted_once_buckets_are_put_together() -> None:
    delays = one_by_one([(NOW, [NOW - SECOND] * 100_000)])
    for step in range(6, 60):
        for part in range(64):
            delays.take(NOW - 2**step - 2**step * part // 64, NOW)
    (median,) = delays.seconds((0.5,))
    assert pytest.approx(1.0, rel=0.1) == median
