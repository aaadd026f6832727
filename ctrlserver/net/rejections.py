"""The log line on rejected connections and datagrams.

Rule: at most one line a second for the whole server, with the number for each reason since the line before. So a
rejection costs two additions and never a line of its own.
"""

from __future__ import annotations

from twisted.logger import Logger

from ctrlserver.net.gate import Seats
from ctrlserver.stats.book import Book

#: Seconds between two lines.
LINE_SECONDS = 1.0


class RejectionLog:
    """Compares the book's count of rejections with the count last logged. Call ``look`` some times a second."""

    log = Logger()

    def __init__(self, book: Book, seats: Seats) -> None:
        self._book = book
        self._seats = seats
        self._logged: dict[str, int] = {}
        self._logged_at = float("-inf")

    def look(self, now: float) -> None:
        """Log a line if there are new rejections and the last line is old enough."""
        counted = self._book.counters.rejected_by_reason
        if counted != self._logged and now - self._logged_at >= LINE_SECONDS:
            news = {reason: more for reason, n in counted.items() if (more := n - self._logged.get(reason, 0))}
            self._logged = dict(counted)
            self._logged_at = now
            self.log.warn(
                "peers rejected: {number} ({reasons}), the last {peer}; {open} streams are open",
                number=sum(news.values()),
                reasons=", ".join(f"{reason} {more}" for reason, more in news.items()),
                peer=self._seats.last_refused,
                open=len(self._book.counters.open),
            )
