"""What connections meet at a listener while orders of connections are in force: ``refuse``, ``hang``, TLS and the like.

Model: an ``Entrance`` belongs to a port of Twisted's. As long as there are such orders it stands between the listening
socket and who accepts from it; else it is not there, and a connection costs nothing more::

    LaneAcceptor, Accepting --accept()--> Entrance --accept()--> listening socket
    Accepting --connect()--> Entrance --> the port, with a factory that shows another certificate, or none

    state     while                        the kernel                               the acceptor
    OPEN      nothing else is ordered      takes connections                        accepts: the orders strike them
    HUNG      the next one is to hang      takes them; they wait in its queue       does not watch
    REFUSED   the next one is refused      refuses them: bound, but not listening   does not watch

Rules:

- The orders are asked in their order about each connection; the first that strikes has it. Connections that the gate
  rejects are none of theirs.
- ``refuse`` and ``hang`` begin with the connection after the last one that is let through. What the kernel has taken by
  then is reset by ``refuse``, and waits after ``hang``, to be served when that ends.
- Connections that came before an order fare as if there were none.
- ``close-at-once`` is a stream that ends at once, for the reason ``injected``.
- An entrance outlives reloads, as its port does: a port that refuses goes on to refuse.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ctrlserver.addresses import peer_name
from ctrlserver.config.endpoints import behind_proxy, unix_path
from ctrlserver.config.tree import ListenerConfig
from ctrlserver.errors import InjectionError
from ctrlserver.inject.spec import Spec
from ctrlserver.inject.strikes import Strike
from ctrlserver.net.accepting import Accepting
from ctrlserver.net.injected.handshakes import HungHandshake, connect_struck
from ctrlserver.net.injected.minting import Minted, minted_for
from ctrlserver.net.injected.orders import Order, Orders
from ctrlserver.net.injected.ports import bring_back, may_withdraw, withdraw
from ctrlserver.net.links import ACCEPT_PAUSE_SECONDS, ACCEPTS_A_TURN, LEFTOVER_READS, LaneAcceptor
from ctrlserver.net.proxied import ProxiedFactory
from ctrlserver.net.stream import OpenStreams
from ctrlserver.words import quoted

OPEN, HUNG, REFUSED = "open", "hung", "refused"

#: The types of endpoints whose ports have a listening socket that others may stand in for; and not those of plugins.
OURS = ("tcp", "tcp6", "unix", "ssl", "tls", "systemd")

#: The states by the actions that ask for them.
STATE_OF = {"hang": HUNG, "refuse": REFUSED}


def prepared(listener: ListenerConfig, spec: Spec) -> Mapping[str, Minted]:
    """The certificates that an order of ``spec`` needs; ``InjectionError`` (409) where it cannot be carried out."""
    kind = (behind_proxy(listener.endpoint) or listener.endpoint).partition(":")[0].lower()
    if spec.of_connections and kind not in OURS:
        needs = f"needs a port of Twisted's own; listener {quoted(listener.name)} has an endpoint {quoted(kind)}"
        raise InjectionError(f'"{spec.text}" {needs}', 409)
    path = unix_path(listener.endpoint)
    if path is not None and not may_withdraw(path) and any(term.action.name == "refuse" for term in spec.terms):
        needs = f"makes the file of a unix socket anew; listener {quoted(listener.name)} may not write in its folder"
        raise InjectionError(f'"refuse" {needs}', 409)
    return minted_for(spec, listener)


class Entrance:
    """To an acceptor, a listening socket. ``socket`` is the real one."""

    log = Logger()

    def __init__(self, port: Any, reactor: IReactorTime) -> None:
        self.socket: socket.socket = port.socket
        self._port = port
        self._port_connects: Callable[[], None] = type(port).doRead.__get__(port)
        self._reactor = reactor
        self._state = OPEN
        self._acceptor: LaneAcceptor | Accepting | None = None
        self._streams: OpenStreams
        self._watched: Orders | None = None
        self._orders: tuple[Order, ...] = ()
        self._none_waits = False
        self._strike: tuple[Order, Strike] | None = None  # of the TLS connection that was just accepted
        self._hung: dict[int, WeakSet[HungHandshake]] = {}  # by the numbers of the orders
        self._again: IDelayedCall | None = None

    @classmethod
    def of(cls, port: Any, reactor: IReactorTime) -> Entrance:
        """That of ``port``, which may have one from before."""
        return port.socket if isinstance(port.socket, Entrance) else cls(port, reactor)

    def serve(self, acceptor: LaneAcceptor | Accepting, streams: OpenStreams) -> None:
        """From now on be the entrance of ``acceptor``, which has begun to accept; it opens ``streams``."""
        self._acceptor, self._streams = acceptor, streams
        if (orders := streams.terms.orders) is not self._watched:
            self._watched = orders
            orders.watch(self.ordered)
        if self._state is not OPEN:
            acceptor.stop()
        self._go_by(orders.of_connections())

    def leave(self) -> None:
        """The acceptor accepts no more."""
        self._acceptor = None
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._again = None

    def ordered(self, order: Order, began: bool) -> None:
        """An order of the listener begins or has ended."""
        if self._acceptor is None or not order.of_connections:
            return
        if began and self._state is OPEN:
            self._stand_in(True)
            self._take_waiting(self._acceptor)
        self._go_by(self._streams.terms.orders.of_connections())
        for handshake in self._hung.pop(order.number, ()) if not began else ():
            handshake.go_on()

    def _take_waiting(self, acceptor: LaneAcceptor | Accepting) -> None:
        self._none_waits = False
        for _ in range(ACCEPTS_A_TURN):
            if self._none_waits:
                return
            acceptor.take_waiting()

    def _go_by(self, orders: tuple[Order, ...]) -> None:
        self._orders = orders
        self._stand_in(True)
        self._settle()
        if not orders and self._state is OPEN:
            self._stand_in(False)

    def _stand_in(self, standing: bool) -> None:
        acceptor = self._acceptor
        listening: Any = self if standing else self.socket
        self._port.socket = listening
        if isinstance(acceptor, LaneAcceptor):
            acceptor.listening = listening
        elif acceptor is not None:
            acceptor.connect = self._connect if standing else self._port_connects

    # A listening socket, to an acceptor and to Twisted

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)

    def listen(self, backlog: int) -> None:
        """Listen, but not while connections are refused."""
        if self._state is not REFUSED:
            self.socket.listen(backlog)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept one; ``ConnectionAbortedError`` where an order has closed it already."""
        if self._state is not OPEN:
            if self._acceptor is not None:
                self._acceptor.stop()
            raise BlockingIOError
        try:
            accepted, address = self.socket.accept()
        except OSError:
            self._none_waits = True
            raise
        if not self.meet(accepted, peer_name(address)):
            raise ConnectionAbortedError
        return accepted, address

    def meet(self, accepted: socket.socket, peer: str) -> bool:
        """Have the orders strike an accepted connection; False if one has closed it."""
        struck = self._struck(peer) if self._state is OPEN else None
        self._settle()
        if struck is not None and struck[1].action.name == "close-at-once":
            self._close_at_once(accepted, peer)
            return False
        self._strike = struck
        return True

    def _accept(self) -> tuple[int, Any]:
        """The same; its descriptor."""
        accepted, address = self.accept()
        return accepted.detach(), address

    def _struck(self, peer: str) -> tuple[Order, Strike] | None:
        """What strikes a connection from ``peer``; it is counted."""
        if not isinstance(self._port.factory, ProxiedFactory) and self._streams.terms.gate.refuses(peer) is not None:
            return None
        for order in self._orders:
            if order.concerns(peer):
                _, strike = order.course.look(1)
                order.course.take(1)
                if strike is not None:
                    return order, strike
        return None

    def _close_at_once(self, accepted: socket.socket, peer: str) -> None:
        terms, now = self._streams.terms, self._streams.clock()
        counters = terms.book.stream_opened(terms.origin, peer, now)
        counters.injected = 1
        terms.book.stream_closed(counters, "injected", 0, now)
        with suppress(OSError):
            for _ in range(LEFTOVER_READS):  # else the peer would see a reset
                if not accepted.recv(1 << 16, socket.MSG_DONTWAIT):
                    break
        accepted.close()

    def _connect(self) -> None:
        """Have the port make the connection, struck or not."""
        struck = self.take_strike()
        if struck is None:
            self._port_connects()
            return
        order, strike = struck
        hung = self._hung.setdefault(order.number, WeakSet())
        connect_struck(self._port, self._port_connects, order.certificates.get(strike.action.name), hung)

    def take_strike(self) -> tuple[Order, Strike] | None:
        """What strikes the handshake of the connection that was just accepted."""
        struck, self._strike = self._strike, None
        return struck

    # The states

    def _settle(self) -> None:
        """Go to the state that the next connection is to meet."""
        acceptor, wanted = self._acceptor, self._wanted()
        if acceptor is None or wanted is self._state:
            return
        if self._state is OPEN:
            acceptor.stop()
        try:
            if wanted is REFUSED:
                self.socket = withdraw(self._port, self.socket)
            elif self._state is REFUSED:
                bring_back(self.socket)
        except OSError as error:
            self._try_again(error)
            return
        self._state = wanted
        if wanted is OPEN:
            acceptor.go_on()

    def _wanted(self) -> str:
        wanted = OPEN
        for order in self._orders:
            _, strike = order.course.look(1)
            state = OPEN if strike is None else STATE_OF.get(strike.action.name, OPEN)
            if state is REFUSED:
                return REFUSED
            if state is HUNG:
                wanted = HUNG
        return wanted

    def _try_again(self, error: OSError) -> None:
        """The port cannot refuse, or not listen again: nobody is accepted for a moment."""
        if self._state is OPEN:
            self._state = HUNG
        if self._again is None:
            self.log.error(
                "{listener} cannot {do} for now: {error}",
                event="port-stuck",
                listener=self._streams.terms.origin.listener,
                do="listen again" if self._state is REFUSED else "refuse connections",
                error=error.strerror,
            )
        elif self._again.active():
            return
        self._again = self._reactor.callLater(ACCEPT_PAUSE_SECONDS, self._retry)

    def _retry(self) -> None:
        self._go_by(self._orders)
        if self._state is self._wanted():
            self._again = None
