"""The parent's book is fed with what its workers tell, so that whoever asks it cannot tell them from one process.

Model: each stream of a worker has a mirror, which is a stream of the parent's book: opened, begun and closed by the
book's own methods, in the order of the events' times over all workers, and numbered by the parent. So runs, totals,
hosts and records come out as in one process. Its figures are those of the worker's last snapshot.

Rules: a snapshot is applied once, and none is left out. Whatever of it cannot be entered, the rest is, and ``apply``
raises the first error at its end. What a stream counted before an event is entered before it, as far as its last data
tells; a stream that has sent since then may have sent at any time, so it ends no run by silence.
Nothing that only grows falls, also when a worker is lost: its streams are closed with their last figures.

Beware: where streams from before a run send on, their part in it is known to a snapshot, not to a packet: to a quarter
of a second. Streams that began in the run are exact.
Beware: silence is judged up to the time of the oldest of the workers' last snapshots (``Runs.known``).
Beware: before a worker is replaced, ``lost`` is called: the numbers of the new one begin at 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from operator import itemgetter
from typing import Any, Final
from weakref import WeakValueDictionary

from attrs import define, field

from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin, StreamCounters, Totals
from ctrlserver.stats.overs import OVER, Brief
from ctrlserver.workers.snapshots import BEGUN, CLOSED, FIGURES, OPENED, Seen, Snapshot, parts

_ENTER: Final = 4
"""Enter a row of figures: a step between the events."""

_NOTHING: Final = Totals(0, 0, 0, 0, 0, 0, 0, 0)

_Step = tuple[float, int, "_Worker", Any]
"""When, what, of whom, and the event or the row."""


@define(eq=False)
class _Worker:
    """``open``: the mirrors of its open streams, by local number. The rest is as of its last snapshot."""

    number: int
    open: dict[int, StreamCounters] = field(factory=dict)
    at: float = -inf
    totals: Totals = _NOTHING
    rejected: Mapping[str, int] = field(factory=dict)
    loops: int = 0
    held: int = 0
    given_up: int = 0
    ended: int = 0


class Mirror:
    """Feeds ``book``, which nobody else feeds with streams."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._workers: dict[int, _Worker] = {}
        self._origins: WeakValueDictionary[str, Origin] = WeakValueDictionary()
        self._same: dict[int, Origin] = {}  # by the identities of those in the snapshots that are being applied
        self._dropped = (0, 0)
        self._lag = 0.0
        self._wrong: Exception | None = None
        book.counters.drops.append(lambda: self._dropped)

    def apply(self, snapshots: Mapping[int, Snapshot]) -> None:
        """Enter the snapshots of some workers, by their numbers, in the order of what happened."""
        self._book.changed()
        others = [worker.at for number, worker in self._workers.items() if number not in snapshots]
        self._book.runs.known = min(others, default=inf)
        told = [(self._worker(number), snapshot) for number, snapshot in snapshots.items()]
        since, until = min([each.at for each, _ in told], default=inf), max([each.at for _, each in told], default=-inf)
        for worker, snapshot in told:
            self._add(worker, snapshot)
        if any(snapshot.events for _, snapshot in told):
            self._take_steps(told, since, until)
        else:
            for worker, snapshot in told:
                self._enter(worker.open, FIGURES.iter_unpack(snapshot.figures))
        self._know()
        self._same.clear()
        wrong, self._wrong = self._wrong, None
        if wrong is not None:
            raise wrong

    def lost(self, number: int, now: float) -> int:
        """A worker is gone: close the mirrors of its open streams with their last figures; return their number."""
        book = self._book
        worker = self._workers.pop(number, None)
        if worker is None:
            return 0
        book.changed()
        for stream in worker.open.values():
            origin = stream.origin
            left = stream.bytes % origin.size if origin.by_size and origin.size else 0
            book.stream_closed(stream, "worker", left, now)
        for stream in book.counters.recent:
            if stream.worker == number:
                stream.local = 0  # its packets are gone, and the number will be another's
        book.memory.held -= worker.held
        self._know()
        return len(worker.open)

    def local(self, number: int) -> tuple[int, int] | None:
        """The worker of a stream and its number there; None if the worker is gone, or nobody knows the stream."""
        stream = self._book.counters.find(number)
        return None if stream is None or not stream.local else (stream.worker, stream.local)

    def take_lag(self) -> float:
        """The latest tick of all workers since this was called last, for the book's own ``tick``."""
        lag, self._lag = self._lag, 0.0
        return lag

    def _worker(self, number: int) -> _Worker:
        worker = self._workers.get(number)
        if worker is None:
            self._workers[number] = worker = _Worker(number)
        return worker

    def _know(self) -> None:
        self._book.runs.known = min([worker.at for worker in self._workers.values()], default=inf)

    def _add(self, worker: _Worker, snapshot: Snapshot) -> None:
        """What is new of the numbers that are not a stream's."""
        counters, memory = self._book.counters, self._book.memory
        for reason, number in snapshot.rejected.items():
            if number > (before := worker.rejected.get(reason, 0)):
                counters.rejected(reason, number - before)
        counters.loops += snapshot.loops - worker.loops
        counters.struck = counters.struck or snapshot.struck
        now, then = snapshot.totals, worker.totals
        total, in_batches = self._dropped
        total += now.dropped - then.dropped
        self._dropped = total, in_batches + now.dropped_in_batches - then.dropped_in_batches
        memory.held += snapshot.memory_held - worker.held
        memory.given_up += snapshot.memory_given_up - worker.given_up
        memory.ended += snapshot.memory_ended - worker.ended
        self._lag = max(self._lag, snapshot.lag_seconds)
        worker.at, worker.totals = snapshot.at, now
        worker.rejected, worker.loops = snapshot.rejected, snapshot.loops
        worker.held, worker.given_up = snapshot.memory_held, snapshot.memory_given_up
        worker.ended = snapshot.memory_ended

    def _take_steps(self, told: Sequence[tuple[_Worker, Snapshot]], since: float, until: float) -> None:
        """Enter events and figures by time; of streams that begin among the events, the figures come last."""
        book = self._book
        steps: list[_Step] = [
            (event[0], event[1], worker, event)
            for worker, snapshot in told
            for event in snapshot.events
            if not isinstance(event, int)
        ]
        closes = [step for step in steps if step[1] == CLOSED]
        rest: list[tuple[_Worker, Iterable[tuple[Any, ...]]]]
        rest = [(worker, FIGURES.iter_unpack(snapshot.figures)) for worker, snapshot in told]
        if book.runs.goes_on(len(closes), since, until):  # then the order makes no difference
            if any(snapshot.overs for _, snapshot in told):
                steps = [step for worker, snapshot in told for step in self._with_rows(worker, snapshot)]
        else:
            early: list[_Step] = []
            for when, _, worker, event in closes:
                _early(early, worker, (event[2], *event[6]), when)
            rest = [(worker, [row for row in rows if not _early(early, worker, row)]) for worker, rows in rest]
            apart = [(event[0], event[1], worker, event) for worker, snapshot in told for event in parts(snapshot)]
            steps = [*early, *steps, *apart]  # of one time the figures come first
        steps.sort(key=itemgetter(0))
        closing = len(closes) + sum(len(each.peers) for _, snapshot in told for each in snapshot.overs)
        briefs: list[Any] = []
        for step in steps:
            if step[1] == OVER:
                briefs.append(step)
                continue
            if briefs:
                closing -= len(briefs)
                self._over(briefs, closing)
                briefs = []
            _, kind, worker, event = step
            try:
                if kind == _ENTER:
                    self._enter(worker.open, (event,))
                elif kind == OPENED:
                    _, _, local, origin, peer, opened = event
                    worker.open[local] = stream = book.stream_opened(self._known(origin), peer, opened)
                    stream.worker, stream.local = worker.number, local
                elif kind == BEGUN:
                    _, _, local, since, now = event
                    book.first_data(worker.open[local], since, now)
                else:
                    closing -= 1
                    _, _, local, reason, incomplete_bytes, now, numbers, probed, path = event
                    self._enter(worker.open, ((local, *numbers),))
                    stream = worker.open.pop(local)
                    stream.probed, stream.path = probed, path
                    book.stream_closed(stream, reason, incomplete_bytes, now)
            except Exception as error:  # a bug
                self._wrong = self._wrong or error
        if briefs:
            self._over(briefs, 0)
        for worker, rows in rest:
            self._enter(worker.open, rows)

    def _known(self, origin: Origin) -> Origin:
        """The one origin that is equal to this one."""
        found = self._same.get(id(origin))
        if found is None:
            self._same[id(origin)] = found = self._origins.setdefault(repr(origin), origin)
        return found

    def _with_rows(self, worker: _Worker, snapshot: Snapshot) -> Sequence[Any]:
        """Steps of which some are rows of streams that are over; their sums are entered now."""
        briefs: list[Iterator[Brief]] = []
        for each in snapshot.overs:
            each.origin, each.worker = self._known(each.origin), worker.number
            briefs.append(each.briefs())
            try:
                self._book.over(each)
            except Exception as error:  # a bug
                self._wrong = self._wrong or error
                briefs[-1] = iter(())
        steps = [
            next(briefs[event], None) if isinstance(event, int) else (event[0], event[1], worker, event)
            for event in snapshot.events
        ]
        return [step for step in steps if step is not None]

    def _over(self, briefs: Sequence[Brief], later: int) -> None:
        try:
            self._book.streams_over(briefs, later)
        except Exception as error:  # a bug
            self._wrong = self._wrong or error

    def _enter(self, open_ones: Mapping[int, StreamCounters], rows: Iterable[tuple[Any, ...]]) -> None:
        for local, packets, octets, unanswered, injected, swallowed, duplicated, last in rows:
            try:
                stream = open_ones[local]
            except KeyError as error:  # a bug
                self._wrong = self._wrong or error
                continue
            stream.packets = packets
            stream.bytes = octets
            stream.unanswered = unanswered
            stream.injected = injected
            stream.swallowed = swallowed
            stream.duplicated = duplicated
            stream.last = last


def _early(steps: list[_Step], worker: _Worker, row: tuple[Any, ...], until: float = inf) -> bool:
    """Whether a row is entered by the time of its last data: its stream had begun to send before these steps.

    ``until``: its stream is closed then. The close may have been seen before data that was sent in the same turn.
    """
    stream = worker.open.get(row[0])
    if stream is None or stream.first < 0:
        return False
    stream.last = row[-1]
    steps.append((min(row[-1], until), _ENTER, worker, row))
    return True


def enter_seen(seen: Iterable[Seen], streams: Mapping[int, StreamCounters]) -> None:
    """What a worker has seen of streams, by their numbers there; one that is closed meanwhile has its last figures."""
    for local, probed, path in seen:
        if (stream := streams[local]).state == "open":
            stream.probed, stream.path = probed, path
