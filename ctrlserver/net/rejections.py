"""The log's word on connections and datagrams that were turned away.

Rule: at most one line a second for the whole server, with the number for each reason since the line before; turning a
connection away costs two additions and never a line of its own.
"""

from __future__ import annotations

from twisted.logger import Logger

from ctrlserver.net.gate import Seats
from ctrlserver.stats.book import Book

#: Seconds between two lines.
LINE_SECONDS = 1.0


class RejectionLog:
    """Compares the book's count of rejections with what it told last; ``look`` is to be called now and then."""

    log = Logger()

    def __init__(self, book: Book, seats: Seats) -> None:
        self._book = book
        self._seats = seats
        self._told: dict[str, int] = {}
        self._told_at = float("-inf")

    def look(self, now: float) -> None:
        """Write a line where there is news and the last one is long enough ago."""
        counted = self._book.counters.rejected_by_reason
        if counted != self._told and now - self._told_at >= LINE_SECONDS:
            news = {reason: more for reason, n in counted.items() if (more := n - self._told.get(reason, 0))}
            self._told = dict(counted)
            self._told_at = now
            self.log.warn(
                "peers turned away: {number} ({reasons}), the last {peer}; {open} streams are open",
                number=sum(news.values()),
                reasons=", ".join(f"{reason} {more}" for reason, more in news.items()),
                peer=self._seats.last_refused,
                open=len(self._book.counters.open),
            )
