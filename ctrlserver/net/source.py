"""A stream in mode ``source`` (RFC 864): the server sends packets until the peer closes, or as many as it asks for.

Rules:

- Sending begins with the peer's first line (``net/asking.py``), with its half-close, or when it has said nothing for
  ``ASK_SECONDS``. Nothing is read from then on: a peer that goes on talking fills the buffers of the system, no more.
- ``packets`` and ``bytes`` are what the system took for the peer. They are exact for a peer that gets all it asked for;
  what a peer left unread when it closed is among them.
- All streams of a listener send from one block, made once; a write is a slice of it, and never copied here.
- The end that was agreed is ``eof``: all packets sent, or a peer that closed on endless ones, even by a reset, which is
  how a system closes a socket with unread data. A peer gone before it had all it asked for is a ``reset``.

Beware: what a peer says while it is sent to is read and dropped at the end, by the lane only (``LaneLink.close``): the
ordinary way in, or with a peer that does not stop talking, the close may be a reset, and its last packets be lost.
Beware: the sweep that ends slow readers also begins the streams that were not asked for anything; so the second may
last a quarter longer.
"""

from __future__ import annotations

from ctrlserver.net.asking import ENDLESS, Asking
from ctrlserver.net.replies import CannedOutbox, CannedReply
from ctrlserver.net.stream import AnsweringStream, Link, OpenStreams, Stream
from ctrlserver.stats.counters import StreamCounters

#: Seconds a peer has for its line: the round trip of any link, and little to wait for who has nothing to ask.
ASK_SECONDS = 1.0

#: Bytes of the block that packets are sent from, and writes of it before the other streams have their turn: 1 MiB a
#: turn, as much as a read may bring.
#: The size of the block is not tuned: 64 KiB, 256 KiB and 1 MiB could not be told apart on noisy cores.
BLOCK_BYTES = 1 << 18
WRITES_A_TURN = 4

#: Packets that no peer will ever have taken.
_NEVER_ENDING = 1 << 62


def source_packets(size: int) -> CannedReply:
    """Packets of ``size`` printable bytes, in a block to send from."""
    pattern = bytes(range(32, 127))
    return CannedReply((pattern * (size // len(pattern) + 1))[:size], BLOCK_BYTES)


class SourceStream(AnsweringStream):
    """Waits for the line, then sends. What it owes is an outbox like any other, so slow readers end like any other."""

    __slots__ = ("_asking", "_endless", "_gone")

    def __init__(self, streams: OpenStreams, link: Link, counters: StreamCounters) -> None:
        super().__init__(streams, link, counters)
        self._asking: Asking | None = Asking()
        self._endless = True
        self._gone = False
        streams.waiting.add(self)

    def received(self, chunk: memoryview, now: float) -> None:
        """A part of the line."""
        self._streams.waiting.discard(self)
        if self._asking is not None:
            self._begin(self._asking.feed(chunk), now)

    def ended(self, now: float) -> None:
        """The peer has half-closed: it asks for nothing more."""
        if self._asking is not None:
            self._begin(self._asking.end(), now)

    def lost(self, now: float) -> None:
        """The connection broke."""
        self.abort(self._parting(), now)

    def waited(self, now: float) -> None:
        """The peer has not asked yet: after ``ASK_SECONDS`` it is sent packets without end. Or it takes none."""
        if self._asking is None:
            super().waited(now)
        elif now - self.counters.opened >= ASK_SECONDS:
            self._begin(ENDLESS, now)

    def _begin(self, asked: int | None, now: float) -> None:
        asking = self._asking
        if asking is not None and asking.fault:
            self.abort("fault", now)
        elif asked is not None:
            self._streams.waiting.discard(self)
            self._asking = None
            self._endless = asked == ENDLESS
            canned = self.terms.canned
            assert canned is not None, "a source has packets to send"
            if asked:
                self.terms.book.first_data(self.counters, now)
            self._owe(CannedOutbox(canned, _NEVER_ENDING if self._endless else asked), now)
            self.writable(self._link.now())

    def writable(self, now: float) -> None:
        """Send on, a bounded part; after the last packet, close."""
        outbox = self._outbox
        if outbox is None:
            return
        counters = self.counters
        for _ in range(WRITES_A_TURN):
            block = outbox.block()
            if not block:
                self._outbox = None
                self._streams.waiting.discard(self)
                Stream.finish(self, "eof", now)
                return
            sent = self._offer(block)
            if sent:
                outbox.taken(sent)
                counters.bytes += sent
                counters.last = self._blocked_since = now = self._link.now()
            if sent < len(block):
                break
        if self._gone:
            self.abort(self._parting(), now)

    def abort(self, reason: str, now: float) -> None:
        """End the stream at once."""
        self._streams.waiting.discard(self)
        super().abort(reason, now)

    def _mute(self) -> None:
        self._gone = True

    def _parting(self) -> str:
        return "eof" if self._endless and self._asking is None else "reset"
