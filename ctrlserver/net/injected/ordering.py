"""The orders of all listeners: numbered, begun, timed and ended.

Rules:

- What cannot strike is refused before anything is changed (``inject/places.py``).
- An order ends by its time (``for=``), by ``end``, or because its listener is gone or has become one at which it cannot
  strike. However it ends, its hits stay counted.
- Every order that begins or ends is a line of the log; of many, ten at once, then one a second, for a peer may order as
  often as it likes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from secrets import randbits

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ctrlserver.errors import InjectionError
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.places import Place, check_place
from ctrlserver.inject.strikes import Injection
from ctrlserver.logs.sparing import Sparing
from ctrlserver.net.injected.orders import CONFIG, Networks, Order, Orderer, Orders
from ctrlserver.stats.counters import Counters
from ctrlserver.words import counted

#: Bits of a seed that is drawn: short enough to be typed again.
SEED_BITS = 32

#: Lines on orders that may follow each other; of more, one a second.
LINES_AT_ONCE = 10

#: Orders in force at one listener: a stream asks each of them about each of its packets.
MOST_ACTIVE = 16


class Ordering:
    """``clock`` gives monotonic seconds, ``wall_ns`` nanoseconds since 1970, ``draw`` a seed."""

    log = Logger()

    def __init__(
        self,
        counters: Counters,
        reactor: IReactorTime,
        clock: Callable[[], float],
        wall_ns: Callable[[], int] = time.time_ns,
        draw: Callable[[], int] = lambda: randbits(SEED_BITS),
    ) -> None:
        self._counters = counters
        self._reactor = reactor
        self._clock = clock
        self._wall_ns = wall_ns
        self._draw = draw
        self._orders: dict[str, Orders] = {}
        self._timers: dict[int, IDelayedCall] = {}
        self._last = 0
        self._hits_before = 0  # of orders that are over
        self._lines = Sparing(LINES_AT_ONCE)
        counters.orders = self.figures

    def of(self, listener: str) -> Orders:
        """Those of one listener, whether or not it has any."""
        return self._orders.setdefault(listener, Orders())

    def figures(self) -> tuple[int, int]:
        """How many orders are in force, and the hits of all there have been."""
        active = self.active()
        return len(active), self._hits_before + sum(order.injection.hits.total for order in active)

    def active(self) -> list[Order]:
        """All orders in force, by their numbers."""
        return sorted((order for orders in self._orders.values() for order in orders.active), key=lambda o: o.number)

    def begin(
        self,
        place: Place,
        spec: str,
        *,
        seconds: float | None = None,
        everybody: bool = False,
        networks: Networks | None = None,
        seed: int | None = None,
        by: Orderer = CONFIG,
    ) -> Order:
        """The order of ``spec`` at ``place``, in force; ``InjectionError`` 400 or 409 where it cannot be."""
        tree = parse_spec(spec)
        check_place(tree, place)
        orders = self.of(place.listener)
        if len(orders.active) >= MOST_ACTIVE:
            raise InjectionError(
                f'listener "{place.listener}" has {MOST_ACTIVE} injections already, and no more are allowed', 409
            )
        self._last += 1
        until = None if seconds is None else self._clock() + seconds
        injection = Injection(tree, self._draw() if seed is None else seed)
        order = Order(self._last, place.listener, injection, networks, everybody, self._wall_ns(), until, by)
        self._counters.struck = True
        if seconds is not None:
            self._timers[order.number] = self._reactor.callLater(seconds, self._end, order, "its time is over")
        self._log(order, "begins", f"by {by.text}", "injection-begins")
        orders.begin(order)
        return order

    def end(self, which: int | str | None, why: str = "off") -> list[Order]:
        """End the order of that number, those of that listener, or all; returns those that were in force."""
        ended = [each for each in self.active() if which is None or which in (each.number, each.listener)]
        for order in ended:
            self._end(order, why)
        return ended

    def _end(self, order: Order, why: str) -> None:
        timer = self._timers.pop(order.number, None)
        if timer is not None and timer.active():
            timer.cancel()
        orders = self.of(order.listener)
        if order in orders.active:
            orders.end(order)
            self._hits_before += order.injection.hits.total
            self._log(order, "ends", f"{why}, {counted(order.injection.hits.total, 'hit')}", "injection-ends")

    def _log(self, order: Order, what: str, how: str, event: str) -> None:
        if self._lines.may_write(self._clock()):
            self.log.info(
                "injection {injection} of {listener} {what}: {spec}, {how}",
                event=event,
                injection=order.number,
                listener=order.listener,
                what=what,
                spec=order.injection.spec.text,
                how=how,
                hits=order.injection.hits.total,
                seed=order.injection.seed,
                peer=order.by.peer,
                peer_level=order.by.level,
            )
