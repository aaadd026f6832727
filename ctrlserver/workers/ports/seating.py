"""Who has a seat in which worker, so that ``max_streams`` and ``max_streams_per_peer`` hold over all of them. PURE.

Model::

    parent: gate admits --hand--> Seating.handed: a seat is taken     worker: Passed.enter, Passed.leave
            Seating.released <-------------- Released --------------- Releases.take, now and then

A connection takes its seat in the parent when it is handed over. The worker tells how many connections it has taken in
all, and how many seats they have now; those that the parent has handed over since have one each. What is told late
makes the parent refuse too many; so it asks before it refuses.

Rules:

- Where a gate counts by peer, the worker tells besides whose streams are over, or never became any. Such a stream is
  known by the listener's name and the peer, and the gate that counted it is remembered.
- A worker that is gone has no seats.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from ctrlserver.net.gate import Gate, Seats


@frozen
class Released:
    """From a worker: the connections that it has taken, and the seats that it has now.

    ``over``: of gates that count by peer, those whose streams are over since the last time, by listener; by an empty
    name those of a listener that the worker does not know.
    """

    taken: int = 0
    seats: int = 0
    over: Mapping[str, Sequence[str]] = field(factory=dict)


@define(eq=False)
class Releases:
    """The worker's side. ``seats``: those that are taken in the worker."""

    seats: Seats
    _over: defaultdict[str, list[str]] = field(init=False, factory=lambda: defaultdict(list))

    def over(self, listener: str, peer: str) -> None:
        """A stream that a gate counts by its peer is over, or never began."""
        self._over[listener].append(peer)

    def take(self, taken: int, waiting: int = 0) -> Released:
        """What there is to tell of a worker that has taken so many connections; some ``waiting`` have no stream yet."""
        over = dict(self._over)
        self._over.clear()
        return Released(taken, self.seats.taken + waiting, over)


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
        self.entered += 1

    def leave(self, peer: str) -> None:
        """Count a stream that is over."""
        self.seats.taken -= 1
        self.over(peer)

    def over(self, peer: str) -> None:
        """A stream from ``peer`` is over, or never began: if the parent counts by peer, it is told."""
        if self.per_peer:
            self.releases.over(self.listener, peer)


@define
class _Worker:
    """The connections that were handed to a worker, and the seats that they have as far as is known.

    ``gates``: those that count by peer, of each listener and peer; later ones, too.
    """

    handed: int = 0
    seats: int = 0
    gates: dict[tuple[str, str], list[Gate]] = field(factory=dict)

    def leave(self, listener: str, peer: str) -> None:
        """A stream is over: of that peer's the one that was counted last."""
        key = (listener, peer) if listener else next((each for each in self.gates if each[1] == peer), ("", peer))
        known = self.gates.get(key)
        if known is not None:
            known.pop().count(peer, -1)
            if not known:
                del self.gates[key]


@define(eq=False)
class Seating:
    """The parent's side: the seats of each worker."""

    seats: Seats
    _workers: defaultdict[int, _Worker] = field(init=False, factory=lambda: defaultdict(_Worker))

    def handed(self, worker: int, listener: str, gate: Gate, peer: str) -> None:
        """A connection was handed over to ``worker``."""
        self.seats.taken += 1
        its = self._workers[worker]
        its.handed += 1
        its.seats += 1
        if gate.per_peer:
            gate.count(peer, 1)
            its.gates.setdefault((listener, peer), []).append(gate)

    def released(self, worker: int, news: Released) -> None:
        """``worker`` tells."""
        its = self._workers[worker]
        now = news.seats + max(0, its.handed - news.taken)
        self.seats.taken += now - its.seats
        its.seats = now
        for listener, peers in news.over.items():
            for peer in peers:
                its.leave(listener, peer)

    def lost(self, worker: int) -> None:
        """``worker`` is gone."""
        its = self._workers.pop(worker, _Worker())
        self.seats.taken -= its.seats
        for (_, peer), gates in its.gates.items():
            for gate in gates:
                gate.count(peer, -1)
