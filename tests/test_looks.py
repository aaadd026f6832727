"""Who judges silence has read first."""

from __future__ import annotations

from ctrlserver.looks import Looks


def test_a_look_that_comes_late_judges_nobody_and_the_next_one_does() -> None:
    looks = Looks(0.25)
    assert [True, True, False, True] == [looks.may_judge(now) for now in (1.0, 1.25, 4.25, 4.5)]


def test_a_look_right_after_a_late_one_judges_nobody_either() -> None:
    looks = Looks(0.25)
    assert [True, False, False, True] == [looks.may_judge(now) for now in (1.0, 4.24, 4.25, 4.5)]


def test_a_process_that_is_always_late_judges_every_other_time() -> None:
    looks = Looks(0.25)
    assert [True, False, True, False, True] == [looks.may_judge(now) for now in (1.0, 2.0, 3.0, 4.0, 5.0)]


def test_a_look_that_comes_early_judges() -> None:
    looks = Looks(0.25)
    assert [True, True] == [looks.may_judge(now) for now in (1.0, 1.01)]
