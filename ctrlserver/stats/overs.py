"""Streams that another process has opened and closed: thousands a second, of most of which no object is made. PURE.

Model: a worker puts each into the ``Overs`` of its origin and its reason, and tells these. The parent adds up whole
columns. What depends on the order of all streams, their numbers and hosts, it takes from ``briefs``, sorted by time.
Only of the last ones, which the book keeps, it makes a :class:`StreamCounters`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from struct import Struct
from typing import Any, Final, Literal, TypeAlias

from attrs import define, field

from ctrlserver.addresses import hosts_of
from ctrlserver.stats.counters import Origin, StreamCounters, Totals
from ctrlserver.stats.probing import ProbeFigures

ROW: Final = Struct("=9d9q")
"""When the stream opened, began and closed, in the order of its process's events; the time of the close; ``opened``,
``first``, ``last`` and ``first_read``; the round-trip time, -1.0 if unknown; retransmits, incomplete bytes; packets,
bytes, unanswered, injected, swallowed, duplicated; its number there."""

_pack = ROW.pack
_WHEN, _NOW, _FIRST, _LAST, _READ = 0, 3, 5, 6, 7
_INCOMPLETE, _PACKETS, _BYTES, _UNANSWERED, _SWALLOWED, _DUPLICATED = 10, 11, 12, 13, 15, 16

OVER: Final = 3
"""The kind of a ``Brief``, among events."""

Brief: TypeAlias = tuple[float, Literal[3], "Overs", int, str, int, int]
"""When the stream opened, ``OVER``, the place of its row; its host, packets and bytes."""


@define(eq=False)
class Overs:
    """Those of one origin and reason. ``number``: that of these ``Overs`` in a snapshot.

    ``probed``: the figures of probe packets, by a stream's number in its process. ``worker`` and ``run`` are set by the
    parent.
    """

    number: int
    origin: Origin
    reason: str
    rows: bytearray = field(factory=bytearray)
    peers: list[str] = field(factory=list)
    probed: dict[int, ProbeFigures] = field(factory=dict)
    worker: int = 1
    run: int | None = None

    def add(self, stream: StreamCounters, when: float, begun: float, closed: float, now: float) -> None:
        """One more, whose numbers are final."""
        rtt, retransmits = (-1.0, 0) if stream.path is None else stream.tcp_figures() or (-1.0, 0)
        self.rows += _pack(
            when,
            begun,
            closed,
            now,
            stream.opened,
            stream.first,
            stream.last,
            stream.first_read,
            rtt,
            retransmits,
            stream.incomplete_bytes,
            stream.packets,
            stream.bytes,
            stream.unanswered,
            stream.injected,
            stream.swallowed,
            stream.duplicated,
            stream.stream,
        )
        self.peers.append(stream.peer)
        if stream.probing is not None:
            self.probed[stream.stream] = stream.probing.figures()

    def _column(self, kind: Literal["d", "q"], at: int) -> list[Any]:
        return memoryview(self.rows).cast(kind)[at :: ROW.size // 8].tolist()

    def _times(self, at: int) -> list[float]:
        return self._column("d", at)

    def _counts(self, at: int) -> list[int]:
        return self._column("q", at)

    def briefs(self) -> Iterator[Brief]:
        """Each of them."""
        many = len(self.peers)
        return zip(
            self._times(_WHEN),
            repeat(OVER, many),
            repeat(self, many),
            range(many),
            hosts_of(self.peers),
            self._counts(_PACKETS),
            self._counts(_BYTES),
            strict=True,
        )

    def sums(self) -> Totals:
        """What they come to."""
        packets, unanswered, swallowed = (sum(self._counts(at)) for at in (_PACKETS, _UNANSWERED, _SWALLOWED))
        return Totals(
            streams_open=0,
            streams_total=len(self.peers),
            packets=packets,
            bytes=sum(self._counts(_BYTES)),
            incomplete_bytes=sum(self._counts(_INCOMPLETE)),
            faults=0,
            rejected=0,
            replies=packets - unanswered - swallowed if self.origin.answers else 0,
            swallowed=swallowed,
            duplicated=sum(self._counts(_DUPLICATED)),
        )

    def last(self) -> float:
        """The time of their latest data."""
        return max(self._times(_LAST))

    def sent(self) -> list[tuple[float, float, float]]:
        """Of each that has sent: ``first``, ``first_read``, and the time of its close."""
        columns = zip(self._times(_FIRST), self._times(_READ), self._times(_NOW), strict=True)
        return [each for each in columns if each[0] >= 0]

    def stream(self, place: int, number: int) -> StreamCounters:
        """The one at a place, as the book has it."""
        row: tuple[Any, ...] = ROW.unpack_from(self.rows, place * ROW.size)
        _, _, _, _, opened, first, last, first_read, rtt, retransmits, incomplete, packets, octets, *others = row
        unanswered, injected, swallowed, duplicated, local = others
        return StreamCounters(
            number,
            self.origin,
            self.peers[place],
            opened,
            packets,
            octets,
            unanswered,
            injected,
            swallowed,
            duplicated,
            first,
            last,
            first_read,
            incomplete,
            "closed",
            self.reason,
            self.run if first >= 0 else None,
            None,
            None,
            None if rtt < 0 else (rtt, retransmits),
            self.worker,
            local,
            self.probed.get(local),
        )
