"""Listening ports of the data plane: one ``Listener`` for each listener of the config.

Rules:

- A listener always listens through a Twisted endpoint, so every endpoint string works.
- If the endpoint's port is a plain socket with our own factory (``tcp``, ``unix``, ``systemd``), the reactor stops
  reading it and the lane accepts from it. Any other port stays with Twisted, and its streams with ``net/protocol.py``.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

from attrs import evolve
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.internet.tcp import Port as TCPPort
from twisted.internet.unix import Port as UNIXPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from ctrlserver.addresses import text_of
from ctrlserver.config import ListenerConfig
from ctrlserver.config.endpoints import behind_proxy, transport_word, unix_path
from ctrlserver.config.places import place_of
from ctrlserver.inject.rules import Answers
from ctrlserver.lane.due import Due
from ctrlserver.lane.lane import Lane
from ctrlserver.linux.keepalive import SHORTEST_SECONDS, send_probes
from ctrlserver.net.accepting import Accepting, accept_few, closes_at_once, closes_without_its_file, endpoint_over
from ctrlserver.net.gate import Gate, Seats
from ctrlserver.net.injected.entrance import Entrance
from ctrlserver.net.injected.orders import Orders
from ctrlserver.net.injected.striking import Striking
from ctrlserver.net.links import LaneAcceptor, Links
from ctrlserver.net.protocol import StreamFactory
from ctrlserver.net.proxied import Door, listen_proxied
from ctrlserver.net.replies import CannedReply
from ctrlserver.net.source import source_packets
from ctrlserver.net.stream import OpenStreams, Stream
from ctrlserver.net.terms import DatagramTerms, Terms
from ctrlserver.net.udp.peers import DatagramStream
from ctrlserver.net.udp.port import DatagramPort
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.wire.datagram import DATAGRAM

log = Logger()

#: Seconds between two searches for idle streams. A walk over 10 000 open streams takes a millisecond or two.
IDLE_LOOK_SECONDS = 1.0

#: Seconds between the begins of two searches for dead peers, at most.
LONGEST_LOOK_SECONDS = 15.0

#: Streams about which the kernel is asked in one sweep, if they are silent: a few milliseconds.
ASKED_A_SWEEP = 1000


class CannotBind(Exception):
    """A port cannot be bound; the text names it and says why."""


class Listener:
    """One listening port and its open streams.

    ``lane`` None: Twisted reads all sockets; ``on_lane``: the lane reads those of the connections. ``datagrams``: the
    terms of its UDP port, which stands alone or beside the TCP port of the same number. ``due``: the timer of what
    waits by order of an injection.
    """

    def __init__(
        self,
        terms: Terms,
        lane: Lane | None,
        reactor: IReactorTime,
        clock: Callable[[], float],
        datagrams: DatagramTerms | None = None,
        due: Due | None = None,
    ) -> None:
        self.terms = terms
        self.open_streams = OpenStreams(terms, clock)
        due = due or Due(lane, reactor)
        self.striking = Striking(self.open_streams, due)
        self.port: IListeningPort | None = None
        self.on_lane = False
        self._lane = lane
        self._reactor = reactor
        self._clock = clock
        self.datagrams = None if datagrams is None else self._datagram_port(datagrams, due)
        self._factory = StreamFactory(self.open_streams, reactor)
        self._acceptor: LaneAcceptor | Accepting | None = None
        self._entrance: Entrance | None = None
        self._looked = self._probed = clock()
        self._unasked: list[Stream] = []

    def _datagram_port(self, terms: DatagramTerms, due: Due) -> DatagramPort:
        return DatagramPort(terms, self._lane, self._reactor, self._clock, due)

    def listen(self, endpoint: IStreamServerEndpoint, proxied: bool = False) -> Deferred[IListeningPort]:
        """Bind. Fails as the endpoint does, for a port in use with ``CannotListenError``.

        ``proxied``: each connection brings a PROXY header.
        """
        if proxied:
            door = Door(self.terms.gate.seats, self.terms.book.counters.rejected, self._reactor)
            return listen_proxied(endpoint, self._factory, door).addCallback(self._listening)
        return maybeDeferred(endpoint.listen, self._factory).addCallback(self._listening)

    def listen_beside(self, port: IListeningPort) -> IListeningPort:
        """Bind the UDP port to the address and number of ``port``."""
        address = port.getHost()
        if self.datagrams is None or not isinstance(address, IPv4Address | IPv6Address):
            raise CannotListenError(None, None, "UDP goes with a port that has a number")
        return self.datagrams.listen(address.port, address.host)

    def take_over(self, old: Listener, endpoint: IStreamServerEndpoint | None, proxied: bool = False) -> None:
        """Go on with the bound ports of ``old``, which keeps its open connections; its UDP peers come along.

        ``endpoint`` gives the port for connections (``accepting.Bound``), None where there is only one for datagrams.
        ``old`` may be this listener itself, which then takes its connections by another endpoint.
        """
        if endpoint is not None:
            old.let_go()
            self.listen(endpoint, proxied)
        if old is not self and self.datagrams is not None and old.datagrams is not None and self.datagrams.port is None:
            self.datagrams.take_over(old.datagrams)
            old.datagrams = None

    def let_go(self) -> IListeningPort | None:
        """Accept no more; the port is not closed, but that of whoever calls."""
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor = None
        if self._entrance is not None:
            self._entrance.leave()
            self._entrance = None
        port, self.port = self.port, None
        return port

    def _listening(self, port: IListeningPort) -> IListeningPort:
        self.port = port
        if isinstance(port, TCPPort) and port.socket.family != socket.AF_UNIX:
            send_probes(port.socket, self.terms.keepalive)
        sock = plain_socket(port, self._factory)
        if self._lane is not None and sock is not None:
            port.stopReading()  # type: ignore[attr-defined]
            self.on_lane = True
            take = Links(self._lane, self.open_streams, sock.family).take
            self._acceptor = LaneAcceptor(self._lane, self._reactor, sock, self.terms.origin.listener, take)
        else:
            self._acceptor = accept_few(port, self.terms.origin.listener, self._reactor)
        if self._acceptor is not None:
            self._entrance = Entrance.of(port, self._reactor)
            self._entrance.serve(self._acceptor, self.open_streams)
        return port

    def streams(self) -> Iterator[Stream | DatagramStream]:
        """The open streams of this listener."""
        yield from list(self.open_streams.all.values())
        if self.datagrams is not None:
            yield from list(self.datagrams.peers.by_address.values())

    def end_datagrams(self) -> None:
        """End the streams of the UDP peers, whose port is closed."""
        for stream in [] if self.datagrams is None else list(self.datagrams.peers.by_address.values()):
            stream.abort("drain", self._clock())

    def sweep(self) -> None:
        """End slow readers, idle streams and idle UDP peers; begin sources that were not asked. Some times a second."""
        now = self._clock()
        if self.datagrams is not None:
            self.datagrams.peers.sweep(now)
        self.open_streams.look_after(now)
        if self.terms.keepalive:
            self._give_up_dead_peers(now, max(self.terms.keepalive, SHORTEST_SECONDS))
        if self.terms.idle_timeout and now - self._looked >= IDLE_LOOK_SECONDS:
            self._looked = now
            self.end_silent(self.terms.idle_timeout, "idle")

    def end_silent(self, seconds: float, reason: str) -> None:
        """End the streams that have sent nothing for ``seconds``, but for those that are owed replies."""
        now = self._clock()
        before = now - seconds
        for silent in list(self.streams()):
            counters = silent.counters
            owes = silent.held > 0 if isinstance(silent, DatagramStream) else silent in self.open_streams.waiting
            if counters.last <= before and counters.opened <= before and not owes:
                silent.abort(reason, now)

    def _give_up_dead_peers(self, now: float, keepalive: float) -> None:
        """End the streams whose peers' machines have owed an answer for so long. A search takes several sweeps."""
        if not self._unasked and now - self._probed >= min(keepalive / 4, LONGEST_LOOK_SECONDS):
            self._probed = now
            self._unasked = list(self.open_streams.all.values())
        before = now - keepalive
        portion, self._unasked = self._unasked[:ASKED_A_SWEEP], self._unasked[ASKED_A_SWEEP:]
        for stream in portion:
            counters = stream.counters
            if counters.last <= before and counters.opened <= before and counters.unanswered_seconds() >= keepalive:
                stream.abort("timeout", now)

    def take_waiting(self) -> None:
        """Accept the connections that wait, before the port is closed: that would reset them."""
        if self._acceptor is not None:
            self._acceptor.take_waiting()

    def leave(self) -> Deferred[object]:
        """Accept no more; the UDP port stays. What arrives at one of systemd's from now on is the next server's."""
        self.take_waiting()
        if self.datagrams is None or not self.datagrams.inherited:
            return self.stop_accepting()
        closed = self.stop_listening()
        self.end_datagrams()
        return closed

    def stop_accepting(self) -> Deferred[object]:
        """Close the port for connections; the UDP port stays."""
        port = self.let_go()
        return maybeDeferred(lambda: None if port is None else port.stopListening())

    def stop_listening(self) -> Deferred[object]:
        """Accept no more, and close both ports."""
        stops = [self.stop_accepting()]
        if self.datagrams is not None:
            stops.append(maybeDeferred(self.datagrams.stop_listening))
        return DeferredList(stops)  # type: ignore[return-value]


