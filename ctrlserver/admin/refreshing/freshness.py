"""Whether the figures in the book are new enough for a question; if not, the desk is asked for those of now.

One process has all figures itself: then the desk answers None, and nobody waits. With workers it gives a Deferred, and
those who ask it meanwhile share what it asks of them.

Rules: who asks has the number of ``Book.asked``, and what came in has that of the moment when it was asked for. So
lines that arrived together share it. A change (``changed``) ends that: figures asked for before it are too old for who
asks after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred

from ctrlserver.desk import Desk
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.records import PROBE_FIELDS, TCP_FIELDS

LOOKED_AT: Final = frozenset((*TCP_FIELDS, *PROBE_FIELDS))
"""The fields of a stream that cost its worker a look at the stream: they are asked for only where they are read."""


class Freshness:
    """That of one server, for all of its admin connections."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known = -1  # the number of the moment when they were asked for
        self._changed = -1

    def changed(self) -> None:
        """A command was carried out that changes something."""
        self._changed = self._desk.book.asked()

    def ask(self, asked: int | None = None) -> Deferred[None] | None:
        """Fires when the figures are no older than question ``asked``, or than this call; None: they are so."""
        if asked is not None and self._known > max(asked, self._changed):
            return None
        now = self._desk.book.asked()
        fresh = self._desk.fresh()
        return None if fresh is None else fresh.addCallback(lambda _: self._came(now))

    def look(self, streams: Callable[[], Iterable[StreamCounters]], asked: int | None = None) -> Deferred[Any] | None:
        """As ``ask``, and then the fields ``LOOKED_AT`` of ``streams()``, which are chosen by figures of now."""
        fresh = self.ask(asked)
        if fresh is None:
            return self._desk.look_at(streams())
        return fresh.addCallback(lambda _: self._desk.look_at(streams()))

    def _came(self, since: int) -> None:
        self._known = max(self._known, since)
