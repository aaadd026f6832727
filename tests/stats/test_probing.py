"""Claims about loss, duplicates and order, against a model that knows every sequence, in bulk and one by one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.stats.probing import FARTHEST, WINDOW, Probing

NOW = 1_700_000_000_000_000_000

Packet = tuple[int, int, int]
"""Session, sequence and intended send time."""


def probed(packets: list[Packet]) -> Probing:
    probing = Probing()
    for session, sequence, sent in packets:
        probing.take(session, sequence, sent, NOW)
    return probing


def probed_in_chunks(packets: list[Packet], cuts: list[int]) -> Probing:
    """In bulk, cut at ``cuts`` and where the session changes, as packets come from a decoder."""
    probing = Probing()
    changes = [at for at in range(1, len(packets)) if packets[at][0] != packets[at - 1][0]]
    edges = sorted({0, len(packets), *changes, *(cut for cut in cuts if cut < len(packets))})
    for start, end in pairwise(edges):
        run = packets[start:end]
        sequences = np.array([packet[1] for packet in run], np.uint64)
        probing.take_all(run[0][0], sequences, np.array([packet[2] for packet in run], np.int64), NOW)
    return probing


def figures(probing: Probing) -> tuple[int, int, int, int]:
    return probing.lost, probing.duplicate, probing.out_of_order, probing.sessions


def plain(*sequences: int) -> list[Packet]:
    """Packets of one session, each sent the later the higher its sequence."""
    return [(0, sequence, NOW + sequence) for sequence in sequences]


@pytest.mark.parametrize(
    ("lost", "duplicate", "out_of_order", "sequences"),
    [
        (0, 0, 0, []),
        (0, 0, 0, [0, 1, 2, 3]),
        (0, 0, 0, [2**63, 2**63 + 1, 2**63 + 2]),
        (2, 0, 0, [0, 3]),
        (0, 0, 1, [0, 2, 1]),
        (1, 0, 1, [0, 3, 1]),
        (0, 1, 0, [0, 1, 1, 2]),
        (0, 1, 1, [0, 2, 1, 1]),
        (0, 0, 2, [2, 1, 0, 3]),
        (0, 3, 0, [5, 5, 5, 5]),
        (7, 0, 0, [10**9, 10**9 + 8]),
        (FARTHEST - 1, 0, 0, [0, FARTHEST]),
    ],
)
def test_each_packet_is_told_apart(lost: int, duplicate: int, out_of_order: int, sequences: list[int]) -> None:
    assert (lost, duplicate, out_of_order) == figures(probed(plain(*sequences)))[:3]


def test_a_late_packet_is_no_longer_lost() -> None:
    probing = probed(plain(0, 1, 3))
    assert (1, 0, 0) == figures(probing)[:3]
    probing.take(0, 2, NOW + 2, NOW)
    assert (0, 0, 1) == figures(probing)[:3]


def test_a_packet_behind_the_window_is_one_of_the_missing_while_there_are_any() -> None:
    end = 3 * WINDOW
    packets = plain(*(n for n in range(end) if n != 9))

    assert (1, 0, 0, 1) == figures(probed(packets))
    assert (0, 0, 1, 1) == figures(probed([*packets, *plain(9)]))
    assert (0, 1, 1, 1) == figures(probed([*packets, *plain(9, 9)]))


def test_what_is_missing_inside_the_window_hides_no_duplicate_behind_it() -> None:
    end = 3 * WINDOW
    packets = plain(*(n for n in range(end) if n != end - 2))

    assert (1, 1, 0, 1) == figures(probed([*packets, *plain(9)]))


def test_a_step_of_many_windows_costs_no_more_than_any_other() -> None:
    assert (10**9 - 2, 1, 1, 1) == figures(probed(plain(0, 10**9, 10**9 - 1, 10**9)))


def test_a_session_number_tells_a_restart_at_once() -> None:
    packets = [(1, n, NOW + n) for n in range(100)] + [(2, n, NOW + 1000 + n) for n in range(100)]

    assert (0, 0, 0, 2) == figures(probed(packets))


def test_a_sequence_near_zero_that_was_sent_later_is_a_restart() -> None:
    high = 10**9
    packets = [*plain(*range(high, high + 100)), *((0, n, NOW + 2 * high + n) for n in range(3, 100))]

    assert (0, 0, 0, 2) == figures(probed(packets))


def test_a_sequence_near_zero_that_was_sent_earlier_is_late() -> None:
    assert (0, 0, 1, 1) == figures(probed(plain(0, *range(2, 3 * WINDOW), 1)))


def test_a_step_too_far_to_be_loss_is_a_restart_either_way() -> None:
    far = FARTHEST + 1
    assert (0, 0, 0, 2) == figures(probed(plain(0, far)))
    assert (0, 0, 0, 2) == figures(probed([(0, 2 * far, NOW), (0, far - 1, NOW - 1)]))
    assert (0, 0, 0, 2) == figures(probed(plain(2**64 - 1, 0)))


def test_what_a_session_lost_stays_counted_in_the_next_ones() -> None:
    packets = [(session, n, NOW) for session in range(5) for n in (0, 2)]

    assert (5, 0, 0, 5) == figures(probed(packets))


def test_late_packets_of_the_session_before_are_still_its_own() -> None:
    packets = [(1, 0, NOW), (1, 2, NOW), (2, 0, NOW), (1, 1, NOW), (2, 1, NOW), (1, 1, NOW)]

    assert (0, 1, 1, 2) == figures(probed(packets))


def test_late_packets_of_the_session_before_are_known_by_their_send_time_too() -> None:
    high = 10**6
    before = [(0, n, NOW + n) for n in range(high, high + 10) if n != high + 5]
    restarted = [(0, n, NOW + 2 * high + n) for n in range(5)]

    assert (0, 0, 1, 2) == figures(probed([*before, *restarted, (0, high + 5, NOW + high + 5), (0, 5, NOW + 3 * high)]))


def test_two_senders_in_turn_are_two_sessions() -> None:
    assert (0, 0, 0, 2) == figures(probed([(n % 2, n // 2, NOW) for n in range(1000)]))


def test_a_session_number_taken_again_after_another_is_a_restart() -> None:
    high = 10 * WINDOW
    packets = [(1, n, NOW) for n in range(high, high + 5)] + [(2, 0, NOW + 1)] + [(1, n, NOW + 2) for n in range(5)]

    assert (0, 0, 0, 3) == figures(probed(packets))


# Against the model


@given(st.lists(st.integers(0, WINDOW - 1), max_size=300), st.sampled_from([0, 10**9, 2**64 - WINDOW]))
def test_inside_a_window_the_figures_are_those_of_a_model_that_forgets_nothing(numbers: list[int], start: int) -> None:
    seen: set[int] = set()
    duplicate = out_of_order = 0
    for number in numbers:
        if number in seen:
            duplicate += 1
        elif seen and number < max(seen):
            out_of_order += 1
        seen.add(number)
    lost = max(seen) - min(seen) + 1 - len(seen) if seen else 0

    assert (lost, duplicate, out_of_order) == figures(probed(plain(*(start + number for number in numbers))))[:3]


@given(st.lists(st.integers(0, 5 * WINDOW), min_size=1, max_size=300))
def test_lost_and_received_once_make_up_the_span(sequences: list[int]) -> None:
    probing = probed(plain(*sequences))

    assert 1 == probing.sessions
    assert max(sequences) - min(sequences) + 1 == probing.lost + len(sequences) - probing.duplicate


def walk(steps: list[int], start: int, session: int, late: int) -> list[Packet]:
    packets = []
    at = start
    for step in steps:
        at = min(max(at + step, 0), 2**64 - 1)
        packets.append((session, at, NOW + at % 10**12 + late))
    return packets


WALKS = st.builds(
    walk,
    st.lists(
        st.one_of(
            st.just(1),
            st.just(1),
            st.integers(-3, 5),
            st.sampled_from([WINDOW - 1, WINDOW, WINDOW + 1, -WINDOW, 1 - WINDOW, -WINDOW - 1]),
            st.integers(-3 * WINDOW, 3 * WINDOW),
            st.sampled_from([FARTHEST, FARTHEST + 1, -FARTHEST, -FARTHEST - 1, 2**64, -(2**64)]),
        ),
        max_size=60,
    ),
    st.sampled_from([0, 5, WINDOW, 10**9, 2**64 - 5]),
    st.integers(0, 2),
    st.sampled_from([0, 10**13]),
)


@given(st.lists(WALKS, max_size=5), st.lists(st.integers(1, 300), max_size=20))
def test_however_they_are_cut_bulk_gives_what_one_by_one_gives(walks: list[list[Packet]], cuts: list[int]) -> None:
    packets = [packet for walked in walks for packet in walked]
    expected, got = probed(packets), probed_in_chunks(packets, cuts)

    assert figures(expected) == figures(got)
    assert expected.delays.seconds((0.5, 0.99)) == got.delays.seconds((0.5, 0.99))
    assert got.delays.jitter == pytest.approx(expected.delays.jitter, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_loss_in_long_chunks_is_counted_as_one_by_one(share: float) -> None:
    numbers = np.random.default_rng(7)
    packets = plain(*(int(n) for n in np.flatnonzero(numbers.random(3 * WINDOW) >= share)))
    packets += [packets[at] for at in (0, 1, -WINDOW, -1)]

    assert figures(probed(packets)) == figures(probed_in_chunks(packets, [1, 700, 2 * WINDOW]))


def test_lists_and_arrays_are_taken_alike() -> None:
    packets = plain(0, 2, 1, 1, 5)
    listed = Probing()
    listed.take_all(0, [packet[1] for packet in packets], [packet[2] for packet in packets], NOW)
    listed.take_all(0, [], [], NOW)

    assert figures(listed) == figures(probed_in_chunks(packets, [2]))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 99)), min_size=1, max_size=200))
def test_packets_of_several_sessions_at_once_are_entered_as_one_by_one(packets: list[Packet]) -> None:
    probing = Probing()
    sequences = np.array([packet[1] for packet in packets], np.uint64)
    probing.take_all([packet[0] for packet in packets], sequences, np.array([packet[2] for packet in packets]), NOW)
    assert figures(probed(packets)) == figures(probing)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_sequence_that_never_rises_long_is_entered_without_an_array_for_each_stretch(
    factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = plain(*[number ^ 1 for number in range(2000 * factor)])
    leaping = plain(*[number // 2 * 2 * WINDOW + number % 2 for number in range(2000 * factor)])
    monkeypatch.delattr(Probing, "_extend")
    for packets in (falling, leaping):
        assert figures(probed(packets)) == figures(probed_in_chunks(packets, []))