def terms_of(config: ListenerConfig, book: Book, seats: Seats, orders: Orders, answers: Answers) -> Terms:
    """The terms of a listener's connections."""
    spec = config.framing_spec
    origin = Origin(
        listener=config.name,
        protocol=config.protocol or transport_word(config.endpoint),
        framing=spec.text,
        mode=config.mode,
        size=spec.size,
        labels=config.labels,
        by_size=spec.by_length and spec.size is not None,
    )
    return Terms(
        book=book,
        origin=origin,
        spec=spec,
        canned=canned_packets(config),
        keep=config.keep,
        keep_bytes=config.keep_bytes,
        reply_buffer=config.reply_buffer,
        stall_timeout=config.stall_timeout,
        idle_timeout=config.idle_timeout,
        keepalive=config.keepalive,
        gate=Gate(seats, config.max_streams_per_peer, config.networks),
        probe=config.probe,
        transport=transport_word(config.endpoint),
        orders=orders,
        answers=answers,
        place=place_of(config),
    )


def datagram_terms_of(config: ListenerConfig, terms: Terms, answering: set[int]) -> DatagramTerms:
    """The terms of the same listener's UDP port; ``terms`` are those of its connections.

    ``answering``: the set that all UDP ports of the server share.
    """
    word = config.protocol or "udp"
    origin = evolve(terms.origin, protocol=word, framing=DATAGRAM.text, size=None, by_size=False)
    return DatagramTerms(
        terms=evolve(terms, origin=origin, spec=DATAGRAM, transport="udp"),
        idle_timeout=config.udp_idle_timeout,
        max_streams=config.max_udp_streams,
        receive_buffer=config.receive_buffer,
        gro=config.udp_gro,
        answering=answering,
    )


