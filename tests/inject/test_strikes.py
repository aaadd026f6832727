from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.inject.actions import Action
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.spec import Chance, Every, First, Spec, Term, Upto
from ctrlserver.inject.strikes import Course, Injection
from tests.inject.reference import struck_by_definition

some = settings(max_examples=150, deadline=None)


def course_of(spec: str, seed: int = 0) -> Course:
    return Injection(parse_spec(spec), seed).stream("tcp")


def struck(course: Course, packets: int, size: int = 1) -> Iterator[int | None]:
    """For each of the next packets the index of the term that strikes it, told of all at once."""
    while packets:
        free, run, strike = course.advance(packets, size)
        assert (strike is None) == (run == 0)
        assert 0 < free + run <= packets
        yield from [None] * free
        yield from [None if strike is None else strike.term] * run
        packets -= free + run


def numbers(course: Course, packets: int, size: int = 1) -> list[int]:
    """The numbers of the packets that are struck."""
    return [number for number, term in enumerate(struck(course, packets, size), 1) if term is not None]


@pytest.mark.parametrize(
    ("expected", "spec"),
    [
        ([1, 2, 3], "3*swallow"),
        ([10, 20, 30], "10th*swallow"),
        (list(range(1, 31)), "swallow"),
        ([13, 23], "3*ok->10th*swallow"),
        ([1, 2, 3, 10, 20, 30], "10th*swallow->3*delay(1s)"),
        ([2, 3], "2nd*swallow->2nd*close"),
        ([4], "3*ok->reset"),
        ([5, 6], "4*ok->2*swallow->off"),
        (list(range(1, 9)), "8B*swallow"),
        ([9], "8B*ok->stall"),
        (list(range(1, 31)), "100%*swallow"),
        ([1], "half-close"),
        ([3, 6, 9], "10th*off->3rd*swallow"),
    ],
)
def test_of_30_packets_of_one_byte_those_are_struck(expected: list[int], spec: str) -> None:
    assert expected == numbers(course_of(spec), 30)


def test_up_to_64_kib_65_packets_of_1000_bytes_are_struck_and_no_smaller_one_later() -> None:
    course = course_of("64KiB*swallow")
    assert list(range(1, 66)) == numbers(course, 100, 1000)
    assert [] == numbers(course, 10, 1)
    assert [] == numbers(course, 10, 0)


def test_empty_datagrams_lie_within_any_size() -> None:
    course = course_of("10B*swallow")
    assert [1, 2, 3] == numbers(course, 3, 0)
    assert [1] == numbers(course, 2, 10)


whens = (
    st.integers(1, 12).map(First)
    | st.integers(2, 9).map(Every)
    | st.sampled_from([1, 10, 50, 90, 100]).map(lambda percent: Chance(percent * 10**9))
    | st.integers(1, 400).map(Upto)
)
actions = st.sampled_from([Action(name) for name in ("ok", "ok", "off", "swallow", "duplicate")])
chains = st.lists(st.builds(Term, actions, st.none() | whens), min_size=1, max_size=5)
lasts = st.sampled_from([(), (Term(Action("reset")),), (Term(Action("stall"), Every(20)),)])
specs = st.builds(lambda terms, last: Spec((*terms, *last)), chains, lasts)


@some
@given(specs, st.integers(0, 3), st.lists(st.integers(1, 40), max_size=20), st.sampled_from([0, 1, 7, 30]))
def test_the_packets_struck_are_those_of_the_definition_however_the_stream_is_cut(
    spec: Spec, seed: int, cuts: list[int], size: int
) -> None:
    course = Injection(spec, seed).stream("tcp")
    found = [term for packets in cuts for term in struck(course, packets, size)]
    expected = struck_by_definition(spec, seed, [size] * sum(cuts))
    assert expected == found
    assert len(found) == course.packets


@some
@given(specs, st.integers(0, 3), st.lists(st.integers(0, 60), max_size=60))
def test_packets_of_any_sizes_told_one_by_one_are_struck_by_the_definition(
    spec: Spec, seed: int, sizes: list[int]
) -> None:
    course = Injection(spec, seed).stream("tcp")
    found = [term for size in sizes for term in struck(course, 1, size)]
    assert struck_by_definition(spec, seed, sizes) == found


