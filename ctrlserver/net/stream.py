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

from typing import Protocol

from attrs import Factory, field, frozen

from ctrlserver.net.replies import CannedOutbox, CannedReply, EchoOutbox, Outbox
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin, StreamCounters
from ctrlserver.stats.kept import KeptPackets
from ctrlserver.wire.framing import Framing, FramingSpec

#: Blocks of replies sent in one go before the other streams have their turn.
BLOCKS_A_TURN = 16


class Link(Protocol):
    """What a stream asks of whoever owns its socket."""

    def since(self, now: float) -> float:
        """When the data handed over at ``now`` was first seen to be there."""

    def send(self, block: bytes | memoryview) -> int:
        """Send now what the socket takes now; the number of bytes taken. ``OSError`` when the peer is gone."""

    def hold(self) -> None:
        """Read no more, and call ``writable`` when the socket takes bytes again."""

    def release(self) -> None:
        """Read again."""

    def close(self) -> None:
        """Close the socket."""


@frozen
class Terms:
    """What all streams of one listener have in common."""

    book: Book
    origin: Origin
    spec: FramingSpec
    canned: CannedReply | None = None
    keep: int = 0
    keep_bytes: int = 1 << 20
    reply_buffer: int = 1 << 18
    stall_timeout: float = 30.0
    by_length: bool = field(init=False, default=Factory(lambda self: self.spec.by_length, takes_self=True))
    blocked: set[Stream] = field(factory=set, eq=False, repr=False)

    @property
    def skips(self) -> bool:
        """Whether no byte of content is needed: the kernel may drop them uncopied."""
        return self.origin.mode == "sink" and self.spec.by_length and not self.keep

    def open(self, link: Link, peer: str, now: float) -> Stream:
        """A new stream from ``peer`` (``host:port``), on the books from now on."""
        counters = self.book.stream_opened(self.origin, peer, now)
        if self.keep:
            counters.kept = KeptPackets(self.keep, self.keep_bytes)
        return STREAM_OF_MODE[self.origin.mode](self, link, counters)

    def stalled(self, now: float) -> list[Stream]:
        """The streams whose peer has taken no reply for ``stall_timeout`` seconds."""
        return [stream for stream in self.blocked if now - stream.blocked_since >= self.stall_timeout]


class Stream:
    """A stream in mode ``sink``, and what the other modes build on."""

    __slots__ = ("_closing", "_framing", "_link", "_outbox", "blocked_since", "counters", "terms")

    def __init__(self, terms: Terms, link: Link, counters: StreamCounters) -> None:
        self.counters = counters
        self.blocked_since = -1.0
        self.terms = terms
        self._link = link
        self._framing: Framing = terms.spec.new()
        self._outbox: Outbox | None = None
        self._closing: str | None = None

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
        counters.packets += self._framing.advance(nbytes)  # type: ignore[attr-defined]
        counters.last = now

    def writable(self, now: float) -> None:
        """The socket takes bytes again."""
        if self._outbox is not None:
            self._pump(now)

    def ended(self, now: float) -> None:
        """The peer will send no more."""
        self.finish("reset" if self._closing == "reset" else "eof", now)

    def lost(self, now: float) -> None:
        """The connection broke."""
        self._outbox = None
        self._close("reset", now)

    def failed(self, now: float) -> None:
        """Our own fault; what was counted stays counted."""
        self._outbox = None
        self._close("fault", now)

    # What the shell calls

    def finish(self, reason: str, now: float) -> None:
        """End the stream, after the replies it is owed."""
        if self._outbox is None:
            self._close(reason, now)
        elif self._closing is None:
            self._closing = reason

    def abort(self, reason: str, now: float) -> None:
        """End the stream at once."""
        self._outbox = None
        self._close(reason, now)

    # The inside

    def _count(self, chunk: memoryview, now: float) -> int:
        """Enter ``chunk`` into the books; the number of packets it completed."""
        counters = self.counters
        size = len(chunk)
        if not counters.bytes:
            self.terms.book.first_data(counters, self._link.since(now))
        counters.bytes += size
        counters.last = now
        if counters.kept is not None:
            whole = self._framing.feed(chunk)
            counters.kept.add(whole)
            packets = len(whole)
        elif self.terms.by_length:
            packets = self._framing.advance(size)  # type: ignore[attr-defined]
        else:
            packets = self._framing.count(chunk)
        counters.packets += packets
        return packets

    def _owe(self, outbox: Outbox, now: float) -> None:
        """The socket did not take every reply at once."""
        self._outbox = outbox
        self.blocked_since = now
        self.terms.blocked.add(self)
        self._link.hold()

    def _pump(self, now: float) -> None:
        """Send what is owed, a bounded part of it; when nothing is owed any more, read on or close."""
        outbox = self._outbox
        assert outbox is not None
        for _ in range(BLOCKS_A_TURN):
            block = outbox.block()
            if not block:
                break
            try:
                sent = self._link.send(block)
            except OSError:
                self._mute()
                return
            if sent:
                outbox.taken(sent)
                self.blocked_since = now
            if sent < len(block):
                return
        else:
            return
        self._settled()
        if self._closing is not None and self._closing != "reset":
            self._close(self._closing, now)
        else:
            self._link.release()

    def _settled(self) -> None:
        self._outbox = None
        self.terms.blocked.discard(self)

    def _mute(self) -> None:
        """The peer takes no more replies: read what it still sent, then be over with ``reset``."""
        if self._outbox is not None:
            self._settled()
            self._link.release()
        self._closing = "reset"

    def _close(self, reason: str, now: float) -> None:
        if self.counters.state == "open":
            self.terms.blocked.discard(self)
            self.terms.book.stream_closed(self.counters, reason, self._framing.pending_bytes, now)
            self._link.close()


class EchoStream(Stream):
    """A stream in mode ``echo`` (RFC 862): every byte goes back as it came; a reply is a whole packet echoed."""

    __slots__ = ()

    def received(self, chunk: memoryview, now: float) -> None:
        """Count, and send the chunk back."""
        self.counters.replies += self._count(chunk, now)
        if self._closing is None:
            try:
                sent = self._link.send(chunk)
            except OSError:
                self._mute()
            else:
                if sent < len(chunk):
                    self._owe(EchoOutbox(chunk[sent:]), now)
        if self._framing.fault is not None:
            self.finish("fault", now)


class ReplyStream(Stream):
    """A stream in mode ``reply``: one canned answer for each packet, many in one send."""

    __slots__ = ()

    def received(self, chunk: memoryview, now: float) -> None:
        """Count, and answer each packet that is whole now."""
        packets = self._count(chunk, now)
        if packets and self._closing is None:
            canned = self.terms.canned
            assert canned is not None
            self.counters.replies += packets
            owed = packets * len(canned.reply)
            block = canned.span(0, owed)
            try:
                sent = self._link.send(block)
            except OSError:
                self._mute()
            else:
                if sent < owed:
                    outbox = CannedOutbox(canned, packets)
                    outbox.taken(sent)
                    self._owe(outbox, now)
                    if sent == len(block):
                        self._pump(now)
        if self._framing.fault is not None:
            self.finish("fault", now)


STREAM_OF_MODE: dict[str, type[Stream]] = {"sink": Stream, "echo": EchoStream, "reply": ReplyStream}
