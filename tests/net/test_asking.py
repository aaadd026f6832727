from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.net.asking import ENDLESS, Asking


@pytest.mark.parametrize(
    ("expected", "text"),
    [(10_000, b"10000\n"), (0, b"0\n"), (7, b"007\r\n"), (ENDLESS, b"\n"), (ENDLESS, b"\r\n"), (5, b"5\n6\n")],
)
def test_a_line_asks_for_a_number_or_for_packets_without_end(expected: int, text: bytes) -> None:
    assert expected == Asking().feed(text)


@pytest.mark.parametrize("text", [b"ten\n", b"-1\n", b"+1\n", b" 1\n", b"1 \n", b"1_0\n", b"\xd9\xa3\n", b"9" * 21])
def test_anything_else_is_a_fault(text: bytes) -> None:
    asking = Asking()
    assert asking.feed(text) is None
    assert asking.fault


def test_an_unfinished_line_is_waited_for_and_holds_at_its_end() -> None:
    asking = Asking()
    assert asking.feed(b"12") is None
    assert not asking.fault
    assert 12 == asking.end()
    assert ENDLESS == Asking().end()


@given(number=st.integers(0, 10**18), cuts=st.sets(st.integers(0, 20)))
def test_where_the_network_cuts_the_line_does_not_matter(number: int, cuts: set[int]) -> None:
    text = b"%d\r\n" % number
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    asking = Asking()
    answers = [asking.feed(text[a:b]) for a, b in pairwise(edges) if a < b]
    assert answers == [None] * (len(answers) - 1) + [number]
