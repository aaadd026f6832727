"""An HDR histogram of times: cheap to record, bounded memory, three significant digits from 1 ns to an hour.

Rules: a time is a whole number of nanoseconds. The buckets are exactly those of the hdrhistogram library with lowest 1,
highest 1 hour and 3 significant digits, so that the result of ``encoded`` decodes, merges and shows the same
percentiles in any program that reads HDR histograms. All figures come from the buckets alone: minimum and maximum too
are those of a bucket, at most a thousandth off. A time longer than an hour counts as an hour, a negative one as 0.

Beware: ``counts`` is a plain table from bucket to count, so that a hot loop may count in place: bucket
``(magnitude << 10) + (time >> magnitude)`` with ``magnitude = max(0, time.bit_length() - 11)``. A loop that does so may
go past ``LAST_BUCKET``; the readers of the table count such times there. It stays the same object.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from attrs import frozen

from ctrlserver.stats import hdr

#: One nanosecond, the unit of recorded times, in seconds.
UNIT_SECONDS = 1e-9

#: The library's parameters: the shortest and the longest time it tells apart, in nanoseconds, and significant digits.
LOWEST = 1
HIGHEST = 3600 * 10**9
DIGITS = 3

#: Layout: 2048 buckets of 1 ns, then 1024 for each doubling.
_HALF_BITS = 10
_WHOLE_BITS = _HALF_BITS + 1
LAST_BUCKET = ((HIGHEST.bit_length() - _WHOLE_BITS) << _HALF_BITS) + (HIGHEST >> (HIGHEST.bit_length() - _WHOLE_BITS))

#: The fields of a Latency that are percentiles.
PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "p99_9": 99.9, "p99_99": 99.99}

#: ``record_run`` records its times in at most this many groups.
GROUPS = 16


@frozen
class Latency:
    """The summary of many times, in seconds; ``hdr`` is the encoded histogram (base64), its unit ``UNIT_SECONDS``."""

    count: int
    mean: float
    min: float
    max: float
    p50: float
    p90: float
    p99: float
    p99_9: float
    p99_99: float
    hdr: str


class Histogram:
    """Counts of times. Beware: merging and reading walk the buckets in use, recording touches one."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: defaultdict[int, int] = defaultdict(int)

    def __len__(self) -> int:
        """How many times were recorded."""
        return sum(self.counts.values())

    def record(self, time: int, count: int = 1) -> None:
        """Count ``time``, in nanoseconds, ``count`` times."""
        if time < 0:
            time = 0
        magnitude = time.bit_length() - _WHOLE_BITS
        self.counts[(magnitude << _HALF_BITS) + (time >> magnitude) if magnitude > 0 else time] += count

    def record_run(self, now: int, count: int, first: int, last: int) -> None:
        """Count how long before ``now`` each of ``count`` moments was, the ``first`` to the ``last``, evenly spread.

        Of more than ``GROUPS`` moments, groups of neighbours are counted as long ago as the oldest of them.
        """
        if count == 1 or first == last:
            self.record(now - first, count)
            return
        step = -(-count // GROUPS)
        for start in range(0, count, step):
            moment = first + (last - first) * start // (count - 1)
            self.record(now - moment, min(step, count - start))

    def add(self, other: Histogram) -> None:
        """Count all of ``other`` too."""
        counts = self.counts
        for bucket, count in other.counts.items():
            counts[bucket] += count
        if max(other.counts, default=0) > LAST_BUCKET:
            for bucket in [bucket for bucket in other.counts if bucket > LAST_BUCKET]:
                counts[LAST_BUCKET] += counts.pop(bucket)

    def clear(self) -> None:
        """Forget everything."""
        self.counts.clear()

    def count_above(self, time: int) -> int:
        """How many times lie in buckets above that of ``time``."""
        bucket = bucket_of(time)
        return sum(count for key, count in self.counts.items() if key > bucket)

    def at(self, percentiles: Sequence[float]) -> list[float]:
        """The times, in seconds, at ``percentiles``, at most 100; 0 where nothing was recorded."""
        if not self.counts:
            return [0.0] * len(percentiles)
        buckets = sorted(self.counts)
        upto = list(accumulate(map(self.counts.__getitem__, buckets)))
        total = upto[-1]
        wanted = [max(int(percentile * total / 100 + 0.5), 1) for percentile in percentiles]  # as the library rounds
        return [seconds(highest_in(buckets[bisect_left(upto, count)])) for count in wanted]

    def latency(self) -> Latency | None:
        """The summary; None if no time was recorded."""
        figures = self.figures()
        return None if figures is None else Latency(**figures, hdr=self.encoded())

    def figures(self) -> dict[str, Any] | None:
        """The fields of the summary but for ``hdr``; None if no time was recorded."""
        buckets = sorted(self.counts.items())
        if not buckets:
            return None
        total = sum(count for _, count in buckets)
        middles = 0
        for bucket, count in buckets:  # lowest_in and width_of, in place
            magnitude = (bucket >> _HALF_BITS) - 1
            if magnitude > 0:
                middles += count * (((bucket - (magnitude << _HALF_BITS)) << magnitude) + (1 << magnitude >> 1))
            else:
                middles += count * bucket
        return {
            "count": total,
            "mean": seconds(middles / total),
            "min": seconds(lowest_in(buckets[0][0])),
            "max": seconds(highest_in(buckets[-1][0])),
            **dict(zip(PERCENTILES, self.at(tuple(PERCENTILES.values())), strict=True)),
        }

    def encoded(self) -> str:
        """The histogram in the exchange format of HDR histograms."""
        if max(self.counts, default=0) > LAST_BUCKET:
            whole = Histogram()
            whole.add(self)
            return whole.encoded()
        return hdr.encoded(self.counts, LOWEST, HIGHEST, DIGITS)


def decoded(*texts: str) -> Histogram:
    """All times of the texts that ``encoded`` made, here or on another machine; ValueError for any other text."""
    histogram = Histogram()
    histogram.counts.update(hdr.summed(texts, (LOWEST, HIGHEST, DIGITS), LAST_BUCKET + 1))
    return histogram


def in_library(text: str) -> Any:
    """The library's own histogram, of any layout, from its text; an error of one kind or another for nonsense.

    What is larger than ``hdr.MOST_DECOMPRESSED`` is not decompressed.
    """
    from hdrh.histogram import HdrHistogram

    hdr.unpacked(text)
    return HdrHistogram.decode(text)


def bucket_of(time: int) -> int:
    """The bucket of a time of any length, negative too."""
    if time < 2 << _HALF_BITS:
        return max(time, 0)
    magnitude = time.bit_length() - _WHOLE_BITS
    return min((magnitude << _HALF_BITS) + (time >> magnitude), LAST_BUCKET)


def lowest_in(bucket: int) -> int:
    """The shortest time of a bucket."""
    magnitude = _magnitude(bucket)
    return (bucket - (magnitude << _HALF_BITS)) << magnitude


def highest_in(bucket: int) -> int:
    """The longest time of a bucket."""
    return lowest_in(bucket) + width_of(bucket) - 1


def width_of(bucket: int) -> int:
    """Nanoseconds that share a bucket."""
    return 1 << _magnitude(bucket)


def seconds(nanoseconds: float) -> float:
    """Nanoseconds as seconds, rounded to the nanosecond."""
    return round(nanoseconds * UNIT_SECONDS, 9)


def _magnitude(bucket: int) -> int:
    return max(0, (bucket >> _HALF_BITS) - 1)
