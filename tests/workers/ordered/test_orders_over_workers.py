"""A parent's orders and two planes of workers in this process: messages are calls, descriptors are duplicates."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.config import ListenerConfig
from ctrlserver.config.places import place_of
from ctrlserver.inject.rules import Rule, Rules
from ctrlserver.lane.lane import Lane
from ctrlserver.net.injected.ordering import Ordering
from ctrlserver.stats.book import Book
from ctrlserver.workers.channel import Lost, Refused
from ctrlserver.workers.ordered.directing import Directing
from ctrlserver.workers.ports.given import GivenPlane

pytestmark = pytest.mark.skipif(not Lane.supported(MemoryReactorClock()), reason="workers need a lane")

LINES = ListenerConfig(name="one", endpoint="tcp:7", mode="reply", framing="line", reply="no\\n")
PLACE = place_of(LINES)


def book() -> Book:
    return Book(version="test", now=time.monotonic(), wall=time.time())


class Shop:
    """``late``: the questions that are not answered yet, where ``answers`` is off."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.counters = book().counters
        self.ordering = Ordering(self.counters, self.clock, self.clock.seconds)
        self.rules = Rules()
        self.planes: dict[int, Any] = {}
        self.answers: Any = None
        self.replaced: list[tuple[int, str]] = []
        self.directing = Directing(self.ordering, self.rules, self, self.clock)
        for number in (1, 2):
            self.begin(number)

    def begin(self, number: int) -> None:
        self.planes[number] = plane = GivenPlane([LINES], book(), self.clock, self.clock.seconds, {})
        ordered, descriptors = self.directing.all()
        pickle.loads(pickle.dumps(ordered)).reach(plane, [os.dup(each) for each in descriptors])

    def asked(self) -> list[tuple[int, bool]]:
        return [(number, True) for number in self.planes]

    def ask(self, number: int, message: Any, descriptors: Sequence[int] = ()) -> Deferred[Any]:
        if self.answers is not None:
            return self.answers  # type: ignore[no-any-return]
        worker = SimpleNamespace(plane=self.planes[number])
        return succeed(pickle.loads(pickle.dumps(message)).carry_out(worker, [os.dup(each) for each in descriptors]))

    def replace(self, number: int, why: str) -> None:
        self.replaced.append((number, why))

    def look(self) -> None:
        for number, plane in self.planes.items():
            self.directing.heard(number, plane.carried.hits(), plane.carried_rules.hits())

    def strike(self, number: int, packets: int) -> int:
        """Have that worker's next stream take packets; how many are struck."""
        courses = self.planes[number].listeners[0].terms.orders.courses("127.0.0.1:5", "tcp")
        for course in courses:
            for _ in range(packets):
                course.advance(1, 3)
        return sum(course.hits for course in courses)

    def answer(self, number: int) -> Rule | None:
        found: Rule | None = self.planes[number].rules.of("one").answer(b"a")
        return found


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.ordering.end(None)
    made.rules.end()


def test_hits_of_all_workers_are_summed_once_and_stay_when_one_is_gone(shop: Shop) -> None:
    order = shop.ordering.begin(PLACE, "2nd*swallow")
    assert (2, 1) == (shop.strike(1, 4), shop.strike(2, 2))
    shop.look()
    shop.look()
    assert (1, 3) == shop.ordering.figures()
    shop.directing.lost(2)
    shop.begin(2)
    assert 1 == shop.strike(2, 2)
    shop.look()
    assert (1, 4) == shop.ordering.figures()
    shop.strike(1, 2)
    shop.ordering.end(order.number)
    assert ((0, 5), 5) == (shop.ordering.figures(), order.hits)
    assert 0 == shop.strike(1, 2)


def test_hits_that_were_told_before_the_end_and_come_after_it_are_counted_once(shop: Shop) -> None:
    order = shop.ordering.begin(PLACE, "swallow")
    shop.strike(1, 2)
    told = dict(shop.planes[1].carried.hits())
    shop.ordering.end(order.number)
    shop.directing.heard(1, told, {})
    assert ((0, 2), 2) == (shop.ordering.figures(), order.hits)


def test_a_last_strike_that_has_a_number_is_taken_over_all_workers_and_what_is_not_used_is_given_back(
    shop: Shop,
) -> None:
    shop.ordering.begin(PLACE, "3*reset")
    first = shop.planes[1].listeners[0].terms.orders.courses("127.0.0.1:5", "tcp")[0]
    assert first.look(1)[1] is not None  # and then its peer is gone
    shop.clock.advance(0)
    assert [1, 1, 1, 0, 0] == [shop.strike(number, 1) for number in (1, 2, 2, 1, 2)]
    shop.begin(1)
    assert 0 == shop.strike(1, 1)


def test_an_answer_is_given_so_many_times_by_all_workers_also_by_one_that_begins_later(shop: Shop) -> None:
    standing = shop.rules.add(Rule("a", "yes", times=4), PLACE, 0)
    assert [True, True] == [shop.answer(number) is not None for number in (1, 2)]
    shop.rules.add(Rule("b", "other"), PLACE, 0)  # which changes nothing of the first
    shop.begin(2)
    assert [True, True, False, False] == [shop.answer(number) is not None for number in (2, 1, 1, 2)]
    shop.rules.end(standing.number)
    assert 3 == standing.hits  # the one of the worker that is gone was not told


def test_streams_are_numbered_over_all_workers_and_a_connection_has_the_number_that_its_parent_gave(shop: Shop) -> None:
    shop.ordering.begin(PLACE, "50%*swallow", seed=7)
    orders = shop.ordering.of("one")
    assert (";1 1", ";1 2") == tuple(shop.directing.numbers(orders, "127.0.0.1:5", "tcp") for _ in range(2))

    def number(worker: int) -> int:
        course = shop.planes[worker].listeners[0].terms.orders.courses("127.0.0.1:5", "tcp")[0]
        return int(course.stream)

    shop.planes[2].carried.coming([(1, 2)])
    assert 2 == number(2)
    shop.planes[2].carried.coming([(1, 0)])
    assert [3, 4, 5] == [number(each) for each in (2, 1, 2)]


def test_nobody_waits_where_all_have_answered_and_nobody_longer_than_a_second(shop: Shop) -> None:
    shop.ordering.begin(PLACE, "swallow")
    assert shop.directing.settled() is None
    shop.answers = Deferred()
    shop.planes.pop(2)
    shop.ordering.begin(PLACE, "swallow")
    over: list[None] = []
    settled = shop.directing.settled()
    assert settled is not None
    settled.addCallback(over.append)
    shop.clock.advance(0.9)
    assert [] == over
    shop.clock.advance(0.2)
    assert [None] == over


def test_what_else_is_to_be_done_is_waited_for_too(shop: Shop) -> None:
    followed: Deferred[None] = Deferred()
    shop.directing.wait_for(followed)
    over: list[None] = []
    settled = shop.directing.settled()
    assert settled is not None
    settled.addCallback(over.append)
    assert [] == over
    followed.callback(None)
    assert ([None], None) == (over, shop.directing.settled())


def test_a_worker_that_cannot_carry_out_is_replaced_and_one_that_is_gone_is_nobody_s_concern(shop: Shop) -> None:
    shop.planes.pop(2)
    shop.answers = fail(Lost())
    shop.ordering.begin(PLACE, "swallow")
    shop.answers = fail(Refused("no room"))
    shop.ordering.begin(PLACE, "swallow")
    assert [(1, "cannot carry out an order: no room")] == shop.replaced
    assert shop.directing.settled() is None
    shop.answers = None
