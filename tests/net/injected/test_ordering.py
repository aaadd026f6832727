"""Orders of all listeners: numbered, timed, ended, counted and logged."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from ctrlserver.errors import InjectionError
from ctrlserver.inject.places import Place
from ctrlserver.net.injected.ordering import MOST_ACTIVE, Ordering
from ctrlserver.net.injected.orders import Orderer
from ctrlserver.stats.counters import Counters

ECHO = Place("data", "echo")
OTHER = Place("other", "echo")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def ordering(clock: Clock, counters: Counters) -> Ordering:
    return Ordering(counters, clock, clock.seconds, lambda: 1_700_000_000_000_000_000, lambda: 42)


def test_orders_are_numbered_over_all_listeners_and_no_number_comes_twice(ordering: Ordering) -> None:
    first, second = ordering.begin(ECHO, "swallow"), ordering.begin(OTHER, "swallow")
    assert [first] == ordering.end(1)
    third = ordering.begin(ECHO, "swallow")
    assert [1, 2, 3] == [first.number, second.number, third.number]
    assert [second, third] == ordering.active()
    assert ((third,), (second,)) == (ordering.of("data").active, ordering.of("other").active)


def test_an_order_ends_by_its_number_by_its_listener_or_with_all(ordering: Ordering) -> None:
    one, two, three = (ordering.begin(place, "swallow") for place in (ECHO, ECHO, OTHER))
    assert [two] == ordering.end(2)
    assert [one] == ordering.end("data")
    assert [three] == ordering.end(None)
    assert [] == ordering.end(None) == ordering.end(3) == ordering.end("data")


def test_an_order_ends_by_itself_when_its_time_is_over(ordering: Ordering, clock: Clock) -> None:
    timed, ended = (ordering.begin(ECHO, "swallow", seconds=2.5) for _ in range(2))
    assert 2.5 == timed.until
    ordering.end(ended.number)
    clock.advance(2.4)
    assert [timed] == ordering.active()
    clock.advance(0.2)
    assert ([], []) == (ordering.active(), list(clock.getDelayedCalls()))


def test_what_is_wrong_or_cannot_strike_changes_nothing(ordering: Ordering) -> None:
    for place, spec, code in ((ECHO, "swalow", 400), (Place("data", "sink"), "swallow", 409)):
        with pytest.raises(InjectionError) as refused:
            ordering.begin(place, spec)
        assert code == refused.value.code
    assert ([], 1) == (ordering.active(), ordering.begin(ECHO, "swallow").number)


def test_a_listener_has_a_bounded_number_of_injections(ordering: Ordering) -> None:
    for _ in range(MOST_ACTIVE):
        ordering.begin(ECHO, "swallow")
    with pytest.raises(InjectionError, match="16 injections already") as refused:
        ordering.begin(ECHO, "swallow")
    assert 409 == refused.value.code
    ordering.begin(OTHER, "swallow")


def test_a_seed_is_as_given_or_drawn(ordering: Ordering) -> None:
    assert [7, 42] == [ordering.begin(ECHO, "5%*swallow", seed=seed).injection.seed for seed in (7, None)]


def test_hits_stay_counted_when_their_order_is_over(ordering: Ordering, counters: Counters) -> None:
    assert ((0, 0), False) == (counters.orders(), counters.struck)
    for _ in range(2):
        order = ordering.begin(ECHO, "2*swallow")
        (course,) = ordering.of("data").courses("127.0.0.1:1", "tcp")
        course.advance(2)
        assert 1 == counters.orders()[0]
        ordering.end(order.number)
    assert ((0, 4), True) == (counters.orders(), counters.struck)


def test_a_line_says_that_an_order_begins_and_one_that_it_ends_with_its_hits(ordering: Ordering, clock: Clock) -> None:
    with capturedLogs() as logged:
        ordering.begin(ECHO, "2*swallow", seconds=1, by=Orderer("127.0.0.1:5", "operator"))
        (course,) = ordering.of("data").courses("127.0.0.1:1", "tcp")
        course.advance(2)
        clock.advance(1)
    lines: list[Any] = [(event["event"], formatEvent(event)) for event in logged]
    assert [
        ("injection-begins", "injection 1 of data begins: 2*swallow, by 127.0.0.1:5 (operator)"),
        ("injection-ends", "injection 1 of data ends: 2*swallow, its time is over, 2 hits"),
    ] == lines


def test_many_orders_write_few_lines(ordering: Ordering) -> None:
    with capturedLogs() as logged:
        for _ in range(100):
            ordering.end(ordering.begin(ECHO, "swallow").number)
    assert 10 == len(logged)
