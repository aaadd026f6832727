from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.client.target import Target
from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.due import Releases
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.measure.verdict import Bottleneck
from ctrlserver.load.plan.schedule import SECOND, Curve, Evenly, Piece
from ctrlserver.load.running.pacing import OpenLoop, Pacer
from tests.load.asking import options_for

MS = 1_000_000
BEGAN = 5 * SECOND
TARGET = Target("127.0.0.1:22222", "127.0.0.1", 22222)


@define
class Stream:
    """Keeps what is released to it."""

    got: list[tuple[int, int, int]] = field(factory=list)
    packets: int = 0
    releases: Releases = field(factory=lambda: Releases(Timing()))

    def release(self, count: int, first: int, last: int) -> None:
        self.got.append((count, first - BEGAN, last - BEGAN))


class Paced:
    """A pacer whose clock the test moves; it wakes when it is told to."""

    def __init__(self, curve: Curve, streams: int, most: int | None = None, since: int = 0) -> None:
        reactor: Any = MemoryReactorClock()
        self.lane = Lane(reactor)
        self.lane.start()
        self.now = BEGAN
        self.timing = Timing()
        self.ended: list[int] = []
        self.streams = [Stream() for _ in range(streams)]
        self.pacer = Pacer(
            self.lane,
            reactor,
            self.timing,
            MS // 4,
            lambda: self.ended.append(self.now),
            lambda: None,
            clock=lambda: self.now,
        )
        self.pacer.start(Evenly(curve), self.streams, BEGAN - since, most)

    def wake(self, milliseconds: float) -> None:
        self.now = BEGAN + round(milliseconds * MS)
        self.pacer._wake()

    def close(self) -> None:
        self.pacer.stop()
        self.lane.stop()


def test_packets_are_dealt_in_turn_with_the_moments_at_which_they_were_due() -> None:
    paced = Paced(Curve.constant(1000), 3)
    paced.wake(1)
    paced.wake(2.5)
    assert [[(1, 0, 0)], [(1, MS, MS)], [(1, 2 * MS, 2 * MS)]] == [stream.got for stream in paced.streams]
    paced.close()


def test_what_was_due_since_the_plan_began_is_released_at_once_and_what_follows_is_on_time() -> None:
    paced = Paced(Curve.until(Curve.constant(1000), 0.004), 1, since=2 * MS)
    assert [(3, -2 * MS, 0)] == paced.streams[0].got
    paced.wake(1)
    assert (1, MS, MS) == paced.streams[0].got[1]
    paced.wake(2)
    assert ([BEGAN + 2 * MS], 4, 0.004) == (paced.ended, paced.pacer.released, paced.pacer.plan_seconds())
    assert 0 == paced.pacer.dropped_ticks
    paced.close()


def test_many_at_once_go_to_each_stream_in_one_piece() -> None:
    paced = Paced(Curve.constant(1000), 2)
    paced.wake(5.5)
    assert [(1, 0, 0), (2, 2 * MS, 4 * MS)] == paced.streams[0].got
    assert [(3, MS, 5 * MS)] == paced.streams[1].got
    assert 6 == paced.pacer.released
    paced.close()


def test_no_more_than_the_most_are_released_and_it_rests() -> None:
    paced = Paced(Curve.constant(1000), 2, most=3)
    paced.wake(50)
    paced.wake(60)
    assert 3 == sum(count for stream in paced.streams for count, _, _ in stream.got)
    assert 0.003 == paced.pacer.plan_seconds()
    assert [] == paced.ended
    paced.close()


def test_a_plan_with_an_end_is_over_then_although_the_most_were_released_before() -> None:
    paced = Paced(Curve((Piece.of(0.01, 1000, 1000),)), 1, most=3)
    paced.wake(5)
    assert (3, []) == (paced.pacer.released, paced.ended)
    paced.wake(10)
    assert [BEGAN + 10 * MS] == paced.ended
    assert (3, 0.003) == (paced.pacer.released, paced.pacer.plan_seconds())
    paced.close()


def test_the_end_of_a_plan_is_told_once_after_its_last_packet() -> None:
    paced = Paced(Curve((Piece.of(0.003, 1000, 1000),)), 1)
    paced.wake(2.9)
    assert [] == paced.ended
    paced.wake(3)
    paced.wake(4)
    assert [BEGAN + 3 * MS] == paced.ended
    assert 3 == paced.pacer.released
    assert 1000.0 == paced.pacer.mean_target()
    paced.close()


def test_its_own_lateness_is_counted_by_packets() -> None:
    paced = Paced(Curve.constant(1000), 1)
    paced.wake(5.5)
    assert 6 == len(paced.timing.delay)
    assert 4 == paced.timing.delay.count_above(MS)
    assert 1 == paced.pacer.dropped_ticks
    paced.close()


def test_the_target_of_a_time_is_the_plans() -> None:
    paced = Paced(Curve((Piece.of(1, 1000, 1000), Piece.of(1, 2000, 2000))), 1)
    assert 1500.0 == paced.pacer.target(BEGAN + SECOND // 2, BEGAN + SECOND * 3 // 2)
    assert 1000.0 == paced.pacer.target(BEGAN + SECOND, BEGAN + 3 * SECOND)
    assert 1000.0 == paced.pacer.target_now()
    paced.close()


def test_the_target_that_is_shown_is_the_mean_of_the_second_whose_rate_is_shown() -> None:
    paced = Paced(Curve((Piece.of(1, 1000, 1000), Piece.of(1, 2000, 2000))), 1)
    seen = []
    for milliseconds in (500, 1500, 2000):
        paced.wake(milliseconds)
        seen.append(paced.pacer.target_now())
    assert [1000.0, 1500.0, 2000.0] == seen
    paced.close()


def test_time_that_the_lane_spun_for_nothing_is_no_time_at_work() -> None:
    class Spinning:
        began = plan_seconds = mean_target = dropped_ticks = 0
        spun = 0

        def start(self, *_: object) -> None: ...

        def stop(self) -> None:
            self.spun += 3600 * SECOND

    pacer: Any = Spinning()
    pacer.plan_seconds = pacer.mean_target = lambda: 1.0
    timing = Timing()
    timing.slip.record(2 * MS, 100)  # all late, and not by the pacer
    open_loop = OpenLoop(pacer, Curve.constant(1000), options_for(TARGET, rate="1k"), timing)
    open_loop.measure([], 1.0, None)
    open_loop.stop()
    assert Bottleneck.TARGET is open_loop.scheduled(100, 1.0).bottleneck
