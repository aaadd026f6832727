"""The stream class of each mode: ``sink`` is ``Stream`` itself, ``echo`` and ``reply`` are here.

Rule: a mode defines how a chunk is answered; the states of a stream are in ``net/stream.py``.
"""

from __future__ import annotations

import errno

from ctrlserver.net.replies import CannedOutbox, EchoOutbox
from ctrlserver.net.source import SourceStream
from ctrlserver.net.stream import AnsweringStream, Link, OpenStreams, Stream
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.kept import KeptPackets
from ctrlserver.stats.probing import Probing


class EchoStream(AnsweringStream):
    """A stream in mode ``echo`` (RFC 862): every byte goes back as it is; a reply is a whole packet that went back.

    ``plain``: the number of packets follows from that of the bytes, the first chunk is counted, and the peer takes
    replies. Plain streams need no more than two additions a chunk, so ``net/echoes.py`` may serve them together.
    """

    __slots__ = ()

    def __init__(self, streams: OpenStreams, link: Link, counters: StreamCounters) -> None:
        super().__init__(streams, link, counters)
        self.plain = False

    def received(self, chunk: memoryview, now: float) -> int:
        """Count, and send the chunk back."""
        size = len(chunk)
        left = 0
        if self.plain:  # what _count does, without a call: 7 % of the instructions of a request
            counters = self.counters
            counters.bytes += size
            counters.last = now
        elif self._closing is None:
            left = self._count(chunk, now)
            self.plain = self.terms.uncut
            if left:
                size -= left
                chunk = chunk[:size]
        else:
            return self._count_unanswered(chunk, now)
        try:
            sent = self._send(chunk)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.unsent(chunk, error.errno or errno.EIO, now)
            return left
        if sent < size:
            self._owe(EchoOutbox(chunk[sent:], self.counters.origin.size), now)
        if not self.plain and self._framing.fault is not None:
            self.finish("fault", now)
        return left

    def unsent(self, chunk: memoryview, error: int, now: float) -> None:
        """The socket did not take ``chunk``, which is counted: it has no room (0), or the peer is gone (errno)."""
        if error:
            self.gone()
        self._owe(EchoOutbox(chunk, self.counters.origin.size), now)

    def finish(self, reason: str, now: float) -> None:
        """End the stream, after the replies that it owes are sent."""
        self.plain = False
        super().finish(reason, now)

    def gone(self) -> None:
        """The peer takes no more replies; what it sent before still counts."""
        self.plain = False
        super().gone()


class ReplyStream(AnsweringStream):
    """A stream in mode ``reply``: one canned reply for each packet, many in one send."""

    __slots__ = ()

    def received(self, chunk: memoryview, now: float) -> int:
        """Count, and answer each packet that is now complete."""
        if self._closing is not None:
            return self._count_unanswered(chunk, now)
        counters = self.counters
        before = counters.whole()
        left = self._count(chunk, now)
        packets = counters.whole() - before
        canned = self.terms.canned
        if packets and canned is not None:
            owed = packets * len(canned.reply)
            block = canned.span(0, owed)
            sent = self._offer(block)
            if sent < owed:
                outbox = CannedOutbox(canned, packets)
                outbox.taken(sent)
                self._owe(outbox, now)
                if sent == len(block):
                    self.writable(now)
        if self._framing.fault is not None:
            self.finish("fault", now)
        return left


STREAM_OF_MODE: dict[str, type[Stream]] = {
    "sink": Stream,
    "echo": EchoStream,
    "reply": ReplyStream,
    "source": SourceStream,
}


def open_stream(streams: OpenStreams, link: Link, peer: str, now: float) -> Stream:
    """Open a stream for ``peer`` (``host:port``, or ``unix``): in the book, with a seat, and among ``streams``."""
    terms = streams.terms
    counters = terms.book.stream_opened(terms.origin, peer, now)
    terms.gate.enter(peer)
    if terms.keep:
        counters.kept = KeptPackets(terms.keep, terms.keep_bytes)
    if terms.probe:
        counters.probing = Probing()
    stream = streams.all[counters.stream] = STREAM_OF_MODE[terms.origin.mode](streams, link, counters)
    if (terms.orders.active or terms.answers.rules) and streams.striking is not None:
        streams.striking.opened(stream)
    return stream
