"""Which connections are accepted: the limits that a connection meets before it becomes a stream. PURE.

Rules:

- A gate only answers. Its caller closes the socket and counts the reason.
- A stream takes a seat when it is opened and leaves it when it is over. A rejected connection takes none.
- Peers without an address (unix sockets) meet ``max_streams`` alone: the file's permissions say who may connect.

Beware: all gates of a server share ``seats``; ``networks`` and ``per_peer`` belong to one listener.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from attrs import define, field

from ctrlserver.addresses import host_of
from ctrlserver.stats.counters import REJECTIONS

MAX_STREAMS, MAX_STREAMS_PER_PEER, NOT_ALLOWED, UDP_STREAMS, PROXY_HEADER, DRAINING = REJECTIONS

#: Descriptors withheld from streams: for the admin port and files.
RESERVED_DESCRIPTORS = 64

#: Of these, withheld from TCP admin connections: 4 for the unix socket, 8 for peers being rejected, 4 for files.
KEPT_FREE = 16

Network = IPv4Network | IPv6Network


@define(eq=False)
class Seats:
    """The streams that a server has room for; ``limit`` 0 is no limit. ``draining``: it takes no new ones.

    ``last_refused``: the peer rejected last; ``last_handshake``: the peer whose TLS handshake failed last, and why.
    """

    limit: int = 0
    taken: int = 0
    draining: bool = False
    last_refused: str = ""
    last_handshake: str = ""

    def full(self) -> str | None:
        """Why there is no seat for anybody; None if one is free."""
        return MAX_STREAMS if 0 < self.limit <= self.taken else None

    def refuse(self) -> str | None:
        """Why no new stream is accepted, whoever the peer; None if some are."""
        return DRAINING if self.draining else self.full()


@define(eq=False)
class Reserve:
    """The withheld descriptors, counted in admin connections. Each of those past ``room`` takes the seat of a stream.

    So admin connections and streams together never need more descriptors than there are, and those for files and for
    rejecting peers stay free. ``taken``: admin connections that are open; ``borrowed``: seats that they took.
    """

    seats: Seats
    room: int = 0
    taken: int = 0
    borrowed: int = 0

    def enter(self, spare: int = 0) -> bool:
        """Count a new admin connection; False if there is no descriptor for it. ``spare`` is added to the room."""
        seats = self.seats
        if self.taken - self.borrowed >= self.room + spare:
            if 0 < seats.limit <= seats.taken:
                return False
            seats.taken += 1
            self.borrowed += 1
        self.taken += 1
        return True

    def leave(self) -> None:
        """Count a closed admin connection; a borrowed seat is given back first."""
        self.taken -= 1
        if self.borrowed:
            self.borrowed -= 1
            self.seats.taken -= 1


@define(eq=False)
class Gate:
    """The limits of one listener. ``per_peer`` 0 is no limit; no ``networks`` means all networks."""

    seats: Seats
    per_peer: int = 0
    networks: Sequence[Network] = ()
    _streams_of: Counter[str] = field(init=False, factory=Counter)

    def refuses(self, peer: str) -> str | None:
        """Why ``peer`` (``host:port``, ``[v6]:port`` or ``unix``) is to be rejected; None if it is accepted."""
        seats = self.seats
        if not (self.networks or self.per_peer or seats.draining or 0 < seats.limit <= seats.taken):
            return None
        reason = None
        if not self.allows(peer):
            reason = NOT_ALLOWED
        elif (full := seats.refuse()) is not None:
            reason = full
        elif self.per_peer and self._streams_of[host_of(peer)] >= self.per_peer:
            reason = MAX_STREAMS_PER_PEER
        if reason is not None:
            seats.last_refused = peer
        return reason

    def allows(self, peer: str) -> bool:
        """Whether the listener accepts the network of ``peer``."""
        return not self.networks or not host_of(peer) or within(peer, self.networks)

    def enter(self, peer: str) -> None:
        """Count a new stream from ``peer``."""
        self.seats.taken += 1
        if self.per_peer:
            self.count(peer, 1)

    def leave(self, peer: str) -> None:
        """Count a stream from ``peer`` that is over."""
        self.seats.taken -= 1
        if self.per_peer:
            self.count(peer, -1)

    def count(self, peer: str, more: int) -> None:
        """Count so many more streams from the host of ``peer``, beside their seats."""
        if host := host_of(peer):
            self._streams_of[host] += more
            if not self._streams_of[host]:
                del self._streams_of[host]


def within(peer: str, networks: Sequence[Network]) -> bool:
    """Whether the address of ``peer`` is in one of ``networks``; one without an address is in none."""
    if not (host := host_of(peer)):
        return False
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def seats_for(asked: int | None, descriptors: int, in_use: int) -> int:
    """Streams to accept: as many as ``asked``, but none of the withheld descriptors; of few descriptors, half of them.

    ``asked`` None: as many as possible. If the server itself has so many ``in_use`` (listeners) that the withheld ones
    would not do for one admin connection, more are withheld.
    """
    withheld = max(min(RESERVED_DESCRIPTORS, descriptors // 2), in_use + KEPT_FREE + 1)
    most = max(1, descriptors - withheld)
    return most if asked is None else min(asked, most)


def room_for_admin(descriptors: int, seats: int, in_use: int) -> int:
    """Admin connections for which there are descriptors beside all streams; the server itself has ``in_use`` open."""
    return max(1, descriptors - seats - in_use - KEPT_FREE)
