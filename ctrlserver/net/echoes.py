"""Echoes served together: one system call reads all sockets that are ready, another one answers them.

Model:

Two system calls for each echo are most of what an echo costs. The kernel's AIO does many reads, or many sends, in one
call (``linux/transfers.py``). ``Echoes`` is what the lane keeps in ``together``: it has each round first::

    round's events --> plain streams ready to read, at least FEWEST of them?
                        no  --> all events go to their owners, as without Echoes
                        yes --> read all          one call; a row of the lane's buffer for each
                                count all         two additions each
                                send all rows     one call
                                events that are left --> their owners
    repeat()           --> read all streams without events, if the round before was of all: as above

A stream may be served here while it is *plain* (``EchoStream.plain``): the number of its packets follows from that of
its bytes, and it owes nothing. What happens to a row:

    all rows read some data: all are sent in one call
        sent in full           done; if the row was full, its owner reads on in this round
        sent in part or not    stream.unsent(rest): the stream owes the rest, or its peer is gone
    one row or more did not: nothing is sent together
        data                   stream.received(row): the stream echoes it by itself
        nothing, for now       left to its owner; so is what the kernel did not take up at all
        end of data, an error  stream.ended() or stream.lost(), after all the others

So everything but a whole echo is done by the stream itself, with the calls that its link would have made.

Rules:

- A link adds its stream with ``join``; the lane removes it with ``forget`` before the socket's number is used again.
- A stream that raises loses its own socket (``lane.drop``); the others go on.
- If the table itself fails, the data that it has read is lost. Those streams end as a fault of ours; none goes on with
  a gap. ``serve`` or ``repeat`` then raises, and the lane serves every socket by its owner from then on.

Beware: rows are parts of the lane's buffer. So streams that still need their rows come before those that end, since a
close reads into the same buffer.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from select import EPOLLIN

from twisted.logger import Logger

from ctrlserver.lane.lane import ROUND_SOCKETS, Lane
from ctrlserver.lane.together import Event
from ctrlserver.linux.transfers import ROW_BYTES, Transfers, transfers
from ctrlserver.net.modes import EchoStream

#: From this many sockets on, two calls for all cost less than two calls for each.
FEWEST = 4

#: At most so many calls of ``repeat`` do nothing after one in vain, which has read all sockets for little or nothing.
LONGEST_PAUSE = 63

#: More sockets than a round has.
_NEVER = ROUND_SOCKETS + 1

_NOTHING = (-errno.EAGAIN, -errno.EINTR)

log = Logger()


def serve_together(lane: Lane) -> None:
    """Serve the echoes that join ``lane`` from now on together, if the kernel can."""
    if lane.together is None:
        table = transfers(lane.view, ROUND_SOCKETS)
        if table is not None:
            lane.together = Echoes(table, lane)
        else:
            log.info(
                "echoes are served one by one: the kernel has no AIO for sockets, or none left",
                event="slower",
                lacking="AIO",
            )


def join(lane: Lane, fd: int, stream: EchoStream) -> None:
    """Serve ``stream``, whose socket ``fd`` is on ``lane``, together with the lane's other echoes if possible."""
    if isinstance(lane.together, Echoes):
        lane.together.add(fd, stream)


