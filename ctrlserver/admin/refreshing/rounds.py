"""Rounds: what the workers are asked for is asked once for all who want it at the same time.

A round begins with a question to the desk, and is over when the desk's Deferred fires. It serves those who had asked
before it began, and nobody else: what it brings may have been read before a later question arrived. So whoever asks
while a round is under way waits for the next one, which serves all of them::

    asked     1  2        3  4  5              6
    rounds      |--- 1, 2 ---|--- 3, 4, 5 ---|   |--- 6 ---|

Rules:

- One round at a time: a flood of questions costs one round after another, however many ask.
- Who asks has the number of ``Book.asked``, and so has the beginning of each round. Two questions that arrived together
  have one number, and share the round.
- A change (``changed``) ends the sharing: what was asked for before it is good for nobody who asks after it.
- Nobody waits longer than ``LATEST_SECONDS``, whatever the desk does. A round that fails is an error to those who
  waited for it; the next question begins another.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final

from attrs import Factory, define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ctrlserver.stats.book import Book

LATEST_SECONDS: Final = 2.0
"""The workers have a second to answer; this is for a desk that does not keep to it."""


class Figures(IntEnum):
    """What a command reads of the workers' numbers; ``PATHS``: the TCP figures of streams too, which cost more."""

    NONE = 0
    NUMBERS = 1
    PATHS = 2


@define(eq=False)
class _Asker:
    """Who waits for a round that began after ``since``."""

    since: int
    figures: Figures
    over: Deferred[None] = Factory(Deferred)


@define(eq=False)
class _Round:
    """One that is under way; ``began`` is the number that the book gave to its beginning."""

    began: int
    figures: Figures


@define(eq=False)
class Rounds:
    """``begin(figures)`` asks; None where all there is, is of now."""

    begin: Callable[[Figures], Deferred[None] | None]
    book: Book
    reactor: IReactorTime
    _served: _Round = field(factory=lambda: _Round(-1, Figures.NONE), init=False)
    _changed: int = field(default=-1, init=False)
    _round: _Round | None = field(default=None, init=False)
    _askers: list[_Asker] = field(factory=list, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    def changed(self) -> None:
        """Something was changed: who asks from now on is to see it."""
        self._changed = self.book.asked()

    def ask(self, figures: Figures, asked: int | None = None) -> Deferred[None] | None:
        """Fires when the numbers are no older than question ``asked``; None where they are so already.

        Without ``asked`` a round that is under way is new enough, and one that is over is not.
        """
        since = self._since(figures, asked)
        if self._served.began > since and self._served.figures >= figures:
            return None
        if self._round is not None:
            self._askers.append(asker := _Asker(since, figures))
            return asker.over
        began = self.book.asked()
        if (answered := self._ask_the_desk(figures)) is None:
            return None
        self._askers.append(asker := _Asker(since, figures))
        self._await(_Round(began, figures), answered)
        return asker.over

    def _since(self, figures: Figures, asked: int | None) -> int:
        if asked is not None:
            return max(asked, self._changed)
        under_way = self._round
        return self.book.asked() if under_way is None or under_way.figures < figures else under_way.began - 1

    def _ask_the_desk(self, figures: Figures) -> Deferred[None] | None:
        try:
            return self.begin(figures)
        except Exception:
            return fail()

    def _await(self, begun: _Round, answered: Deferred[None]) -> None:
        self._round = begun
        self._timer = self.reactor.callLater(LATEST_SECONDS, self._is_late, begun)
        answered.addBoth(self._is_over, begun)

    def _is_late(self, begun: _Round) -> None:
        self._is_over(None, begun)

    def _is_over(self, answer: Failure | None, begun: _Round) -> None:
        """Let those go on whom this round serves, and begin the next one for the others."""
        if self._round is not begun:
            return  # it was late, and nobody waits for it any more
        self._round = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.book.changed()
        if not isinstance(answer, Failure):
            self._served = begun
        served = [each for each in self._askers if each.since < begun.began and each.figures <= begun.figures]
        self._askers = [each for each in self._askers if each not in served]
        fresh: list[_Asker] = []
        if self._askers:
            figures, began = max(each.figures for each in self._askers), self.book.asked()
            if (answered := self._ask_the_desk(figures)) is None:
                fresh, self._askers = self._askers, []
            else:
                self._await(_Round(began, figures), answered)
        for each in served:
            each.over.callback(answer)  # a Failure goes to the errbacks
        for each in fresh:
            each.over.callback(None)