def canned_packets(config: ListenerConfig) -> CannedReply | None:
    """What a listener of mode ``reply`` or ``source`` sends."""
    if config.mode == "reply":
        return CannedReply(config.reply_bytes)
    size = config.framing_spec.size
    return source_packets(size) if config.mode == "source" and size is not None else None


def plain_socket(port: IListeningPort, factory: StreamFactory) -> socket.socket | None:
    """The listening socket of ``port`` if it accepts plain connections for ``factory``; else None.

    A TLS port is a TCP port too, but its factory is Twisted's, around ours.
    """
    if isinstance(port, TCPPort | UNIXPort) and port.factory is factory:
        return cast(socket.socket, port.socket)
    return None


def bound(name: str, where: str, listen: Callable[[], Any]) -> IListeningPort:
    """The port that ``listen`` returns, or its Deferred has by now; else ``CannotBind`` with ``name`` and ``where``.

    A unix socket at which nobody listens any more is removed first. One at which somebody does is never touched.
    """
    path = unix_path(where)
    if path is not None and is_taken(os.fsencode(path)):
        raise CannotBind(f"cannot listen for {name} on {where}: a server listens there already")
    outcome: list[IListeningPort | Failure] = []
    maybeDeferred(listen).addBoth(outcome.append)
    if outcome and isinstance(outcome[0], Failure) and removed_leftover(outcome[0].value):
        outcome.clear()
        maybeDeferred(listen).addBoth(outcome.append)
    if not outcome:
        raise CannotBind(f"cannot listen for {name} on {where}: the endpoint does not bind at once")
    (port,) = outcome
    if isinstance(port, Failure):
        raise CannotBind(f"cannot listen for {name} on {where}: {why(port.value)}")
    is_systemds = (behind_proxy(where) or where).startswith("systemd:")  # which has it for the next server
    return closes_without_its_file(port if is_systemds else closes_at_once(port))  # type: ignore[no-any-return]


