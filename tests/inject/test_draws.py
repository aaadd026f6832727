from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.inject.draws import BLOCK, Draws

some = settings(max_examples=100, deadline=None)


def test_the_words_of_a_seed_are_the_same_for_ever() -> None:
    draws = Draws(1, 2, 0, "chance")
    assert [2423381973924795309, 15059778612954725094] == [draws.word(packet) for packet in (1, 1000)]


@some
@given(st.lists(st.integers(1, 10**18), max_size=20))
def test_a_word_does_not_depend_on_what_was_asked_for_before(packets: list[int]) -> None:
    draws = Draws(1, 2, 3, "chance")
    assert [Draws(1, 2, 3, "chance").word(packet) for packet in packets] == [draws.word(packet) for packet in packets]


def test_seed_stream_term_and_use_each_give_other_words() -> None:
    kinds = [(1, 1, 1, "chance"), (2, 1, 1, "chance"), (1, 2, 1, "chance"), (1, 1, 2, "chance"), (1, 1, 1, "answer")]
    kinds += [(11, 1, 1, "chance"), (1, 11, 1, "chance")]
    words = {Draws(*kind).word(packet) for kind in kinds for packet in range(2 * BLOCK)}
    assert len(kinds) * 2 * BLOCK == len(words)


@some
@given(st.integers(1, 100), st.integers(0, 60), st.integers(0, 80))
def test_places_are_different_and_as_many_as_there_are(packet: int, number: int, among: int) -> None:
    places = Draws(1, 1, 0, "answer").places(packet, number, among)
    assert min(number, among) == len(places) == len(set(places))
    assert set(places) <= set(range(among))
    assert places == Draws(1, 1, 0, "answer").places(packet, number, among)


def test_every_place_is_drawn_about_as_often() -> None:
    draws = Draws(1, 1, 0, "answer")
    drawn = [place for packet in range(2000) for place in draws.places(packet, 2, 8)]
    assert all(400 < drawn.count(place) < 600 for place in range(8))
