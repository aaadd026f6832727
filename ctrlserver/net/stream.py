"""One stream: framing x mode, counted exactly, whichever way its bytes come in.

Rules:

- A stream is fed by a link, which owns the socket: the lane's (``net/links.py``) or an ordinary Twisted transport's
  (``net/ordinary.py``). The link reads and sends; the stream counts, answers and decides when it is over.
- Work is per chunk. No object, no call and no log line per packet.
- While replies are owed the link is held: it reads nothing. So a stream costs at most one chunk of replies.
- A stream is over once, for one counted reason. Replies owed at the end of the peer's data are sent first, bounded by
  the stall timeout.
- When sending fails the peer is gone, but what it sent before is still in the socket and still counts: the stream goes
  on mute, reads to the end and is over with ``reset``.

Beware: a chunk is a view of a buffer that is used again as soon as ``received`` returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ctrlserver.net.probes import ProbedFraming
from ctrlserver.net.replies import Outbox
from ctrlserver.net.terms import Terms
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.wire.framing import Framing

#: Blocks of replies sent in one go before the other streams have their turn.
BLOCKS_A_TURN = 16


class Link(Protocol):
    """What a stream asks of whoever owns its socket."""

    def since(self, now: float) -> float:
        """When the data handed over at ``now`` was first seen to be there."""

    def now(self) -> float:
        """The time on the clock that streams are timed by."""

    def sender(self) -> Callable[[bytes | memoryview], int]:
        """What sends a block: it gives the number of bytes the socket takes now.

        ``BlockingIOError``, or 0, when it takes nothing now; any other ``OSError`` when the peer is gone.
        """

    def hold(self) -> None:
        """Read no more, and call ``writable`` when the socket takes bytes again."""

    def release(self) -> None:
        """Read again."""

    def close(self) -> None:
        """Close the socket once what it was given is on its way."""

    def drop(self) -> None:
        """Close the socket at once."""


class NoLink:
    """What a stream that is over is linked to."""

    def now(self) -> float:
        """No time passes for it."""
        return 0.0

    def since(self, now: float) -> float:
        """Now."""
        return now

    def sender(self) -> Callable[[bytes | memoryview], int]:
        """Nothing is taken any more."""
        return lambda _: 0

    def hold(self) -> None:
        """Nothing is read."""

    release = close = drop = hold


NO_LINK = NoLink()


class OpenStreams:
    """The open streams of one listener, ``all`` by their numbers.

    Those ``waiting`` owe what their peers do not take, or are sources that their peers have not asked for anything.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.all: dict[int, Stream] = {}
        self.waiting: set[AnsweringStream] = set()

    def admits(self, peer: str) -> bool:
        """Whether a connection from ``peer`` may become a stream; where not, it is counted as rejected."""
        reason = self.terms.gate.refuses(peer)
        if reason is None:
            return True
        self.terms.book.rejected(reason)
        return False

    def look_after(self, now: float) -> None:
        """Have those that wait see whether they have waited long enough."""
        for stream in list(self.waiting):
            stream.waited(now)


class Stream:
    """A stream in mode ``sink``, and what the other modes build on."""

    __slots__ = ("_framing", "_link", "_streams", "counters", "terms")

    def __init__(self, streams: OpenStreams, link: Link, counters: StreamCounters) -> None:
        self.counters = counters
        self.terms = terms = streams.terms
        self._streams = streams
        self._link = link
        self._framing: Framing
        if counters.probing is None:
            self._framing = terms.spec.new()
        else:
            self._framing = ProbedFraming(terms.spec, counters.probing, terms.wall_ns)

    # What a link calls

    def received(self, chunk: memoryview, now: float) -> None:
        """The peer sent ``chunk`` (at least one byte)."""
        self._count(chunk, now)
        if self._framing.fault is not None:
            self.finish("fault", now)

    def skipped(self, nbytes: int, now: float) -> None:
        """The peer sent ``nbytes`` that nobody looked at; only where the terms say ``skips``."""
        counters = self.counters
        if not counters.bytes:
            self.terms.book.first_data(counters, self._link.since(now))
        counters.bytes += nbytes
        counters.last = now

    def writable(self, now: float) -> None:
        """The socket takes bytes again."""

    def ended(self, now: float) -> None:
        """The peer will send no more."""
        self.finish("eof", now)

    def lost(self, now: float) -> None:
        """The connection broke."""
        self.abort("reset", now)

    def failed(self, now: float) -> None:
        """Our own fault; what was counted stays counted."""
        self.abort("fault", now)

    # What the shell calls

    def gone(self) -> None:
        """The peer is gone; what it still sent counts."""

    def finish(self, reason: str, now: float) -> None:
        """End the stream, after the replies it is owed."""
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
            self.terms.book.stream_closed(counters, reason, left, now)
            self._link = NO_LINK  # link and stream name each other: without this they wait for the cycle collector
            part()

    def _count(self, chunk: memoryview, now: float) -> None:
        """Enter ``chunk`` into the books; packets of a fixed size follow from the bytes."""
        counters = self.counters
        if not counters.bytes:
            self.terms.book.first_data(counters, self._link.since(now))
        counters.bytes += len(chunk)
        counters.last = now
        if not self.terms.uncut:
            self._cut(chunk)

    def _cut(self, chunk: memoryview) -> None:
        counters = self.counters
        if counters.kept is None:
            counters.packets += self._framing.count(chunk)
        else:
            packets = self._framing.feed(chunk)
            counters.packets += len(packets)
            counters.kept.add(packets)


