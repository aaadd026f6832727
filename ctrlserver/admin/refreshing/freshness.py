"""What the admin port waits for before it reads: figures of now.

One process has all numbers itself: then the desk answers None, and nobody waits. With workers it gives a Deferred, and
those who ask share it (``rounds.py``).
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ctrlserver.admin.refreshing.rounds import Figures, Rounds
from ctrlserver.desk import Desk


class Freshness:
    """That of one server, for all of its admin connections."""

    def __init__(self, desk: Desk, reactor: IReactorTime) -> None:
        self._numbers = Rounds(lambda figures: desk.fresh(paths=figures >= Figures.PATHS), desk.book, reactor)

    def changed(self) -> None:
        """A command was carried out that changes something."""
        self._numbers.changed()

    def ask(self, figures: Figures = Figures.NUMBERS, asked: int | None = None) -> Deferred[None] | None:
        """Fires when the figures are no older than question ``asked``, or for none than a moment; None: they are so."""
        return self._numbers.ask(figures, asked)
