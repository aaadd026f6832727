"""The counters of each stream and of the server.

Rules: the hot path adds to the slots of its own :class:`StreamCounters` with a plain ``+=`` and touches nothing else.
Derived numbers have no counter: packets of a fixed size follow from the bytes, replies from the packets. ``totals``
adds the sums of the closed streams and a walk over the open ones, origin by origin: what is the same for all streams of
an origin is asked once, and only the slots that matter are read. Every close has one of :data:`REASONS`, and only the
first close of a stream counts. The streams of a listener share one :class:`Origin`, so that a stream costs a few
hundred bytes.

Beware: add nothing to a stream after ``Counters.closed``; the sums already contain its numbers.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Literal, Protocol, TypeAlias

from attrs import Factory, define, evolve, field, frozen

from ctrlserver.stats.kept import KeptPackets
from ctrlserver.stats.probing import ProbeFigures, Probing

Label: TypeAlias = str | int | float | bool

REASONS = (
    "eof",
    "reset",
    "fault",
    "idle",
    "limit",
    "slow-reader",
    "kicked",
    "drain",
    "handshake",
    "timeout",
    "injected",
    "worker",
)
"""Why a stream was closed; the words are published."""

REJECTIONS = ("max-streams", "max-streams-per-peer", "not-allowed", "udp-streams", "proxy-header", "draining")
"""Why a connection, or a datagram, was rejected before it became a stream; the words are published.

Datagrams of ``udp-streams`` are not lost: one stream counts those of all further peers."""

CLOSED_KEPT = 1000
"""Closed streams that the server keeps for queries: some hundred KiB."""

TcpFigures: TypeAlias = tuple[float, int]
"""Round-trip time in seconds, and retransmitted segments."""


class TcpPath(Protocol):
    """A connection whose TCP figures the kernel can report."""

    def tcp_figures(self) -> TcpFigures | None:
        """The figures now; None if the kernel gives none."""

    def unanswered_seconds(self) -> float:
        """For how long the peer's machine has owed an answer; 0 if it owes none."""


@frozen(eq=False)
class Origin:
    """Where streams come from: what all streams of one listener share.

    ``size`` is the fixed packet size in bytes, ``None`` where packets vary; ``labels`` are the listener's own fields.
    ``by_size``: the packets are the bytes divided by ``size``, without a counter. ``answers``: each gets a reply.
    """

    listener: str
    protocol: str
    framing: str
    mode: str
    size: int | None = None
    labels: Mapping[str, Label] = field(factory=dict)
    by_size: bool = False
    answers: bool = field(init=False, default=Factory(lambda self: self.mode in ("echo", "reply"), takes_self=True))


@define(eq=False)
class StreamCounters:
    """The numbers of one stream, written by the code that reads its socket.

    ``opened``, ``first``, ``first_read`` and ``last`` are monotonic seconds, the latter three (of data) -1.0 before
    any data: ``first`` is when data was seen, ``first_read`` and ``last`` are after the first and the latest read.
    ``packets`` stays 0 if ``origin.by_size``; see ``whole``. ``unanswered`` are the packets that got no reply, in
    a mode that replies, because the peer was gone. ``injected``: how often injections struck it; ``swallowed``: packets
    whose replies they swallowed, ``duplicated``: those whose replies they doubled. ``incomplete_bytes`` and ``reason``
    are set at the close. ``run`` is the run its first data fell into. ``probing`` is None unless the listener looks for
    probe packets. ``path`` gives the connection's figures on demand; after the close it is the last figures themselves.

    In the parent of several processes a stream mirrors one of ``worker``, which has the number ``local`` there;
    ``probed`` are the figures of that one's probe packets, as last told. ``told`` is the worker's: see ``workers/``.
    """

    stream: int
    origin: Origin
    peer: str
    opened: float
    packets: int = 0
    bytes: int = 0
    unanswered: int = 0
    injected: int = 0
    swallowed: int = 0
    duplicated: int = 0
    first: float = -1.0
    last: float = -1.0
    first_read: float = -1.0
    incomplete_bytes: int = 0
    state: Literal["open", "closed"] = "open"
    reason: str | None = None
    run: int | None = None
    kept: KeptPackets | None = None
    probing: Probing | None = None
    path: TcpPath | TcpFigures | None = None
    worker: int = 1
    local: int = 0
    probed: ProbeFigures | None = None
    told: int = 0

    def probe_figures(self) -> ProbeFigures | None:
        """What its probe packets came to; None if nobody looks for any."""
        return self.probed if self.probing is None else self.probing.figures()

    def tcp_figures(self) -> TcpFigures | None:
        """The figures now, or those at the close of a closed stream."""
        path = self.path
        return path if path is None or isinstance(path, tuple) else path.tcp_figures()

    def unanswered_seconds(self) -> float:
        """For how long the peer's machine has owed an answer; 0 if it owes none, and where no kernel knows."""
        path = self.path
        return 0.0 if path is None or isinstance(path, tuple) else path.unanswered_seconds()

    def seconds(self) -> float:
        """From the first data to the last; 0 if all of it came in one read, which does not say how long it took."""
        return 0.0 if self.last == self.first_read else max(0.0, self.last - self.first)

    def whole(self) -> int:
        """Whole packets so far."""
        origin = self.origin
        return self.bytes // origin.size if origin.by_size and origin.size else self.packets

    def replies(self) -> int:
        """Packets replied to so far, replies not yet delivered included."""
        return self.whole() - self.unanswered - self.swallowed if self.origin.answers else 0