@some
@given(specs, st.lists(st.integers(1, 9), max_size=20))
def test_to_look_changes_nothing_and_a_part_of_what_was_seen_may_be_taken(spec: Spec, parts: list[int]) -> None:
    course = Injection(spec, 5).stream("tcp")
    found: list[int | None] = []
    for part in parts:
        assert course.look(20) == course.look(20)
        packets, strike = course.look(20)
        packets = min(packets, part)
        course.take(packets)
        found += [None if strike is None else strike.term] * packets
    assert struck_by_definition(spec, 5, [1] * len(found)) == found


@some
@given(specs, st.lists(st.integers(1, 40), max_size=10))
def test_hits_are_counted_by_stream_by_term_and_in_all(spec: Spec, cuts: list[int]) -> None:
    injection = Injection(spec, 1)
    courses = [injection.stream("tcp"), injection.stream("tcp")]
    found = [[term for packets in cuts for term in struck(course, packets)] for course in courses]
    hits = [[term for term in terms if term is not None] for terms in found]
    assert list(map(len, hits)) == [course.hits for course in courses]
    assert sum(map(len, hits)) == injection.hits.total
    assert [sum(each.count(at) for each in hits) for at in range(len(spec.terms))] == injection.hits.terms


def cut(total: int, rng: random.Random) -> Iterator[int]:
    while total:
        piece = min(total, rng.randint(1, 400))
        total -= piece
        yield piece


def by_stream(spec: str, seed: int, cutting: int, packets: Sequence[int]) -> list[list[int]]:
    """The packets struck of streams that are told of their packets in turns, cut by a generator of its own seed."""
    injection = Injection(parse_spec(spec), seed)
    rng = random.Random(cutting)
    courses = [injection.stream("tcp") for _ in packets]
    pieces = [(stream, piece) for stream, total in enumerate(packets) for piece in cut(total, rng)]
    found: list[list[int | None]] = [[] for _ in packets]
    rng.shuffle(pieces)
    for stream, piece in pieces:
        found[stream] += struck(courses[stream], piece)
    return [[number for number, term in enumerate(terms, 1) if term is not None] for terms in found]


