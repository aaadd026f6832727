"""How sure a figure of a run is by now: its 95 % confidence interval, and when a run may stop for it. PURE.

The run is cut into fine slices (``Slices``), each with its counts and the times of its replies. A figure is the ratio
of two sums over them: a rate is packets by seconds, a mean is times by replies. Of a percentile it is the part of the
replies that took no longer than its estimate; the interval of that part is turned into times by the run's own
distribution, as order statistics are for independent replies.

Replies close to each other are alike, because they wait in the same queue. So the spread is taken between batches, in
which correlation is contained if they are long. How long is long enough, the run itself has to show:

- Where neighbours among ``BATCHES`` batches show no correlation, these are all that counts.
- Else their correlation widens the interval, as for a process whose memory fades from batch to batch. And the run is
  parted into ``FEW`` batches too, and the wider interval counts: what lasts longer than a short batch makes the long
  ones differ more.
- Correlated by more than ``CORRELATED``, the interval is not ``independent``, and stops no run.
- Student's t stands for the small number of batches. A correlation is an estimate too, and leaves ``FREEDOM``.

Whoever looks often enough sees any interval narrow by chance, and just then it is wrong. So ``Stopping`` makes looks
rare: each when the run is longer than at the last one by ``GROWTH``.

Beware: what lasts for a tenth of the run looks like a trend, and the interval is too narrow. The least time of a run
must be long against the slowest waves of the target. Memory and the cost of a look are bounded: once there are more
than ``MOST_SLICES``, neighbours are joined, one pair for each new slice.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import accumulate, pairwise

from attrs import define, field, frozen

from ctrlserver.load.measure.student import t_quantile
from ctrlserver.stats.latency import highest_in, lowest_in, width_of

#: The truth lies in so many of all intervals.
CONFIDENCE = 0.95

#: Numbers of batches, and how much neighbours among the former may be correlated.
BATCHES, FEW, CORRELATED = 48, 6, 0.35

#: Degrees of freedom of an interval that a correlation widens: the variance of the logarithm of its width is
#: 1 / (2 (BATCHES - 1)) + 1 / BATCHES, half the inverse of 16.
FREEDOM = 16

#: All degrees of freedom that an interval may have.
FREEDOMS = BATCHES - 1, FREEDOM, FEW - 1

#: More correlation widens the interval no further.
MOST_MEMORY = 0.9

#: Slices without which there is no interval.
LEAST_SLICES = 64

#: Replies on each side of a percentile without which there is none either.
LEAST_BEYOND = 10

#: Batches that differ by less than this part of their sum are equal.
ROUNDING = 1e-12

#: Slices kept: at least half as many once there were so many.
MOST_SLICES = 512

#: How much longer than at one look the run must be at the next.
GROWTH = 1.5


@frozen
class Estimate:
    """A figure and its confidence interval; ``low`` or ``high`` is None where the run does not bound it yet.

    ``independent``: the batches, so many of them, are independent enough for it.
    """

    value: float
    low: float | None = None
    high: float | None = None
    batches: int | None = None
    independent: bool = False

    def times(self, unit: float) -> Estimate:
        """The same in another unit."""
        low, high = self.low, self.high
        return Estimate(
            self.value * unit,
            None if low is None else low * unit,
            None if high is None else high * unit,
            self.batches,
            self.independent,
        )

    @property
    def half(self) -> float | None:
        """From the value to the farther end of the interval."""
        return None if self.low is None or self.high is None else max(self.value - self.low, self.high - self.value)


@frozen
class Precision:
    """How sure a figure was when it was last looked at, after ``seconds``; all are None if it never was.

    ``asked`` is the goal as it was typed, ``figure`` the path that it means; ``reached``: the interval was as narrow.
    """

    asked: str
    figure: str
    reached: bool = False
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    batches: int | None = None
    independent: bool | None = None
    seconds: float | None = None

    @property
    def half(self) -> float | None:
        """From the estimate to the farther end of the interval."""
        return None if self.estimate is None else Estimate(self.estimate, self.low, self.high).half


@frozen
class Until:
    """The result's ``until``: how many goals were not reached, and each of them."""

    unreached: int
    goals: list[Precision]

    @classmethod
    def of(cls, goals: Sequence[Precision]) -> Until:
        """Counted."""
        return cls(sum(not goal.reached for goal in goals), list(goals))


@frozen
class _Error:
    """How far from an estimate its interval reaches; it rests on ``batches``."""

    half: float
    batches: int
    independent: bool


class _Slice:
    """Some time of the run, ``length`` slices long as they were cut.

    What is made of its times is made once, when a look first asks for it: looks must not hold the run up.
    """

    __slots__ = ("_buckets", "_sum", "_upto", "amount", "count", "length", "start", "times", "whole")

    def __init__(self, start: int, length: int, whole: float, amount: float, times: Mapping[int, int]) -> None:
        self.start = start
        self.length = length
        self.whole = whole
        self.amount = amount
        self.times = times
        self.count = sum(times.values())
        self._buckets: list[int] = []
        self._upto: list[int] = []
        self._sum: int | None = None

    def up_to(self, bucket: int) -> int:
        """Times in ``bucket`` and below."""
        if not self._upto:
            self._buckets = sorted(self.times)
            self._upto = [0, *accumulate(map(self.times.__getitem__, self._buckets))]
        return self._upto[bisect_right(self._buckets, bucket)]

    @property
    def sum(self) -> int:
        """Of all times, as the histogram's mean has it."""
        if self._sum is None:
            self._sum = sum(count * _middle_of(bucket) for bucket, count in self.times.items())
        return self._sum

    def joined(self, after: _Slice) -> _Slice:
        """Both as one."""
        times = dict(self.times)
        for bucket, count in after.times.items():
            times[bucket] = times.get(bucket, 0) + count
        length = self.length + after.length
        both = _Slice(self.start, length, self.whole + after.whole, self.amount + after.amount, times)
        if self._sum is not None and after._sum is not None:
            both._sum = self._sum + after._sum
        return both


