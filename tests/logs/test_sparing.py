"""Log lines of one kind, and what is left out."""

from __future__ import annotations

from ctrlserver.logs.sparing import Growth, Sparing


def test_one_line_a_second_is_written_and_the_others_are_told_by_number() -> None:
    lines = Sparing()
    assert [True, False, False] == [lines.may_write(now) for now in (5.0, 5.1, 5.9)]
    assert 0 == lines.overdue(5.9)
    assert 2 == lines.overdue(6.0)
    assert 0 == lines.overdue(7.0)
    assert [True, False] == [lines.may_write(now) for now in (7.0, 7.5)]


def test_some_may_follow_each_other_at_once_after_quiet_seconds() -> None:
    lines = Sparing(at_once=3)
    assert [True, True, True, False] == [lines.may_write(now) for now in (50.0, 50.0, 50.1, 50.2)]
    assert [True, False] == [lines.may_write(now) for now in (51.1, 51.2)]


def test_a_flood_of_lines_writes_no_more_than_two_a_second() -> None:
    lines = Sparing(at_once=3)
    written = 0
    for tick in range(10_000):
        now = 100 + tick / 1000
        written += lines.may_write(now)
        if tick % 250 == 0:
            written += lines.overdue(now) > 0
    assert written <= 3 + 10 * 2


def test_what_counters_have_grown_by_is_told_once_a_second_at_most_and_nothing_is_left_out() -> None:
    growth = Growth()
    seen = ((0, 0, 5.0), (3, 0, 5.1), (4, 2, 5.9), (4, 2, 6.1), (4, 2, 9.0))
    told = [growth.since({"a": a, "b": b}, now) for a, b, now in seen]
    assert [{}, {"a": 3}, {}, {"a": 1, "b": 2}, {}] == told
