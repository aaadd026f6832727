"""Who judges silence has read first."""

from __future__ import annotations

import pytest
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ctrlserver.looks import LOOKS, Looks, deadlines


def test_a_look_that_comes_late_judges_nobody_and_the_next_one_does() -> None:
    looks = Looks(0.25)
    assert [True, True, False, True] == [looks.may_judge(now) for now in (1.0, 1.25, 4.25, 4.5)]


def test_a_look_right_after_a_late_one_judges_nobody_either() -> None:
    looks = Looks(0.25)
    assert [True, False, False, True] == [looks.may_judge(now) for now in (1.0, 4.24, 4.25, 4.5)]


def test_two_pauses_in_a_row_are_noticed() -> None:
    looks = Looks(0.25)
    assert [True, False, False, False, True] == [looks.may_judge(now) for now in (1.0, 4.24, 4.25, 8.0, 8.25)]


def test_a_process_that_is_always_late_judges_every_fourth_time() -> None:
    looks = Looks(0.25)
    assert [True, *[False] * 3, True, *[False] * 3, True] == [looks.may_judge(now) for now in range(1, 10)]


def test_a_first_look_that_comes_late_judges_nobody_either() -> None:
    looks = Looks(0.25)
    looks.begin(1.0)
    assert [False, True] == [looks.may_judge(now) for now in (4.0, 4.25)]


def test_a_look_that_comes_early_judges() -> None:
    looks = Looks(0.25)
    assert [True, True] == [looks.may_judge(now) for now in (1.0, 1.01)]


def run_for(clock: Clock, seconds: float) -> None:
    """A process that runs: its timers are a twentieth of a second late at most."""
    clock.pump([0.05] * round(seconds / 0.05))


def limited(clock: Clock, seconds: float) -> list[str]:
    """What is told of a wait, in time."""
    told: list[str] = []
    deadlines(clock).callLater(seconds, told.append, "late")
    return told


def test_a_process_that_runs_is_late_at_the_limit() -> None:
    clock = Clock()
    told = limited(clock, 4.0)
    run_for(clock, 3.9)
    assert [] == told
    run_for(clock, 0.6)
    assert ["late"] == told
    assert [] == clock.getDelayedCalls()


@pytest.mark.parametrize("before", [0.0, 2.0, 3.9])
@pytest.mark.parametrize("pause", [3.0, 4.0, 1e6])
def test_a_pause_of_the_process_leaves_time_to_read_and_does_not_end_the_limit(before: float, pause: float) -> None:
    clock = Clock()
    told = limited(clock, 4.0)
    run_for(clock, before)
    clock.advance(pause)
    run_for(clock, 4.0 / LOOKS - 0.1)
    assert [] == told
    run_for(clock, 4.0)
    assert ["late"] == told


def test_a_process_that_is_always_late_reaches_the_limit_too() -> None:
    clock = Clock()
    told = limited(clock, 4.0)
    clock.pump([1.0] * 4 * LOOKS)
    assert ["late"] == told


def test_a_wait_that_ends_in_time_leaves_no_timer() -> None:
    clock = Clock()
    waiting: Deferred[str] = Deferred()
    heard: list[str] = []
    waiting.addTimeout(4.0, deadlines(clock)).addCallback(heard.append)
    run_for(clock, 1.0)
    waiting.callback("in time")
    assert (["in time"], []) == (heard, clock.getDelayedCalls())


def test_a_deferred_that_waits_too_long_is_timed_out() -> None:
    clock = Clock()
    failures: list[type[BaseException] | None] = []
    waiting: Deferred[None] = Deferred()
    waiting.addTimeout(4.0, deadlines(clock)).addErrback(lambda failure: failures.append(failure.type))
    run_for(clock, 4.5)
    assert [defer.TimeoutError] == failures
