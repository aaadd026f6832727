from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from attrs import Factory, define
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.lane import spinning
from ctrlserver.lane.spinning import BRIEF_NS, EARLY_NS, NEAR_NS, Spinner, SpinningLane
from ctrlserver.lane.ticker import NEVER, timerfd

US = 1_000
MS = 1_000_000
LINGER = 0.001
READABLE = 5.0  # seconds that a lane has to become so


@define
class Steps:
    """A clock that goes on by ``step`` nanoseconds each time it is read."""

    step: int = US
    now: int = 0

    def __call__(self) -> int:
        self.now += self.step
        return self.now


@define
class Spinning:
    """A spinner on a lane of its own; when it was called, and the moments for which the alarm was set."""

    lane: SpinningLane
    now: Callable[[], int]
    alarms: list[int]
    called: list[int] = Factory(list)
    broken: list[str] = Factory(list)
    then: Callable[[Spinner], object] = Spinner.rest
    spinner: Spinner = Factory(
        lambda self: Spinner(self.lane, self.tick, lambda: self.broken.append("broken")), takes_self=True
    )

    def tick(self) -> None:
        self.called.append(self.now())
        self.then(self.spinner)

    def turn(self, seconds: float = READABLE) -> bool:
        """Have a turn once the reactor would call for one; whether it does within ``seconds``."""
        ready = bool(select.select([self.lane], [], [], seconds)[0])
        if ready:
            self.lane.doRead()
        return ready


@contextmanager
def on_a_lane(now: Callable[[], int], monkeypatch: pytest.MonkeyPatch, near: int = NEAR_NS) -> Iterator[Spinning]:
    alarms: list[int] = []
    real = timerfd()
    assert real is not None
    fd, set_time = real

    def set_alarm(moment: int) -> None:
        alarms.append(moment)
        set_time(moment)

    monkeypatch.setattr(spinning, "timerfd", lambda: (fd, set_alarm))
    reactor: Any = MemoryReactorClock()
    lane = SpinningLane(reactor, LINGER, near, now)
    lane.start()
    one = Spinning(lane, now, alarms)
    one.spinner.start()
    yield one
    one.spinner.stop()
    lane.stop()


@pytest.fixture
def stepping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spinning]:
    with on_a_lane(Steps(), monkeypatch) as spinning_one:
        yield spinning_one


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spinning]:
    with on_a_lane(time.monotonic_ns, monkeypatch) as spinning_one:
        yield spinning_one


def test_a_near_moment_is_spun_for_and_no_alarm_is_set(stepping: Spinning) -> None:
    stepping.spinner.at(NEAR_NS)
    assert stepping.turn()
    assert 1 == len(stepping.called)
    assert stepping.called[0] >= NEAR_NS
    assert [] == stepping.alarms


def test_a_moment_that_is_over_has_its_call_at_once(stepping: Spinning) -> None:
    stepping.spinner.at(-5)
    assert stepping.turn()
    assert 1 == len(stepping.called)


def test_for_a_far_moment_the_alarm_is_set_once_and_rings_early(stepping: Spinning) -> None:
    far = 10**15
    stepping.spinner.at(far)
    stepping.spinner.at(far)
    assert not stepping.turn(0.0)
    assert [far - EARLY_NS] == stepping.alarms
    assert [] == stepping.called


def test_the_alarm_wakes_and_the_call_comes_not_before_its_moment(real: Spinning) -> None:
    moment = time.monotonic_ns() + 5 * MS
    real.spinner.at(moment)
    while not real.called:
        assert real.turn()
    assert 1 == len(real.called)
    assert real.called[0] >= moment


def test_a_call_may_set_the_next_moment_and_none_is_left_out(real: Spinning) -> None:
    def again(spinner: Spinner) -> None:
        spinner.at(time.monotonic_ns() + 10 * US if len(real.called) < 100 else NEVER)

    real.then = again
    real.spinner.at(time.monotonic_ns())
    while len(real.called) < 100:
        assert real.turn()
    assert not real.turn(0.0)


def test_sockets_are_served_while_it_spins_and_before_the_moment(stepping: Spinning) -> None:
    order: list[str] = []

    class Owner:
        def ready(self, events: int) -> int | None:
            order.append("socket")
            near.recv(9)
            return None

        def failed(self) -> None: ...

    near, far = socket.socketpair()
    stepping.lane.watch(near.fileno(), Owner(), select.EPOLLIN)
    far.send(b"x")

    def then(spinner: Spinner) -> None:
        order.append("moment")
        spinner.rest()

    stepping.then = then
    stepping.spinner.at(NEAR_NS)
    assert stepping.turn()
    assert ["socket", "moment"] == order
    stepping.lane.forget(near.fileno())
    near.close()
    far.close()


def test_the_turn_ends_while_it_spins_and_the_reactor_calls_for_the_next_one_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with on_a_lane(Steps(MS // 2), monkeypatch, near=100 * MS) as one:
        one.spinner.at(50 * MS)
        assert one.turn()
        assert [] == one.called
        assert one.turn(0.0)


def test_nobody_is_called_after_the_stop_or_while_it_rests(real: Spinning) -> None:
    real.spinner.at(time.monotonic_ns() + MS)
    real.spinner.rest()
    assert not real.turn(0.01)
    real.spinner.at(time.monotonic_ns())
    real.spinner.stop()
    real.spinner.stop()
    real.turn(0.0)
    assert [] == real.called


def test_a_call_that_raises_is_told_as_broken_and_the_lane_goes_on(stepping: Spinning) -> None:
    def fail(_: Spinner) -> None:
        raise RuntimeError("of the test")

    stepping.then = fail
    stepping.spinner.at(0)
    assert stepping.turn()
    assert ["broken"] == stepping.broken
    assert not stepping.turn(0.0)


def test_without_timers_in_the_kernel_every_moment_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spinning, "timerfd", lambda: None)
    reactor: Any = MemoryReactorClock()
    lane = SpinningLane(reactor, LINGER)
    lane.start()
    one = Spinning(lane, time.monotonic_ns, [])
    one.spinner.start()
    one.spinner.at(time.monotonic_ns() + 5 * MS)
    while not one.called:
        assert one.turn()
    lane.stop()


def test_what_is_spun_is_counted_but_for_polls_that_were_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    for step, counted in ((US, range(NEAR_NS - 5 * US, NEAR_NS)), (2 * BRIEF_NS, range(1))):
        with on_a_lane(Steps(step), monkeypatch) as one:
            one.spinner.at(NEAR_NS)
            while not one.called:
                assert one.turn()
            assert one.spinner.spun in counted
