"""When a daemon is told to end: how long its streams may go on."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from ctrlserver.life.draining import LOOK_SECONDS, Draining


class Plane:
    """What is drained: so many streams are open."""

    def __init__(self, streams: int) -> None:
        self.streams = streams
        self.left = 0

    def leave(self) -> None:
        self.left += 1


def draining(
    streams: int, fresh: Callable[[], Deferred[None] | None] = lambda: None
) -> tuple[Draining, Plane, Clock, list[float]]:
    """And the times at which it was over."""
    clock, plane = Clock(), Plane(streams)
    over: list[float] = []
    drains = Draining(plane, lambda: plane.streams, clock, fresh)
    drains._over.addCallback(lambda _: over.append(clock.seconds()))
    return drains, plane, clock, over


def test_without_an_open_stream_it_is_over_at_once() -> None:
    drains, plane, clock, over = draining(0)
    drains.begin(5.0)
    assert ([0.0], 1, []) == (over, plane.left, clock.getDelayedCalls())


def test_it_is_over_when_the_last_stream_has_ended() -> None:
    drains, plane, clock, over = draining(1)
    drains.begin(5.0)
    clock.pump([LOOK_SECONDS] * 10)
    assert [] == over
    plane.streams = 0
    clock.advance(LOOK_SECONDS)
    assert 1 == len(over)
    assert [] == clock.getDelayedCalls()


def test_streams_that_do_not_end_have_the_time_given_and_no_more() -> None:
    drains, _, clock, over = draining(1)
    drains.begin(5.0)
    clock.pump([LOOK_SECONDS] * 249)
    assert [] == over
    clock.pump([LOOK_SECONDS] * 2)
    assert 1 == len(over)


def test_a_second_order_ends_the_wait() -> None:
    drains, _, clock, over = draining(1)
    drains.begin(5.0)
    drains.at_once()
    assert ([0.0], []) == (over, clock.getDelayedCalls())


def test_an_order_to_hurry_that_comes_first_leaves_no_time() -> None:
    drains, _, _, over = draining(1)
    drains.at_once()
    drains.begin(5.0)
    assert [0.0] == over


def test_no_time_given_is_no_wait() -> None:
    drains, _, _, over = draining(1)
    drains.begin(0.0)
    assert [0.0] == over


def test_to_begin_twice_is_to_begin_once() -> None:
    drains, plane, _, _ = draining(1)
    assert drains.begin(5.0) is drains.begin(5.0)
    assert 1 == plane.left


class Elsewhere:
    """Streams of other processes: each look asks, and ``answer`` answers all that have asked."""

    def __init__(self) -> None:
        self.asked: list[Deferred[None]] = []

    def fresh(self) -> Deferred[None]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def answer(self) -> None:
        waiting, self.asked = self.asked, []
        for each in waiting:
            each.callback(None)


def test_a_number_that_has_to_be_asked_for_is_judged_when_it_is_of_now() -> None:
    elsewhere = Elsewhere()
    drains, plane, clock, over = draining(0, elsewhere.fresh)
    with capturedLogs() as lines:
        drains.begin(5.0)
        assert [] == over
        plane.streams = 2
        elsewhere.answer()
    assert ["2 open streams"] == [line["streams"] for line in lines]
    assert [] == over
    clock.advance(LOOK_SECONDS)
    plane.streams = 0
    elsewhere.answer()
    assert ([LOOK_SECONDS], []) == (over, clock.getDelayedCalls())


def test_nobody_is_asked_twice_at_a_time() -> None:
    elsewhere = Elsewhere()
    drains, _, clock, _ = draining(1, elsewhere.fresh)
    drains.begin(5.0)
    clock.pump([LOOK_SECONDS] * 10)
    assert 1 == len(elsewhere.asked)


def test_an_order_to_hurry_waits_for_no_answer() -> None:
    elsewhere = Elsewhere()
    drains, _, clock, over = draining(1, elsewhere.fresh)
    drains.begin(5.0)
    drains.at_once()
    assert [0.0] == over
    elsewhere.answer()
    assert ([0.0], []) == (over, clock.getDelayedCalls())


def test_the_time_given_is_told_once() -> None:
    drains, _, clock, _ = draining(1)
    with capturedLogs() as lines:
        drains.begin(5.0)
        clock.pump([LOOK_SECONDS] * 10)
    assert [5.0] == [line["seconds"] for line in lines]
