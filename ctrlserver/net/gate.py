"""Who may come in: the bounds that a connection meets before it becomes a stream. PURE.

Rules: a gate only answers; who asks closes the socket and counts the reason. A stream takes its seat when it is opened
and leaves it when it is over, so nothing has to be given back for a connection that was turned away. Peers without an
address (unix sockets) meet ``max_streams`` alone: the permissions of the file say who may come.

Beware: ``seats`` are shared by all gates of one server; networks and ``max_streams_per_peer`` are a listener's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from attrs import define

from ctrlserver.addresses import host_of
from ctrlserver.stats.counters import REJECTIONS

MAX_STREAMS, MAX_STREAMS_PER_PEER, NOT_ALLOWED, UDP_STREAMS = REJECTIONS

#: Descriptors left for the admin port and files when streams have all the others.
RESERVED_DESCRIPTORS = 64

#: Of these, not for admin connections of the network: 4 for those of a unix socket, 8 for peers that are just being
#: turned away, 4 for files.
KEPT_FREE = 16

Network = IPv4Network | IPv6Network


@define(eq=False)
class Seats:
    """The streams a server has room for; ``limit`` 0 is no limit. ``last_refused`` is the peer turned away last."""

    limit: int = 0
    taken: int = 0
    last_refused: str = ""


@define(eq=False)
class Reserve:
    """The descriptors kept back, in admin connections; those past ``room`` each take the seat of a stream.

    So all admin connections there may be, and all streams there may be, never are more than there are descriptors, and
    what is kept for the files and for turning peers away stays free.
    """

    seats: Seats
    room: int = 0
    taken: int = 0
    borrowed: int = 0

    def enter(self, spare: int = 0) -> bool:
        """An admin connection comes in; False where there is no descriptor for it. ``spare`` more have room."""
        seats = self.seats
        if self.taken - self.borrowed >= self.room + spare:
            if 0 < seats.limit <= seats.taken:
                return False
            seats.taken += 1
            self.borrowed += 1
        self.taken += 1
        return True

    def leave(self) -> None:
        """One that came in is gone; a seat that was taken is given back first."""
        self.taken -= 1
        if self.borrowed:
            self.borrowed -= 1
            self.seats.taken -= 1


class Gate:
    """The bounds of one listener. ``per_peer`` 0 is no limit, no ``networks`` are all networks."""

    __slots__ = ("_networks", "_per_peer", "_streams_of", "seats")

    def __init__(self, seats: Seats, per_peer: int = 0, networks: Iterable[Network] = ()) -> None:
        self.seats = seats
        self._per_peer = per_peer
        self._networks = tuple(networks)
        self._streams_of: dict[str, int] = {}

    def refuses(self, peer: str) -> str | None:
        """Why ``peer`` (``host:port``, ``[v6]:port`` or ``unix``) may not come in now; None where it may."""
        seats = self.seats
        reason = None
        if not self.allows(peer):
            reason = NOT_ALLOWED
        elif 0 < seats.limit <= seats.taken:
            reason = MAX_STREAMS
        elif self._per_peer and self._streams_of.get(host_of(peer), 0) >= self._per_peer:
            reason = MAX_STREAMS_PER_PEER
        if reason is not None:
            seats.last_refused = peer
        return reason

    def allows(self, peer: str) -> bool:
        """Whether ``peer`` is of a network that may come in."""
        return not self._networks or self._is_allowed(peer)

    def enter(self, peer: str) -> None:
        """A stream from ``peer`` has been opened."""
        self.seats.taken += 1
        if self._per_peer and (host := host_of(peer)):
            self._streams_of[host] = self._streams_of.get(host, 0) + 1

    def leave(self, peer: str) -> None:
        """A stream from ``peer`` is over."""
        self.seats.taken -= 1
        if self._per_peer and (host := host_of(peer)):
            left = self._streams_of[host] - 1
            if left:
                self._streams_of[host] = left
            else:
                del self._streams_of[host]

    def _is_allowed(self, peer: str) -> bool:
        host = host_of(peer)
        if not host:
            return True
        address = ip_address(host)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def seats_for(asked: int | None, descriptors: int) -> int:
    """How many streams to take: as many as asked, and never so many that the descriptors kept back are used up.

    Where there are few descriptors, half of them are kept back.
    """
    most = max(1, descriptors - min(RESERVED_DESCRIPTORS, descriptors // 2))
    return most if asked is None else min(asked, most)


def room_for_admin(descriptors: int, seats: int, in_use: int) -> int:
    """How many admin connections there are descriptors for beside all streams; ``in_use`` are the server's own."""
    return max(1, descriptors - seats - in_use - KEPT_FREE)
