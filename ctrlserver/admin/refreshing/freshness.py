"""Whether the figures in the book are new enough for a question; if not, the desk is asked for those of now.

One process has all figures itself: then the desk answers None, and nobody waits. With workers it gives a Deferred, and
those who ask it meanwhile share what it asks of them.

Rules: who asks has the number of ``Book.asked``, and what came in has that of the moment when it was asked for. So
lines that arrived together share it. A change (``changed``) ends that: figures asked for before it are too old for who
asks after it.
"""

from __future__ import annotations

from enum import IntEnum

from twisted.internet.defer import Deferred

from ctrlserver.desk import Desk


class Figures(IntEnum):
    """What a command reads of the workers' numbers; ``PATHS``: the TCP figures of streams too, which cost more."""

    NONE = 0
    NUMBERS = 1
    PATHS = 2


class Freshness:
    """That of one server, for all of its admin connections."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known = dict.fromkeys(Figures, -1)  # by the number of the moment when they were asked for
        self._changed = -1

    def changed(self) -> None:
        """A command was carried out that changes something."""
        self._changed = self._desk.book.asked()

    def ask(self, figures: Figures = Figures.NUMBERS, asked: int | None = None) -> Deferred[None] | None:
        """Fires when the figures are no older than question ``asked``, or than this call; None: they are so."""
        if asked is not None and self._known[figures] > max(asked, self._changed):
            return None
        now = self._desk.book.asked()
        fresh = self._desk.fresh(paths=figures >= Figures.PATHS)
        return None if fresh is None else fresh.addCallback(lambda _: self._came(figures, now))

    def _came(self, figures: Figures, since: int) -> None:
        for each in Figures:
            if each <= figures:
                self._known[each] = max(self._known[each], since)
