"""Debug lines on streams: one for each that opens or closes, while the level of the log is debug.

Model: the two calls of the book by which a stream comes and goes are replaced on the one book while lines are wanted.

Rules: at any other level the book is as it was made, so a stream costs nothing more. Lines are bounded: a peer may open
streams as fast as it likes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from ctrlserver.logs.level import LEVEL
from ctrlserver.logs.sparing import Sparing
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin, StreamCounters

#: Lines that may follow each other; of more, one a second.
LINES_AT_ONCE = 100


class Tracing:
    """The lines on the streams of ``book``; ``clock`` gives monotonic seconds."""

    log = Logger()

    def __init__(self, book: Book, clock: Callable[[], float]) -> None:
        self._book: Any = book
        self._opened, self._closed = book.stream_opened, book.stream_closed
        self._lines = Sparing(LINES_AT_ONCE)
        self._clock = clock

    def set_level(self, name: str) -> str:
        """Write lines from level ``name`` on; the level until now."""
        before = LEVEL.set(name)
        self.follow()
        return before

    def follow(self) -> None:
        """Trace streams if the level is debug, else no more."""
        for name, traced in (("stream_opened", self._trace_opened), ("stream_closed", self._trace_closed)):
            if LEVEL.debug:
                setattr(self._book, name, traced)
            else:
                vars(self._book).pop(name, None)

    def _trace_opened(self, origin: Origin, peer: str, now: float) -> StreamCounters:
        stream = self._opened(origin, peer, now)
        if self._lines.may_write(self._clock()):
            self.log.debug(
                "stream {stream} of {peer} opened at {listener}",
                event="stream-opened",
                stream=stream.stream,
                peer=peer,
                listener=origin.listener,
            )
        return stream

    def _trace_closed(self, stream: StreamCounters, reason: str, incomplete_bytes: int, now: float) -> None:
        was_open = stream.state == "open"
        self._closed(stream, reason, incomplete_bytes, now)
        if was_open and self._lines.may_write(self._clock()):
            self.log.debug(
                "stream {stream} closed: {reason}, {packets} packets, {bytes} bytes",
                event="stream-closed",
                stream=stream.stream,
                reason=reason,
                packets=stream.packets,
                bytes=stream.bytes,
            )

    def tell_left_out(self, now: float) -> None:
        """Log how many more lines there were; to be called now and then."""
        if number := self._lines.overdue(now):
            self.log.debug("{number} more streams opened or closed", event="more-streams", number=number)
