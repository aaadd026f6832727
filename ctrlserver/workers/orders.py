"""What the parent says to its workers of the data plane: how each begins, and what changes while it runs.

Model: ``Begin`` makes the worker's plane. ``NewConfig`` goes to other listeners, ``Limits`` to other limits; ``Leave``
has it accept nothing new. ``Kick`` and ``Packets`` are about one stream, by its number in the worker.

Rules: a message has all that a worker needs, so one that begins late gets the same as one that was there. Sockets go as
descriptors beside it, and are the worker's own from then on.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from ctrlserver.config import ListenerConfig
from ctrlserver.logs.level import LEVEL
from ctrlserver.net.plane import SWEEP_SECONDS
from ctrlserver.stats.kept import Fetched
from ctrlserver.workers.ordered.shared import Tally
from ctrlserver.workers.ordered.told import Ordered
from ctrlserver.workers.ports.given import Given, GivenPlane

if TYPE_CHECKING:
    from ctrlserver.workers.handing import Said
    from ctrlserver.workers.snapshots import RecordingBook
    from ctrlserver.workers.worker import Worker

NOTHING_ORDERED = Ordered()

#: Bytes of packets that a worker gives to one who asks: a reply holds them until it is read.
FETCHED_BYTES = 4 << 20

Gift = tuple[bool, bool, int | None, int | None, int, int]
"""A ``Given``: exact and inherited, the places of its two sockets among the descriptors, drops, row."""


def packed(given: Mapping[str, Given]) -> tuple[dict[str, Gift], list[int]]:
    """What is said of some sockets, and their descriptors."""
    gifts: dict[str, Gift] = {}
    descriptors: list[int] = []

    def place(sock: socket.socket | None) -> int | None:
        if sock is None:
            return None
        descriptors.append(sock.fileno())
        return len(descriptors) - 1

    for name, each in given.items():
        gifts[name] = each.exact, each.inherited, place(each.stream), place(each.datagrams), each.drops, each.row
    return gifts, descriptors


def unpacked(gifts: Mapping[str, Gift], sockets: Sequence[socket.socket]) -> dict[str, Given]:
    """The same in the worker."""
    return {
        name: Given(
            exact=exact,
            stream=None if stream is None else sockets[stream],
            datagrams=None if datagrams is None else sockets[datagrams],
            inherited=inherited,
            drops=drops,
            row=row,
        )
        for name, (exact, inherited, stream, datagrams, drops, row) in gifts.items()
    }


def share(whole: int, workers: int, number: int) -> int:
    """Of ``whole``, the part of worker ``number`` of so many: the parts differ by one at most."""
    return whole // workers + (number <= whole % workers)


@frozen
class Limits:
    """What bounds the worker: the most streams (0: the parent counts them), bytes for peers; whether none are new."""

    max_streams: int
    memory: int
    draining: bool
    level: str

    def carry_out(self, worker: Worker, descriptors: Sequence[int] = ()) -> None:
        """Have it hold from now on."""
        seats = worker.plane.seats
        seats.limit, seats.draining = self.max_streams, self.draining
        worker.book.memory.limit = self.memory
        LEVEL.set(self.level)


@frozen
class Begin:
    """Be worker ``number``, with these listeners. The last descriptor is the ``Tally`` of all."""

    number: int
    listeners: Sequence[ListenerConfig]
    gifts: Mapping[str, Gift]
    generation: int
    limits: Limits
    ordered: Ordered = NOTHING_ORDERED

    def carry_out(self, worker: Worker, descriptors: Sequence[int]) -> None:
        """Make the plane, and bind what was given."""
        LEVEL.set(self.limits.level)
        worker.begin(self.number)
        *descriptors, tally = descriptors
        own = len(descriptors) - self.ordered.descriptors
        sockets = [socket.socket(fileno=each) for each in descriptors[:own]]
        given = unpacked(self.gifts, sockets)
        plane = worker.plane = GivenPlane(
            self.listeners,
            worker.book,
            worker.reactor,
            worker.clock,
            given,
            self.generation,
            (Tally(tally), self.number),
        )
        plane.gather(worker.channel.fileno(), worker.taker.fileno())
        self.limits.carry_out(worker)
        self.ordered.reach(plane, descriptors[own:])
        plane.bind()
        plane.take_from(worker.taker)
        for each in sockets:
            each.close()
        worker.taker.handed = taking(plane, worker.book)
        worker.not_taken = plane.not_taken
        worker.make_way = plane.is_busy
        worker.around = lambda: around(plane, worker.taker.taken)
        worker.at_end = lambda: at_end(plane)
        Ticking(worker).start()


def taking(plane: GivenPlane, book: RecordingBook) -> Callable[[int, Said], None]:
    """Serves a connection; a stream that begins with it has begun when the parent accepted it."""

    def take(descriptor: int, said: Said) -> None:
        generation, listener, peer, strike, book.accepted = said
        try:
            plane.take(descriptor, generation, listener, peer, strike)
        finally:
            book.accepted = 0.0

    return take


def around(plane: GivenPlane, taken: int) -> dict[str, Any]:
    """What a snapshot has beside what the book counts; ``taken``: connections that were handed to the worker."""
    seats = plane.seats
    return {
        "hits": plane.carried.hits(),
        "answered": plane.carried_rules.hits(),
        "last_refused": seats.last_refused,
        "last_handshake": seats.last_handshake,
        "released": plane.released(taken),
    }


def at_end(plane: GivenPlane) -> None:
    """End all streams; their last figures are in the snapshot that follows."""
    plane.stop_listening()
    plane.drain()
    plane.stop()


class Ticking:
    """Sweeps the worker's plane, and has its book note how late that is."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._due = worker.clock() + SWEEP_SECONDS
        self._tick = LoopingCall(self._look)
        self._tick.clock = worker.reactor

    def start(self) -> None:
        """From now on."""
        self._tick.start(SWEEP_SECONDS, now=False)

    def _look(self) -> None:
        worker = self._worker
        now = worker.clock()
        lag, self._due = max(0.0, now - self._due), now + SWEEP_SECONDS
        worker.plane.sweep()
        worker.book.tick(now, lag, time.time())


