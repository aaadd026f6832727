"""What a worker tells the parent of its streams: all that has happened since it told last.

Model: a worker counts in a :class:`RecordingBook`. It notes each stream that opens, begins to send or closes, and
``take`` gives these events with the figures of the open streams that have changed. The parent enters both in the book
that people ask (``workers/merging.py``). A worker numbers its streams by itself; such a number is *local*. A stream
that has done all three since ``take`` was called last is one row of ``Overs``: most short connections are.

Rules: a packet costs a worker nothing more. Times of events never fall, but for that of an accept; a row has all of
its three. Each event is told once, and so are the last figures of a stream that has closed, so a snapshot must not be
lost. Other numbers are those since the worker's start, and the parent takes what is new.

Beware: events wait until somebody calls ``take``, a few hundred bytes for each (``waiting``). A worker that accepts by
itself must accept no more while nobody does.
Beware: the worker calls ``tick`` every ``SAMPLE_SECONDS``: a late tick tells that the process was paused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from attrs import field, frozen

from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import CLOSED_KEPT, Origin, StreamCounters, TcpFigures, Totals
from ctrlserver.stats.overs import ROW, Overs
from ctrlserver.stats.probing import ProbeFigures
from ctrlserver.stats.rates import SAMPLE_SECONDS

if TYPE_CHECKING:
    from ctrlserver.workers.ports.seating import Released

FIGURES: Final = Struct("=7qd")
"""An open stream's numbers: its local number, then its :data:`Numbers`."""

Numbers: TypeAlias = tuple[int, int, int, int, int, int, float]
"""Packets, bytes, unanswered, injected, swallowed, duplicated, and when the last data was read."""

OPENED: Final = 0
BEGUN: Final = 1
CLOSED: Final = 2

Opened: TypeAlias = tuple[float, Literal[0], int, Origin, str, float]
"""When, ``OPENED``, local number, origin, peer, and the time that the stream has as its opening."""

Begun: TypeAlias = tuple[float, Literal[1], int, float, float]
"""When, ``BEGUN``, local number; when its first data was seen, and when it was read."""

Closed: TypeAlias = tuple[float, Literal[2], int, str, int, float, Numbers, ProbeFigures | None, TcpFigures | None]
"""When, ``CLOSED``, local number, reason, incomplete bytes, the time of the close, and its last figures."""

Seen: TypeAlias = tuple[int, ProbeFigures | None, TcpFigures | None]
"""Local number of an open stream, and the figures of its probe packets and of its connection."""

Event: TypeAlias = Opened | Begun | Closed
"""The first item is the time in the order of this worker's events."""


@frozen
class Snapshot:
    """A worker at the monotonic time ``at``; it may be pickled.

    ``events``: each ``Event`` since the last snapshot, or a number: the next row of that one of ``overs`` is there.
    ``figures``: rows of ``FIGURES``, of the open streams whose numbers have changed since. ``struck``: an injection may
    have struck a stream. ``lag_seconds``: the latest tick since the last snapshot.

    The other numbers are since the worker's start, or of now. ``totals``: its streams. ``rejected`` by reason;
    ``loops``: datagrams unanswered so that no loop begins; of ``Memory``: what it holds, and has given up and ended.

    The worker itself adds: the ``hits`` of injections and ``answered`` of answers, each by its number; the peers of the
    last rejection and the last failed handshake; the seats ``released`` since the last snapshot; ``cpu_seconds`` and
    ``memory_bytes`` of its process.
    """

    at: float
    totals: Totals
    events: Sequence[Any] = ()
    overs: Sequence[Overs] = ()
    figures: bytes = b""
    struck: bool = False
    rejected: Mapping[str, int] = field(factory=dict)
    loops: int = 0
    memory_held: int = 0
    memory_given_up: int = 0
    memory_ended: int = 0
    lag_seconds: float = 0.0
    hits: Mapping[int, int] = field(factory=dict)
    answered: Mapping[int, int] = field(factory=dict)
    last_refused: str = ""
    last_handshake: str = ""
    released: Released | None = None
    cpu_seconds: float = 0.0
    memory_bytes: int = 0


