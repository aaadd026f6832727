"""What the admin port waits for before it reads: figures of now, and the kept packets of a stream.

One process has all numbers itself: then the desk answers None, and nobody waits. With workers it gives a Deferred, and
those who ask share it (``rounds.py``).
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ctrlserver.admin.refreshing.rounds import LATEST_SECONDS, Figures, Rounds
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError

STREAMS: Final = 64
"""Streams whose kept packets were asked for last: as many as there may be peers that ask."""

_LATE: Final = CommandError(503, "worker-late", f"the worker of the stream did not answer within {LATEST_SECONDS:g} s")


class Freshness:
    """That of one server, for all of its admin connections."""

    def __init__(self, desk: Desk, reactor: IReactorTime) -> None:
        self._desk = desk
        self._reactor = reactor
        self._numbers = Rounds(lambda figures: desk.fresh(paths=figures >= Figures.PATHS), desk.book, reactor)
        self._packets: dict[int, Rounds] = {}

    def changed(self) -> None:
        """A command was carried out that changes something."""
        self._numbers.changed()
        for rounds in self._packets.values():
            rounds.changed()

    def ask(self, figures: Figures = Figures.NUMBERS, asked: int | None = None) -> Deferred[None] | None:
        """Fires when the figures are no older than question ``asked``, or for none than a moment; None: they are so."""
        return self._numbers.ask(figures, asked)

    def ask_packets(self, stream: int, asked: int | None) -> Deferred[None] | None:
        """The same for the kept packets of a stream, once its numbers are known."""
        fresh = self._numbers.ask(Figures.NUMBERS, asked)
        if fresh is None:
            return self._packets_of(stream).ask(Figures.NUMBERS, asked)
        return fresh.addCallback(lambda _: self._packets_of(stream).ask(Figures.NUMBERS, asked))

    def _packets_of(self, stream: int) -> Rounds:
        rounds = self._packets.pop(stream, None)
        if rounds is None:
            rounds = Rounds(lambda _: self._desk.fetch_packets(stream), self._desk.book, self._reactor, _LATE)
        while len(self._packets) >= STREAMS and (idle := self._idle()) is not None:
            del self._packets[idle]
        self._packets[stream] = rounds
        return rounds

    def _idle(self) -> int | None:
        return next((stream for stream, rounds in self._packets.items() if rounds.is_idle), None)
