"""The orders of all listeners: numbered, begun, timed and ended.

Rules:

- What cannot strike is refused before anything is changed (``inject/places.py``).
- An order ends by its time (``for=``), by ``end``, or because its listener is gone or has become one at which it cannot
  strike. However it ends, its hits stay counted.
- Every order that begins or ends is a line of the log; of many, ten at once, then one a second, for a peer may order as
  often as it likes.
- The orders of the config are replaced when a reload brings others; those of the admin port stay.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from secrets import randbits
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ctrlserver.errors import InjectionError
from ctrlserver.inject.orderer import CONFIG, PROGRAM, Orderer
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.places import Place, check_place
from ctrlserver.inject.spec import MOST_INJECTIONS, Spec
from ctrlserver.inject.strikes import Injection
from ctrlserver.logs.sparing import Sparing
from ctrlserver.net.injected.minting import Minted
from ctrlserver.net.injected.orders import Networks, Order, Orders, record_of
from ctrlserver.stats.counters import Counters
from ctrlserver.stats.records import InjectionRecord
from ctrlserver.words import counted, quoted

#: Bits of a seed that is drawn: short enough to be typed again.
SEED_BITS = 32

#: Lines on orders that may follow each other; of more, one a second.
LINES_AT_ONCE = 10

#: The line on an order that began or ended.
LINE = "injection {injection} of {listener} {what}: {spec}, {how}"

#: Orders that are over and can still be listed.
OVER_KEPT = 100


def _check_peers_are_known(spec: Spec) -> None:
    for term in spec.terms:
        if not term.action.kind.counted:
            raise InjectionError(f'"{term.action.name}" strikes before anybody knows the peer: expected no peer=', 409)


class Ordering:
    """``clock`` gives monotonic seconds, ``wall_ns`` nanoseconds since 1970, ``draw`` a seed.

    ``prepare`` makes the certificates that a listener needs for a spec; ``InjectionError`` (409) if it cannot.
    ``told(order, began)`` is called after an order has begun or ended. ``settled(then)`` calls ``then`` once the hits
    of those that have ended are known: at once where no other process counts them.
    """

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
        self._over: deque[Order] = deque(maxlen=OVER_KEPT)
        self._configured: dict[str, tuple[str, ...]] = {}
        self._lines = Sparing(LINES_AT_ONCE)
        self.prepare: Callable[[str, Spec], Mapping[str, Minted]] = lambda _, __: {}
        self.told: Callable[[Order, bool], object] = lambda *_: None
        self.settled: Callable[[Callable[[], None]], object] = lambda then: then()
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
        by: Orderer = PROGRAM,
    ) -> Order:
        """The order of ``spec`` at ``place``, in force; ``InjectionError`` 400 or 409 where it cannot be."""
        tree = parse_spec(spec)
        check_place(tree, place)
        if networks is not None:
            _check_peers_are_known(tree)
        orders = self.of(place.listener)
        if len(orders.active) >= MOST_INJECTIONS and by is not CONFIG:
            full = f"listener {quoted(place.listener)} has {MOST_INJECTIONS} injections, and no more are allowed"
            raise InjectionError(f'{full}; "inject off" ends some', 409)
        certificates = self.prepare(place.listener, tree)
        self._last += 1
        until = None if seconds is None else self._clock() + seconds
        injection = Injection(tree, self._draw() if seed is None else seed)
        order = Order(self._last, place.listener, injection, networks, everybody, self._wall_ns(), until, seconds, by)
        order.certificates = certificates
        self._counters.struck = True
        if seconds is not None:
            self._timers[order.number] = self._reactor.callLater(seconds, self._end, order, "its time is over")
        lasting = "" if seconds is None else f"for {seconds:g} s, "
        if self._lines.may_write(self._clock()):
            self.log.info(LINE, event="injection-began", what="began", **told(order, f"{lasting}by {by.text}", by))
        orders.begin(order)
        self.told(order, True)
        return order

    def end(self, which: int | str | None, by: Orderer | None = None) -> list[Order]:
        """End the order of that number, those of that listener, or all; returns those that were in force."""
        ended = [each for each in self.active() if which is None or which in (each.number, each.listener)]
        for order in ended:
            self._end(order, "off" if by is None else f"off by {by.text}", by)
        return ended

    def configure(self, listeners: Iterable[tuple[Place, tuple[str, ...]]]) -> None:
        """These are the listeners from now on, with what the config orders of each.

        What it ordered before and orders no longer ends; so does what can no longer strike, whoever ordered it.
        """
        after = {place.listener: (place, specs) for place, specs in listeners}
        for order in self.active():
            place, specs = after.get(order.listener, (None, ()))
            if place is None:
                self._end(order, "its listener is gone")
            elif order.by is CONFIG and self._configured.get(order.listener) != specs:
                self._end(order, "the config has changed")
            else:
                try:
                    check_place(order.injection.spec, place)
                except InjectionError as error:
                    self._end(order, str(error))
        before, self._configured = self._configured, {name: specs for name, (_, specs) in after.items()}
        for name, (place, specs) in after.items():
            for spec in specs if specs != before.get(name) else ():
                self._begin_configured(place, spec)
        self._orders = {name: each for name, each in self._orders.items() if name in after}

    def _begin_configured(self, place: Place, spec: str) -> None:
        try:
            self.begin(place, spec, by=CONFIG)
        except InjectionError as error:  # its files have changed since the config was checked
            self.log.error("{error}", event="injection-failed", listener=place.listener, error=error)

    def let_streams_go(self) -> None:
        """The server is about to end: no stream waits by order any more."""
        for order in self.active():
            if not order.of_connections:
                self._end(order, "the server ends")

    def stop(self) -> None:
        """The server ends: the orders are over, and nobody is told but the log."""
        for order in self.active():
            self._over_now(order, "the server ends")
        for orders in self._orders.values():
            orders.active = ()
        self._configured = {}

    def records(self, *, over: bool = False) -> list[InjectionRecord]:
        """Those in force, by their numbers; with ``over``, the last of those that are over as well."""
        chosen = [*self._over, *self.active()] if over else self.active()
        return [record_of(each) for each in sorted(chosen, key=lambda order: order.number)]

    def tell_left_out(self, now: float) -> None:
        """Log how many more lines there were than were logged; to be called now and then."""
        if more := self._lines.overdue(now):
            self.log.info("{more} more injections began or ended", event="more-injections", more=more)

    def _end(self, order: Order, why: str, by: Orderer | None = None) -> None:
        orders = self.of(order.listener)
        if order in orders.active:
            orders.end(order)
            self.told(order, False)
            self._over_now(order, why, by)

    def count(self, order: Order, hits: int) -> None:
        """Another process has counted so many more hits of ``order``, which may be over."""
        order.injection.hits.total += hits
        if order.ended is not None:
            self._hits_before += hits

    def _over_now(self, order: Order, why: str, by: Orderer | None = None) -> None:
        timer = self._timers.pop(order.number, None)
        if timer is not None and timer.active():
            timer.cancel()
        order.ended = self._wall_ns()
        self._hits_before += order.injection.hits.total
        self._over.append(order)
        if self._lines.may_write(self._clock()):
            self.settled(lambda: self._tell_end(order, why, by))

    def _tell_end(self, order: Order, why: str, by: Orderer | None) -> None:
        how = f"{why}, {counted(order.injection.hits.total, 'hit')}"
        self.log.info(LINE, event="injection-ended", what="ended", **told(order, how, by))


def told(order: Order, how: str, by: Orderer | None) -> dict[str, Any]:
    """The fields of ``LINE``, but for the event and ``what``."""
    return {
        "injection": order.number,
        "listener": order.listener,
        "spec": order.injection.spec.text,
        "how": how,
        "hits": order.injection.hits.total,
        "seed": order.injection.seed,
        "peer": None if by is None else by.peer,
        "peer_level": None if by is None else by.level,
    }
