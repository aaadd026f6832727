from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.overview.fitting import aligned, fitted
from ctrlserver.render.text import TableText
from ctrlserver.stats.records import Value

STREAMS = [
    "# stream  listener  peer       protocol  state  packets  bytes",
    "12        data      10.0.0.1:5  tcp       open      1000  10240",
    "3         data      10.0.0.2:6  tcp       open         7     70",
]


def test_what_fits_stays_as_it_is() -> None:
    assert (STREAMS, []) == fitted(STREAMS, 80)
    assert ([], []) == fitted([], 5)


def test_the_columns_that_matter_least_are_left_out() -> None:
    lines, left_out = fitted(STREAMS, 45)
    assert [
        "# stream  listener  peer        packets",
        "12        data      10.0.0.1:5     1000",
        "3         data      10.0.0.2:6        7",
    ] == lines
    assert ["protocol", "state", "bytes"] == left_out


def test_of_a_stream_its_packets_stay_longest() -> None:
    lines, _ = fitted(["# stream  peer  packets  run", "12  a:5  1000  1"], 20)
    assert ["# stream  packets", "12           1000"] == lines


def test_a_text_is_cut_before_it_is_left_out() -> None:
    lines = ["# name  kind   help", 'packets  gauge  "whole packets received since the last reset"']
    shown, left_out = fitted(lines, 50)
    assert [] == left_out
    assert 'packets  gauge  "whole packets received since the…' == shown[1]


@pytest.mark.parametrize(
    "lines",
    [
        ["# packet 1 14 bytes", "00000000  48 65 6c 6c 6f 2c 20 77  6f 72 6c 64 0d 0a        |Hello, world..|"],
        ["packets_total 1000", "a_very_long_name_of_a_field 1000000000000000000000"],
    ],
)
def test_what_is_no_table_stays_as_it_is(lines: list[str]) -> None:
    assert (lines, []) == fitted(lines, 20)


def test_values_are_read_from_the_right() -> None:
    assert ["# field   lab1", "version    1.0", "packets      5", 'name     "a b"'] == aligned(
        ["# field  lab1", "version  1.0", "packets  5", 'name     "a b"']
    )


CELLS = st.one_of(st.none(), st.integers(), st.booleans(), st.text(max_size=30))


@given(st.lists(st.lists(CELLS, min_size=5, max_size=5), min_size=1, max_size=5), st.integers(1, 120))
def test_no_line_of_a_table_is_wider_than_the_terminal(cells: list[list[Value]], width: int) -> None:
    text = TableText()
    for row in cells:
        text.add(dict(zip(("server", "peer", "a", "packets", "b"), row, strict=True)))
    lines = list(text.lines())
    shown, left_out = fitted(lines, width)
    assert len(lines) == len(shown)
    assert max(map(len, shown)) <= width
    assert "server" not in left_out
    assert [line.split() for line in lines] == [line.split() for line in aligned(lines)]
