"""Which worker takes the next connection."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as some

from ctrlserver.workers.balance import Balance, Seen


def balance(*seen: Seen) -> Balance:
    made = Balance()
    made.saw(dict(enumerate(seen, start=1)))
    return made


def test_without_any_load_connections_go_round_by_the_number_of_streams() -> None:
    made = balance(Seen(), Seen(), Seen())
    assert [1, 2, 3, 1, 2, 3] == [made.choose() for _ in range(6)]


def test_the_least_load_is_chosen_although_its_streams_are_more() -> None:
    made = balance(Seen(100, 1e6, 1), Seen(10, 1e5, 5))
    assert 2 == made.choose()


def test_near_loads_are_equal_and_the_fewest_streams_decide() -> None:
    made = balance(Seen(104, 1.04e6, 3), Seen(100, 1e6, 4))
    assert 1 == made.choose()


def test_a_connection_just_handed_counts_as_the_mean_load_of_a_stream() -> None:
    made = balance(Seen(100, 1e6, 2), Seen(0, 0, 0))
    assert [2, 2, 1] == [made.choose() for _ in range(3)]


def test_what_streams_sent_that_are_over_is_no_load_of_the_next_ones() -> None:
    made = balance(Seen(300, 3e6, 0), Seen(100, 1e6, 0), Seen(0, 0, 0))
    assert [1, 2, 3, 1, 2, 3] == [made.choose() for _ in range(6)]
    assert 0.75 == made.shares[1]
    made = balance(Seen(300, 3e6, 0), Seen(100, 1e6, 1))
    assert [1, 1] == [made.choose() for _ in range(2)]


def test_packets_and_bytes_both_are_load() -> None:
    many_small, few_large = Seen(1000, 1e3, 1), Seen(10, 1e6, 1)
    made = balance(many_small, few_large, Seen(0, 0, 3))
    assert 3 == made.choose()


def test_a_worker_without_room_is_never_chosen() -> None:
    made = balance(Seen(), Seen(50, 5, 1))
    assert 2 == made.choose({1})
    assert None is made.choose({1, 2})


def test_a_worker_with_all_the_streams_that_it_has_descriptors_for_is_chosen_only_if_all_have() -> None:
    made = balance(Seen(streams=3, most=4), Seen(1000, 1e6, streams=1, most=4), Seen(streams=2, most=4))
    assert [3, 1, 3, 2, 2, 2] == [made.choose() for _ in range(6)]
    assert made.choose() is not None


def test_a_worker_with_fewer_descriptors_than_others_has_fewer_streams() -> None:
    made = balance(Seen(most=1), Seen(most=3))
    assert [1, 2, 2, 2] == [made.choose() for _ in range(4)]


def test_what_was_seen_anew_replaces_what_was_guessed() -> None:
    made = balance(Seen(), Seen())
    assert 1 == made.choose()
    made.saw({1: Seen(), 2: Seen()})
    assert 1 == made.choose()


def test_what_was_handed_and_not_taken_yet_counts_as_streams() -> None:
    made = balance(Seen(coming=2), Seen(streams=1), Seen(streams=1))
    assert [2, 3] == [made.choose() for _ in range(2)]
    busy = balance(Seen(100, 1e6, 1, coming=3), Seen(100, 1e6, 1), Seen(200, 2e6, 2))
    assert [2, 2] == [busy.choose() for _ in range(2)]


def test_shares_are_of_one() -> None:
    made = balance(Seen(30, 100, 1), Seen(10, 300, 1))
    assert {1: 0.5, 2: 0.5} == made.shares


@given(some.lists(some.builds(Seen, some.floats(0, 1e9), some.floats(0, 1e12), some.integers(0, 10**5)), max_size=9))
def test_whatever_was_seen_somebody_is_chosen_if_there_is_anybody(seen: list[Seen]) -> None:
    made = balance(*seen)
    chosen = [made.choose() for _ in range(20)]
    assert all(number in range(1, len(seen) + 1) if seen else number is None for number in chosen)


@given(some.integers(1, 8), some.integers(1, 100))
def test_streams_that_are_alike_are_spread_evenly_in_one_burst(workers: int, streams: int) -> None:
    made = balance(*[Seen()] * workers)
    taken = Counter(made.choose() for _ in range(streams))
    assert max(taken.values()) - min(taken[number] for number in range(1, workers + 1)) <= 1