def over(name: str, where: str, port: IListeningPort, reactor: IReactorTime, text: str) -> IStreamServerEndpoint:
    """The endpoint of ``text`` over a ``port`` that is bound; else ``CannotBind`` with ``name`` and ``where``."""
    try:
        return endpoint_over(reactor, port, text)
    except Exception as error:  # its files are gone since the config was checked
        raise CannotBind(f"cannot listen for {name} on {where}: {why(error)}") from None


def removed_leftover(error: BaseException | None) -> bool:
    """Whether ``error`` was about a unix socket at which nobody listens; it and its lock are then removed.

    Twisted removes those of a process that is gone. It cannot tell for a container: there each server has the number 1.
    """
    path = error.port if isinstance(error, CannotListenError) else None
    if not isinstance(path, bytes):
        return False
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode) or is_taken(path):
            return False
        os.remove(path)
        with suppress(FileNotFoundError):
            os.remove(path + b".lock")
    except (OSError, ValueError):  # gone, not ours to remove, or no name of a file
        return False
    return True


def is_taken(path: bytes) -> bool:
    """Whether somebody has ``path``, a unix socket: who listens at it, refuses for a while, or lets nobody ask.

    Twisted goes by the process in its lock file alone. It would remove the living socket of a program that writes no
    lock, or of a server in another container, whose process is none here. We ask by a socket of datagrams: one of
    streams that lives refuses it for its type, and no connection is made.
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            return peer.connect_ex(path) != errno.ECONNREFUSED
    except (OSError, ValueError):  # no such file
        return False


def announce(name: str, port: IListeningPort) -> None:
    """Log the address of a port."""
    transport, _, address = transport_and_address(port.getHost()).partition(" ")
    log.info(
        "listening {listener} {transport} {address}",
        event="listening",
        listener=name,
        transport=transport,
        address=address,
    )


def why(error: BaseException | None) -> str:
    """The reason in a few words: the operating system's if it gave one."""
    reason = error.socketError if isinstance(error, CannotListenError) else error
    if "Cannot acquire lock" in str(reason):
        return "a server listens there already"
    if isinstance(reason, OSError) and reason.strerror:
        one = isinstance(reason.filename, str) and reason.filename2 is None  # /dev/null, in a bare chroot; not a lock
        named = f": {reason.filename}" if one else ""
        return reason.strerror.lower() + named
    return str(reason)


def transport_and_address(address: IAddress) -> str:
    """``tcp 127.0.0.1:22222``, ``udp [::1]:22222`` or ``unix /run/x.sock``."""
    kind = getattr(address, "type", "TCP").lower() if hasattr(address, "host") else "unix"
    return f"{kind} {text_of(address)}"