class RecordingBook(Book):
    """The book of a worker: it has no runs, rates and hosts, which are the parent's, and cannot be asked for them."""

    def __init__(self, *, version: str, now: float, wall: float, closed_kept: int = CLOSED_KEPT, **bounds: Any) -> None:
        super().__init__(version=version, now=now, wall=wall, closed_kept=closed_kept, **bounds)
        self._events: list[Any] = []
        self._overs: dict[tuple[Origin, str], Overs] = {}
        self._fresh: dict[int, tuple[float, float]] = {}  # opened since ``take``: when, and when begun
        self._latest = now
        self._ticked: float | None = None
        self._lag = 0.0
        self.accepted = 0.0
        """When the parent accepted the connection that is being taken; 0: none is."""

    @property
    def waiting(self) -> int:
        """Events that nobody has taken."""
        return len(self._events) + len(self._fresh)

    def _when(self, now: float) -> float:
        """A time that is not before that of the last event."""
        if now > self._latest:
            self._latest = now
        return self._latest

    def stream_opened(self, origin: Origin, peer: str, now: float) -> StreamCounters:
        """A stream begins; the caller writes the counters returned."""
        when = now = self.accepted or now
        if not self.accepted:
            when = self._when(now)
        stream = self.counters.opened(origin, peer, now)
        self._fresh[stream.stream] = when, -1.0
        return stream

    def first_data(self, stream: StreamCounters, since: float, now: float) -> None:
        """A stream's first chunk, seen at ``since``, was read by ``now``; call it once, before you count the chunk."""
        stream.first, stream.first_read = since, now
        when = self._when(now)
        if (fresh := self._fresh.get(stream.stream)) is not None:
            self._fresh[stream.stream] = fresh[0], when
        else:
            self._events.append((when, BEGUN, stream.stream, stream))

    def first_turn_sent(self, stream: StreamCounters) -> None:
        """A source has sent what it could at once: until it sends more, nobody knows how fast that goes."""
        stream.first_read = stream.last

    def stream_closed(self, stream: StreamCounters, reason: str, incomplete_bytes: int, now: float) -> None:
        """A stream ends, for one of ``REASONS``; only the first call for a stream counts."""
        if stream.state == "closed":
            return
        self._count_closed(stream, reason, incomplete_bytes)
        local, when = stream.stream, self._when(now)
        if (fresh := self._fresh.pop(local, None)) is None:
            figures = _numbers(stream), stream.probe_figures(), stream.tcp_figures()
            self._events.append((when, CLOSED, local, reason, incomplete_bytes, now, *figures))
            return
        overs = self._overs.get((stream.origin, reason))
        if overs is None:
            self._overs[stream.origin, reason] = overs = Overs(len(self._overs), stream.origin, reason)
        overs.add(stream, *fresh, when, now)
        self._events.append(overs.number)

    def tick(self, now: float, lag_seconds: float, wall: float) -> None:
        """Called every ``SAMPLE_SECONDS``; ``lag_seconds`` is how late the call is."""
        self._ticked = now
        self._lag = max(self._lag, lag_seconds)

    def take(self, now: float, **around: Any) -> Snapshot:
        """What has happened since it was called last; ``around``: what the worker adds."""
        counters, memory = self.counters, self.memory
        events = [event if isinstance(event, int) else _told(event) for event in self._events]
        overs = list(self._overs.values())
        for local, (opened, begun) in self._fresh.items():
            stream = counters.open[local]
            events.append((opened, OPENED, local, stream.origin, stream.peer, stream.opened))
            if stream.first >= 0:
                events.append((begun, BEGUN, local, stream.first, stream.first_read))
        self._events, self._fresh, self._overs = [], {}, {}
        lag, self._lag = self._lag, 0.0
        if self._ticked is not None:
            lag = max(lag, now - self._ticked - SAMPLE_SECONDS)  # a tick is overdue
        return Snapshot(
            at=now,
            totals=counters.totals(),
            events=events,
            overs=overs,
            figures=_figures(counters.open.values(), struck=counters.struck),
            struck=counters.struck,
            rejected=dict(counters.rejected_by_reason),
            loops=counters.loops,
            memory_held=memory.held,
            memory_given_up=memory.given_up,
            memory_ended=memory.ended,
            lag_seconds=lag,
            **around,
        )

    def look_at(self, streams: Iterable[int]) -> list[Seen]:
        """The figures of those that are open, by their local numbers: some microseconds each, or some more."""
        found = [self.counters.open.get(local) for local in streams]
        return [(each.stream, each.probe_figures(), each.tcp_figures()) for each in found if each is not None]


def _figures(streams: Iterable[StreamCounters], *, struck: bool) -> bytes:
    """The rows of those whose numbers have grown since they were told: none falls, so their sum has grown."""
    if struck:
        changed = [each for each in streams if sum(_numbers(each)[:-1]) != each.told]
        for each in changed:
            each.told = sum(_numbers(each)[:-1])
    else:
        changed = [each for each in streams if each.packets + each.bytes + each.unanswered != each.told]
        for each in changed:
            each.told = each.packets + each.bytes + each.unanswered
    pack = FIGURES.pack
    return b"".join(
        [
            pack(
                each.stream,
                each.packets,
                each.bytes,
                each.unanswered,
                each.injected,
                each.swallowed,
                each.duplicated,
                each.last,
            )
            for each in changed
        ]
    )


def _numbers(stream: StreamCounters) -> Numbers:
    return (
        stream.packets,
        stream.bytes,
        stream.unanswered,
        stream.injected,
        stream.swallowed,
        stream.duplicated,
        stream.last,
    )


def parts(snapshot: Snapshot) -> Iterator[Any]:
    """The events (``Event``) that its ``overs`` are made of, stream by stream, in their order."""
    rows = [_apart(each) for each in snapshot.overs]
    for number in snapshot.events:
        if isinstance(number, int):
            yield from next(rows[number])


def _apart(overs: Overs) -> Iterator[list[Any]]:
    for row, peer in zip(ROW.iter_unpack(overs.rows), overs.peers, strict=True):
        when, begun, closed, now, opened, first, last, first_read, rtt, retransmits, incomplete, *counts, local = row
        told: list[Any] = [(when, OPENED, local, overs.origin, peer, opened)]
        if first >= 0:
            told.append((begun, BEGUN, local, first, first_read))
        figures = (*counts, last), overs.probed.get(local), None if rtt < 0 else (rtt, retransmits)
        told.append((closed, CLOSED, local, overs.reason, incomplete, now, *figures))
        yield told


def _told(event: Any) -> Event:
    """An event as it is told: of a stream that began, when its first data came is known by now."""
    if event[1] == BEGUN:
        when, kind, local, stream = event
        return when, kind, local, stream.first, stream.first_read
    told: Event = event
    return told