@define
class Sums:
    """What some streams came to; ``open`` of them are."""

    open: int = 0
    streams: int = 0
    packets: int = 0
    bytes: int = 0


@frozen
class Totals:
    """All streams at one instant, open and closed; ``listeners`` by their names, those that have had streams."""

    streams_open: int
    streams_total: int
    packets: int
    bytes: int
    incomplete_bytes: int
    faults: int
    rejected: int
    replies: int
    dropped: int = 0
    dropped_in_batches: int = 0
    swallowed: int = 0
    duplicated: int = 0
    listeners: Mapping[str, Sums] = field(factory=dict)


@define(eq=False)
class Counters:
    """All streams since the start.

    ``open`` maps numbers to streams, oldest first. ``recent`` holds the streams closed last, the latest at its right.
    Each of ``drops`` returns the datagrams that the kernel dropped at one port since the start, and how many of these
    may have been whole batches, each counted as one. ``loops``: datagrams that we did not answer because their sender
    would have answered the answer. ``orders()``: the injections in force, and the hits of all there have been;
    ``struck``: there has been one, so streams may have been struck.
    """

    closed_kept: int = CLOSED_KEPT
    open: dict[int, StreamCounters] = field(factory=dict, init=False)
    recent: deque[StreamCounters] = field(
        init=False, default=Factory(lambda self: deque(maxlen=self.closed_kept), takes_self=True)
    )
    closed_by_reason: dict[str, int] = field(factory=lambda: dict.fromkeys(REASONS, 0), init=False)
    rejected_by_reason: Counter[str] = field(factory=Counter, init=False)
    loops: int = field(default=0, init=False)
    drops: list[Callable[[], tuple[int, int]]] = field(factory=list, init=False)
    orders: Callable[[], tuple[int, int]] = field(default=lambda: (0, 0), init=False)
    struck: bool = field(default=False, init=False)
    _of_origin: dict[Origin, set[StreamCounters]] = field(factory=dict, init=False)
    """The open streams of each origin that has some."""
    _closed_of: dict[str, Sums] = field(factory=dict, init=False)
    """What the closed streams of each listener came to, by its name."""
    _streams: int = field(default=0, init=False)
    _incomplete_bytes: int = field(default=0, init=False)
    _replies: int = field(default=0, init=False)
    _swallowed: int = field(default=0, init=False)
    _duplicated: int = field(default=0, init=False)
    _last: float = field(default=-1.0, init=False)
    _dropped: tuple[int, int] = field(default=(0, 0), init=False)
    """What ports that are closed had dropped."""

    def opened(self, origin: Origin, peer: str, now: float) -> StreamCounters:
        """A new stream, numbered from 1."""
        self._streams = number = self._streams + 1
        self.open[number] = stream = StreamCounters(number, origin, peer, now)
        self._of_origin.setdefault(origin, set()).add(stream)
        return stream

    def closed(self, stream: StreamCounters, reason: str, incomplete_bytes: int = 0) -> None:
        """Add the stream's numbers to the sums. Ignore a second close: a kick and an end of file may coincide.

        ``KeyError`` for a reason that is not one of :data:`REASONS`; nothing has changed then.
        """
        if stream.state == "closed":
            return
        self._add_closed(stream, reason, incomplete_bytes)
        del self.open[stream.stream]
        siblings = self._of_origin[stream.origin]
        siblings.remove(stream)
        if not siblings:
            del self._of_origin[stream.origin]

    def over(self, origin: Origin, reason: str, totals: Totals, last: float) -> None:
        """Add those of streams that have opened and closed meanwhile, up to ``last``. ``KeyError`` as ``closed``."""
        self.closed_by_reason[reason] += totals.streams_total
        sums = self._closed_of.setdefault(origin.listener, Sums())
        sums.streams += totals.streams_total
        sums.packets += totals.packets
        sums.bytes += totals.bytes
        self._replies += totals.replies
        self._swallowed += totals.swallowed
        self._duplicated += totals.duplicated
        self._incomplete_bytes += totals.incomplete_bytes
        self._last = max(self._last, last)

    def number(self, streams: int) -> int:
        """Give numbers to so many that have opened and closed meanwhile; return the one before their first."""
        self._streams += streams
        return self._streams - streams

    def _add_closed(self, stream: StreamCounters, reason: str, incomplete_bytes: int) -> None:
        self.closed_by_reason[reason] += 1
        stream.state = "closed"
        stream.reason = reason
        stream.incomplete_bytes = incomplete_bytes
        origin = stream.origin
        stream.packets = packets = stream.whole()
        if stream.path is not None:
            stream.path = stream.tcp_figures()
        sums = self._closed_of.get(origin.listener)
        if sums is None:
            self._closed_of[origin.listener] = sums = Sums()
        sums.streams += 1
        sums.packets += packets
        sums.bytes += stream.bytes
        self._replies += stream.replies()
        self._swallowed += stream.swallowed
        self._duplicated += stream.duplicated
        self._incomplete_bytes += incomplete_bytes
        if stream.last > self._last:
            self._last = stream.last
        self.recent.append(stream)

    def drops_end(self, dropped: Callable[[], tuple[int, int]]) -> None:
        """One of ``drops`` changes no more: keep its numbers alone."""
        self.drops.remove(dropped)
        self._dropped = (self._dropped[0] + (last := dropped())[0], self._dropped[1] + last[1])

    def dropped(self) -> tuple[int, int]:
        """Datagrams dropped at all ports there have been, and how many of these may have been batches."""
        drops = [dropped() for dropped in self.drops]
        return self._dropped[0] + sum([total for total, _ in drops]), self._dropped[1] + sum(
            [last for _, last in drops]
        )

    def rejected(self, reason: str, number: int = 1) -> None:
        """Connections that were rejected before they became streams; ``reason`` is one of :data:`REJECTIONS`."""
        self.rejected_by_reason[reason] += number

    def find(self, number: int) -> StreamCounters | None:
        """The open or kept closed stream of this number."""
        return self.open.get(number) or next((stream for stream in self.recent if stream.stream == number), None)

    def totals(self) -> Totals:
        """The sums now. The walk costs about 0.1 microseconds for each open stream."""
        listeners = {name: evolve(sums) for name, sums in self._closed_of.items()}
        replies = self._replies
        for origin, streams in self._of_origin.items():
            received = [stream.bytes for stream in streams]
            if origin.by_size and (size := origin.size):
                whole = sum([each // size for each in received])
            else:
                whole = sum([stream.packets for stream in streams])
            sums = listeners.setdefault(origin.listener, Sums())
            sums.open += len(streams)
            sums.streams += len(streams)
            sums.packets += whole
            sums.bytes += sum(received)
            if origin.answers:
                replies += whole - sum([stream.unanswered for stream in streams])
        swallowed, duplicated = self._swallowed, self._duplicated
        if self.struck:
            now_swallowed = sum([stream.swallowed for stream in self.open.values()])
            replies -= now_swallowed
            swallowed += now_swallowed
            duplicated += sum([stream.duplicated for stream in self.open.values()])
        dropped, dropped_in_batches = self.dropped()
        return Totals(
            streams_open=len(self.open),
            streams_total=self._streams,
            packets=sum([each.packets for each in listeners.values()]),
            bytes=sum([each.bytes for each in listeners.values()]),
            incomplete_bytes=self._incomplete_bytes,
            faults=self.closed_by_reason["fault"],
            rejected=self.rejected_by_reason.total(),
            replies=replies,
            dropped=dropped,
            dropped_in_batches=dropped_in_batches,
            swallowed=swallowed,
            duplicated=duplicated,
            listeners=listeners,
        )

    def last_data(self) -> float:
        """The monotonic time of the latest data, or -1.0. This is a walk, too."""
        return max([self._last, *[stream.last for stream in self.open.values()]])
