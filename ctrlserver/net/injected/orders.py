"""What was ordered: an ``Order`` is one injection in force, ``Orders`` are those of one listener.

Model::

    admin port, config --inject--> Ordering (net/injected/ordering.py) --began, ended--> Orders of the listener
    Orders --order, began--> watchers: whoever serves the listener's streams, datagrams and connections
    a stream that opens --active? courses(peer, transport)--> Orders

Rules:

- Orders belong to the listener's name and outlive its terms: a reload replaces terms and keeps orders.
- A stream that opens looks at ``active`` once. Where it is empty, nothing else is asked, and never again.
- An order is in ``active`` before its watchers are told that it began, and gone before they are told that it ended.
- Watchers are bound methods and held weakly: who is gone is told nothing more. One that raises keeps the others from
  nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakMethod

from attrs import define, field
from twisted.logger import Logger

from ctrlserver.errors import InjectionError
from ctrlserver.inject.orderer import PROGRAM, Orderer
from ctrlserver.inject.places import Place, check_place
from ctrlserver.inject.strikes import Course, Injection
from ctrlserver.net.gate import Network, within
from ctrlserver.net.injected.minting import Minted
from ctrlserver.stats.records import InjectionRecord, timestamp

log = Logger()

Networks = Sequence[Network]


@define(eq=False)
class Order:
    """One injection in force.

    ``number``: from 1, over all listeners, never used twice. ``networks``: those of the peers that it concerns, None
    for all peers. ``everybody``: streams that were open when it began, too. ``since``: when it began, nanoseconds since
    1970; ``until``: monotonic seconds at which it ends by itself, ``seconds`` after that. ``ended``: when it ended,
    nanoseconds since 1970. ``by``: who ordered it. ``certificates``: those that its TLS actions show, by their names.
    """

    number: int
    listener: str
    injection: Injection
    networks: Networks | None = None
    everybody: bool = False
    since: int = 0
    until: float | None = None
    seconds: float | None = None
    by: Orderer = PROGRAM
    ended: int | None = None
    certificates: Mapping[str, Minted] = field(factory=dict, init=False)
    _course: Course | None = field(default=None, init=False)
    _transports: dict[str, bool] = field(factory=dict, init=False)

    @property
    def of_connections(self) -> bool:
        """Whether it strikes connections (accept, TLS), not packets."""
        return self.injection.spec.of_connections

    @property
    def hits(self) -> int:
        """What it has struck."""
        return self.injection.hits.total

    @property
    def course(self) -> Course:
        """Of an order that strikes connections: that of all connections of the listener, whatever its terms."""
        if self._course is None:
            self._course = self.injection.connections()
        return self._course

    def concerns(self, peer: str) -> bool:
        """Whether it strikes ``peer`` (``host:port`` or ``unix``); one without an address only if it strikes all."""
        return self.networks is None or within(peer, self.networks)

    def suits(self, place: Place | None) -> bool:
        """Whether it could be ordered at ``place``: after a reload streams are open under terms that are replaced."""
        try:
            if place is not None:
                check_place(self.injection.spec, place)
        except InjectionError:
            return False
        return True

    def strikes_on(self, transport: str) -> bool:
        """Whether any of its terms can strike on ``tcp``, ``unix``, ``tls`` or ``udp``."""
        known = self._transports.get(transport)
        if known is None:
            kinds = [term.action.kind for term in self.injection.spec.terms]
            known = any(kind.point and kind.strikes_on(transport) for kind in kinds)
            self._transports[transport] = known
        return known


def record_of(order: Order) -> InjectionRecord:
    """The published form."""
    injection, until = order.injection, order.ended
    if until is None and order.seconds is not None:
        until = order.since + round(order.seconds * 1e9)
    return InjectionRecord(
        injection=order.number,
        listener=order.listener,
        spec=injection.spec.text,
        hits=injection.hits.total,
        active=order.ended is None,
        since=timestamp(order.since / 1e9),
        until=None if until is None else timestamp(until / 1e9),
        seed=injection.seed,
        peer="all" if order.networks is None else ",".join(map(str, order.networks)),
        streams="all" if order.everybody else "new",
        by=order.by.peer,
    )


Watcher = Callable[[Order, bool], object]
"""Is told of an order: True as it begins, False when it has ended."""


class Orders:
    """The orders of one listener, ``active`` in the order of their numbers."""

    __slots__ = ("_watchers", "active")

    def __init__(self) -> None:
        self.active: tuple[Order, ...] = ()
        self._watchers: list[WeakMethod[Any]] = []

    def courses(self, peer: str, transport: str) -> tuple[Course, ...]:
        """Those of a stream that opens: one for each order that concerns ``peer`` and strikes packets."""
        return tuple(
            order.injection.stream(transport)
            for order in self.active
            if not order.of_connections and order.strikes_on(transport) and order.concerns(peer)
        )

    def of_connections(self) -> tuple[Order, ...]:
        """Those that strike connections: accept and TLS."""
        return tuple(order for order in self.active if order.of_connections)

    def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher``, a bound method, of each order that begins or ends, as long as its object lives."""
        self._watchers = [*self._living(), WeakMethod(watcher)]

    def begin(self, order: Order) -> None:
        """``order`` is in force now."""
        self.active = (*self.active, order)
        self._tell(order, began=True)

    def end(self, order: Order) -> None:
        """``order`` is over."""
        self.active = tuple(each for each in self.active if each is not order)
        self._tell(order, began=False)

    def _tell(self, order: Order, *, began: bool) -> None:
        self._watchers = self._living()
        for each in self._watchers:
            if (watcher := each()) is not None:
                try:
                    watcher(order, began)
                except Exception:
                    log.failure("an order is not carried out in all its parts", event="bug", injection=order.number)

    def _living(self) -> list[WeakMethod[Any]]:
        return [each for each in self._watchers if each() is not None]
