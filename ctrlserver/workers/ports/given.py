"""The data plane of a worker: it goes by what the parent gives it, and binds nothing.

Model::

    parent: listening socket --accept, gate, Entrance--> Hander ==> Taker --> GivenPlane.take --> GivenListener.take
                                                                  plain sockets --> Links --> LaneLink
                                                                  TLS, PROXY, wrappers --> Connecting --> Twisted's port
    parent: UDP socket, one for each worker ............ Given.datagrams --> DatagramPort.adopt
    parent: listening socket, one for each worker ...... Given.stream --> a port of Twisted's, as in one process

A listener goes through the endpoint of its config, as ever. The endpoint is given a reactor that binds nothing:
``Socketless`` makes ports without a socket, which only make connections; ``Adopting`` adopts the given socket.

Rules:

- Whom the parent has handed over is admitted: it has asked the gate. Only where a PROXY header names the client later,
  the worker asks the networks; the limits of streams are the parent's all the same.
- A worker holds no listening socket whose connections the parent accepts. Else such a port would stay open as long as
  the worker holds it.
- What strikes a handshake comes with the connection: ``3 expired`` is the action ``expired`` of the order 3. The parent
  counts the hit. The worker makes the certificate. After it come the numbers by which chance strikes the stream:
  ``;4 17`` says that it is the 17th stream of the order 4.
- A connection belongs to the listeners of the generation in which the parent accepted it, though a reload comes
  between. One of a generation that is not here yet waits for it.
- Where the endpoint of a config means something in the parent alone (a socket from systemd), the parent gives the
  worker another (``sockets.py``).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakSet

from attrs import evolve, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.internet.tcp import Port as TCPPort
from twisted.internet.unix import Port as UNIXPort
from twisted.logger import Logger

from ctrlserver.addresses import host_of
from ctrlserver.config import ListenerConfig
from ctrlserver.config.endpoints import behind_proxy
from ctrlserver.config.signing import MINTED
from ctrlserver.errors import InjectionError
from ctrlserver.lane.leading import LeadingLane
from ctrlserver.net.accepting import Bound, Connecting, endpoint_of
from ctrlserver.net.gate import MAX_STREAMS, Seats
from ctrlserver.net.injected.handshakes import HungHandshake, connect_struck
from ctrlserver.net.injected.minting import Minted, minted
from ctrlserver.net.links import Links
from ctrlserver.net.listeners import CannotBind, Listener, bound, why
from ctrlserver.net.plane import DataPlane, Prepared
from ctrlserver.stats.book import Book
from ctrlserver.workers.handing import Taker
from ctrlserver.workers.ordered.carrying import CarriedOrdering, CarriedRules
from ctrlserver.workers.ordered.shared import Tally
from ctrlserver.workers.ports.gathering import gather
from ctrlserver.workers.ports.seating import Passed, Released, Releases

#: Generations of listeners that are remembered: a connection is on its way for milliseconds, reloads take longer.
GENERATIONS = 4

log = Logger()


@frozen
class Given:
    """What a worker is given of one listener.

    ``exact``: the parent accepts; else ``stream`` is a listening socket of the worker's own. ``inherited``: the UDP
    socket is systemd's. ``drops``: the kernel's count of its drops, as far as they are counted already. ``row``: where
    the ``Tally`` has the open streams of its UDP peers. The sockets are the caller's, and the worker's ports have
    duplicates.
    """

    exact: bool = True
    stream: socket.socket | None = None
    datagrams: socket.socket | None = None
    inherited: bool = False
    drops: int = 0
    row: int = 0


NOTHING = Given()

#: Where a worker listens, in the text of an error.
AS_GIVEN = "what the parent gave"


class HandedPort(TCPPort):
    """A port without a socket: it makes the connections that it is given."""

    socket: Any = None

    def _buildAddr(self, address: Any) -> IPv4Address | IPv6Address:
        return IPv6Address("TCP", *address) if len(address) == 4 else IPv4Address("TCP", *address)

    def startReading(self) -> None:
        """There is nothing to read."""

    def stopReading(self) -> None:
        """There is nothing to read."""

    def stopListening(self) -> None:  # type: ignore[override]
        """There is nothing to close."""
        self.factory.doStop()  # type: ignore[union-attr]


class HandedUnixPort(HandedPort, UNIXPort):
    """The same for connections of a unix socket."""

    def _buildAddr(self, address: Any) -> Any:
        return UNIXPort._buildAddr(self, address)


class Socketless(Bound):
    """The reactor, to an endpoint whose connections the parent accepts."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor, None)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """A port without a socket."""
        factory.doStart()
        return HandedPort(0, factory, reactor=self._reactor)

    def listenUNIX(self, address: str, factory: Any, *, mode: int = 0o666, **_: object) -> Any:
        """The same."""
        factory.doStart()
        return HandedUnixPort(b"\0", factory, reactor=self._reactor)


class Adopting(Bound):
    """The reactor, to an endpoint that is to listen by ``sock``."""

    def __init__(self, reactor: Any, sock: socket.socket) -> None:
        super().__init__(reactor, None)
        self._given = sock

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """A port that has a duplicate of the socket."""
        self._given.setblocking(False)
        return self._reactor.adoptStreamPort(self._given.fileno(), self._given.family, factory)


class GivenListener(Listener):
    """A listener whose connections come from the parent, or by a listening socket of its own."""

    def __init__(self, config: ListenerConfig, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.config = config
        self._links: Links | None = None
        self._connecting: Connecting | None = None
        self._minted: dict[tuple[int, str], Minted | None] = {}
        self._hung: dict[int, WeakSet[HungHandshake]] = {}  # by the numbers of the orders

    def _listening(self, port: IListeningPort) -> IListeningPort:
        if not isinstance(port, HandedPort):
            return super()._listening(port)
        self.port = port
        self.on_lane = self._lane is not None and port.factory is self._factory
        if self._lane is not None and self.on_lane:
            family = socket.AF_UNIX if isinstance(port, UNIXPort) else socket.AF_INET
            self._links = Links(self._lane, self.open_streams, family)
        else:
            self._connecting = Connecting(port)
        return port

    def take(self, descriptor: int, peer: str, strike: str = "") -> None:
        """Serve an accepted connection, whose handshake ``strike`` strikes, if any."""
        gate = self.terms.gate
        if not isinstance(gate, Passed):
            self._connect(descriptor, peer, strike)
            return
        before = gate.entered
        self._connect(descriptor, peer, strike)
        if gate.entered == before:
            gate.over(peer)

    def not_taken(self, peer: str) -> None:
        """A connection of that peer is lost on its way: it has no seat."""
        gate = self.terms.gate
        if isinstance(gate, Passed):
            gate.over(peer)

    def _connect(self, descriptor: int, peer: str, strike: str) -> None:
        connecting = self._connecting
        if self._links is not None:
            self._links.serve(descriptor, peer)
            return
        if connecting is None:
            os.close(descriptor)
            return
        sock = socket.socket(-1, socket.SOCK_STREAM, 0, descriptor)  # the call finds the family by itself
        if not strike:
            connecting.take(sock, address_of(peer, sock.family))
        else:
            plain = connecting.connect
            self.terms.book.counters.struck = True
            try:
                connecting.connect = self._struck(connecting, strike)
                connecting.take(sock, address_of(peer, sock.family))
            except InjectionError as error:  # its files have changed since the order began
                log.error("{error}", event="injection-failed", listener=self.config.name, error=error)
                sock.close()
            finally:
                connecting.connect = plain

    def _struck(self, connecting: Connecting, strike: str) -> Callable[[], None]:
        number, action = int(strike.partition(" ")[0]), strike.partition(" ")[2]
        if (number, action) not in self._minted:
            self._minted[number, action] = minted(action, self.config) if action in MINTED else None
        hung = self._hung.setdefault(number, WeakSet())
        return partial(connect_struck, connecting.port, connecting.connect, self._minted[number, action], hung)

    def order_over(self, number: int) -> None:
        """The order of that number has ended: the handshakes that it holds go on."""
        for handshake in self._hung.pop(number, ()):
            handshake.go_on()
        self._minted = {key: made for key, made in self._minted.items() if key[0] != number}


class GivenPlane(DataPlane):
    """``given``: the sockets of the listeners, by their names. ``generation`` counts the reloads before.

    ``tally``: the ``max_udp_streams`` of all workers, and the number of this one; None: it is the only one.
    What is ordered of the listeners is ``carried`` and ``carried_rules``, as the parent says.
    """

    ORDERING = CarriedOrdering
    RULES = CarriedRules
    LANE = LeadingLane

    def __init__(
        self,
        listeners: Sequence[ListenerConfig],
        book: Book,
        reactor: IReactorTime,
        clock: Callable[[], float],
        given: Mapping[str, Given],
        generation: int = 0,
        tally: tuple[Tally, int] | None = None,
    ) -> None:
        self._given, self._tally = given, tally
        self._releases = Releases(Seats())
        super().__init__(listeners, book, reactor, clock)
        assert isinstance(self._ordering, CarriedOrdering)
        assert isinstance(self.rules, CarriedRules)
        self.carried, self.carried_rules = self._ordering, self.rules
        self.generation = generation
        self._generations = {generation: self.listeners}
        self._early: list[tuple[int, int, int, str, str]] = []

    def gather(self, *others: int) -> None:
        """Let data gather where nobody waits for an answer, until there is something to read at one of ``others``."""
        if self._lane is not None:
            gather(self._lane, *others)

    def take_from(self, taker: Taker) -> None:
        """Take connections on the lane, so that they are served in the same turn; the plane is bound."""
        if self._lane is not None:
            taker.join(self._lane)

    def _made(self, config: ListenerConfig) -> Listener:
        terms, datagrams = self._terms(config)
        if self._of(config).exact and behind_proxy(config.endpoint) is None:
            gate = Passed(self.seats, config.max_streams_per_peer, listener=config.name, releases=self._releases)
            terms = evolve(terms, gate=gate)
        if datagrams is not None and self._tally is not None:
            tally, number = self._tally
            datagrams = evolve(datagrams, with_others=partial(tally.tell, self._of(config).row, number))
        self._releases.seats = self.seats
        return GivenListener(config, terms, self._lane, self._reactor, self._clock, datagrams, self._due)

    def _of(self, config: ListenerConfig) -> Given:
        return self._given.get(config.name, NOTHING)

    def _bind(self, listener: Listener, config: ListenerConfig) -> list[IListeningPort]:
        """The ports are the parent's to announce."""
        if listener.datagrams is None or config.udp:
            sock = self._of(config).stream
            reactor = Socketless(self._reactor) if sock is None else Adopting(self._reactor, sock)
            endpoint = self._endpoint(reactor, config)
            proxied = behind_proxy(config.endpoint) is not None
            bound(config.name, AS_GIVEN, partial(listener.listen, endpoint, proxied=proxied))
        self._adopt_datagrams(listener, config)
        return []

    def _endpoint(self, reactor: Bound, config: ListenerConfig) -> IStreamServerEndpoint:
        try:
            return endpoint_of(reactor, behind_proxy(config.endpoint) or config.endpoint)
        except Exception as error:  # its files are gone since the parent read them
            raise CannotBind(f"cannot listen for {config.name} on {config.endpoint}: {why(error)}") from None

    def _adopt_datagrams(self, listener: Listener, config: ListenerConfig) -> None:
        given, udp = self._of(config), listener.datagrams
        if udp is not None and given.datagrams is not None:
            udp.drops_since = given.drops
            udp.adopt(given.datagrams.fileno(), given.datagrams.family)
            udp.inherited = given.inherited

    def _bind_beside(self, listener: Listener, config: ListenerConfig, port: IListeningPort) -> list[IListeningPort]:
        self._adopt_datagrams(listener, config)
        return []

    def _taking_over(self, listener: Listener, earlier: Listener, config: ListenerConfig) -> Callable[[], object]:
        port = earlier.port
        reactor = Socketless(self._reactor) if isinstance(port, HandedPort) else Bound(self._reactor, port)
        endpoint = None if port is None else self._endpoint(reactor, config)
        return partial(listener.take_over, earlier, endpoint, behind_proxy(config.endpoint) is not None)

    def prepare(self, configs: Sequence[ListenerConfig], given: Mapping[str, Given] | None = None) -> Prepared:
        """As ever; ``given`` has an entry for each listener, with sockets where it binds what was not there before."""
        before = self._given
        self._given = before if given is None else given
        try:
            prepared = super().prepare(configs)
        except CannotBind:
            self._given = before
            raise
        return prepared

    def _replace(
        self, configs: Sequence[ListenerConfig], after: list[Listener], steps: Sequence[Callable[[], object]]
    ) -> Deferred[object]:
        closed = super()._replace(configs, after, steps)
        self.generation += 1
        self._generations[self.generation] = after
        self._generations.pop(self.generation - GENERATIONS, None)
        early, self._early = self._early, []
        for each in early:
            self.take(*each)
        return closed

    def take(self, descriptor: int, generation: int, listener: int, peer: str, strike: str = "") -> None:
        """Serve a connection that the parent accepted, by the number of its listener in that generation."""
        listeners = self._generations.get(generation)
        if listeners is not None:
            taker = listeners[listener]
            assert isinstance(taker, GivenListener)
            if ";" not in strike:
                taker.take(descriptor, peer, strike)
                return
            strike, *numbers = strike.split(";")
            orders = [int(each.partition(" ")[0]) for each in numbers]
            self.carried.coming(zip(orders, [int(each.partition(" ")[2]) for each in numbers], strict=True))
            try:
                taker.take(descriptor, peer, strike)
            finally:
                self.carried.coming((order, 0) for order in orders)
        elif generation > self.generation:
            self._early.append((descriptor, generation, listener, peer, strike))
        else:
            os.close(descriptor)
            self._releases.over("", peer)

    def not_taken(self, generation: int, listener: int, peer: str) -> None:
        """A connection that the parent accepted is lost: there was no descriptor for it here."""
        self._book.counters.rejected(MAX_STREAMS)
        self.seats.last_refused = peer
        listeners = self._generations.get(generation)
        if listeners is None:
            self._releases.over("", peer)
        else:
            taker = listeners[listener]
            assert isinstance(taker, GivenListener)
            taker.not_taken(peer)

    def released(self, taken: int) -> Released:
        """What the parent is to know about the seats of the connections that were ``taken`` since the start."""
        return self._releases.take(taken, len(self._early))

    def order_over(self, number: int) -> None:
        """The order of connections of that number has ended in the parent."""
        for listener in (*self.listeners, *self.retired):
            if isinstance(listener, GivenListener):
                listener.order_over(number)

    # The parent logs this, for all workers

    def _tell_lacking(self) -> None: ...

    def _log_rejections(self, now: float) -> None: ...

    _log_handshakes = _log_memory = _log_rejections


def address_of(peer: str, family: int) -> Any:
    """What ``accept`` gives for a peer of that name."""
    if family == socket.AF_UNIX:
        return ""
    pair = (host_of(peer), int(peer.rpartition(":")[2]))
    return pair if family == socket.AF_INET else (*pair, 0, 0)
