"""Plain echoes, many in one go: all that are ready are read in one system call and answered in another.

Rules:

- A stream is plain while its packets follow from the bytes, its peer takes replies and none is owed. Whoever is not, or
  is ready for something else than reading, is served by its owner, one by one.
- Everything that is not the whole echo of what was read goes to the stream itself, which does what it would have done:
  an end, a broken connection, a reply that was not taken whole.
- What the kernel did not take up is left to the owners, so that everybody gets on even where it takes up nothing.
- Where the table itself fails, what was read with it is lost: those streams end by our own fault, and none goes on with
  a gap.

Beware: rows are parts of the lane's buffer, so streams that need theirs come before those that end.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from select import EPOLLIN
from typing import Protocol

from twisted.logger import Logger

from ctrlserver.lane.lane import ROUND_SOCKETS, Event, Lane
from ctrlserver.linux.transfers import ROW_BYTES, Transfers, transfers
from ctrlserver.stats.counters import StreamCounters

#: Sockets ready at once from which on two calls for all cost less than two for each.
FEWEST = 4

_NOTHING = (-errno.EAGAIN, -errno.EINTR)

log = Logger()


def serve_together(lane: Lane) -> None:
    """Serve the echoes of ``lane`` together from now on, where the kernel can; to be called before there are any."""
    if lane.together is None:
        table = transfers(lane.view, ROUND_SOCKETS)
        if table is not None:
            lane.together = Echoes(table, lane)
        else:
            log.info("echoes are served one by one: the kernel has no AIO for sockets, or none left")


def join(lane: Lane, fd: int, stream: Echoing) -> None:
    """Serve ``stream``, whose socket ``fd`` is on ``lane``, together with the lane's other echoes where that can be."""
    if isinstance(lane.together, Echoes):
        lane.together.streams[fd] = stream


class Echoing(Protocol):
    """What a stream in mode ``echo`` shows here."""

    plain: bool
    counters: StreamCounters

    def received(self, chunk: memoryview, now: float) -> None:
        """The peer sent ``chunk``."""

    def unsent(self, chunk: memoryview, error: int, now: float) -> None:
        """``chunk``, counted already, was not taken: there is no room (0), or the peer is gone (errno)."""

    def ended(self, now: float) -> None:
        """The peer will send no more."""

    def lost(self, now: float) -> None:
        """The connection broke."""


class Echoes:
    """The echo streams of a lane by their sockets."""

    fewest = FEWEST

    def __init__(self, table: Transfers, lane: Lane) -> None:
        self._table = table
        self._clock = lane.clock
        self._failed = lane.fail
        self.streams: dict[int, Echoing] = {}

    def serve(self, events: list[Event]) -> list[Event]:
        """Echo for all plain streams among those ready; gives the events that are left to their owners."""
        stream_of = self.streams.get
        others: list[Event] = []
        sockets: list[int] = []
        streams: list[Echoing] = []
        for event in events:
            fd, bits = event
            stream = stream_of(fd)
            if stream is None or bits != EPOLLIN or not stream.plain:
                others.append(event)
            else:
                sockets.append(fd)
                streams.append(stream)
        if len(sockets) < FEWEST:
            return events
        try:
            return others + self._echo(sockets, streams)
        except Exception:
            for fd in sockets:
                self._failed(fd)
            raise

    def _echo(self, sockets: list[int], streams: list[Echoing]) -> list[Event]:
        """Read and answer; gives the events of those whose owners have to read (on)."""
        sizes = self._table.read(sockets)
        now = self._clock()
        if min(sizes) <= 0:
            return self._one_by_one(sockets, streams, sizes, now)
        for stream, size in zip(streams, sizes, strict=True):
            counters = stream.counters
            counters.bytes += size
            counters.last = now
        sent = self._table.send(len(sizes))
        if sent != sizes:
            self._settle(sockets, streams, sizes, sent, now)
        return self._in_full(sockets, sizes, sent) if max(sizes) == ROW_BYTES else []

    def _in_full(self, sockets: list[int], sizes: list[int], sent: list[int]) -> list[Event]:
        """Events for those who filled their rows and have more to say: their owners read more at a time."""
        rows = zip(sockets, sizes, sent, strict=True)
        return [(fd, EPOLLIN) for fd, size, taken in rows if size == taken == ROW_BYTES]

    def _one_by_one(self, sockets: list[int], streams: list[Echoing], sizes: list[int], now: float) -> list[Event]:
        """What came is echoed by each stream itself; then those end whose peers are done or gone.

        Gives the events of those for whom nothing was read.
        """
        left: list[Event] = []
        ends: list[tuple[int, Callable[[float], None]]] = []
        for row, (fd, stream, size) in enumerate(zip(sockets, streams, sizes, strict=True)):
            if size > 0:
                self._tell(fd, stream.received, self._table.row(row, size), now)
            elif size in _NOTHING:
                left.append((fd, EPOLLIN))
            else:
                ends.append((fd, stream.lost if size else stream.ended))
        for fd, end in ends:
            self._tell(fd, end, now)
        return left

    def _settle(
        self, sockets: list[int], streams: list[Echoing], sizes: list[int], sent: list[int], now: float
    ) -> None:
        """Hand what was not taken to the streams that owe it."""
        for row, (fd, stream, size, taken) in enumerate(zip(sockets, streams, sizes, sent, strict=True)):
            if taken < size:
                error = 0 if taken >= 0 or taken in _NOTHING else -taken
                self._tell(fd, stream.unsent, self._table.row(row, size)[max(taken, 0) :], error, now)

    def _tell(self, fd: int, part: Callable[..., None], *arguments: object) -> None:
        """One stream that raises is its own loss."""
        try:
            part(*arguments)
        except Exception:
            self._failed(fd)

    def forget(self, fd: int) -> None:
        """Socket ``fd``, of an echo or not, leaves the lane."""
        self.streams.pop(fd, None)

    def close(self) -> None:
        """Serve no more."""
        self.streams.clear()
        self._table.close()
