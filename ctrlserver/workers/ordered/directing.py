"""The parent's side of injections and answers: what it orders, its workers carry out, and it sums their hits.

Model::

    Ordering, Rules (the real ones) --told--> Directing --Begun, Ended, RulesOf--> all workers
    their hits <-- snapshots, and the answer to what ends something --------------- CarriedOrdering, CarriedRules

Rules:

- Whoever orders has the reply once the workers go by it (``settled``), at the latest after ``LATEST_SECONDS``.
- A worker that begins is told all that is in force. One that cannot follow is replaced.
- Hits never fall: those of a worker that is gone stay counted, up to its last snapshot.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ctrlserver.inject.arguments import Bits, Exponential, Uniform
from ctrlserver.inject.rules import Rules, Standing
from ctrlserver.inject.spec import Chance, First, Spec
from ctrlserver.net.injected.ordering import Ordering
from ctrlserver.net.injected.orders import Order, Orders
from ctrlserver.workers.channel import Lost
from ctrlserver.workers.ordered.shared import Lot, Numbering
from ctrlserver.workers.ordered.told import Begun, ConnectionsOver, Counted, Ended, Message, Ordered, RulesOf, ToldRule

#: Seconds for which a reply waits for workers.
LATEST_SECONDS = 1.0

#: Of those that are over: hits of a worker that is late still count.
OVER_KEPT = 1000


class Workers(Protocol):
    """Who carries out."""

    def asked(self) -> Iterable[tuple[int, bool]]:
        """The numbers of those that have begun or are about to; whether each runs, so that its answer is near."""

    def ask(self, number: int, message: object, descriptors: Sequence[int] = ()) -> Deferred[Any]:
        """Ask one."""

    def replace(self, number: int, why: str) -> None:
        """One is of no use."""


@define(eq=False)
class _Carried:
    """An order that the workers carry out, and what they count together."""

    order: Order
    told: Begun
    numbering: Numbering | None
    lots: Sequence[Lot]

    @property
    def descriptors(self) -> list[int]:
        """Those that go along."""
        numbering = [] if self.numbering is None else [self.numbering.descriptor]
        return numbering + [each.descriptor for each in self.lots]

    def close(self) -> None:
        """It is over."""
        for each in (self.numbering, *self.lots):
            if each is not None:
                each.close()


@define(eq=False)
class _Waiter:
    questions: set[int]
    over: Deferred[None] = field(factory=Deferred)


def draws(spec: Spec) -> bool:
    """Whether chance decides something."""
    return any(
        isinstance(term.when, Chance) or isinstance(term.action.argument, Bits | Uniform | Exponential)
        for term in spec.terms
    )


def over_all_streams(spec: Spec) -> list[tuple[int, int]]:
    """The terms that count over all streams, and how many strikes each has."""
    return [
        (at, term.when.number)
        for at, term in enumerate(spec.terms)
        if term.action.kind.last and isinstance(term.when, First)
    ]


def carried(order: Order) -> _Carried:
    """What the workers are told of ``order``."""
    spec = order.injection.spec
    terms = over_all_streams(spec)
    told = Begun(
        number=order.number,
        listener=order.listener,
        spec=spec.text,
        seed=order.injection.seed,
        networks=order.networks,
        everybody=order.everybody,
        draws=draws(spec),
        lots=[at for at, _ in terms],
    )
    return _Carried(order, told, Numbering.new() if told.draws else None, [Lot.of(number) for _, number in terms])


class Directing:
    """Directs ``workers`` by what ``ordering`` and ``rules`` begin and end."""

    def __init__(self, ordering: Ordering, rules: Rules, workers: Workers, reactor: IReactorTime) -> None:
        self._ordering = ordering
        self._rules = rules
        self._workers = workers
        self._reactor = reactor
        self._carried: dict[int, _Carried] = {}
        self._lots: dict[int, Lot] = {}
        self._in_force: dict[str, dict[int, Standing]] = {}
        self._over: OrderedDict[int, Order] = OrderedDict()
        self._answers_over: OrderedDict[int, Standing] = OrderedDict()
        self._heard: dict[int, tuple[dict[int, int], dict[int, int]]] = {}
        self._questions = 0
        self._open: set[int] = set()
        self._waiters: list[_Waiter] = []
        ordering.told = self.ordered
        ordering.settled = self._once_settled
        rules.told = self.ruled

    # What is said

    def ordered(self, order: Order, began: bool) -> None:
        """An order has begun or ended."""
        if order.of_connections:
            if not began:
                self._ask(ConnectionsOver(order.number))
        elif began:
            found = self._carried[order.number] = carried(order)
            self._ask(found.told, found.descriptors)
        elif (ended := self._carried.pop(order.number, None)) is not None:
            _keep(self._over, order.number, order)
            ended.close()
            self._ask(Ended(order.number))

    def ruled(self, listener: str) -> None:
        """The answers of a listener have changed."""
        before = self._in_force.get(listener, {})
        after = {each.number: each for each in self._rules.of(listener).rules}
        self._in_force[listener] = after
        for number in after.keys() - before.keys():
            if (times := after[number].rule.times) is not None:
                self._lots[number] = Lot.of(times)
        for number in before.keys() - after.keys():
            _keep(self._answers_over, number, before[number])
            if (lot := self._lots.pop(number, None)) is not None:
                lot.close()
        self._ask(*self._rules_of(listener))

    def _rules_of(self, listener: str) -> tuple[RulesOf, list[int]]:
        rules = self._in_force[listener]
        told = [
            ToldRule(number, each.rule.when, each.rule.answer, each.rule.times, each.rule.delay)
            for number, each in rules.items()
        ]
        return RulesOf(listener, told), [self._lots[number].descriptor for number in rules if number in self._lots]

    def all(self) -> tuple[Ordered, list[int]]:
        """What a worker that begins has to know."""
        said: list[tuple[Message, list[int]]] = [(each.told, each.descriptors) for each in self._carried.values()]
        said += [self._rules_of(listener) for listener, rules in self._in_force.items() if rules]
        messages = [(message, len(descriptors)) for message, descriptors in said]
        return Ordered(messages), [each for _, descriptors in said for each in descriptors]

    def numbers(self, orders: Orders, peer: str, transport: str) -> str:
        """What is said of a stream that is about to begin in a worker: its numbers, by those of the orders."""
        said = ""
        for order in orders.active:
            found = self._carried.get(order.number)
            if found is None or found.numbering is None:
                continue
            if order.strikes_on(transport) and order.concerns(peer):
                said += f";{order.number} {found.numbering.next()}"
        return said

    # What is heard

    def heard(self, worker: int, hits: Mapping[int, int], answered: Mapping[int, int]) -> None:
        """A worker has counted so many hits since it began."""
        known, known_answers = self._heard.setdefault(worker, ({}, {}))
        for number, count in hits.items():
            more = count - known.get(number, 0)
            order = self._carried[number].order if number in self._carried else self._over.get(number)
            if more > 0 and order is not None:
                known[number] = count
                self._ordering.count(order, more)
        for number, count in answered.items():
            more = count - known_answers.get(number, 0)
            standing = self._standing(number)
            if more > 0 and standing is not None:
                known_answers[number] = count
                standing.hits += more

    def _standing(self, number: int) -> Standing | None:
        for rules in self._in_force.values():
            if number in rules:
                return rules[number]
        return self._answers_over.get(number)

    def lost(self, worker: int) -> None:
        """It is gone; another begins at 0."""
        self._heard.pop(worker, None)

    # What is waited for

    def settled(self) -> Deferred[None] | None:
        """Fires when the workers go by all that was said, and the hits of what is over are known; None if so now."""
        if not self._open:
            return None
        waiter = _Waiter(set(self._open))
        self._waiters.append(waiter)
        return waiter.over.addTimeout(LATEST_SECONDS, self._reactor, lambda *_: None)

    def wait_for(self, done: Deferred[Any]) -> None:
        """Nothing is settled before ``done`` has fired, which does not fail."""
        self._questions += 1
        self._open.add(self._questions)
        done.addBoth(self._closed, self._questions)

    def _once_settled(self, then: Callable[[], None]) -> None:
        settled = self.settled()
        if settled is None:
            then()
        else:
            settled.addCallback(lambda _: then())

    def _ask(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        for worker, is_running in self._workers.asked():
            question = 0
            if is_running:
                self._questions += 1
                question = self._questions
                self._open.add(question)
            asked = self._workers.ask(worker, message, descriptors)
            asked.addCallbacks(partial(self._answered, worker), partial(self._not_answered, worker)).addErrback(
                lambda failure: failure.trap(Lost)
            ).addBoth(self._closed, question)

    def _answered(self, worker: int, counted: Counted) -> None:
        self.heard(worker, *counted)
        # A snapshot from before this answer may be applied after it. So what is known of those that are over stays so.
        known, known_answers = self._heard.setdefault(worker, ({}, {}))
        if len(known) + len(known_answers) > 4 * OVER_KEPT:
            self._heard[worker] = (
                {number: hits for number, hits in known.items() if number in self._carried or number in self._over},
                {number: hits for number, hits in known_answers.items() if self._standing(number) is not None},
            )

    def _not_answered(self, worker: int, failure: Failure) -> None:
        if not failure.check(Lost):
            self._workers.replace(worker, f"cannot carry out an order: {failure.getErrorMessage()}")

    def _closed(self, result: object, question: int) -> object:
        self._open.discard(question)
        for waiter in list(self._waiters):
            waiter.questions.discard(question)
            if not waiter.questions:
                self._waiters.remove(waiter)
                waiter.over.callback(None)
        return result


def _keep(kept: OrderedDict[int, Any], number: int, each: Any) -> None:
    kept[number] = each
    while len(kept) > OVER_KEPT:
        kept.popitem(last=False)
