"""The data plane of several processes: to the service what ``DataPlane`` is in one.

Model::

    bind() -> begin(): the workers start -> refresh() before anything is read -> leave() -> drain(): their last figures
                 |                            |
                 +-- accepted sockets -->     +-- snapshots --> Mirror --> the one book

It owns the ports (``SharingPlane``), and has the orders and rules of all listeners. What it accepts goes to a worker
(``Supervisor``), and what the workers count comes into the book (``Mirror``).

Rules:

- A reload binds in the parent first, all or nothing. Then each worker follows. One that cannot is replaced, and begins
  with the listeners of now.
- Bounds hold for all workers together: the parent counts who is accepted; what it cannot count is shared out.
- Kept packets stay in the worker; those that somebody asks for are fetched for the one reply.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from attrs import evolve
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from ctrlserver.config import Config, ListenerConfig
from ctrlserver.config.workers import is_balanced_by_kernel
from ctrlserver.errors import CommandError
from ctrlserver.logs.level import LEVEL
from ctrlserver.net.gate import seats_for
from ctrlserver.net.plane import Prepared
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.kept import Fetched
from ctrlserver.workers.channel import Lost
from ctrlserver.workers.handing import Said
from ctrlserver.workers.merging import Mirror, enter_seen
from ctrlserver.workers.messages import LookAt
from ctrlserver.workers.ordered.directing import Directing
from ctrlserver.workers.orders import Begin, Kick, Leave, Limits, NewConfig, Packets, packed, share
from ctrlserver.workers.ports.listeners import SharedListener, SharingPlane
from ctrlserver.workers.ports.sockets import for_worker
from ctrlserver.workers.process import OWN_DESCRIPTORS
from ctrlserver.workers.rounds import LATE_SECONDS
from ctrlserver.workers.snapshots import Snapshot
from ctrlserver.workers.supervisor import Supervisor

#: Seconds for which a question waits for workers that begin.
EARLY_SECONDS = 2.0


class SharedPlane(SharingPlane):
    """``config`` says how many workers there are. ``failed``: the daemon cannot go on, for this reason."""

    def __init__(
        self,
        config: Config,
        book: Book,
        reactor: Any,
        clock: Callable[[], float],
        failed: Callable[[str], object],
    ) -> None:
        self._config = config
        self._numbers = range(1, config.workers + 1)
        self._has_begun = False
        self._kicked: set[int] = set()
        self._asked_early: list[Deferred[None]] | None = []
        self._mirror = Mirror(book)
        self.supervisor = Supervisor(
            config.workers, reactor, begin=self._begin, mirror=self, failed=failed, clock=clock
        )
        super().__init__(
            config.listeners,
            book,
            reactor,
            clock,
            workers=config.workers,
            balance=config.balance,
            hand=self.supervisor.hand,
            flush=self.supervisor.flush,
            has_room=self.supervisor.has_room,
            refresh=self.supervisor.refresh,
        )
        self.supervisor.in_force, self.supervisor.moved = self.in_force, self._moved
        self.directing = Directing(self._ordering, self.rules, self, reactor)
        self.numbers = self.directing.numbers
        book.workers = lambda: (config.workers, len(self.supervisor.late), self.supervisor.restarts)

    def beside(self) -> dict[str, Any]:
        """What the admin port may do beside: of the desk, what is other than in one process."""
        return {
            "fresh": self.fresh,
            "fetch_packets": self.fetch_packets,
            "look_at": self.look_at,
            "workers": self.supervisor.rows,
            "settled": self.directing.settled,
        }

    # How the workers begin, and follow

    def begin(self) -> Deferred[None]:
        """Start the workers; the Deferred fires once all take connections."""
        self.log.info("workers: {workers}", event="workers", workers=self.workers)
        self._has_begun = True
        return self.supervisor.start().addCallback(lambda _: self._begun())

    def _begun(self) -> None:
        for listener in self.listeners:
            assert isinstance(listener, SharedListener)
            listener.room_again()
        self._answer_early()

    def _answer_early(self) -> None:
        early, self._asked_early = self._asked_early, None
        for each in early or ():
            each.callback(None)

    def _begin(self, number: int) -> tuple[Begin, list[int]]:
        gifts, descriptors = packed(self.given(number))
        ordered, shared = self.directing.all()
        begin = Begin(number, self._listeners(), gifts, self.supervisor.generation, self._limits(number), ordered)
        return begin, [*descriptors, *shared, self.tally.descriptor]

    def _listeners(self) -> tuple[ListenerConfig, ...]:
        return tuple(for_worker(each) for each in self._configs)

    def _limits(self, number: int) -> Limits:
        workers = self._config.workers
        by_kernel = any(is_balanced_by_kernel(each, self.balance) for each in self._configs)
        return Limits(
            max_streams=max(1, share(self.seats.limit, workers, number)) if by_kernel and self.seats.limit else 0,
            memory=max(1, self._memory.limit // workers),
            draining=self.seats.draining,
            level=LEVEL.name,
        )

    def limits_changed(self) -> None:
        """Tell the workers the limits of now, the level of the log, and whether none are new."""
        for number in self._numbers if self._has_begun else ():
            self.supervisor.tell(number, self._limits(number))

    def seats_for(self, asked: int | None, descriptors: int, in_use: int) -> tuple[int, int]:
        """Streams that there is room for in the workers; they take no descriptors of this process."""
        workers = self._config.workers
        most = seats_for(None, descriptors * workers, OWN_DESCRIPTORS * workers)
        return (most if asked is None else min(asked, most)), 0

    def prepare(self, configs: Sequence[ListenerConfig]) -> Prepared:
        """As ever; the workers follow once the new listeners are put in place."""
        prepared = super().prepare(configs)
        return evolve(prepared, put=partial(self._put, prepared))

    def _put(self, prepared: Prepared) -> Deferred[object]:
        closed = prepared.put()
        self.supervisor.generation = self.generation
        for number, is_running in self.asked():
            gifts, descriptors = packed(self.given(number))
            news = NewConfig(self._listeners(), gifts, self.supervisor.generation)
            followed = self.supervisor.ask(number, news, descriptors)
            followed.addErrback(self._cannot_follow, number)
            if is_running:
                self.directing.wait_for(followed)
        return closed

    def _cannot_follow(self, failure: Failure, number: int) -> None:
        if not failure.check(Lost):  # another begins with the listeners of now
            self.supervisor.replace(number, f"cannot follow the reload: {failure.getErrorMessage()}")

    # What is ordered of them

    def asked(self) -> list[tuple[int, bool]]:
        """The workers, and whether each runs."""
        return [(number, self.supervisor.is_running(number)) for number in self._numbers] if self._has_begun else []

    def ask(self, number: int, message: object, descriptors: Sequence[int] = ()) -> Deferred[Any]:
        """Ask one."""
        return self.supervisor.ask(number, message, descriptors)

    def replace(self, number: int, why: str) -> None:
        """One is of no use."""
        self.supervisor.replace(number, why)

    # What they count

    def fresh(self) -> Deferred[None]:
        """As ``refresh``, for who waits at the admin port: before the workers run that is for them, for a moment."""
        if self._asked_early is None:
            return self.supervisor.refresh(urgent=True)
        waits: Deferred[None] = Deferred()
        self._asked_early.append(waits)
        return waits.addTimeout(EARLY_SECONDS, self._reactor, lambda *_: None).addCallback(
            lambda _: self.supervisor.refresh(urgent=True)
        )

    def look_at(self, streams: Iterable[StreamCounters]) -> Deferred[Any] | None:
        """Have the figures of their probe packets and connections be of now, as far as their workers answer."""
        mine: defaultdict[int, dict[int, StreamCounters]] = defaultdict(dict)
        for each in streams:
            if each.state == "open" and each.local and each.worker not in self.supervisor.late:
                mine[each.worker][each.local] = each
        asked = [
            self.supervisor.ask(number, LookAt(tuple(of)))
            .addTimeout(LATE_SECONDS, self._reactor)
            .addCallback(enter_seen, of)
            for number, of in mine.items()
        ]
        return DeferredList(asked, consumeErrors=True) if asked else None

    def apply(self, snapshots: Mapping[int, Snapshot]) -> None:
        """Enter what workers have counted."""
        try:
            self._mirror.apply(snapshots)
        finally:
            self._kicked &= self._counters.open.keys()
            for number, snapshot in snapshots.items():
                if snapshot.released is not None:
                    self.seating.released(number, snapshot.released)
                self.directing.heard(number, snapshot.hits, snapshot.answered)
                self.seats.last_refused = snapshot.last_refused or self.seats.last_refused
                self.seats.last_handshake = snapshot.last_handshake or self.seats.last_handshake

    def lost(self, worker: int, now: float) -> None:
        """A worker is gone, with its streams."""
        self._mirror.lost(worker, now)
        self.seating.lost(worker)
        for listener in self.listeners:
            assert isinstance(listener, SharedListener)
            listener.lost(worker)
        self.directing.lost(worker)

    def lag(self) -> float:
        """The latest tick of the workers since this was called last, or the age of the figures of who is late."""
        return max(self._mirror.take_lag(), self.supervisor.lag)

    def reasons(self) -> list[str]:
        """Which workers take no connections now, and why."""
        return [f"worker {each.worker} is {each.state}" for each in self.supervisor.rows() if each.state != "running"]

    def status(self) -> str:
        """What a line about the server says of the workers."""
        late = f", {len(self.supervisor.late)} late" if self.supervisor.late else ""
        return f", {self._config.workers} workers{late}"

    def _moved(self, said: Said, worker: int) -> None:
        """What a lost worker had not taken has a seat in another."""
        generation, number, peer, *_ = said
        self.seat(worker, peer, generation, number)

    # Streams

    def kick(self, number: int) -> bool:
        """End stream ``number``; False if no such stream is open, or it is ended already."""
        found = self._mirror.local(number) if number in self._counters.open and number not in self._kicked else None
        if found is not None:
            worker, local = found
            self._kicked.add(number)
            self.supervisor.tell(worker, Kick(local))
        return found is not None

    def fetch_packets(self, number: int, most: int) -> Deferred[Fetched] | None:
        """The newest kept packets of a stream; ``CommandError`` if its worker does not answer. None: it has none."""
        found = self._mirror.local(number)
        if found is None:
            return None
        worker, local = found

        def late(failure: Failure) -> NoReturn:
            failure.trap(Lost, defer.TimeoutError)
            raise CommandError(503, "worker-late", f"worker {worker}, which serves stream {number}, does not answer")

        asked = self.supervisor.ask(worker, Packets(local, most))
        return asked.addTimeout(LATE_SECONDS, self._reactor).addErrback(late)

    # The end

    def leave(self) -> Deferred[object]:
        """Accept nothing new, and have the workers end silent streams."""
        closed = super().leave()
        self.supervisor.send(Leave())
        return closed

    def drain(self) -> Deferred[None]:  # type: ignore[override]
        """End all streams, and the workers; fires once their last figures are in the book."""
        ended = self.supervisor.stop()
        self._answer_early()
        return ended
