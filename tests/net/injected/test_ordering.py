"""Orders of all listeners: numbered, timed, ended, counted and logged."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from ctrlserver.errors import InjectionError
from ctrlserver.inject.orderer import Orderer
from ctrlserver.inject.places import Place
from ctrlserver.inject.spec import MOST_INJECTIONS, Spec
from ctrlserver.net.injected.ordering import OVER_KEPT, Ordering
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
    for _ in range(MOST_INJECTIONS):
        ordering.begin(ECHO, "swallow")
    with pytest.raises(InjectionError, match='"data" has 16 injections') as refused:
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
        ("injection-began", "injection 1 of data began: 2*swallow, for 1 s, by 127.0.0.1:5 (operator)"),
        ("injection-ended", "injection 1 of data ended: 2*swallow, its time is over, 2 hits"),
    ] == lines


def test_many_orders_write_few_lines(ordering: Ordering) -> None:
    with capturedLogs() as logged:
        for _ in range(100):
            ordering.end(ordering.begin(ECHO, "swallow").number)
    assert 10 == len(logged)


def test_the_config_orders_when_it_comes_and_what_it_no_longer_orders_ends(ordering: Ordering) -> None:
    ordering.configure([(ECHO, ("swallow", "3*reset")), (OTHER, ("stall",))])
    by_hand = ordering.begin(ECHO, "delay(1s)", by=Orderer("unix", "admin"))
    before = ordering.active()
    assert ["swallow", "3*reset", "stall", "delay(1s)"] == [each.injection.spec.text for each in before]
    ordering.configure([(ECHO, ("swallow", "3*reset")), (OTHER, ("stall",))])
    assert before == ordering.active()
    ordering.configure([(ECHO, ("swallow",)), (OTHER, ("stall",))])
    assert [before[2], by_hand] == ordering.active()[:2]
    assert ["stall", "delay(1s)", "swallow"] == [each.injection.spec.text for each in ordering.active()]


def test_what_was_ended_by_hand_stays_so_until_the_config_says_something_else(ordering: Ordering) -> None:
    ordering.configure([(ECHO, ("swallow",))])
    ordering.end(None)
    ordering.configure([(ECHO, ("swallow",))])
    assert [] == ordering.active()
    ordering.configure([(ECHO, ("stall",))])
    assert ["stall"] == [each.injection.spec.text for each in ordering.active()]


def test_orders_end_with_their_listener_and_where_it_becomes_one_that_they_cannot_strike(ordering: Ordering) -> None:
    ordering.configure([(ECHO, ()), (OTHER, ())])
    orders, stays = ordering.of("other"), ordering.begin(ECHO, "reset")
    for place in (ECHO, OTHER):
        ordering.begin(place, "swallow")
    with capturedLogs() as logged:
        ordering.configure([(Place("data", "sink"), ())])
    assert ([stays], ()) == (ordering.active(), orders.active)
    assert [
        'injection 2 of data ended: swallow, "swallow" needs replies; listener "data" is a sink, 0 hits',
        "injection 3 of other ended: swallow, its listener is gone, 0 hits",
    ] == [formatEvent(event) for event in logged]


def test_however_many_the_admin_port_has_ordered_the_config_orders_its_own(ordering: Ordering) -> None:
    ordering.configure([(ECHO, ())])
    for _ in range(MOST_INJECTIONS):
        ordering.begin(ECHO, "swallow")
    ordering.configure([(ECHO, ("stall",))])
    assert MOST_INJECTIONS + 1 == len(ordering.active())


def test_the_end_of_the_server_ends_all_orders_and_leaves_no_timer(ordering: Ordering, clock: Clock) -> None:
    ordering.configure([(ECHO, ("stall",))])
    ordering.begin(ECHO, "swallow", seconds=10)
    with capturedLogs() as logged:
        ordering.stop()
    assert ([], []) == (ordering.active(), list(clock.getDelayedCalls()))
    assert "injection 1 of data ended: stall, the server ends, 0 hits" == formatEvent(logged[0])
    ordering.configure([(ECHO, ("stall",))])
    assert [3] == [each.number for each in ordering.active()]


def test_the_last_that_are_over_can_be_listed(ordering: Ordering) -> None:
    for _ in range(OVER_KEPT + 2):
        ordering.end(ordering.begin(ECHO, "swallow").number)
    ordering.begin(ECHO, "swallow")
    assert [(OVER_KEPT + 3, True)] == [(each.injection, each.active) for each in ordering.records()]
    over = ordering.records(over=True)
    assert list(range(3, OVER_KEPT + 4)) == [each.injection for each in over]
    assert [False] * OVER_KEPT + [True] == [each.active for each in over]


def test_the_number_of_lines_left_out_is_told(ordering: Ordering, clock: Clock) -> None:
    for _ in range(10):
        ordering.end(ordering.begin(ECHO, "swallow").number)
    clock.advance(60)
    with capturedLogs() as logged:
        ordering.tell_left_out(clock.seconds())
    assert ["10 more injections began or ended"] == [formatEvent(event) for event in logged]


def test_a_certificate_that_cannot_be_made_any_more_leaves_the_other_orders_of_the_config(ordering: Ordering) -> None:
    def prepare(listener: str, spec: Spec) -> dict[str, Any]:
        if spec.of_connections:
            raise InjectionError(f"{listener}: its files are gone", 409)
        return {}

    ordering.prepare = prepare
    with capturedLogs() as lines:
        ordering.configure([(ECHO, ("hang", "swallow"))])
    assert ["swallow"] == [order.injection.spec.text for order in ordering.active()]
    assert ["data: its files are gone"] == [
        formatEvent(line) for line in lines if line.get("event") == "injection-failed"
    ]
    with pytest.raises(InjectionError, match="its files are gone"):
        ordering.begin(ECHO, "hang")
    assert 1 == len(ordering.active())
