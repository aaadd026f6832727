"""Which rate to try next, until the highest good one is known: by arithmetic alone.

Rules:

- From the lowest rate upward each good rate is doubled, up to the top. Between the highest good one and the lowest bad
  one the middle is tried, until the two are no further apart than the precision.
- A rate has up to ``repeats`` runs, and more than half of them must be good. A bad run is repeated until the majority
  is certain. A good one is believed at first, and has its majority made certain where it is about to become the
  answer; where that fails the search goes on below it. So both ends of the answer rest on a majority, and what lies
  well below it on one run.
- A rate is bad by the target only where the majority would be bad without the runs that the generator spoilt. Else
  nobody knows what the target can do there, and the answer is a lower bound.

Beware: it is taken that what is good at a rate is good at any lower one.
"""

from __future__ import annotations

from enum import StrEnum
from math import floor, log10

from attrs import frozen


class Outcome(StrEnum):
    """What a run at a rate came to; ``SPOILT`` is a bad run in which the generator was late."""

    GOOD = "good"
    BAD = "bad"
    SPOILT = "generator"


class Limit(StrEnum):
    """What keeps the answer from being higher; ``TOP`` is ``--to``."""

    TARGET = "target"
    GENERATOR = "generator"
    TOP = "to"


@frozen
class Aim:
    """What to look for: packets per second, the precision as a part of the rate."""

    lowest: float
    top: float
    precision: float
    repeats: int


@frozen
class Answer:
    """``highest`` good rate, None where there is none; ``limit`` says why not more, ``above`` the lowest bad rate."""

    highest: float | None
    limit: Limit
    above: float | None


class Search:
    """One search: run at ``rate``, ``record`` its outcome, until ``rate`` is None."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        self._runs: dict[float, list[Outcome]] = {}
        self.rate: float | None = aim.lowest

    def record(self, outcome: Outcome) -> None:
        """The run at ``rate`` came to ``outcome``."""
        assert self.rate is not None
        self._runs.setdefault(self.rate, []).append(outcome)
        self.rate = self._next(self.rate)

    @property
    def good(self) -> float | None:
        """The highest rate that is good as far as is known."""
        above = self._above
        rates = [rate for rate in self._runs if above is None or rate < above]
        return max((rate for rate in rates if self._passed(rate)), default=None)

    @property
    def answer(self) -> Answer:
        """What was found, once ``rate`` is None."""
        above = self._above
        if above is None:
            return Answer(self.good, Limit.TOP, None)
        by_target = self._runs[above].count(Outcome.BAD) >= self._needed_bad
        return Answer(self.good, Limit.TARGET if by_target else Limit.GENERATOR, above)

    def _next(self, rate: float) -> float | None:
        if not self._passed(rate) and self._certain(rate) is None:
            return rate
        low, above, aim = self.good, self._above, self._aim
        if low is None:
            return None
        if above is None:
            if low < aim.top:
                return min(2 * low, aim.top)
        elif above - low > aim.precision * low:
            return between(low, above)
        return low if self._certain(low) is None else None

    @property
    def _above(self) -> float | None:
        return min((rate for rate in self._runs if self._certain(rate) is False), default=None)

    def _passed(self, rate: float) -> bool:
        """Whether it is good, or nothing has been said against it."""
        return self._certain(rate) or set(self._runs[rate]) == {Outcome.GOOD}

    def _certain(self, rate: float) -> bool | None:
        """Whether the majority is good; None where that depends on further runs."""
        runs = self._runs[rate]
        good = runs.count(Outcome.GOOD)
        if good > self._aim.repeats - self._needed_bad:
            return True
        return False if len(runs) - good >= self._needed_bad else None

    @property
    def _needed_bad(self) -> int:
        return (self._aim.repeats + 1) // 2


def between(low: float, high: float) -> float:
    """A number near the middle of two, with no more digits than it takes."""
    digits = -floor(log10((high - low) / 4))
    middle = round((low + high) / 2, digits)
    return middle if low < middle < high else (low + high) / 2
