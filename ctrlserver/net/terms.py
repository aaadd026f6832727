"""What all streams of one listener have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import field, frozen

from ctrlserver.net.gate import Gate, Seats
from ctrlserver.net.replies import CannedReply
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.stats.kept import KeptPackets
from ctrlserver.stats.probing import Probing
from ctrlserver.wire.framing import FramingSpec

if TYPE_CHECKING:
    from ctrlserver.net.source import SourceStream
    from ctrlserver.net.stream import AnsweringStream, Link, Stream


@frozen
class Terms:
    """What all streams of one listener have in common.

    ``uncut``: nothing depends on where the packets are, the number of bytes tells all. ``blocked`` are the streams that
    owe replies which their peers do not take, ``unasked`` those of mode ``source`` that wait for a word of their peers.
    ``probe``: packets are looked at for probe headers, with ``wall_ns`` for the time of arrival, nanoseconds since
    1970.
    """

    book: Book
    origin: Origin
    spec: FramingSpec
    canned: CannedReply | None = None
    keep: int = 0
    keep_bytes: int = 1 << 20
    reply_buffer: int = 1 << 18
    stall_timeout: float = 30.0
    idle_timeout: float = 0.0
    gate: Gate = field(factory=lambda: Gate(Seats()))
    probe: bool = False
    wall_ns: Callable[[], int] = time.time_ns
    uncut: bool = field(init=False)
    blocked: set[AnsweringStream] = field(factory=set, eq=False, repr=False)
    unasked: set[SourceStream] = field(factory=set, eq=False, repr=False)
    _kind: type[Stream] = field(init=False, repr=False)

    @_kind.default
    def _stream_of_mode(self) -> type[Stream]:
        from ctrlserver.net.modes import STREAM_OF_MODE  # they build on this module
        from ctrlserver.net.source import SourceStream

        return SourceStream if self.origin.mode == "source" else STREAM_OF_MODE[self.origin.mode]

    @uncut.default
    def _uncut(self) -> bool:
        return self.spec.by_length and not self.keep and not self.probe

    @property
    def skips(self) -> bool:
        """Whether no byte of content is needed at all: the kernel may drop them uncopied."""
        return self.uncut and self.origin.mode == "sink"

    def admits(self, peer: str) -> bool:
        """Whether a connection from ``peer`` may become a stream; where not, it is on the books as rejected."""
        reason = self.gate.refuses(peer)
        if reason is None:
            return True
        self.book.rejected(reason)
        return False

    def open(self, link: Link, peer: str, now: float) -> Stream:
        """A new stream from ``peer`` (``host:port``), on the books from now on."""
        counters = self.book.stream_opened(self.origin, peer, now)
        self.gate.enter(peer)
        if self.keep:
            counters.kept = KeptPackets(self.keep, self.keep_bytes)
        if self.probe:
            counters.probing = Probing()
        return self._kind(self, link, counters)

    def stalled(self, now: float) -> list[AnsweringStream]:
        """The streams whose peer has taken no reply for ``stall_timeout`` seconds."""
        return [stream for stream in self.blocked if now - stream.blocked_since >= self.stall_timeout]
