from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.inject.answers import changed, dripped, pieces, turned
from ctrlserver.inject.parsing import parse_spec

some = settings(max_examples=100, deadline=None)


@pytest.mark.parametrize(
    ("expected", "spec"),
    [
        (b"", "swallow"),
        (b"hello\nhello\n", "duplicate"),
        (b"he", "truncate(2)"),
        (b"hello\n", "truncate(20)"),
        (b"NO\r\n", r"wrong('NO\r\n')"),
        (b"\xe8ello\n", "corrupt(1 bit)"),
        (b"hello\n", "delay(1s)"),
        (b"hello\n", "drip(1B/10ms)"),
        (b"hello\n", "reset"),
    ],
)
def test_what_becomes_of_an_answer(expected: bytes, spec: str) -> None:
    assert expected == changed(parse_spec(spec).terms[0].action, b"hello\n", [0])


@some
@given(st.binary(max_size=9), st.data())
def test_turned_twice_is_as_before_and_each_place_is_one_bit(answer: bytes, data: st.DataObject) -> None:
    bits = st.integers(0, 8 * len(answer) - 1) if answer else st.nothing()
    places = data.draw(st.lists(bits, unique=True))
    other = turned(answer, places)
    differ = int.from_bytes(answer, "big") ^ int.from_bytes(other, "big")
    assert len(places) == differ.bit_count()
    assert answer == turned(other, places)


@some
@given(st.binary(max_size=50), st.integers(1, 9))
def test_the_pieces_of_a_drip_are_the_answer(answer: bytes, nbytes: int) -> None:
    found = list(pieces(answer, nbytes))
    assert answer == b"".join(found)
    assert all(len(piece) == nbytes for piece in found[:-1])


def test_a_piece_leaves_when_it_is_due_and_never_more_than_there_is() -> None:
    every = 10 * 10**6
    elapsed = (-0.001, 0.0, 0.009, 0.01, 0.03, 0.049, 5.0)
    assert [0, 2, 2, 4, 8, 9, 9] == [dripped(9, 2, every, seconds) for seconds in elapsed]
