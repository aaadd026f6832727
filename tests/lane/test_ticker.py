from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.lane import ticker
from ctrlserver.lane.lane import Lane
from ctrlserver.lane.ticker import Ticker

MS = 1_000_000


class Ticking:
    """A ticker on a lane of its own, and the moments at which it woke."""

    def __init__(self, then: Callable[[Ticker], None] = Ticker.rest) -> None:
        reactor: Any = MemoryReactorClock()
        self.clock: Clock = reactor
        self.lane = Lane(reactor)
        self.lane.start()
        self.woken: list[int] = []
        self.broken: list[str] = []
        self.ticker = Ticker(self.lane, reactor, self._tick, lambda: self.broken.append("broken"))
        self._then = then

    def _tick(self) -> None:
        self.woken.append(time.monotonic_ns())
        self._then(self.ticker)

    def turn(self, seconds: float = 5.0) -> None:
        """Wait until the lane has something, and let it have its turn."""
        select.select([self.lane], [], [], seconds)
        self.lane.doRead()


def test_it_wakes_once_and_not_before_its_time() -> None:
    ticking = Ticking()
    ticking.ticker.start()
    moment = time.monotonic_ns() + 2 * MS
    ticking.ticker.at(moment)
    ticking.turn()
    ticking.turn(0.0)
    assert 1 == len(ticking.woken)
    assert ticking.woken[0] >= moment
    ticking.ticker.stop()
    ticking.lane.stop()


def test_a_moment_that_is_over_wakes_at_once_and_a_new_one_takes_its_place() -> None:
    ticking = Ticking()
    ticking.ticker.start()
    ticking.ticker.at(time.monotonic_ns() + 3_600_000 * MS)
    ticking.ticker.at(5)
    ticking.turn()
    assert 1 == len(ticking.woken)
    ticking.ticker.stop()
    ticking.lane.stop()


def test_after_a_stop_it_wakes_nobody_and_may_be_started_again() -> None:
    ticking = Ticking()
    ticking.ticker.start()
    ticking.ticker.at(5)
    ticking.ticker.stop()
    ticking.ticker.stop()
    ticking.ticker.at(5)
    ticking.turn(0.0)
    assert [] == ticking.woken
    assert {} == ticking.lane._owners
    ticking.ticker.start()
    ticking.ticker.at(5)
    ticking.turn()
    assert 1 == len(ticking.woken)
    ticking.ticker.stop()
    ticking.lane.stop()


def fails(_ticker: Ticker) -> None:
    raise ZeroDivisionError


def test_a_tick_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking = Ticking(fails)
    monkeypatch.setattr(Lane.log, "failure", lambda *_args, **_fields: None)
    ticking.ticker.start()
    ticking.ticker.at(5)
    ticking.turn()
    assert ["broken"] == ticking.broken
    ticking.lane.stop()


def test_without_timers_of_the_system_the_reactor_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker, "timerfd", lambda: None)
    ticking = Ticking()
    ticking.ticker.start()
    ticking.ticker.at(time.monotonic_ns() + 3_600_000 * MS)
    ticking.ticker.at(time.monotonic_ns() + 5000 * MS)
    ticking.clock.advance(4)
    assert [] == ticking.woken
    ticking.clock.advance(1)
    ticking.clock.advance(3600)
    assert 1 == len(ticking.woken)
    ticking.ticker.stop()
    ticking.lane.stop()


def test_without_timers_of_the_system_it_may_be_started_again_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker, "timerfd", lambda: None)
    ticking = Ticking()
    ticking.ticker.start()
    ticking.ticker.stop()
    ticking.ticker.start()
    ticking.ticker.at(5)
    ticking.clock.advance(0)
    assert 1 == len(ticking.woken)
    ticking.ticker.stop()
    ticking.lane.stop()
