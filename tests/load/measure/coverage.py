"""How often a run that stops by ``--until`` has the truth in its interval: simulated runs of known distributions.

``python -m tests.load.measure.coverage [--runs 1000] [--within 5%] [NAME...]`` makes the table of the guide. Slices,
intervals and the rule for stopping are those of ``ctrlload``; only the times of the replies are drawn.

A slice has 50 replies on average (of the queue 100), and a run 200 slices at least. ``memory`` is how many slices
the target remembers: the sum of its autocorrelations.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from multiprocessing import Pool
from statistics import NormalDist, fmean

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ctrlserver.load.measure.confidence import Estimate, Slices, Stopping
from ctrlserver.stats.latency import bucket_of
from ctrlserver.units import parse_share

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Random = np.random.Generator

#: Replies in a slice, the least and the most slices of a run, and the seconds of a slice.
EACH, LEAST, MOST, SECONDS = 50, 200, 1520, 0.1

#: The same of the queue, and its load.
ARRIVE, LOAD = 100, 0.7

#: Nanoseconds of the unit in which the distributions draw.
UNIT = 1e6

NORMAL = NormalDist()

#: Bits of a bucket's number.
_BITS = 20


def independent(draw: Callable[[Random, int], Floats]) -> Callable[[Random, int], tuple[Counts, Floats]]:
    """Replies that know nothing of each other, at random moments."""

    def slices(random: Random, number: int) -> tuple[Counts, Floats]:
        counts = random.poisson(EACH, number)
        return counts, draw(random, int(counts.sum()))

    return slices


def modulated(fading: float, spread: float, noise: float) -> Callable[[Random, int], tuple[Counts, Floats]]:
    """Times around a level that is AR(1) over the slices: ``fading`` is its correlation from one to the next."""

    def slices(random: Random, number: int) -> tuple[Counts, Floats]:
        news = random.normal(0, spread * math.sqrt(1 - fading**2), number)
        news[0] = random.normal(0, spread)
        levels = np.array(list(accumulate(news.tolist(), lambda level, new: fading * level + new)))
        counts = random.poisson(EACH, number)
        return counts, np.exp(np.repeat(levels, counts) + random.normal(0, noise, int(counts.sum())))

    return slices


def queue(random: Random, number: int) -> tuple[Counts, Floats]:
    """Waiting times of an M/M/1 queue at 0.7 load, which begins in its steady state."""
    served = ARRIVE / LOAD
    total = int(random.poisson(ARRIVE * number))
    moments = np.sort(random.random(total) * number)
    counts = np.bincount(moments.astype(np.int64), minlength=number)
    steps = np.concatenate([[0.0], random.exponential(1 / served, total - 1)]) - np.diff(moments, prepend=0.0)
    first = random.exponential(1 / (served - ARRIVE)) if random.random() < LOAD else 0.0
    walk = np.cumsum(steps)
    waits = np.maximum(first + walk, walk - np.minimum.accumulate(walk))
    return counts, waits * (served - ARRIVE)


def two_kinds(random: Random, number: int) -> Floats:
    """One reply in twenty takes ten times as long."""
    slow = random.random(number) < 0.05
    return np.exp(np.where(slow, math.log(10), 0.0) + random.normal(0, 0.2, number))


def two_kinds_quantile(share: float) -> float:
    """By bisection."""
    low, high = 0.1, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        below = 0.95 * NORMAL.cdf(math.log(middle) / 0.2) + 0.05 * NORMAL.cdf(math.log(middle / 10) / 0.2)
        low, high = (middle, high) if below < share else (low, middle)
    return low


def lognormal_quantile(spread: float, share: float) -> float:
    """Of the exponential of a normal distribution."""
    return math.exp(spread * NORMAL.inv_cdf(share))


@frozen
class Case:
    """A distribution, the figure asked for, and its true value in units; ``share`` is None for the mean."""

    words: str
    draw: Callable[[Random, int], tuple[Counts, Floats]]
    share: float | None
    truth: float


CASES = {
    "exponential": Case("exponential, p99", independent(lambda r, n: r.exponential(1, n)), 0.99, -math.log(0.01)),
    "lognormal": Case(
        "lognormal (sigma 0.7), p99",
        independent(lambda r, n: r.lognormal(0, 0.7, n)),
        *(0.99, lognormal_quantile(0.7, 0.99)),
    ),
    "bimodal": Case("bimodal (5 % ten times as long), p99", independent(two_kinds), 0.99, two_kinds_quantile(0.99)),
    "fading": Case(
        "AR(1), memory 9 slices, p99", modulated(0.8, 0.1, 0.3), 0.99, lognormal_quantile(math.sqrt(0.1), 0.99)
    ),
    "slow": Case(
        "AR(1), memory 19 slices, p99", modulated(0.9, 0.1, 0.3), 0.99, lognormal_quantile(math.sqrt(0.1), 0.99)
    ),
    "slower": Case(
        "AR(1), memory 66 slices, p99", modulated(0.97, 0.1, 0.3), 0.99, lognormal_quantile(math.sqrt(0.1), 0.99)
    ),
    "queue": Case("M/M/1 at 0.7 load, p99", queue, 0.99, math.log(LOAD / 0.01)),
    "queue-mean": Case("M/M/1 at 0.7 load, mean", queue, None, LOAD),
}


@frozen
class Outcome:
    """One run: after how many slices it ended, whether by its rule, and whether its interval has the truth."""

    slices: int
    reached: bool
    covers: bool | None


def buckets_of(times: Floats) -> Counts:
    """``bucket_of`` for many."""
    whole = times.astype(np.int64)
    magnitudes = np.maximum(np.frexp(np.maximum(whole, 1))[1].astype(np.int64) - 11, 0)
    return (magnitudes << 10) + (whole >> magnitudes)


def drawn(case: Case, random: Random, most: int) -> Iterator[Mapping[int, int]]:
    """The replies of a run, slice by slice, by the bucket of their times."""
    counts, times = case.draw(random, most)
    buckets = buckets_of(times * UNIT)
    assert int(buckets[0]) == bucket_of(int(times[0] * UNIT))
    keys, numbers = np.unique((np.repeat(np.arange(most), counts) << _BITS) + buckets, return_counts=True)
    ends = np.searchsorted(keys, np.arange(1, most + 1) << _BITS)
    start = 0
    for end in ends.tolist():
        yield dict(zip((keys[start:end] & ((1 << _BITS) - 1)).tolist(), numbers[start:end].tolist(), strict=True))
        start = end


def narrow(estimate: Estimate | None, within: float) -> bool:
    """Whether the interval is as narrow as asked for."""
    return (
        estimate is not None
        and estimate.independent
        and estimate.half is not None
        and estimate.half <= within * estimate.value
    )


def simulated(name: str, seed: int, within: float, most: int = MOST) -> Outcome:
    """One run of a case, which stops as a real one does, and after ``most`` slices."""
    case = CASES[name]
    slices, stopping = Slices(), Stopping(LEAST)
    estimate: Estimate | None = None
    reached = False
    for times in drawn(case, np.random.default_rng((seed, *name.encode())), most):
        slices.add(SECONDS, 0.0, times)
        if stopping.due(slices.cut):
            estimate = slices.mean() if case.share is None else slices.percentile(case.share)
            if reached := narrow(estimate, within):
                break
    if estimate is None or estimate.low is None or estimate.high is None:
        return Outcome(slices.cut, reached, None)
    return Outcome(slices.cut, reached, estimate.low <= case.truth * UNIT <= estimate.high)


def _simulated(given: tuple[str, int, float]) -> Outcome:
    return simulated(*given)


def line(name: str, outcomes: Sequence[Outcome]) -> str:
    """A row of the table."""
    covered = [outcome.covers for outcome in outcomes if outcome.covers is not None]
    share = 100 * sum(covered) / max(1, len(covered))
    reached = sum(outcome.reached for outcome in outcomes)
    seconds = fmean(outcome.slices for outcome in outcomes) * SECONDS
    return f"| {CASES[name].words} | {share:.1f} % | {reached} | {seconds:.0f} s |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(CASES), metavar="NAME", help=f"of {', '.join(CASES)}")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--within", type=parse_share, default=0.05)
    asked = parser.parse_args()
    sys.stdout.write("| distribution, figure | the interval has the truth | runs that reached it | mean length |\n")
    sys.stdout.write("|---|---|---|---|\n")
    with Pool() as pool:
        for name in asked.names:
            given = [(name, seed, asked.within) for seed in range(asked.runs)]
            sys.stdout.write(f"{line(name, pool.map(_simulated, given, chunksize=4))}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
