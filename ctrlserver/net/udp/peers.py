"""The peers of a UDP port: each peer address is a stream.

Model::

    first datagram of an address --> open --> closed: ``idle``, or the reason given to ``abort``
                                      ^  |
                                      +--+ each further datagram

- ``by_address`` finds a stream by its peer as the socket module writes it, ``by_name`` by the raw socket address that
  ``recvmmsg`` gives. The first is complete; the second holds the peers that ``recvmmsg`` has brought at least once.
- When ``max_streams`` are open, all further peers share one stream, whose peer is ``*``. So the totals stay exact and
  the table stays bounded. The readers also count each datagram of that stream as rejected.
- Processes may share the bound (``with_others``). A place is taken before it is known whether there was one: of two
  that take the last one at the same time, neither has it.

Rules: readers look streams up in the two tables and write the counters themselves; streams are opened and removed here
only. A closed stream is in no table, so the next datagram of its peer opens another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ctrlserver.addresses import peer_name
from ctrlserver.inject.strikes import Course
from ctrlserver.linux.udp import Address
from ctrlserver.net.injected.datagrams import Answer, StruckPeer
from ctrlserver.net.terms import DatagramTerms
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.kept import KeptPackets
from ctrlserver.stats.probing import Probing

#: Seconds between two walks over the streams for idle ones: 10 000 of them cost about half a millisecond.
SWEEP_SECONDS = 0.25

#: The peer of the stream that all peers beyond ``max_streams`` share, and its key in ``by_address``.
OTHERS = "*"
OTHERS_ADDRESS: Address = ()


class Answers(Protocol):
    """Who answers the peers of a port."""

    def strike(self, stream: DatagramStream, courses: Sequence[Course]) -> None:
        """Have ``courses`` strike the answers to ``stream``, and rules decide what they are."""

    def ruled(self, stream: DatagramStream) -> None:
        """The rules of the listener have changed."""


class DatagramStream:
    """One peer of a UDP port.

    ``address`` and ``name`` are its keys in ``by_address`` and ``by_name``; ``name`` is None until
    ``recvmmsg`` gives it. ``answer`` is how its datagrams are answered, by ``answers``; None where they are not.
    ``struck`` is what injections make of the answers, ``held`` the bytes of those that wait.
    """

    __slots__ = ("_peers", "address", "answer", "answers", "counters", "held", "name", "struck")

    def __init__(self, peers: Peers, address: Address, counters: StreamCounters) -> None:
        self.counters = counters
        self.address = address
        self.name: bytes | None = None
        self.answer: Answer | None = None
        self.answers: Answers | None = None
        self.struck: StruckPeer | None = None
        self.held = 0
        self._peers = peers

    def belongs_to(self, peers: Peers) -> None:
        """Another table has it from now on."""
        self._peers = peers

    def hold(self, nbytes: int) -> None:
        """So many bytes more are held of answers that wait, or fewer."""
        self.held += nbytes
        kept = self.counters.kept
        self._peers.memory.hold(self, self.held + (0 if kept is None else kept.memory))

    def abort(self, reason: str, now: float) -> None:
        """End the stream; the next datagram of its peer begins another one."""
        if self.counters.state == "open":
            self._peers.close(self, reason, now)


class Peers:
    """The open streams of the UDP port with the terms ``options``.

    ``guests``: streams came along that were opened under other terms, which may need the content.
    """

    __slots__ = ("_swept", "_terms", "by_address", "by_name", "guests", "memory", "options")

    def __init__(self, options: DatagramTerms, now: float) -> None:
        self.by_address: dict[Address, DatagramStream] = {}
        self.by_name: dict[bytes, DatagramStream] = {}
        self.options = options
        self.guests = False
        self.memory = options.terms.book.memory
        self._terms = options.terms
        self._swept = now

    def open(self, address: Address, now: float, since: float) -> DatagramStream:
        """Open a stream for a new peer, or give the stream of all others if ``max_streams`` are open.

        ``since`` is when its first datagram was seen, ``now`` when it was read.
        """
        book, terms, peer = self._terms.book, self._terms, peer_name(address)
        if self._told(1) > self.options.max_streams:
            self._told()
            address, peer = OTHERS_ADDRESS, OTHERS
            if (others := self.by_address.get(address)) is not None:
                return others
        counters = book.stream_opened(terms.origin, peer, since)
        book.first_data(counters, since, now)
        counters.last = now
        if terms.keep:
            counters.kept = KeptPackets(terms.keep, terms.keep_bytes)
        if terms.probe and peer != OTHERS:
            counters.probing = Probing()
        self.by_address[address] = stream = DatagramStream(self, address, counters)
        return stream

    def _told(self, more: int = 0) -> int:
        """The open streams that ``max_streams`` bounds, here and elsewhere, as if there were so many more here."""
        here = len(self.by_address) - (OTHERS_ADDRESS in self.by_address)
        return self.options.with_others(here + more)

    def adopt(self, others: Peers) -> None:
        """Go on with the open streams of ``others``: each is counted, kept, probed and answered as before."""
        self.by_address.update(others.by_address)
        self.by_name.update(others.by_name)
        self._told()
        for stream in others.by_address.values():
            stream.belongs_to(self)
        self.guests = bool(self.by_address) and (others.guests or others.options.needs_content)
        others.by_address.clear()
        others.by_name.clear()

    def close(self, stream: DatagramStream, reason: str, now: float) -> None:
        """Take an open stream out of the tables and off the book."""
        self.by_address.pop(stream.address, None)
        if stream.name is not None:
            self.by_name.pop(stream.name, None)
        self._told()
        if stream.struck is not None:
            stream.struck.give_up()
        self.memory.hold(stream, 0)
        self._terms.book.stream_closed(stream.counters, reason, 0, now)

    def sweep(self, now: float) -> None:
        """End the idle streams, of whose answers none waits; at most every ``SWEEP_SECONDS``."""
        if now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        before = now - self.options.idle_timeout
        for stream in [stream for stream in self.by_address.values() if stream.counters.last <= before]:
            if not stream.held:
                stream.abort("idle", now)
