"""The data plane: the listeners of a server, on one lane.

Model: a ``DataPlane`` makes a ``Listener`` for each listener of the config, and the terms of its streams. It knows the
book and no admin port, so a process that only counts needs a book and a plane. Its life:

    made -> bind() -> sweep() now and then, kick() -> leave(), sweep() ... -> stop_listening(), drain(), stop()

Rules:

- All listeners share one lane, if the reactor and the system support it, and one ``seats``. The service sets the limit
  of ``seats``, because it knows how many descriptors the process may open.
- ``bind`` stops at the first port that it cannot have; ``stop_listening`` then gives back the others.
- A UDP port beside a TCP port has the same number. If the kernel chose the number and UDP cannot have it, the plane
  gives both back and tries others.
- ``prepare`` goes to other listeners in two steps: it binds the ports that are new, and fails if it cannot; what it
  returns then puts the new listeners in place, which cannot fail. A port that goes on stays bound and refuses nobody.
- Of a listener that is replaced or removed, the open streams go on under their old terms; it is kept in ``retired``
  until they have ended. The UDP peers of a removed one end with their port.
- Of rejected connections and datagrams there is at most one log line a second, with the number for each reason since
  the line before; so a rejection costs two additions and never a line of its own. Likewise of failed TLS handshakes and
  of what ``memory_limit`` cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.logger import Logger

from ctrlserver.addresses import text_of
from ctrlserver.config import ListenerConfig
from ctrlserver.config.changes import kept_ports
from ctrlserver.config.endpoints import behind_proxy, is_any_port, transport_word
from ctrlserver.config.places import place_of
from ctrlserver.errors import InjectionError
from ctrlserver.inject.orderer import PROGRAM, Orderer
from ctrlserver.inject.places import Place
from ctrlserver.inject.rules import Answers, Rule, Rules, Standing
from ctrlserver.inject.spec import Spec
from ctrlserver.lane.due import Due
from ctrlserver.lane.lane import Lane
from ctrlserver.logs.sparing import Growth
from ctrlserver.looks import Looks
from ctrlserver.net.accepting import endpoint_of, has_lost_its_file
from ctrlserver.net.gate import Seats
from ctrlserver.net.injected.entrance import prepared
from ctrlserver.net.injected.minting import Minted
from ctrlserver.net.injected.ordering import Ordering
from ctrlserver.net.injected.orders import Order
from ctrlserver.net.listeners import (
    CannotBind,
    Listener,
    announce,
    bound,
    datagram_terms_of,
    over,
    terms_of,
)
from ctrlserver.net.stream import Stream
from ctrlserver.net.terms import DatagramTerms, Terms
from ctrlserver.net.udp.peers import DatagramStream
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Sums, Totals
from ctrlserver.stats.records import InjectionRecord, ListenerRecord
from ctrlserver.wire.datagram import DATAGRAM
from ctrlserver.wire.probe import has_numpy
from ctrlserver.words import did_you_mean, quoted

#: Numbers the kernel may choose for TCP until one is free for UDP too: one in a thousand is taken on a busy machine.
PORT_TRIES = 8

#: Seconds between two sweeps.
SWEEP_SECONDS = 0.25

#: Seconds of silence after which a stream holds up the server's end no longer: nobody is known to be at work on it.
LEAVING_SECONDS = 1.0


@frozen
class Prepared:
    """New listeners, bound. ``put``: in place of the present ones; ``give_up``: close their ports again."""

    put: Callable[[], Deferred[object]]
    give_up: Callable[[], None]


class DataPlane:
    """``listeners`` as they are configured; ``clock`` gives monotonic seconds."""

    log = Logger()
    ORDERING: type[Ordering] = Ordering
    RULES: type[Rules] = Rules
    LANE: type[Lane] = Lane

    def __init__(
        self, listeners: Sequence[ListenerConfig], book: Book, reactor: IReactorTime, clock: Callable[[], float]
    ) -> None:
        self.seats = Seats()
        self._configs = listeners
        self._book = book
        self._reactor, self._clock = reactor, clock
        self._counters = book.counters
        self._memory = book.memory
        self._memory.over = self._memory_is_over
        self._relieve = lambda: book.relieve_memory(clock())
        self._leaving = False
        self._looks = Looks(SWEEP_SECONDS)
        self._rejections, self._handshakes, self._relieved = Growth(), Growth(), Growth()
        self._lane = self.LANE(reactor, clock) if Lane.supported(reactor) else None
        self._due = Due(self._lane, reactor)
        if any(each.probe for each in listeners) and not has_numpy():  # where it is installed, it is imported now
            self._tell_lacking()
        self.rules = self.RULES()
        self._ordering = self.ORDERING(self._counters, reactor, clock)
        self._ordering.prepare = self._prepared
        self._answering: set[int] = set()
        self.listeners = [self._made(each) for each in listeners]
        self.retired: list[Listener] = []

    def _tell_lacking(self) -> None:
        what = "probe: numpy is not installed, so probe packets are decoded one by one, which is slower"
        self.log.warn(what, event="slower", lacking="numpy")

    def _made(self, config: ListenerConfig) -> Listener:
        terms, datagrams = self._terms(config)
        return Listener(terms, self._lane, self._reactor, self._clock, datagrams, self._due)

    def _terms(self, config: ListenerConfig) -> tuple[Terms, DatagramTerms | None]:
        answers = self.rules.of(config.name) if config.mode == "reply" else Answers()
        terms = terms_of(config, self._book, self.seats, self._ordering.of(config.name), answers)
        return terms, datagram_terms_of(config, terms, self._answering) if config.takes_datagrams else None

    def bind(self) -> None:
        """Start the lane and bind every port; ``CannotBind`` names the first one that it cannot have."""
        if self._lane is not None:
            self._lane.start()
        self._looks.begin(self._clock())
        self._order_configured()
        for listener, config in zip(self.listeners, self._configs, strict=True):
            for port in self._bind(listener, config):
                announce(config.name, port)

    def _bind(self, listener: Listener, config: ListenerConfig) -> list[IListeningPort]:
        name, where, udp = config.name, config.endpoint, listener.datagrams
        alone, inherited = config.datagram_address, config.inherited_datagrams
        if udp is not None and alone is not None:
            return [bound(name, where, lambda: udp.listen(*alone))]
        if udp is not None and inherited is not None:
            return [bound(name, where, lambda: udp.adopt(*inherited))]
        tries, behind = PORT_TRIES, behind_proxy(where)
        while True:
            endpoint = endpoint_of(self._reactor, behind or where)
            port = bound(name, where, partial(listener.listen, endpoint, proxied=behind is not None))
            if udp is None:
                return [port]
            try:
                return [port, *self._bind_beside(listener, config, port)]
            except CannotBind:
                listener.stop_listening()
                tries -= 1
                if not tries or not is_any_port(where):
                    raise

    def _bind_beside(self, listener: Listener, config: ListenerConfig, port: IListeningPort) -> list[IListeningPort]:
        return [bound(config.name, f"{config.endpoint}, by udp", partial(listener.listen_beside, port))]

    def prepare(self, configs: Sequence[ListenerConfig]) -> Prepared:
        """Bind the ports that only ``configs`` have; ``CannotBind`` if one cannot be had, and nothing has changed then.

        What is returned puts their listeners in place of the present ones, and begins to close what ports are left.
        """
        before, old = self._configs, self.listeners
        places = kept_ports([(each.name, each.endpoint) for each in before], [(c.name, c.endpoint) for c in configs])
        after: list[Listener] = []
        steps: list[Callable[[], object]] = []
        try:
            for config, place in zip(configs, places, strict=True):
                same = place is not None and config == evolve(
                    before[place], inject=config.inject, answers=config.answers
                )
                after.append(listener := old[place] if place is not None and same else self._made(config))
                if place is None:
                    steps += [partial(announce, config.name, port) for port in self._bind(listener, config)]
                    continue
                earlier = old[place]
                if listener.datagrams is not None and earlier.datagrams is None and (port := earlier.port):
                    beside = self._bind_beside(listener, config, port)
                    steps += [partial(announce, config.name, each) for each in beside]
                if not same or transport_word(config.endpoint) == "tls" or has_lost_its_file(config.endpoint):
                    steps.append(self._taking_over(listener, earlier, config))
        except CannotBind:
            give_up(after, old)
            raise
        return Prepared(partial(self._replace, configs, after, steps), partial(give_up, after, old))

    def _taking_over(self, listener: Listener, earlier: Listener, config: ListenerConfig) -> Callable[[], object]:
        """What has ``listener`` go on with the ports of ``earlier``, by new certificates."""
        where, behind = config.endpoint, behind_proxy(config.endpoint)
        port = earlier.port  # None for UDP alone
        endpoint = None if port is None else over(config.name, where, port, self._reactor, behind or where)
        return partial(listener.take_over, earlier, endpoint, behind is not None)

    def _replace(
        self, configs: Sequence[ListenerConfig], after: list[Listener], steps: Sequence[Callable[[], object]]
    ) -> Deferred[object]:
        for step in steps:
            step()
        left = [each for each in self.listeners if each not in after]
        for each in left:
            each.take_waiting()
        closed = DeferredList([each.stop_listening() for each in left])
        for each in left:
            each.end_datagrams()
        self.retired += left
        self.listeners, self._configs = after, configs
        self._order_configured()
        return closed  # type: ignore[return-value]

    def _order_configured(self) -> None:
        """Order what the config orders of the listeners."""
        places = [place_of(each) for each in self._configs]
        self._ordering.configure((place, each.inject) for place, each in zip(places, self._configs, strict=True))
        self.rules.configure({each.name: each.answers for each in self._configs}, places, time.time_ns())

    def sweep(self) -> None:
        """Sweep the listeners, log rejected peers and failed handshakes. To be called every ``SWEEP_SECONDS``.

        After a pause of the process no stream is judged before its socket was read.
        """
        now = self._clock()
        if self._looks.may_judge(now):
            for listener in (*self.listeners, *self.retired):
                listener.sweep()
                if self._leaving:
                    listener.end_silent(LEAVING_SECONDS, "drain")
        self.retired = [each for each in self.retired if each.open_streams.all]
        self._log_rejections(now)
        self._log_handshakes(now)
        self._log_memory(now)
        self._ordering.tell_left_out(now)
        if self._lane is not None:
            self._lane.tell_left_out(now)

    def _memory_is_over(self) -> None:
        """Relieve it once this round of the lane is over; at the latest after this turn of the reactor."""
        if self._lane is not None:
            self._lane.after_round(self._relieve)
        self._reactor.callLater(0, self._relieve)

    def _log_rejections(self, now: float) -> None:
        if news := self._rejections.since(self._counters.rejected_by_reason, now):
            self.log.warn(
                "peers rejected: {number} ({reasons}), the last {peer}; {open} streams are open",
                event="rejected",
                number=sum(news.values()),
                reasons=", ".join(f"{reason} {more}" for reason, more in news.items()),
                peer=self.seats.last_refused,
                open=len(self._counters.open),
            )

    def _log_handshakes(self, now: float) -> None:
        if news := self._handshakes.since({"failed": self._counters.closed_by_reason["handshake"]}, now):
            self.log.warn(
                "TLS handshakes failed: {number}, the last of {last}",
                event="handshakes-failed",
                number=news["failed"],
                last=self.seats.last_handshake,
            )

    def _log_memory(self, now: float) -> None:
        relieved = {"packets": self._memory.given_up, "streams": self._memory.ended}
        if news := self._relieved.since(relieved, now):
            self.log.warn(
                "short of memory, memory_limit is {limit} bytes: "
                "{packets} kept packets given up, {streams} streams ended",
                event="memory-limit",
                limit=self._memory.limit,
                packets=news.get("packets", 0),
                streams=news.get("streams", 0),
            )

    def records(self, totals: Totals | None = None) -> list[ListenerRecord]:
        """A record of each listener, as of ``totals``, or of now."""
        found = (totals or self._counters.totals()).listeners
        both = zip(self.listeners, self._configs, strict=True)
        return [self._record(listener, config, found.get(config.name, Sums())) for listener, config in both]

    def _record(self, listener: Listener, config: ListenerConfig, sums: Sums) -> ListenerRecord:
        udp = None if listener.datagrams is None else listener.datagrams.port
        udp_address = None if udp is None else text_of(udp.getHost())
        address = None if listener.port is None else text_of(listener.port.getHost())
        origin, alone = listener.terms.origin, listener.datagrams is not None and not config.udp
        return ListenerRecord(
            name=config.name,
            endpoint=config.endpoint,
            address=(udp_address if alone else address) or "",
            udp_address=udp_address,
            framing=DATAGRAM.text if alone else origin.framing,
            mode=origin.mode,
            streams_open=sums.open,
            streams_total=sums.streams,
            packets_total=sums.packets,
            bytes_total=sums.bytes,
            draining=self.seats.draining,
            injections=len(listener.terms.orders.active),
        )

    def streams(self) -> Iterator[Stream | DatagramStream]:
        """The open streams."""
        for listener in (*self.listeners, *self.retired):
            yield from listener.streams()

    def is_busy(self) -> bool:
        """Whether streams may need time now (any that Twisted serves may); the lane makes way for a while."""
        if self._lane is not None and self._lane.make_way():
            return True
        return any(each.open_streams.all and not each.on_lane for each in (*self.listeners, *self.retired))

    def kick(self, number: int) -> bool:
        """End stream ``number``; False if no such stream is open."""
        stream = next((each for each in self.streams() if each.counters.stream == number), None)
        if stream is not None:
            stream.abort("kicked", self._clock())
        return stream is not None

    def inject(self, listener: str, spec: str, **options: Any) -> Order:
        """Order ``spec`` of a listener; ``options`` are those of ``Ordering.begin``.

        ``InjectionError`` 400 for a spec that is wrong, 404 for an unknown listener, 409 for what cannot strike there.
        """
        return self._ordering.begin(self._place(listener), spec, **options)

    def _place(self, listener: str) -> Place:
        known = {each.name: each for each in self._configs}
        if listener not in known:
            hint = did_you_mean(listener, known) or f"; the listeners are {', '.join(known)}"
            raise InjectionError(f"no listener {quoted(listener)}{hint}", 404)
        return place_of(known[listener])

    def answer(self, listener: str, rule: Rule, by: Orderer = PROGRAM) -> Standing:
        """Put ``rule`` in force; ``InjectionError`` 404 for an unknown listener, 409 for one that cannot answer so."""
        return self.rules.add(rule, self._place(listener), time.time_ns(), by)

    def _prepared(self, listener: str, spec: Spec) -> Mapping[str, Minted]:
        return prepared(next(each for each in self._configs if each.name == listener), spec)

    def orders(self) -> list[Order]:
        """All injections in force, by their numbers."""
        return self._ordering.active()

    def end_orders(self, which: int | str | None = None, by: Orderer | None = None) -> list[Order]:
        """End the injection of that number, those of that listener, or all; returns those that were in force."""
        return self._ordering.end(which, by)

    def injections(self, over: bool = False) -> list[InjectionRecord]:
        """A record of each injection in force; with ``over``, of the last that are over as well."""
        return self._ordering.records(over=over)

    def leave(self) -> Deferred[object]:
        """Accept nothing new, and end the silent streams, now and in each further sweep.

        The ports for connections are closed. The UDP ports stay, for the peers that are sending, but for systemd's.
        What waits by an injection is let go: nobody has to wait for it.
        """
        self._ordering.let_streams_go()
        closed = DeferredList([listener.leave() for listener in self.listeners])
        self._leaving = self.seats.draining = True
        self.sweep()
        return closed  # type: ignore[return-value]

    def drain(self) -> None:
        """End all streams."""
        now = self._clock()
        for stream in self.streams():
            stream.abort("drain", now)

    def stop_listening(self) -> Deferred[object]:
        """Close the ports. Open streams go on."""
        return DeferredList([listener.stop_listening() for listener in self.listeners])  # type: ignore[return-value]

    def stop(self) -> None:
        """Stop the lane, and end the injections; ``bind`` starts it again."""
        self._ordering.stop()
        self.rules.configure({}, (), 0)
        self._due.stop()
        if self._lane is not None:
            self._lane.stop()


def give_up(listeners: Sequence[Listener], but: Sequence[Listener]) -> None:
    """Close the ports of those of ``listeners`` that are not in ``but`` as well."""
    for listener in listeners:
        if listener not in but:
            listener.stop_listening()