@frozen
class NewConfig:
    """Go to other listeners. If it cannot, it is refused, and the worker is of no use any more."""

    listeners: Sequence[ListenerConfig]
    gifts: Mapping[str, Gift]
    generation: int

    def carry_out(self, worker: Worker, descriptors: Sequence[int]) -> Deferred[None]:
        """Bind what was given, and put it in place; the answer comes once what is left over is closed."""
        sockets = [socket.socket(fileno=each) for each in descriptors]
        try:
            closed: Deferred[object] = worker.plane.prepare(self.listeners, unpacked(self.gifts, sockets)).put()
            return closed.addCallback(lambda _: None)
        finally:
            for each in sockets:
                each.close()


@frozen
class Leave:
    """Accept nothing new, and end silent streams, now and from then on."""

    def carry_out(self, worker: Worker, descriptors: Sequence[int] = ()) -> None:
        """Begin."""
        worker.plane.leave()


@frozen
class Kick:
    """End a stream, by its number in the worker."""

    local: int

    def carry_out(self, worker: Worker, descriptors: Sequence[int] = ()) -> bool:
        """Whether it was open."""
        return bool(worker.plane.kick(self.local))


@frozen
class Packets:
    """The newest kept packets of a stream, by its number in the worker."""

    local: int
    most: int

    def carry_out(self, worker: Worker, descriptors: Sequence[int] = ()) -> Fetched:
        """Those, as far as they have ``FETCHED_BYTES``."""
        stream = worker.book.counters.find(self.local)
        if stream is None or stream.kept is None:
            return Fetched(None)
        return Fetched(stream.kept.newest(self.most, FETCHED_BYTES), len(stream.kept))