class Echoes:
    """The echo streams of a lane by their sockets. Until there are ``FEWEST`` of them, no round is large enough."""

    def __init__(self, table: Transfers, lane: Lane) -> None:
        self.fewest = _NEVER
        self._table = table
        self._clock = lane.clock
        self._failed = lane.drop
        self.streams: dict[int, EchoStream] = {}
        self._whole: tuple[list[int], list[EchoStream]] | None = None  # of the last round, if of all and in full
        self._pause = self._next_pause = 0  # calls of ``repeat``

    def add(self, fd: int, stream: EchoStream) -> None:
        """``stream``, whose socket is ``fd``, may be served together with others from now on."""
        self.streams[fd] = stream
        if len(self.streams) >= FEWEST:
            self.fewest = FEWEST

    def serve(self, events: list[Event]) -> list[Event]:
        """Echo for all plain streams that are ready to read; return the events that are left to their owners."""
        self._whole = None
        stream_of = self.streams.get
        others: list[Event] = []
        sockets: list[int] = []
        streams: list[EchoStream] = []
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
        return others + self._echo(sockets, streams)

    def repeat(self) -> bool:
        """Echo once more for all streams, without events; whether all had sent again and were echoed in full.

        Nothing is done unless the round before was one of all streams, each echoed in full. Nor is it for a while after
        two calls in a row that were in vain, ever longer: peers on other machines need more time to send again.
        """
        if self._whole is None:
            return False
        if self._pause > 0:
            self._pause -= 1
            return False
        (sockets, streams), self._whole = self._whole, None
        self._echo(sockets, streams, again=True)
        has_all = self._whole is not None
        if has_all:
            self._next_pause = 0
        else:
            self._pause, self._next_pause = self._next_pause, min(2 * self._next_pause + 1, LONGEST_PAUSE)
        return has_all

    def _echo(self, sockets: list[int], streams: list[EchoStream], *, again: bool = False) -> list[Event]:
        """Read and answer; return the events of sockets that their owners have to read."""
        number = len(sockets)
        try:
            sizes = self._table.read_again(number) if again else self._table.read(sockets)
            now = self._clock()
            if min(sizes) <= 0:
                return self._one_by_one(sockets, streams, sizes, now)
            for stream, size in zip(streams, sizes, strict=True):
                counters = stream.counters
                counters.bytes += size
                counters.last = now
            sent = self._table.send(number)
            if sent != sizes:
                self._settle(sockets, streams, sizes, sent, now)
            elif max(sizes) < ROW_BYTES:
                if number == len(self.streams):
                    self._whole = sockets, streams
                return []
        except Exception:
            for fd in sockets:
                self._failed(fd)
            raise
        rows = zip(sockets, sizes, sent, strict=True)  # the owner of a row that was filled reads on, with longer reads
        return [(fd, EPOLLIN) for fd, size, taken in rows if size == taken == ROW_BYTES]

    def _one_by_one(self, sockets: list[int], streams: list[EchoStream], sizes: list[int], now: float) -> list[Event]:
        """Have each stream echo its row itself; then end those whose peers are done or gone.

        Returns the events of sockets from which nothing was read.
        """
        left: list[Event] = []
        ends: list[tuple[int, Callable[[float], None]]] = []
        for row, (fd, stream, size) in enumerate(zip(sockets, streams, sizes, strict=True)):
            if size > 0:
                self._call(fd, stream.received, self._table.row(row, size), now)
            elif size in _NOTHING:
                left.append((fd, EPOLLIN))
            else:
                ends.append((fd, stream.lost if size else stream.ended))
        for fd, end in ends:
            self._call(fd, end, now)
        return left

    def _settle(
        self, sockets: list[int], streams: list[EchoStream], sizes: list[int], sent: list[int], now: float
    ) -> None:
        """Give each stream the part of its row that its socket did not take."""
        for row, (fd, stream, size, taken) in enumerate(zip(sockets, streams, sizes, sent, strict=True)):
            if taken < size:
                error = 0 if taken >= 0 or taken in _NOTHING else -taken
                self._call(fd, stream.unsent, self._table.row(row, size)[max(taken, 0) :], error, now)

    def _call(self, fd: int, part: Callable[..., object], *arguments: object) -> None:
        """Call a stream; if it raises, it alone leaves the lane."""
        try:
            part(*arguments)
        except Exception:
            self._failed(fd)

    def forget(self, fd: int) -> None:
        """Socket ``fd`` leaves the lane."""
        self.streams.pop(fd, None)
        self._whole = None
        if len(self.streams) < FEWEST:
            self.fewest = _NEVER

    def close(self) -> None:
        """Give the table back to the kernel."""
        self.streams.clear()
        self._table.close()
