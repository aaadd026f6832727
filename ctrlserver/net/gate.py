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

from ctrlserver.stats.counters import REJECTIONS

MAX_STREAMS, MAX_STREAMS_PER_PEER, NOT_ALLOWED, UDP_STREAMS = REJECTIONS

#: Descriptors left for the admin port and files when streams have all the others.
RESERVED_DESCRIPTORS = 64

Network = IPv4Network | IPv6Network


@define(eq=False)
class Seats:
    """The streams a server has room for; ``limit`` 0 is no limit. ``last_refused`` is the peer turned away last."""

    limit: int = 0
    taken: int = 0
    last_refused: str = ""


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
        address = ip_address(host.strip("[]"))
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def host_of(peer: str) -> str:
    """The host of ``host:port``; empty where the peer has none."""
    return peer.rpartition(":")[0]


def seats_for(asked: int | None, descriptors: int) -> int:
    """How many streams to take: as many as asked, and never so many that the descriptors kept back are used up.

    Where there are few descriptors, half of them are kept back.
    """
    most = max(1, descriptors - min(RESERVED_DESCRIPTORS, descriptors // 2))
    return most if asked is None else min(asked, most)
