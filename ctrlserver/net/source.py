"""A stream in mode ``source`` (RFC 864): the server sends packets until the peer closes, or as many as it asks for.

Rules:

- Sending begins after the peer's first line (``net/asking.py``), after its half-close, or if it has sent nothing for
  ``ASK_SECONDS``. The stream reads nothing from then on: a peer that goes on sending fills the kernel's buffers only.
- ``packets`` and ``bytes`` count what the kernel took for the peer. They are exact for a peer that gets all it asked
  for; otherwise they include what the peer left unread when it closed.
- All streams of a listener send from one block, made once. A write is a slice of it, never copied here.
- The agreed end is ``eof``: all packets are sent, or the peer closed an endless stream. That may be a reset, for a
  kernel resets a socket that is closed with unread data. A peer that leaves before it has all it asked for: ``reset``.

Beware: data that a peer sends while it receives is dropped at the end, on the lane only (``LaneLink.close``). On a
Twisted transport, or if the peer does not stop, the close may become a reset, which loses the last packets.
Beware: the sweep that ends slow readers also begins streams whose peers have not asked; ``ASK_SECONDS`` may last a
quarter of a second longer.
"""

from __future__ import annotations

from ctrlserver.net.asking import ENDLESS, Asking
from ctrlserver.net.replies import CannedOutbox, CannedReply
from ctrlserver.net.stream import AnsweringStream, Link, OpenStreams
from ctrlserver.stats.counters import StreamCounters

#: Seconds that a peer has for its line: longer than any round trip, and a short wait for a peer with nothing to ask.
ASK_SECONDS = 1.0

#: Bytes of the block from which packets are sent, and writes of it before the other streams have their turn: together
#: 1 MiB, as much as a read may bring. Blocks of 64 KiB, 256 KiB and 1 MiB were measured; none was faster.
BLOCK_BYTES = 1 << 18
WRITES_A_TURN = 4

#: More packets than a peer can ever take.
_NEVER_ENDING = 1 << 62


def source_packets(size: int) -> CannedReply:
    """A block of packets of ``size`` printable bytes."""
    pattern = bytes(range(32, 127))
    return CannedReply((pattern * (size // len(pattern) + 1))[:size], BLOCK_BYTES)


class SourceStream(AnsweringStream):
    """Waits for the line, then owes its packets as replies are owed; so its slow readers end as others do."""

    __slots__ = ("_asking", "_endless", "_gone")

    def __init__(self, streams: OpenStreams, link: Link, counters: StreamCounters) -> None:
        super().__init__(streams, link, counters)
        self._asking: Asking | None = Asking()
        self._endless = True
        self._gone = False
        streams.waiting.add(self)

    def received(self, chunk: memoryview, now: float) -> int:
        """The line, or a part of it."""
        self._streams.waiting.discard(self)
        if self._asking is not None:
            self._begin(self._asking.feed(chunk), now)
        return 0

    def ended(self, now: float) -> None:
        """The peer has half-closed: its line is complete."""
        if self._asking is not None:
            self._begin(self._asking.end(), now)

    def lost(self, now: float) -> None:
        """The connection broke."""
        self.abort(self._parting(), now)

    def waited(self, now: float) -> None:
        """The peer has not asked yet: after ``ASK_SECONDS`` it gets packets without end. Or it takes no packets."""
        if self._asking is None:
            super().waited(now)
        elif now - self.counters.opened >= ASK_SECONDS:
            self._begin(ENDLESS, now)

    def abort(self, reason: str, now: float) -> None:
        """End the stream at once; if an operator did, its peer still gets what is counted."""
        if reason == "kicked":
            self._outbox = None
            self.finish(reason, now)
        else:
            super().abort(reason, now)

    def _begin(self, asked: int | None, now: float) -> None:
        asking = self._asking
        if asking is not None and asking.fault:
            self.abort("fault", now)
        elif asked is not None:
            self._asking = None
            self._endless = asked == ENDLESS
            canned = self.terms.canned
            assert canned is not None, "a source has packets to send"
            if asked:
                self.terms.book.first_data(self.counters, now, now)
            self._owe(CannedOutbox(canned, _NEVER_ENDING if self._endless else asked), now)
            self.writable(self._streams.clock())
            self.terms.book.first_turn_sent(self.counters)

    def writable(self, now: float) -> None:
        """Send a bounded part; close after the last packet."""
        outbox = self._outbox
        if outbox is None:
            return
        counters = self.counters
        for _ in range(WRITES_A_TURN):
            block = outbox.block()
            if not block:
                self._outbox = None
                self.finish("eof", now)
                return
            sent = self._offer(block)
            if sent:
                outbox.taken(sent)
                counters.bytes += sent
                counters.last = self._blocked_since = now = self._streams.clock()
            if sent < len(block):
                break
        if self._gone:
            self.abort(self._parting(), now)

    def gone(self) -> None:
        """The peer takes no more packets."""
        self._gone = True

    def _parting(self) -> str:
        return "eof" if self._endless and self._asking is None else "reset"
