"""Chooses the rate to try next, until the highest good one is known. Arithmetic only.

Rules:

- The search starts at the lowest rate and doubles each good one, up to the top. Then it tries the middle between the
  highest good and the lowest bad rate, until the two are no further apart than the precision.
- A rate is good if more than half of its ``repeats`` runs are. A bad run is repeated until the majority is certain. One
  good run is enough at first; a rate that is about to become the answer is repeated until its majority is certain. If
  it turns out bad, the search continues below it. So both ends of the answer rest on a majority, and rates well below
  it on one run.
- The target is the limit only if the majority of runs is bad without those that the generator spoilt. Otherwise nobody
  knows what the target can do at that rate, and the answer is a lower bound.

Beware: the search assumes that every rate below a good one is good.
"""

from __future__ import annotations

from enum import StrEnum
from math import floor, log10

from attrs import frozen

from ctrlserver.load.plan.sought import Sought


class Outcome(StrEnum):
    """The outcome of a run at a rate; ``SPOILT`` is a bad run in which the generator was late."""

    GOOD = "good"
    BAD = "bad"
    SPOILT = "generator"


class Limit(StrEnum):
    """What keeps the answer from being higher; ``TOP`` is ``--to``."""

    TARGET = "target"
    GENERATOR = "generator"
    TOP = "to"


@frozen
class Answer:
    """``highest`` good rate, None if there is none; ``limit`` says why not more, ``above`` the lowest bad rate."""

    highest: float | None
    limit: Limit
    above: float | None


class Search:
    """One search: run at ``rate``, ``record`` its outcome, until ``rate`` is None."""

    def __init__(self, sought: Sought) -> None:
        self._sought = sought
        self._runs: dict[float, list[Outcome]] = {}
        self.rate: float | None = sought.from_packets_per_second

    def record(self, outcome: Outcome) -> None:
        """Record the outcome of the run at ``rate``."""
        assert self.rate is not None
        self._runs.setdefault(self.rate, []).append(outcome)
        self.rate = self._next(self.rate)

    @property
    def good(self) -> float | None:
        """The highest rate known to be good so far."""
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
        low, above, sought = self.good, self._above, self._sought
        if low is None:
            return None
        if above is None:
            if low < sought.to_packets_per_second:
                return min(2 * low, sought.to_packets_per_second)
        elif above - low > sought.precision * low:
            return between(low, above)
        return low if self._certain(low) is None else None

    @property
    def _above(self) -> float | None:
        return min((rate for rate in self._runs if self._certain(rate) is False), default=None)

    def _passed(self, rate: float) -> bool:
        """Whether the majority is good, or all runs so far are."""
        return self._certain(rate) or set(self._runs[rate]) == {Outcome.GOOD}

    def _certain(self, rate: float) -> bool | None:
        """Whether the majority is good; None if that depends on further runs."""
        runs = self._runs[rate]
        good = runs.count(Outcome.GOOD)
        if good > self._sought.repeats - self._needed_bad:
            return True
        return False if len(runs) - good >= self._needed_bad else None

    @property
    def _needed_bad(self) -> int:
        return (self._sought.repeats + 1) // 2


def between(low: float, high: float) -> float:
    """A number near the middle of two, with as few digits as possible."""
    digits = -floor(log10((high - low) / 4))
    middle = round((low + high) / 2, digits)
    return middle if low < middle < high else (low + high) / 2
