"""Who has a seat in which worker, so that ``max_streams`` and ``max_streams_per_peer`` hold over all of them. PURE.

Model::

    parent: gate admits --hand--> Seating.handed: the gate counts a stream     worker: Passed.enter, Passed.leave
            Seating.released <------------- Released ------------------------- Releases.take, now and then

A connection takes its seat in the parent when it is handed over, and leaves it when the worker tells that its stream
is over, or that it never became one. What is told late makes the parent refuse too many; so it asks before it refuses.

Rules:

- A seat is known by the listener's name and the peer. The gate is remembered only where it counts by peer: of the
  others just the number of seats matters, and all gates share ``seats``.
- Of connections through a proxy the worker alone knows the client. It tells how many it has taken in all, and how many
  seats they have now; those that the parent has handed over since have one each.
- A worker that is gone has no seats.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from ctrlserver.net.gate import Gate, Seats


@frozen
class Released:
    """From a worker: the seats that were left since the last time, peers by listener; through proxies, the sums."""

    over: Mapping[str, Sequence[str]] = field(factory=dict)
    proxied_taken: int = 0
    proxied_seats: int = 0


@define(eq=False)
class Releases:
    """The worker's side. ``seats``: all that are taken in the worker; ``open``: those of ``Passed``."""

    seats: Seats
    open: int = 0
    proxied_taken: int = 0
    _over: defaultdict[str, list[str]] = field(init=False, factory=lambda: defaultdict(list))

    def over(self, listener: str, peer: str) -> None:
        """A seat is left, or was never taken."""
        self._over[listener].append(peer)

    def take(self) -> Released:
        """What there is to tell."""
        over = dict(self._over)
        self._over.clear()
        return Released(over, self.proxied_taken, self.seats.taken - self.open)


@define(eq=False)
class Passed(Gate):
    """Of connections that the parent has admitted: nobody is rejected. ``entered`` counts the streams of all times."""

    listener: str = ""
    releases: Releases = field(kw_only=True)
    entered: int = 0

    def refuses(self, peer: str) -> str | None:
        """None."""
        return None

    def enter(self, peer: str) -> None:
        """Count a new stream."""
        self.seats.taken += 1
        self.releases.open += 1
        self.entered += 1

    def leave(self, peer: str) -> None:
        """Count a stream that is over, and have the parent told."""
        self.seats.taken -= 1
        self.releases.open -= 1
        self.releases.over(self.listener, peer)


@define
class _Proxied:
    handed: int = 0
    seats: int = 0


@define
class _Held:
    """The seats in a worker of one listener's connections. ``gates``: where a gate counts by peer; later ones, too."""

    peers: set[str] = field(factory=set)
    gates: dict[str, list[Gate]] = field(factory=dict)

    def leave(self, peer: str) -> bool:
        """Leave the seat that has been taken last, if a gate of it is known."""
        known = self.gates.get(peer)
        if known is None:
            return False
        known.pop().leave(peer)
        if not known:
            del self.gates[peer]
        return True


@define(eq=False)
class Seating:
    """The parent's side: the seats of each worker."""

    seats: Seats
    _held: defaultdict[tuple[int, str], _Held] = field(init=False, factory=lambda: defaultdict(_Held))
    _proxied: defaultdict[int, _Proxied] = field(init=False, factory=lambda: defaultdict(_Proxied))

    def handed(self, worker: int, listener: str, gate: Gate, peer: str, *, proxied: bool) -> None:
        """A connection was handed over to ``worker``."""
        if proxied:
            self._proxied[worker].handed += 1
            self._proxied[worker].seats += 1
            self.seats.taken += 1
        else:
            gate.enter(peer)
            held = self._held[worker, listener]
            if gate.per_peer or peer in held.peers or peer in held.gates:
                held.gates.setdefault(peer, []).append(gate)
            else:
                held.peers.add(peer)

    def released(self, worker: int, news: Released) -> None:
        """``worker`` tells."""
        for listener, peers in news.over.items():
            held = self._held[worker, listener]
            if held.gates:
                peers = [peer for peer in peers if not held.leave(peer)]
            self.seats.taken -= len(held.peers)
            held.peers.difference_update(peers)
            self.seats.taken += len(held.peers)
        proxied = self._proxied[worker]
        now = news.proxied_seats + max(0, proxied.handed - news.proxied_taken)
        self.seats.taken += now - proxied.seats
        proxied.seats = now

    def lost(self, worker: int) -> None:
        """``worker`` is gone."""
        for key in [key for key in self._held if key[0] == worker]:
            held = self._held.pop(key)
            self.seats.taken -= len(held.peers)
            for peer, gates in held.gates.items():
                for gate in gates:
                    gate.leave(peer)
        self.seats.taken -= self._proxied.pop(worker, _Proxied()).seats
