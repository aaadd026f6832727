"""The reactor's timers, on a clock of our own."""

from __future__ import annotations

import pytest
from twisted.internet.base import ReactorBase
from twisted.internet.task import Clock, LoopingCall

from ctrlserver.lane.clock import keep_monotonic_time


class Bare(ReactorBase):
    """Twisted's timers without descriptors."""

    def installWaker(self) -> None:
        """Nothing wakes it."""


@pytest.fixture
def reactor() -> ReactorBase:
    return Bare()


def test_timers_follow_the_clock_that_is_given(reactor: ReactorBase) -> None:
    time = Clock()
    keep_monotonic_time(reactor, time.seconds)
    called: list[float] = []
    reactor.callLater(5, lambda: called.append(time.seconds()))
    loop = LoopingCall(lambda: called.append(-time.seconds()))
    loop.clock = reactor
    loop.start(3, now=False)
    for _ in range(6):
        time.advance(1)
        reactor.runUntilCurrent()
    assert [-3, 5, -6] == called


def test_a_call_that_waits_already_keeps_its_delay(reactor: ReactorBase) -> None:
    called: list[str] = []
    reactor.callLater(300, called.append, "late")
    moved = reactor.callLater(2, called.append, "moved")
    reactor.callLater(100, called.append, "early")
    moved.delay(198)
    time = Clock()
    time.advance(1000)
    keep_monotonic_time(reactor, time.seconds)
    for seconds, expected in (
        (99, []),
        (2, ["early"]),
        (98, ["early"]),
        (2, ["early", "moved"]),
        (100, ["early", "moved", "late"]),
    ):
        time.advance(seconds)
        reactor.runUntilCurrent()
        assert expected == called


def test_a_clock_for_tests_stays_as_it_is() -> None:
    time = Clock()
    keep_monotonic_time(time)
    time.advance(5)
    assert 5 == time.seconds()
