"""How a worker carries out injections and answers of its parent.

Rules:

- The number, the seed and the spec of an injection are the parent's, and so are the numbers of its streams: chance
  strikes the same packets whichever worker has a stream. A connection that the parent accepts comes with its number;
  other streams are numbered as they come, over all workers.
- A number that counts over all streams (``2*reset``, ``times=3``) counts over all workers: each strike takes a piece of
  a lot. What a term has taken and does not need it gives back at the end of the turn.
- The worker knows nothing of times and ends: the parent says when an injection is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field

from ctrlserver.inject.orderer import PROGRAM
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.rules import Answers, Rule, Rules, Standing
from ctrlserver.inject.spec import Spec
from ctrlserver.inject.strikes import Course, Injection
from ctrlserver.net.injected.ordering import Ordering
from ctrlserver.net.injected.orders import Order
from ctrlserver.workers.ordered.shared import Lot, Numbering
from ctrlserver.workers.ordered.told import Begun, RulesOf

Later = Callable[..., object]
"""``callLater`` of the reactor."""


class SharedOnes:
    """``3*`` where it counts over all streams: takes from a lot, and has at most one piece that is not used yet."""

    __slots__ = ("_has_one", "_later", "lot")

    def __init__(self, lot: Lot, later: Later) -> None:
        self.lot = lot
        self._later = later
        self._has_one = False

    def ahead(self, limit: int, size: int, packet: int) -> int:
        """One is struck, if a piece is left."""
        if not self._has_one:
            if not self.lot.take():
                return limit
            self._has_one = True
            self._later(0, self._give_back)
        return -1

    def passed(self, packets: int, size: int) -> None:
        """It had none."""

    def struck(self, packets: int, size: int) -> None:
        """The piece is used."""
        self._has_one = False

    def _give_back(self) -> None:
        if self._has_one:
            self._has_one = False
            self.lot.give_back()

    def close(self) -> None:
        """It is over: what is left is the others'."""
        self._give_back()
        self.lot.close()


class CarriedInjection(Injection):
    """``coming``: the number of the stream that begins now, where the parent has given it."""

    __slots__ = ("_numbering", "coming")

    def __init__(self, spec: Spec, seed: int, numbering: Numbering | None, ones: Mapping[int, SharedOnes]) -> None:
        super().__init__(spec, seed)
        self._shared = dict(ones)
        self._numbering = numbering
        self.coming = 0

    def stream(self, transport: str) -> Course:
        """The course of a stream that begins now."""
        self.streams += 1
        number = self.coming or (self.streams if self._numbering is None else self._numbering.next())
        return Course(self, number, transport)

    def close(self) -> None:
        """It is over: what is shared is the others'."""
        if self._numbering is not None:
            self._numbering.close()
        for ones in self._shared.values():
            if isinstance(ones, SharedOnes):
                ones.close()


class CarriedOrdering(Ordering):
    """The injections of a worker's listeners."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._carried: dict[int, Order] = {}

    def begin_carried(self, told: Begun, descriptors: Sequence[int]) -> None:
        """Carry one out."""
        numbering = Numbering(descriptors[0]) if told.draws else None
        lots = map(Lot, descriptors[len(descriptors) - len(told.lots) :])
        later: Later = self._reactor.callLater
        ones = {term: SharedOnes(lot, later) for term, lot in zip(told.lots, lots, strict=True)}
        injection = CarriedInjection(parse_spec(told.spec), told.seed, numbering, ones)
        order = Order(told.number, told.listener, injection, told.networks, told.everybody)
        self._carried[told.number] = order
        self._counters.struck = True
        self.of(told.listener).begin(order)

    def end_carried(self, number: int) -> dict[int, int]:
        """It is over; its hits."""
        order = self._carried.pop(number, None)
        if order is None:
            return {}
        self.of(order.listener).end(order)
        injection = order.injection
        if isinstance(injection, CarriedInjection):
            injection.close()
        return {number: order.hits}

    def hits(self) -> dict[int, int]:
        """Those of the injections that have some."""
        return {number: order.hits for number, order in self._carried.items() if order.hits}

    def coming(self, numbers: Iterable[tuple[int, int]]) -> None:
        """The stream that begins now has these numbers, by those of the injections."""
        for number, stream in numbers:
            order = self._carried.get(number)
            if order is not None and isinstance(order.injection, CarriedInjection):
                order.injection.coming = stream

    def configure(self, listeners: object) -> None:
        """The parent says what holds."""

    def let_streams_go(self) -> None:
        """The parent says so."""

    def tell_left_out(self, now: float) -> None:
        """The parent logs orders."""

    def stop(self) -> None:
        """The worker ends; the hits are asked for afterwards."""
        for orders in self._orders.values():
            orders.active = ()


@define(eq=False)
class CarriedStanding(Standing):
    """``lot``: as often as all workers together may give the answer."""

    lot: Lot | None = None
    used_up: bool = field(default=False, init=False)

    def take(self) -> bool:
        """Count a hit; False if it is used up."""
        if self.lot is not None and not self.lot.take():
            self.used_up = True
            return False
        self.hits += 1
        return True


class CarriedAnswers(Answers):
    """Those of one listener in a worker."""

    __slots__ = ()

    def answer(self, packet: bytes) -> Rule | None:
        """As ever; what is used up is known by the lot."""
        each: Any
        for holds, each in self._of_packets:
            if not each.used_up and holds(packet) and each.take():
                rule: Rule = each.rule
                return rule
        return None

    def greeting(self) -> Rule | None:
        """The same for a stream that opens."""
        each: Any
        for each in self._greetings:
            if not each.used_up and each.take():
                rule: Rule = each.rule
                return rule
        return None


class CarriedRules(Rules):
    """The answers of a worker's listeners."""

    def of(self, listener: str) -> Answers:
        """Those of one listener, whether or not it has any."""
        return self._answers.setdefault(listener, CarriedAnswers())

    def carry(self, told: RulesOf, descriptors: Sequence[int]) -> dict[int, int]:
        """Answer by these; the hits of those that are over."""
        answers = self.of(told.listener)
        before: dict[int, CarriedStanding] = {each.number: each for each in answers.rules}  # type: ignore[misc]
        lots = iter(descriptors)
        after: list[CarriedStanding] = []
        for each in told.rules:
            lot = None if each.times is None else Lot(next(lots))
            known = before.pop(each.number, None)
            if known is None:
                rule = Rule(each.when, each.answer, each.times, each.delay)
                known = CarriedStanding(each.number, told.listener, rule, 0, PROGRAM, lot=lot)
            elif lot is not None:
                lot.close()
            after.append(known)
        answers.put(after, ())
        for over in before.values():
            if over.lot is not None:
                over.lot.close()
        return {number: over.hits for number, over in before.items()}

    def hits(self) -> dict[int, int]:
        """Those of the answers that have some."""
        return {each.number: each.hits for each in self.all() if each.hits}

    def configure(self, *_: object) -> None:
        """The parent says what holds."""