def test_every_seventh_of_50_streams_is_struck_exactly_however_they_are_cut() -> None:
    injection = Injection(parse_spec("7th*swallow"), 0)
    rng = random.Random(1)
    courses = [injection.stream("tcp") for _ in range(50)]
    for course in courses:
        for piece in cut(2000, rng):
            assert all(term in (None, 0) for term in struck(course, piece))
    assert 50 * (2000 // 7) == injection.hits.total


@pytest.mark.parametrize("spec", ["5%*swallow", "7th*ok->20%*swallow->3*corrupt", "3*ok->50%*swallow"])
def test_the_same_seed_strikes_the_same_packets_cut_differently_20_times(spec: str) -> None:
    expected = by_stream(spec, 11, 0, [600, 500, 1])
    assert [expected] * 20 == [by_stream(spec, 11, cutting, [600, 500, 1]) for cutting in range(1, 21)]
    assert expected != by_stream(spec, 12, 0, [600, 500, 1])
    assert expected[0][:20] != expected[1][:20]


def test_a_chance_strikes_its_share() -> None:
    course = course_of("5%*swallow", 3)
    assert 1000 == pytest.approx(len(numbers(course, 20_000)), rel=0.15)


def test_a_second_chance_has_the_packets_that_the_first_one_left() -> None:
    found = list(struck(course_of("50%*swallow->50%*duplicate", 3), 20_000))
    assert [10_000, 5_000] == [pytest.approx(found.count(at), rel=0.1) for at in (0, 1)]


def test_two_resets_strike_two_streams_and_all_others_go_on() -> None:
    injection = Injection(parse_spec("2*reset->off"), 0)
    assert [[1], [1], [], []] == [numbers(injection.stream("tcp"), 100) for _ in range(4)]
    assert 2 == injection.hits.total


def test_one_reset_after_three_packets_strikes_the_first_stream_that_has_a_fourth() -> None:
    injection = Injection(parse_spec("3*ok->1*reset->off"), 0)
    first, second = injection.stream("tcp"), injection.stream("tcp")
    assert [] == numbers(first, 3)
    assert [4] == numbers(second, 10)
    assert [] == numbers(first, 10)


@pytest.mark.parametrize("action", ["reset", "close", "half-close", "stall"])
def test_after_an_action_that_is_the_last_nothing_strikes(action: str) -> None:
    course = course_of(f"2*ok->{action}")
    assert [3] == numbers(course, 1000)
    assert course.over
    assert (1000, None) == course.look(1000)
    assert not course_of(f"2*ok->{action}").over


def test_what_cannot_strike_on_a_transport_lets_later_terms_apply() -> None:
    injection = Injection(parse_spec("reorder"), 0)
    assert ([], [1, 2, 3]) == (numbers(injection.stream("tcp"), 3), numbers(injection.stream("udp"), 3))
    chain = Injection(parse_spec("2nd*reset->swallow"), 0)
    assert [0, 1] == sorted({term for term in struck(chain.stream("tcp"), 2) if term is not None})
    assert [1, 1, 1] == list(struck(chain.stream("udp"), 3))


def test_of_connections_the_first_are_struck_and_a_refusal_holds_from_where_it_begins() -> None:
    listener = Injection(parse_spec("2*close-at-once"), 0).connections()
    assert [1, 2] == numbers(listener, 10)
    refusing = Injection(parse_spec("3*ok->refuse"), 0).connections("tcp")
    assert (3, None) == refusing.look(5)
    refusing.take(3)
    packets, strike = refusing.look(1)
    assert strike is not None
    assert (1, "refuse") == (packets, strike.action.name)
    assert 0 == refusing.hits


def test_ten_million_packets_that_nothing_strikes_cost_one_step() -> None:
    course = course_of("3*ok->10000000th*swallow")
    assert (10_000_002, 1) == course.advance(20_000_000)[:2]
    assert (9_999_997, 0, None) == course.advance(9_999_997)
    assert [1] == numbers(course_of("10000000*swallow->reset"), 1)


def test_a_delay_is_drawn_by_the_packet_and_within_its_bounds() -> None:
    def delays(course: Course) -> list[float]:
        _, _, strike = course.advance(100)
        assert strike is not None
        return [course.seconds(strike, packet) for packet in range(1, 101)]

    assert [0.2] * 100 == delays(course_of("delay(200ms)"))
    drawn = delays(course_of("delay(50ms..200ms)", 4))
    assert drawn == delays(course_of("delay(50ms..200ms)", 4))
    assert drawn != delays(course_of("delay(50ms..200ms)", 5))
    assert 0.05 <= min(drawn) < 0.08 < 0.17 < max(drawn) <= 0.2
    assert [0.0] * 100 == delays(course_of("swallow"))


def test_an_answer_is_corrupted_by_the_packet_and_otherwise_changed_by_its_action() -> None:
    course = course_of("corrupt(3 bit)", 4)
    _, _, strike = course.advance(2)
    assert strike is not None
    answers = [course.changed(strike, packet, bytes(8)) for packet in (1, 2, 1)]
    assert [3, 3, 3] == [int.from_bytes(answer, "big").bit_count() for answer in answers]
    assert answers[0] == answers[2] != answers[1]
    truncating = course_of("truncate(2)")
    _, _, strike = truncating.advance(1)
    assert strike is not None
    assert b"ab" == truncating.changed(strike, 1, b"abc")


@pytest.mark.parametrize("spec", ["delay(10ms)", "swallow", "drip(1B/1ms)"])
def test_what_strikes_each_packet_is_told_once_and_packets_are_then_counted_by_the_step(spec: str) -> None:
    injection, twin = (Injection(parse_spec(spec), 7) for _ in range(2))
    course, other = injection.stream("tcp"), twin.stream("tcp")
    assert course.of_all is injection.strikes[0]
    course.take_all(5)
    assert (0, 5, twin.strikes[0]) == other.advance(5)
    assert (other.packets, other.hits, twin.hits.total, twin.hits.terms) == (
        course.packets,
        course.hits,
        injection.hits.total,
        injection.hits.terms,
    )


@pytest.mark.parametrize("spec", ["2*delay(10ms)", "50%*delay(10ms)", "64KiB*swallow", "3rd*reset", "1*ok->swallow"])
def test_nothing_is_known_to_strike_each_packet(spec: str) -> None:
    assert Injection(parse_spec(spec), 7).stream("tcp").of_all is None
