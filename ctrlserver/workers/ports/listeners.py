"""The parent's side of the data plane: it binds all ports and accepts, and its workers have the streams.

Model: a ``SharingPlane`` is a ``DataPlane`` whose listeners have no streams. What an operator may do is done here as in
one process: reloads, injections, answers, draining. What arrives at a TCP port takes this way::

    SharedAcceptor --accept--> Entrance --> SharedListener.take: gate? --no--> closed, counted as rejected
                                                                 | yes
                                                                 +--> hand(listener, socket, peer, strike) --> a worker

With ``balance = "kernel"`` nobody accepts here: each worker has a listening socket at the same address. UDP is always
so (``sockets.py``).

Rules:

- The limits of streams are those of all workers together (``seating.py``). What is known of streams that are over may
  be late, so before a connection is rejected for a limit the workers are asked (``refresh``). It and those behind it
  wait meanwhile, ``MOST_WAITING`` of a listener; the others wait in the kernel's queue.
- While no worker has room for another connection, none is accepted.
- Who accepted several in the last turn gives way before more are accepted: the connections of others gather meanwhile.
  Two workers took 1.06 to 1.25 times as many a second so. Workers that accept by themselves took no more.
- An order of TLS decides at the accept, or for who waits once there is a seat; the worker carries it out. It is told
  by ``strike``: ``"3 expired"`` is the action ``expired`` of the order 3.
- Injections that strike connections need ``exact``: who does not accept cannot refuse.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.tcp import Port as TCPPort

from ctrlserver.config import ListenerConfig
from ctrlserver.config.endpoints import behind_proxy
from ctrlserver.config.workers import is_balanced_by_kernel
from ctrlserver.errors import InjectionError
from ctrlserver.inject.spec import Spec
from ctrlserver.lane.due import Due
from ctrlserver.linux.keepalive import send_probes
from ctrlserver.net.gate import MAX_STREAMS, MAX_STREAMS_PER_PEER, Gate
from ctrlserver.net.injected.entrance import Entrance
from ctrlserver.net.injected.minting import Minted
from ctrlserver.net.injected.orders import Orders
from ctrlserver.net.links import LaneAcceptor, listen_for_many
from ctrlserver.net.listeners import Listener
from ctrlserver.net.plane import DataPlane
from ctrlserver.net.terms import DatagramTerms
from ctrlserver.stats.book import Book
from ctrlserver.words import quoted
from ctrlserver.workers.handing import Said
from ctrlserver.workers.ordered.shared import Tally
from ctrlserver.workers.ports.given import GENERATIONS, Given
from ctrlserver.workers.ports.seating import Seating
from ctrlserver.workers.ports.sockets import SharedDatagrams, replicas

#: Connections of a listener that wait for the numbers of the workers.
MOST_WAITING = 64

#: Connections of a turn that are several.
SEVERAL = 4

#: Seconds until a worker may have room again.
ROOM_SECONDS = 0.005

Hand = Callable[[int, int, str, str], int | None]
"""Takes a connection over: the listener's number, the descriptor, its peer and what strikes it. Returns the number of
its worker; None where there is none: then it is closed."""


class SharedAcceptor(LaneAcceptor):
    """Accepts while there is ``room``, and has what it accepted sent by ``flush``."""

    room: Callable[[], bool]
    flush: Callable[[], object]

    def ready(self, events: int) -> None:
        """Accept connections."""
        if self.room():
            if self.accepted >= SEVERAL:
                self._lane.give_way()
            try:
                super().ready(events)
            finally:
                self.flush()
        elif self._paused is None:
            self._lane.forget(self.listening.fileno())
            self._paused = self._reactor.callLater(ROOM_SECONDS, self._resume)

    def room_again(self) -> None:
        """Accept what waited for room."""
        if self._paused is not None:
            self._paused.cancel()
            self._resume()
            self.take_waiting()


class SharedListener(Listener):
    """A listener whose connections are handed over, or accepted by the workers. ``number``: its place in the plane."""

    def __init__(self, config: ListenerConfig, plane: SharingPlane, *arguments: Any) -> None:
        self._plane = plane
        super().__init__(*arguments)
        self.number = 0
        self.exact = not is_balanced_by_kernel(config, plane.balance)
        self.sockets: list[socket.socket] = []  # those of the workers, but for the first, where the kernel balances
        self._proxied = behind_proxy(config.endpoint) is not None
        self._refuses = self._refuses_proxied if self._proxied else self.terms.gate.refuses
        self._waiting: list[tuple[int, str, str | None]] = []  # None: it has not met the orders of connections

    def _datagram_port(self, terms: DatagramTerms, due: Due) -> SharedDatagrams:
        plane = self._plane
        return SharedDatagrams(terms, plane.workers, plane.tally, self._reactor, self._clock, due)

    def _listening(self, port: IListeningPort) -> IListeningPort:
        if not isinstance(port, TCPPort):
            port.stopListening()
            raise TypeError("workers share ports of Twisted's own alone")
        port.stopReading()
        if port.socket.family != socket.AF_UNIX:
            send_probes(port.socket, self.terms.keepalive)
        self.port = port
        if self.exact:
            self._accept(port)
        else:
            self._replicate(port)
        return port

    def _accept(self, port: Any) -> None:
        assert self._lane is not None, "the parent accepts on a lane"
        name = self.terms.origin.listener
        acceptor = SharedAcceptor(self._lane, self._reactor, port.socket, name, self.take)
        acceptor.room, acceptor.flush = self._has_room, self._plane.flush
        self._acceptor = acceptor
        self._entrance = Entrance.of(port, self._reactor)
        self._entrance.serve(acceptor, self.open_streams)

    def _replicate(self, port: Any) -> None:
        if self.sockets:
            return
        listen_for_many(port.socket)
        try:
            self.sockets = replicas(port.socket, self._plane.workers - 1)
            for each in self.sockets:
                send_probes(each, self.terms.keepalive)
                listen_for_many(each)
        except OSError:
            self.close_sockets()
            port.stopListening()
            raise

    def _has_room(self) -> bool:
        return len(self._waiting) < MOST_WAITING and self._plane.has_room()

    def room_again(self) -> None:
        """There is room in workers: accept what waited for it, before a question is answered."""
        if isinstance(self._acceptor, SharedAcceptor):
            self._acceptor.room_again()

    def take(self, descriptor: int, peer: str) -> None:
        """Hand an accepted connection over, or reject it."""
        strike, reason = self._take_strike(), self._refuses(peer)
        if self._waiting or reason in (MAX_STREAMS, MAX_STREAMS_PER_PEER):
            has_met_orders = reason is None or self._proxied
            self._waiting.append((descriptor, peer, strike if has_met_orders else None))
            if len(self._waiting) == 1:
                self._plane.refresh().addBoth(lambda _: self.decide())
        elif reason is None:
            self._hand(descriptor, peer, strike)
        else:
            self._reject(descriptor, reason)

    def _take_strike(self) -> str:
        struck = None if self._entrance is None else self._entrance.take_strike()
        return "" if struck is None else f"{struck[0].number} {struck[1].action.name}"

    def _meet_orders(self, descriptor: int, peer: str) -> bool:
        """Have orders strike a connection, as they do at the accept; False if one has closed it."""
        if self._entrance is None:
            return True
        accepted = socket.socket(fileno=descriptor)
        is_open = self._entrance.meet(accepted, peer)
        if is_open:
            accepted.detach()
        return is_open

    def decide(self) -> None:
        """Hand those over that wait, or reject them, by what is known now."""
        waiting, self._waiting = self._waiting, []
        for descriptor, peer, strike in waiting:
            reason = self._refuses(peer)
            if reason is not None:
                self._reject(descriptor, reason)
            elif strike is not None:
                self._hand(descriptor, peer, strike)
            elif self._meet_orders(descriptor, peer):
                self._hand(descriptor, peer, self._take_strike())
        if waiting:
            self._plane.flush()

    def _refuses_proxied(self, peer: str) -> str | None:
        gate = self.terms.gate
        if (reason := gate.seats.refuse()) is not None:
            gate.seats.last_refused = peer
        return reason

    def _reject(self, descriptor: int, reason: str) -> None:
        self.terms.book.counters.rejected(reason)
        os.close(descriptor)

    def _hand(self, descriptor: int, peer: str, strike: str) -> None:
        if (orders := self.terms.orders).active and not self._proxied:
            strike += self._plane.numbers(orders, peer, self.terms.transport)
        worker = self._plane.hand(self.number, descriptor, peer, strike)
        if worker is not None:
            self._plane.seating.handed(worker, self.terms.origin.listener, self.terms.gate, peer)

    def take_over(self, old: Listener, endpoint: Any, proxied: bool = False) -> None:
        """As ever; the sockets of the workers come along."""
        assert isinstance(old, SharedListener)
        if old is not self:
            self.sockets, old.sockets = old.sockets, []
        super().take_over(old, endpoint, proxied)

    def let_go(self) -> IListeningPort | None:
        """Accept no more; those that wait are not left waiting."""
        self.decide()
        return super().let_go()

    def stop_accepting(self) -> Deferred[object]:
        """Close the port for connections, and what the workers have of it."""
        self.close_sockets()
        return super().stop_accepting()

    def close_sockets(self) -> None:
        """Close the sockets that the kernel balances among; a worker's duplicate is its own to close."""
        for each in self.sockets:
            each.close()
        self.sockets = []

    def given(self, worker: int) -> Given:
        """What the worker of that number, from 1, is given. The sockets stay the listener's."""
        stream: socket.socket | None = None
        if not self.exact and self.port is not None:
            stream = self.port.socket if worker == 1 else self.sockets[worker - 2]  # type: ignore[attr-defined]
        datagrams = self.datagrams
        if not isinstance(datagrams, SharedDatagrams) or worker > len(datagrams.sockets):
            return Given(self.exact, stream, inherited=datagrams is not None and datagrams.inherited)
        mine, drops = datagrams.sockets[worker - 1], datagrams.counted[worker - 1]
        return Given(self.exact, stream, mine, datagrams.inherited, drops, datagrams.row)

    def lost(self, worker: int) -> None:
        """The worker of that number is gone."""
        if isinstance(self.datagrams, SharedDatagrams):
            self.datagrams.lost(worker)


