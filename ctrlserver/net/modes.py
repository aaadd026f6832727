"""The stream of each mode: a ``Stream`` is a sink, ``echo`` and ``reply`` stand here, ``source`` in its own module."""

from __future__ import annotations

import errno

from ctrlserver.net.replies import CannedOutbox, EchoOutbox
from ctrlserver.net.source import SourceStream
from ctrlserver.net.stream import AnsweringStream, Link, OpenStreams, Stream
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.kept import KeptPackets
from ctrlserver.stats.probing import Probing


class EchoStream(AnsweringStream):
    """A stream in mode ``echo`` (RFC 862): every byte goes back as it came; a reply is a whole packet echoed."""

    __slots__ = ("plain",)

    def __init__(self, streams: OpenStreams, link: Link, counters: StreamCounters) -> None:
        super().__init__(streams, link, counters)
        self.plain = False  # packets follow from the bytes, the first of which came, and the peer takes replies

    def received(self, chunk: memoryview, now: float) -> None:
        """Count, and send the chunk back."""
        size = len(chunk)
        if self.plain:  # what _count does, without a call: 7 % of the instructions of a request
            counters = self.counters
            counters.bytes += size
            counters.last = now
        elif self._closing is None:
            self._count(chunk, now)
            self.plain = self.terms.uncut
        else:
            self._count_unanswered(chunk, now)
            return
        try:
            sent = self._send(chunk)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.unsent(chunk, error.errno or errno.EIO, now)
            return
        if sent < size:
            self._owe(EchoOutbox(chunk[sent:], self.counters.origin.size), now)
        if not self.plain and self._framing.fault is not None:
            self.finish("fault", now)

    def unsent(self, chunk: memoryview, error: int, now: float) -> None:
        """``chunk``, counted already, was not taken: there is no room (0), or the peer is gone (errno)."""
        if error:
            self._mute()
        self._owe(EchoOutbox(chunk, self.counters.origin.size), now)

    def finish(self, reason: str, now: float) -> None:
        """End the stream, after the replies it is owed."""
        self.plain = False
        super().finish(reason, now)

    def _mute(self) -> None:
        self.plain = False
        super()._mute()


class ReplyStream(AnsweringStream):
    """A stream in mode ``reply``: one canned answer for each packet, many in one send."""

    __slots__ = ()

    def received(self, chunk: memoryview, now: float) -> None:
        """Count, and answer each packet that is whole now."""
        if self._closing is not None:
            self._count_unanswered(chunk, now)
            return
        counters = self.counters
        before = counters.whole()
        self._count(chunk, now)
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


STREAM_OF_MODE: dict[str, type[Stream]] = {
    "sink": Stream,
    "echo": EchoStream,
    "reply": ReplyStream,
    "source": SourceStream,
}


def open_stream(streams: OpenStreams, link: Link, peer: str, now: float) -> Stream:
    """A new stream from ``peer`` (``host:port``), among ``streams`` and on the books from now on."""
    terms = streams.terms
    counters = terms.book.stream_opened(terms.origin, peer, now)
    terms.gate.enter(peer)
    if terms.keep:
        counters.kept = KeptPackets(terms.keep, terms.keep_bytes)
    if terms.probe:
        counters.probing = Probing()
    stream = streams.all[counters.stream] = STREAM_OF_MODE[terms.origin.mode](streams, link, counters)
    return stream
