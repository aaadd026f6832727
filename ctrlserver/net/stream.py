"""One stream: framing x mode, counted exactly, whichever way its bytes arrive.

Model:

A stream has no socket; its link has: a ``LaneLink`` on the lane (``net/links.py``), a ``StreamProtocol`` on a Twisted
transport (``net/protocol.py``). The link reads and sends; the stream counts, answers and decides when it is over::

    link   --received(chunk), skipped(bytes), writable(), ended(), lost(), failed()-->  stream
    stream --bytes left, of too many packets for a turn-->                              link, which gives them again
    stream --sender()(block), hold(), release(), close(), drop()-->                     link
    sweep, kick, drain, TLS deadline --waited(), abort(reason)-->                       stream
    stream --stream_closed, seat left-->                                                book, gate, OpenStreams

A sink (``Stream``) is open or over. A stream that answers (``AnsweringStream``) has five states::

    state     outbox  _closing   link          what it does
    READING   none    None       reads         counts each chunk and sends the replies at once
    OWING     some    None       held          the socket did not take all replies: waits for room
    CLOSING   some    a reason   held          the same, and then it is over for that reason
    MUTE      none    "reset"    reads         the peer takes no replies: counts to the end of its data
    OVER      none    any        NO_LINK       nothing; to end it again has no effect

    READING --reply not taken whole--> OWING --all taken--> READING
    READING --end of data, fault-----> OVER
    OWING   --finish(reason)---------> CLOSING --all taken--> OVER
    OWING, CLOSING --end of data-----> OVER, "reset": a held link reads nothing, so the peer has hung up
    READING, OWING, CLOSING --send fails--> MUTE --end of data--> OVER, "reset"
    any     --abort(reason)----------> OVER; after the stall timeout in OWING or CLOSING the reason is "slow-reader"

Rules:

- Work is per chunk. There is no object, no call and no log line per packet.
- A stream that owes replies reads nothing, so it holds at most one chunk of replies.
- A stream is over once, for one reason, which the book counts.
- A peer that takes no more replies may have sent data before. That data still counts: hence MUTE. Packets whose
  replies were given up are counted as unanswered.

Beware: a chunk is a view of a buffer that the link uses again as soon as ``received`` returns.
Beware: link and stream refer to each other. ``_end`` cuts that circle, or both would wait for the cycle collector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ctrlserver.net.probes import begun
from ctrlserver.net.replies import Outbox
from ctrlserver.net.terms import Terms
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.wire.datagram import DATAGRAM
from ctrlserver.wire.framing import Framing

#: Blocks of replies that a stream sends before the other streams have their turn.
BLOCKS_A_TURN = 16


class Link(Protocol):
    """Owns the socket of a stream. Times are monotonic seconds."""

    def since(self, now: float) -> float:
        """The time at which the data that is handed over at ``now`` was seen in the socket."""

    def sender(self) -> Callable[[bytes | memoryview], int]:
        """A function that sends a block and returns how many of its bytes the socket took.

        If the socket takes nothing now, it returns 0 or raises ``BlockingIOError``; any other ``OSError`` means that
        the peer is gone.
        """

    def hold(self) -> None:
        """Stop reading; call ``writable`` when the socket has room."""

    def release(self) -> None:
        """Read again; do not call ``writable``."""

    def close(self) -> None:
        """Close the socket after the data that it has taken is sent."""

    def drop(self) -> None:
        """Close the socket at once."""


class NoLink:
    """The link of a stream that is over: it takes nothing and does nothing."""

    def since(self, now: float) -> float:
        """As given."""
        return now

    def sender(self) -> Callable[[bytes | memoryview], int]:
        """A function that takes no byte."""
        return lambda _: 0

    def hold(self) -> None:
        """Nothing."""

    release = close = drop = hold


NO_LINK = NoLink()

#: The framing of a stream that is over: it holds nothing, while Twisted or the collector may still hold the stream.
NO_FRAMING: Framing = DATAGRAM.new()


class Striking(Protocol):
    """Has streams struck by injections (``net/injected/striking.py``)."""

    def opened(self, stream: Stream) -> None:
        """``stream`` opens while there are orders or rules: if they concern it, it goes over to another class."""


class OpenStreams:
    """The open streams of one listener, ``all`` by their numbers. ``clock`` returns monotonic seconds.

    Those in ``waiting`` owe replies that their peers do not take, or are sources whose peers have not asked yet,
    or wait by order of an injection.
    """

    def __init__(self, terms: Terms, clock: Callable[[], float]) -> None:
        self.terms = terms
        self.clock = clock
        self.all: dict[int, Stream] = {}
        self.waiting: set[Stream] = set()
        self.striking: Striking | None = None

    def admits(self, peer: str) -> bool:
        """Whether a connection from ``peer`` may become a stream. If not, it is counted as rejected."""
        reason = self.terms.gate.refuses(peer)
        if reason is None:
            return True
        self.terms.book.counters.rejected(reason)
        return False

    def look_after(self, now: float) -> None:
        """Have each stream that waits check whether it has waited too long."""
        for stream in list(self.waiting):
            stream.waited(now)


class Stream:
    """A stream in mode ``sink``, and what the other modes build on.

    ``beside``: bytes that its link holds for the peer; after a change the link calls ``hold``. ``struck`` is there
    while injections strike it or rules answer it (``net/injected/striking.py``).
    """

    __slots__ = ("_framing", "_link", "_streams", "beside", "counters", "struck", "terms")

    def __init__(self, streams: OpenStreams, link: Link, counters: StreamCounters) -> None:
        self.counters = counters
        self.terms = terms = streams.terms
        self.beside = 0
        self._streams = streams
        self._link = link
        self._framing = begun(terms.spec, counters.probing, terms.wall_ns)
        self._framing.holds = counters.kept is not None

    # What a link calls

    def received(self, chunk: memoryview, now: float) -> int:
        """The peer sent ``chunk`` (at least one byte).

        Returns how many bytes at its end the link must give again, in a later turn and before it reads on: the packets
        before them are enough for one turn.
        """
        left = self._count(chunk, now)
        if self._framing.fault is not None:
            self.finish("fault", now)
        return left

    def skipped(self, nbytes: int, now: float) -> None:
        """The peer sent ``nbytes``, which the kernel dropped; only if the terms say ``skips``."""
        counters = self.counters
        if not counters.bytes:
            self.terms.book.first_data(counters, self._link.since(now), now)
        counters.bytes += nbytes
        counters.last = now

    def writable(self, now: float) -> None:
        """The socket has room again."""

    def ended(self, now: float) -> None:
        """The peer will send no more."""
        self.finish("eof", now)

    def lost(self, now: float) -> None:
        """The connection broke."""
        self.abort("reset", now)

    def failed(self, now: float) -> None:
        """A bug of ours ended the stream; what was counted stays counted."""
        self.abort("fault", now)

    def gone(self) -> None:
        """The peer takes no more replies; what it sent before still counts."""

    # What the shell calls

    def waited(self, now: float) -> None:
        """The stream is among those that wait: it may have waited too long."""

    def finish(self, reason: str, now: float) -> None:
        """End the stream, after the replies that it owes are sent."""
        self._end(reason, now, self._link.close)

    def abort(self, reason: str, now: float) -> None:
        """End the stream at once."""
        self._end(reason, now, self._link.drop)

    def _end(self, reason: str, now: float, part: Callable[[], None]) -> None:
        counters = self.counters
        if counters.state == "open":
            origin = counters.origin
            left = counters.bytes % origin.size if origin.by_size and origin.size else self._framing.pending_bytes
            self._streams.all.pop(counters.stream, None)
            self.terms.gate.leave(counters.peer)
            self.terms.book.memory.hold(self, 0)
            self.terms.book.stream_closed(counters, reason, left, now)
            self._link = NO_LINK
            self._framing = NO_FRAMING
            part()

    def _count(self, chunk: memoryview, now: float) -> int:
        """Count ``chunk`` but for the bytes returned, which are left at its end.

        If the terms say ``uncut``, the number of packets follows from that of the bytes.
        """
        counters = self.counters
        if not counters.bytes:
            self.terms.book.first_data(counters, self._link.since(now), now)
        counters.bytes += len(chunk)
        counters.last = now
        return 0 if self.terms.uncut else self._cut(chunk)

    def _cut(self, chunk: memoryview) -> int:
        counters = self.counters
        framing = self._framing
        if counters.kept is None:
            counters.packets += framing.count(chunk)
        else:
            packets = framing.feed(chunk)
            counters.packets += len(packets)
            counters.kept.add(packets)
        if framing.holds:
            self.hold()
        left = framing.left
        if left:
            framing.left = 0
            counters.bytes -= left
        return left

    def hold(self) -> None:
        """Tell the book what is held for the peer."""
        counters = self.counters
        if counters.state == "open":
            kept = counters.kept
            unfinished = self._framing.pending_bytes if self._framing.holds else 0
            unfinished += unfinished // 8  # a buffer that grows has up to so much beside its content
            more = unfinished if kept is None else unfinished + kept.memory
            self.terms.book.memory.hold(self, self.beside + more + self._owed_bytes())

    def _owed_bytes(self) -> int:
        """Bytes of replies held for the peer."""
        return 0


class AnsweringStream(Stream):
    """The states of a stream that answers: the replies it owes, and the end that waits for them."""

    __slots__ = ("_blocked_since", "_closing", "_outbox", "_send", "plain")

    plain: bool  # of an echo (net/modes.py)

    def __init__(self, streams: OpenStreams, link: Link, counters: StreamCounters) -> None:
        super().__init__(streams, link, counters)
        self._blocked_since = -1.0
        self._send = link.sender()
        self._outbox: Outbox | None = None
        self._closing: str | None = None

    def ended(self, now: float) -> None:
        """The peer will send no more; if replies are owed, it has hung up and takes none either."""
        if self._outbox is not None:
            self.abort("reset", now)
        else:
            self.finish("reset" if self._closing == "reset" else "eof", now)

    def finish(self, reason: str, now: float) -> None:
        """End the stream, after the replies that it owes are sent."""
        if self._outbox is None:
            super().finish(reason, now)
        elif self._closing is None:
            self._closing = reason

    def abort(self, reason: str, now: float) -> None:
        """End the stream at once."""
        self._forfeit()
        super().abort(reason, now)

    def _end(self, reason: str, now: float, part: Callable[[], None]) -> None:
        super()._end(reason, now, part)
        self._send = NO_LINK.sender()
        self._streams.waiting.discard(self)

    def writable(self, now: float) -> None:
        """Send a bounded part of what is owed; once nothing is owed, read on or close."""
        outbox = self._outbox
        if outbox is None:
            return
        for _ in range(BLOCKS_A_TURN):
            block = outbox.block()
            if not block:
                self._settle(now)
                return
            sent = self._offer(block)
            if sent:
                outbox.taken(sent)
                self._blocked_since = now
            if sent < len(block):
                return

    def waited(self, now: float) -> None:
        """The peer does not take its replies: after the stall timeout it is a slow reader."""
        if now - self._blocked_since >= self.terms.stall_timeout:
            self.abort("slow-reader", now)

    def _offer(self, block: memoryview) -> int:
        """Send ``block`` and return how many bytes the socket took. If the peer is gone, the stream goes mute."""
        try:
            return self._send(block)
        except BlockingIOError:
            return 0
        except OSError:
            self.gone()
            return 0

    def _owe(self, outbox: Outbox, now: float) -> None:
        """The socket did not take all replies: owe the rest; if the stream is mute, give it up."""
        if self._closing is not None:
            self.counters.unanswered += outbox.packets(self.counters.bytes)
        else:
            self._outbox = outbox
            self._blocked_since = now
            self.hold()
            self._streams.waiting.add(self)
            self._link.hold()

    def _owed_bytes(self) -> int:
        return 0 if self._outbox is None else self._outbox.held

    def _settle(self, now: float) -> None:
        """The socket took the last reply."""
        self._outbox = None
        self.hold()
        if self._closing is None:
            self._streams.waiting.discard(self)
            self._link.release()
        else:
            super().finish(self._closing, now)

    def gone(self) -> None:
        """The peer takes no more replies: read what it sent before, then end with ``reset``."""
        self._closing = "reset"
        if self._forfeit():
            self._link.release()

    def _forfeit(self) -> bool:
        """Give up the replies that are owed; their packets are unanswered. False if none were owed."""
        outbox, self._outbox = self._outbox, None
        if outbox is None:
            return False
        self.hold()
        self.counters.unanswered += outbox.packets(self.counters.bytes)
        self._streams.waiting.discard(self)
        return True

    def _count_unanswered(self, chunk: memoryview, now: float) -> int:
        before = self.counters.whole()
        left = self._count(chunk, now)
        self.counters.unanswered += self.counters.whole() - before
        return left
