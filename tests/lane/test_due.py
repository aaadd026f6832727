"""Those who wait are called at their moments, in order, a bounded number in a turn."""

from __future__ import annotations

import select
import time
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs

from ctrlserver.lane.due import SPARE, TURN_NS, Due
from ctrlserver.lane.lane import Lane

MS = 1_000_000


class Waits:
    """Notes in ``log`` when it was called; asks for its ``next`` moments in turn."""

    def __init__(self, name: str, log: list[tuple[str, int]], due: Due, *more: int, takes: int = 0) -> None:
        self.name, self.log, self._due, self.more, self.takes = name, log, due, list(more), takes

    def due(self, now: int) -> None:
        self.log.append((self.name, now))
        TIME.now += self.takes
        if self.more:
            self._due.at(self, self.more.pop(0))


class Time:
    """Nanoseconds that a test sets."""

    now = 0

    def __call__(self) -> int:
        return self.now


TIME = Time()


@pytest.fixture
def log() -> list[tuple[str, int]]:
    TIME.now = 0
    return []


@pytest.fixture
def due() -> Due:
    return Due(None, Clock(), TIME)


def at(due: Due, moment: int) -> None:
    TIME.now = moment
    due.tick()


def test_each_is_called_at_its_moment_and_never_before(due: Due, log: list[tuple[str, int]]) -> None:
    for name, moment in (("late", 30), ("early", 10), ("same", 10)):
        due.at(Waits(name, log, due), moment)
    at(due, 9)
    assert [] == log
    at(due, 10)
    assert [("early", 10), ("same", 10)] == log
    at(due, 31)
    assert ("late", 31) == log[2]
    at(due, 100)
    assert 3 == len(log)


def test_a_new_moment_takes_the_place_of_the_old_one_and_a_forgotten_one_never_comes(
    due: Due, log: list[tuple[str, int]]
) -> None:
    moved, gone = Waits("moved", log, due), Waits("gone", log, due)
    due.at(moved, 10)
    due.at(gone, 10)
    due.at(moved, 20)
    due.forget(gone)
    due.forget(gone)
    at(due, 15)
    assert [] == log
    at(due, 25)
    assert [("moved", 25)] == log


def test_who_is_called_may_ask_for_its_next_moment(due: Due, log: list[tuple[str, int]]) -> None:
    due.at(Waits("again", log, due, 0, 50), 5)
    at(due, 10)
    assert [("again", 10), ("again", 10)] == log
    at(due, 60)
    assert 3 == len(log)


def test_a_turn_ends_by_its_time_and_what_is_due_begins_the_next_one(due: Due, log: list[tuple[str, int]]) -> None:
    for name in "abc":
        due.at(Waits(name, log, due, takes=TURN_NS), 0)
    due.tick()
    assert "ab" == "".join(name for name, _ in log)
    due.tick()
    assert "abc" == "".join(name for name, _ in log)


def test_moments_that_nobody_waits_for_take_a_bounded_part_of_the_heap(due: Due, log: list[tuple[str, int]]) -> None:
    waiter = Waits("one", log, due)
    for moment in range(10_000):
        due.at(waiter, 1_000_000 + moment)
    assert len(due._heap) <= 2 + SPARE
    gone = [Waits("gone", log, due) for _ in range(1000)]
    for each in gone:
        due.at(each, 5_000_000)
    for each in gone:
        due.forget(each)
    assert len(due._heap) <= 2 + SPARE
    at(due, 10_000_000)
    assert [("one", 10_000_000)] == log


def test_without_a_lane_the_reactors_timer_wakes_it(log: list[tuple[str, int]]) -> None:
    reactor = Clock()
    due = Due(None, reactor)
    due.at(Waits("waits", log, due), time.monotonic_ns() + 50 * MS)
    (call,) = reactor.getDelayedCalls()
    assert 0.0 < call.getTime() <= 0.05
    due.at(Waits("past", log, due), 0)
    reactor.advance(0.001)
    assert ["past"] == [name for name, _ in log]
    due.stop()
    due.stop()
    assert [] == reactor.getDelayedCalls()


@pytest.mark.skipif(not Lane.supported(MemoryReactorClock()), reason="a lane needs epoll")
def test_on_a_lane_it_goes_on_after_one_that_raised(log: list[tuple[str, int]]) -> None:
    reactor: Any = MemoryReactorClock()
    lane = Lane(reactor)
    lane.start()
    due = Due(lane, reactor)

    class Raises(Waits):
        def due(self, now: int) -> None:
            raise ValueError("a bug")

    moment = time.monotonic_ns() + MS
    due.at(Raises("bug", log, due), moment)
    due.at(Waits("good", log, due), moment)
    with capturedLogs() as lines:
        end = time.monotonic() + 20
        while not log:
            assert time.monotonic() < end
            select.select([lane], [], [], 1.0)
            lane.doRead()
    assert log[0][1] >= moment
    assert 1 == len(lines)
    assert {} != lane._owners
    due.stop()
    assert {} == lane._owners
    lane.stop()


class Puts:
    """Is called together with all of a turn at its end."""

    def __init__(self, log: list[tuple[str, int]]) -> None:
        self.log = log

    def leave(self, now: int) -> None:
        self.log.append(("leave", now))

    def close(self) -> None:
        self.log.append(("close", TIME.now))


def test_what_those_called_in_a_turn_have_put_off_is_done_at_its_end(due: Due, log: list[tuple[str, int]]) -> None:
    due.together = Puts(log)
    due.at(Waits("a", log, due), 10)
    due.at(Waits("b", log, due), 20)
    due.at(Waits("c", log, due), 30)
    at(due, 20)
    assert [("a", 20), ("b", 20), ("leave", 20)] == log
    due.stop()
    due.stop()
    assert [("close", 20)] == log[3:]


def test_if_one_of_a_turn_raises_what_the_others_have_put_off_is_done(due: Due, log: list[tuple[str, int]]) -> None:
    class Raises:
        def due(self, now: int) -> None:
            raise ZeroDivisionError

    due.together = Puts(log)
    due.at(Raises(), 10)
    with pytest.raises(ZeroDivisionError):
        at(due, 10)
    assert [("leave", 10)] == log