@define
class Slices:
    """A run in slices. ``cut`` is how many there were, those joined since included."""

    cut: int = 0
    _kept: list[_Slice] = field(factory=list)
    _unit: int = 2  # to which length neighbours are being joined
    _at: int = 0  # up to where all are so long
    _total: defaultdict[int, int] = field(factory=lambda: defaultdict(int))

    def add(self, whole: float, amount: float, times: Mapping[int, int] | None = None) -> None:
        """A slice: ``amount`` in ``whole``, such as packets in seconds; or replies, by the bucket of their times."""
        times = times or {}
        for bucket, count in times.items():
            self._total[bucket] += count
        self._kept.append(_Slice(self.cut, 1, whole, amount, times))
        self.cut += 1
        if len(self._kept) > MOST_SLICES:
            self._join()

    def _join(self) -> None:
        kept = self._kept
        while kept[self._at].length >= self._unit:
            self._at += 1
            if self._at + 1 >= len(kept):
                self._at, self._unit = 0, 2 * self._unit
        kept[self._at : self._at + 2] = [kept[self._at].joined(kept[self._at + 1])]

    def ratio(self) -> Estimate | None:
        """``amount`` by ``whole``; None where there was nothing."""
        return self._ratio([(each.start, each.whole, each.amount) for each in self._kept])

    def mean(self) -> Estimate | None:
        """The mean of all times, in nanoseconds; None where there were none."""
        return self._ratio([(each.start, each.count, each.sum) for each in self._kept])

    def _ratio(self, parts: Sequence[tuple[int, float, float]]) -> Estimate | None:
        whole = sum(each for _, each, _ in parts)
        if not whole:
            return None
        value = sum(amount for _, _, amount in parts) / whole
        error = self._error(parts)
        if error is None:
            return Estimate(value)
        low = max(0.0, value - error.half)  # no time or rate is less
        return Estimate(value, low, value + error.half, error.batches, error.independent)

    def percentile(self, share: float) -> Estimate | None:
        """The time that a ``share`` of all times does not exceed, in nanoseconds; None where there were none."""
        buckets = sorted(self._total)
        upto = list(accumulate(map(self._total.__getitem__, buckets)))
        if not upto:
            return None
        count = upto[-1]
        rank = max(int(share * count + 0.5), 1)  # as a histogram rounds
        at = buckets[bisect_left(upto, rank)]
        error = self._error([(each.start, each.count, each.up_to(at)) for each in self._kept])
        if error is None or count * min(share, 1 - share) < LEAST_BEYOND:
            return Estimate(highest_in(at))
        first = min(math.floor(count * (share - error.half)) + 1, rank)
        last = max(math.ceil(count * (share + error.half)), rank)
        low = lowest_in(buckets[bisect_left(upto, first)]) if first >= 1 else None
        high = highest_in(buckets[bisect_left(upto, last)]) if last <= count else None
        return Estimate(highest_in(at), low, high, error.batches, error.independent)

    def _error(self, parts: Sequence[tuple[int, float, float]]) -> _Error | None:
        """How far the interval of the ratio reaches; ``parts`` have their start."""
        if self.cut < LEAST_SLICES:
            return None
        half, correlation = spread_of(self._batches(BATCHES, parts))
        if correlation <= 0:
            return _Error(half * factor_of(BATCHES - 1), BATCHES, independent=True)
        memory = (BATCHES * correlation + 1) / (BATCHES - 4)  # of a correlation r one sees r - (1 + 4r) / n on average
        left = min(memory, MOST_MEMORY)
        long, _ = spread_of(self._batches(FEW, parts))
        widest, batches = max((half * factor_of(FREEDOM), BATCHES), (long * factor_of(FEW - 1), FEW))
        return _Error(widest * math.sqrt((1 + left) / (1 - left)), batches, memory <= CORRELATED)

    def _batches(self, number: int, parts: Sequence[tuple[int, float, float]]) -> list[tuple[float, float]]:
        wholes, amounts = [0.0] * number, [0.0] * number
        for start, whole, amount in parts:
            batch = start * number // self.cut
            wholes[batch] += whole
            amounts[batch] += amount
        return list(zip(wholes, amounts, strict=True))


@cache
def _middle_of(bucket: int) -> int:
    return lowest_in(bucket) + (width_of(bucket) >> 1)


def factor_of(freedom: int) -> float:
    """How many standard errors an interval reaches; it is known from the second call on."""
    return t_quantile(freedom, (1 + CONFIDENCE) / 2)


def spread_of(batches: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The standard error of the ratio of two sums over ``batches``, and how alike neighbours are (-1 to 1)."""
    whole = sum(each for each, _ in batches)
    ratio = sum(amount for _, amount in batches) / whole
    rests = [amount - ratio * each for each, amount in batches]
    square = sum(rest * rest for rest in rests)
    if square <= (ROUNDING * ratio * whole) ** 2:
        return 0.0, 0.0
    number = len(batches)
    return math.sqrt(number / (number - 1) * square) / whole, sum(a * b for a, b in pairwise(rests)) / square


@define
class Stopping:
    """When a run may be looked at to stop it: after ``least`` slices, and then ever more rarely."""

    least: int = LEAST_SLICES
    _next: int = field(init=False, default=LEAST_SLICES)

    def due(self, cut: int) -> bool:
        """Whether it is time for a look, after ``cut`` slices; it is then over."""
        if cut < max(self._next, self.least):
            return False
        self._next = math.ceil(cut * GROWTH)
        return True
