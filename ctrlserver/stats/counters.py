"""What is counted, per stream and in all.

Rules: the hot path adds to the slots of its own :class:`StreamCounters` with a plain ``+=`` and touches nothing else;
totals are made when somebody asks, from the sums of the closed streams and a walk over the open ones. Every close has
one of :data:`REASONS`, and only the first close of a stream counts. All that the streams of a listener share is in one
:class:`Origin`, so that a stream costs a few hundred bytes.

Beware: a stream must not be counted on after ``Counters.closed``; its numbers are in the sums by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Literal, TypeAlias

from attrs import define, field, frozen

from ctrlserver.stats.kept import KeptPackets

Label: TypeAlias = str | int | float | bool

REASONS = ("eof", "reset", "fault", "idle", "limit", "slow-reader", "kicked", "drain")
"""Why a stream was closed; the words are published."""

CLOSED_KEPT = 1000
"""Closed streams that stay on view: some hundred KiB, and more lines than a person reads."""


@frozen
class Origin:
    """Where streams come from: what all streams of one listener share.

    ``size`` is the fixed packet size in bytes, ``None`` where packets vary; ``labels`` are the listener's own fields.
    """

    listener: str
    protocol: str
    framing: str
    mode: str
    size: int | None = None
    labels: Mapping[str, Label] = field(factory=dict)


@define(eq=False)
class StreamCounters:
    """The numbers of one stream, written by the one who reads it.

    ``opened``, ``first`` and ``last`` are monotonic seconds; ``first`` and ``last`` (of data) are -1.0 before any
    data. ``incomplete_bytes`` and ``reason`` are set at the close. ``run`` is the run its first data fell into.
    """

    stream: int
    origin: Origin
    peer: str
    opened: float
    packets: int = 0
    bytes: int = 0
    replies: int = 0
    first: float = -1.0
    last: float = -1.0
    incomplete_bytes: int = 0
    state: Literal["open", "closed"] = "open"
    reason: str | None = None
    run: int | None = None
    kept: KeptPackets | None = None


@frozen
class Totals:
    """All streams at one instant, open and closed; ``last`` is the monotonic time of the latest data or -1.0."""

    streams_open: int
    streams_total: int
    packets: int
    bytes: int
    incomplete_bytes: int
    faults: int
    rejected: int
    replies: int
    last: float


class Counters:
    """All streams since the start.

    ``open`` maps numbers to streams, oldest first. ``recent`` holds the streams closed last, the latest at its right.
    """

    __slots__ = (
        "_bytes",
        "_incomplete_bytes",
        "_last",
        "_packets",
        "_rejected",
        "_replies",
        "_streams",
        "closed_by_reason",
        "open",
        "recent",
        "rejected_by_reason",
    )

    def __init__(self, closed_kept: int = CLOSED_KEPT) -> None:
        self.open: dict[int, StreamCounters] = {}
        self.recent: deque[StreamCounters] = deque(maxlen=closed_kept)
        self.closed_by_reason: dict[str, int] = dict.fromkeys(REASONS, 0)
        self.rejected_by_reason: dict[str, int] = {}
        self._streams = 0
        self._packets = 0
        self._bytes = 0
        self._incomplete_bytes = 0
        self._replies = 0
        self._rejected = 0
        self._last = -1.0

    def opened(self, origin: Origin, peer: str, now: float) -> StreamCounters:
        """A new stream, numbered from 1."""
        self._streams = number = self._streams + 1
        self.open[number] = stream = StreamCounters(number, origin, peer, now)
        return stream

    def closed(self, stream: StreamCounters, reason: str, incomplete_bytes: int = 0) -> None:
        """Take the stream's numbers into the sums. A second close is ignored: a kick and an end may meet.

        ``KeyError`` for a reason that is not one of :data:`REASONS`; nothing has changed then.
        """
        if stream.state == "closed":
            return
        self.closed_by_reason[reason] += 1
        del self.open[stream.stream]
        stream.state = "closed"
        stream.reason = reason
        stream.incomplete_bytes = incomplete_bytes
        self._packets += stream.packets
        self._bytes += stream.bytes
        self._replies += stream.replies
        self._incomplete_bytes += incomplete_bytes
        self._last = max(self._last, stream.last)
        self.recent.append(stream)

    def rejected(self, reason: str) -> None:
        """A connection that was turned away before it became a stream; ``reason`` is one of the shell's few words."""
        self._rejected += 1
        self.rejected_by_reason[reason] = self.rejected_by_reason.get(reason, 0) + 1

    def totals(self) -> Totals:
        """The sums now. Costs a walk over the open streams, about 0.1 microseconds each."""
        packets, octets, replies, last = self._packets, self._bytes, self._replies, self._last
        for stream in self.open.values():
            packets += stream.packets
            octets += stream.bytes
            replies += stream.replies
            if stream.last > last:
                last = stream.last
        return Totals(
            streams_open=len(self.open),
            streams_total=self._streams,
            packets=packets,
            bytes=octets,
            incomplete_bytes=self._incomplete_bytes,
            faults=self.closed_by_reason["fault"],
            rejected=self._rejected,
            replies=replies,
            last=last,
        )