class AnsweringStream(Stream):
    """What the modes that answer share: replies owed, and the end that waits for them."""

    __slots__ = ("_blocked_since", "_closing", "_outbox", "_send")

    def __init__(self, streams: OpenStreams, link: Link, counters: StreamCounters) -> None:
        super().__init__(streams, link, counters)
        self._blocked_since = -1.0
        self._send = link.sender()
        self._outbox: Outbox | None = None
        self._closing: str | None = None

    def ended(self, now: float) -> None:
        """The peer will send no more; it may have been gone for a while.

        Nothing is read while replies are owed, so an end that is seen then is a hang-up of both sides.
        """
        if self._outbox is not None:
            self.abort("reset", now)
        else:
            self.finish("reset" if self._closing == "reset" else "eof", now)

    def finish(self, reason: str, now: float) -> None:
        """End the stream, after the replies it is owed."""
        if self._outbox is None:
            super().finish(reason, now)
            self._send = NO_LINK.sender()
        elif self._closing is None:
            self._closing = reason

    def abort(self, reason: str, now: float) -> None:
        """End the stream at once."""
        self._forfeit()
        super().abort(reason, now)
        self._send = NO_LINK.sender()

    def gone(self) -> None:
        """The peer is gone; what it still sent counts."""
        self._mute()

    def writable(self, now: float) -> None:
        """Send what is owed, a bounded part of it; when nothing is owed any more, read on or close."""
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
        """The peer has not taken what it is owed yet: after the stall timeout it is a slow reader."""
        if now - self._blocked_since >= self.terms.stall_timeout:
            self.abort("slow-reader", now)

    def _offer(self, block: memoryview) -> int:
        """What the socket takes of ``block`` now; nothing from now on when the peer is gone."""
        try:
            return self._send(block)
        except BlockingIOError:
            return 0
        except OSError:
            self._mute()
            return 0

    def _owe(self, outbox: Outbox, now: float) -> None:
        """The socket did not take every reply at once; where the peer is gone none of the rest is given."""
        if self._closing is not None:
            self.counters.unanswered += outbox.packets(self.counters.bytes)
        else:
            self._outbox = outbox
            self._blocked_since = now
            self._streams.waiting.add(self)
            self._link.hold()

    def _settle(self, now: float) -> None:
        """Every reply is on its way."""
        self._outbox = None
        self._streams.waiting.discard(self)
        if self._closing is None:
            self._link.release()
        else:
            super().finish(self._closing, now)

    def _mute(self) -> None:
        """The peer takes no more replies: read what it still sent, then be over with ``reset``."""
        self._closing = "reset"
        if self._forfeit():
            self._link.release()

    def _forfeit(self) -> bool:
        """Let go of what is owed: those packets stay unanswered. Whether there was any."""
        outbox, self._outbox = self._outbox, None
        if outbox is None:
            return False
        self.counters.unanswered += outbox.packets(self.counters.bytes)
        self._streams.waiting.discard(self)
        return True

    def _count_unanswered(self, chunk: memoryview, now: float) -> None:
        before = self.counters.whole()
        self._count(chunk, now)
        self.counters.unanswered += self.counters.whole() - before