class SharingPlane(DataPlane):
    """``workers``: how many there are, numbered from 1; ``balance``: ``exact`` or ``kernel``.

    ``hand`` takes connections over, ``flush`` sends them on, ``has_room`` tells whether ``hand`` may be called.
    ``refresh`` asks the workers for their numbers. ``generation`` counts the reloads. ``numbers`` says by which numbers
    chance strikes a stream.
    """

    def __init__(
        self,
        listeners: Sequence[ListenerConfig],
        book: Book,
        reactor: IReactorTime,
        clock: Callable[[], float],
        *,
        workers: int,
        balance: str,
        hand: Hand,
        flush: Callable[[], object],
        has_room: Callable[[], bool],
        refresh: Callable[[], Deferred[None]],
    ) -> None:
        self.workers = workers
        self.balance = balance
        self.hand, self.flush = hand, flush
        self.has_room = has_room
        self.refresh = refresh
        self.generation = 0
        self._generations: dict[int, list[Listener]] = {}
        self.tally = Tally.new()
        self.numbers: Callable[[Orders, str, str], str] = lambda *_: ""
        super().__init__(listeners, book, reactor, clock)
        self.seating = Seating(self.seats)
        if self._lane is not None:
            self._lane.give_way = os.sched_yield  # to the workers and to who connects
        self._number()
        self._generations[0] = self.listeners

    def _made(self, config: ListenerConfig) -> Listener:
        terms, datagrams = self._terms(config)
        return SharedListener(config, self, terms, self._lane, self._reactor, self._clock, datagrams, self._due)

    def _number(self) -> None:
        for number, listener in enumerate(self.listeners):
            assert isinstance(listener, SharedListener)
            listener.number = number

    def _replace(
        self, configs: Sequence[ListenerConfig], after: list[Listener], steps: Sequence[Callable[[], object]]
    ) -> Deferred[object]:
        for listener in self.listeners:
            assert isinstance(listener, SharedListener)
            listener.decide()
        closed = super()._replace(configs, after, steps)
        self.generation += 1
        self._number()
        self._generations[self.generation] = self.listeners
        self._generations.pop(self.generation - GENERATIONS, None)
        return closed

    def in_force(self, said: Said) -> Said:
        """The same of the generation of now, if its listener is in force: a new worker knows no generation before."""
        generation, number, *rest = said
        for listener in self._generations.get(generation, ())[number : number + 1]:
            if listener in self.listeners:
                return self.generation, self.listeners.index(listener), *rest
        return said

    def seat(self, worker: int, peer: str, generation: int, number: int) -> None:
        """Count a connection that was handed to ``worker``, of that listener of a generation."""
        listeners = self._generations.get(generation)
        if listeners is None:  # it will be closed
            self.seating.handed(worker, "", Gate(self.seats), peer)
        else:
            terms = listeners[number].terms
            self.seating.handed(worker, terms.origin.listener, terms.gate, peer)

    def given(self, worker: int) -> Mapping[str, Given]:
        """What a worker is given of each listener in force, by its name."""
        return {
            each.terms.origin.listener: each.given(worker)
            for each in self.listeners
            if isinstance(each, SharedListener)
        }

    def _prepared(self, listener: str, spec: Spec) -> Mapping[str, Minted]:
        config = next(each for each in self._configs if each.name == listener)
        if spec.of_connections and is_balanced_by_kernel(config, self.balance):
            needs = f'needs balance = "exact"; the workers accept at listener {quoted(listener)}'
            raise InjectionError(f'"{spec.text}" {needs}', 409)
        return super()._prepared(listener, spec)
