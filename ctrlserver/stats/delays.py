"""The one-way delay of one stream's packets: jitter and percentiles.

Rules: times are whole nanoseconds since 1970, and a delay is the time of arrival less the intended send time, so it
includes the lateness of the sender. Jitter is that of RFC 3550 (6.4.1 and A.8): for each packet in order of arrival,
duplicates included, J += (|D| - J) / 16, D being the difference of its delay and the one before.

In bulk the same recurrence is one sum: after n packets J is J*q^n + the sum of |D(k)| * q^(n-k) / 16, q being 15/16.
q^1024 is 2e-29, so only the last 1024 differences change a double.

Delays are kept as counts in buckets of a logarithmic scale, 64 to each doubling, so a percentile is within 0.8 % of the
true delay. A bucket is the top bits of a double: sign, exponent and the first six bits of the mantissa.
Only buckets in use take memory, typically ten to some hundred. Beyond MOST_BUCKETS (random send times, or sixteen full
doublings) neighbours are merged: half as many to each doubling, and twice the error.
HdrHistogram records one value in 0.8 us in Python and its counts at two digits take 36 KiB for each stream.

Beware: a delay includes the offset between the two clocks. If the sender's clock is ahead, delays are negative, and we
publish them so, because 0 would hide it. All packets of one read have the same time of arrival.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from math import ceil
from struct import Struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TAIL = 1024
"""Number of latest differences that still affect the jitter."""

_GRAIN = 46
"""Low bits of a double's mantissa that its bucket ignores: six of the 52 remain."""

MOST_BUCKETS = 1024
"""Most buckets of one stream, some 80 KiB. 64-bit times span 8 000 buckets, and a port may have 10 000 streams."""

_DENSE = 1024
"""Up to this span of buckets, a dense count is faster than sorting: 16 doublings."""

_BITS = Struct(">q")
_DOUBLE = Struct(">d")
_HALF = 1 << 63


class Delays:
    """Jitter and delays of one stream; ``jitter`` in nanoseconds."""

    __slots__ = ("_counts", "_grain", "_last", "jitter")

    def __init__(self) -> None:
        self.jitter = 0.0
        self._last: float | None = None
        self._counts: dict[int, int] = {}
        self._grain = _GRAIN

    def take(self, sent: int, arrived: int) -> None:
        """One packet."""
        # Wraps like a 64-bit integer, so that ``take_all`` gives the same result even for a nonsense time.
        delay = float((arrived - sent + _HALF) % (2 * _HALF) - _HALF)
        if self._last is not None:
            self.jitter += (abs(delay - self._last) - self.jitter) / 16
        self._last = delay
        key = _BITS.unpack(_DOUBLE.pack(delay))[0] >> self._grain
        self._counts[key] = self._counts.get(key, 0) + 1
        if len(self._counts) > MOST_BUCKETS:
            self._coarsen()

    def take_all(self, sent: NDArray[Any], arrived: int) -> None:
        """Packets that arrived together, in order; an array of int64."""
        import numpy as np

        delays = (arrived - sent).astype(np.float64)
        if self._last is None:
            self._last = float(delays[0])
        steps = np.empty_like(delays)
        steps[0] = delays[0] - self._last
        np.subtract(delays[1:], delays[:-1], out=steps[1:])
        n = min(len(steps), _TAIL)
        self.jitter = self.jitter * 0.9375 ** len(steps) + float(np.abs(steps[-n:]) @ _weights()[-n:])
        self._last = float(delays[-1])
        keys = delays.view(np.int64) >> self._grain
        low = int(keys.min())
        if int(keys.max()) - low < _DENSE:
            dense = np.bincount(keys - low)
            found = np.flatnonzero(dense)
            hits = dense[found]
            found += low
        else:
            found, hits = np.unique(keys, return_counts=True)
        counts = self._counts
        for key, count in zip(found.tolist(), hits.tolist(), strict=True):
            counts[key] = counts.get(key, 0) + count
        if len(counts) > MOST_BUCKETS:
            self._coarsen()

    def _coarsen(self) -> None:
        while len(self._counts) > MOST_BUCKETS:
            self._grain += 1
            fewer: dict[int, int] = {}
            for key, count in self._counts.items():
                fewer[key >> 1] = fewer.get(key >> 1, 0) + count
            self._counts = fewer

    def seconds(self, quantiles: Sequence[float]) -> list[float | None]:
        """The delay at each of ``quantiles``, in seconds; ``None`` before the first packet."""
        if not self._counts:
            return [None for _ in quantiles]
        ordered = sorted((_middle(key, self._grain), count) for key, count in self._counts.items())
        upto = list(accumulate(count for _, count in ordered))
        return [ordered[bisect_left(upto, ceil(quantile * upto[-1]))][0] / 1e9 for quantile in quantiles]


def _middle(key: int, grain: int) -> float:
    """The middle of a bucket, in nanoseconds; 0 for the bucket of delay 0."""
    bits = (key << grain) + (1 << grain - 1) if key else 0
    return float(_DOUBLE.unpack(_BITS.pack(bits))[0])


@cache
def _weights() -> NDArray[Any]:
    import numpy as np

    return 0.9375 ** np.arange(_TAIL - 1, -1, -1, dtype=np.float64) / 16
