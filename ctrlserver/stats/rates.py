"""Packets and bits per second over the last 1, 10 and 60 seconds.

Rules: the book takes a sample of the totals every :data:`SAMPLE_SECONDS`; a figure is the growth since the youngest
sample that is at least as old as its window, divided by the actual time since then. So a late sample makes a window
longer, but no figure wrong. While no sample is old enough, a figure covers the time since the first one.

Beware: without a sample all rates are 0; take one when the counting begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from ctrlserver.stats.counters import Totals

SAMPLE_SECONDS = 0.25
WINDOWS = {"": 1.0, "_10s": 10.0, "_60s": 60.0}
"""Seconds of each window, by the suffix of its rates' names."""

_SOONEST = SAMPLE_SECONDS / 2
"""``sample`` ignores a call sooner than this after the last one, so that ``_MOST`` samples span the longest window."""

_LONGEST = max(WINDOWS.values())
_MOST = int(_LONGEST / _SOONEST) + 2


class Rates:
    """A bounded history of samples: monotonic seconds, packets, bytes."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=_MOST)

    def sample(self, now: float, totals: Totals) -> None:
        """Keep the totals of this instant, and drop samples older than every window needs."""
        samples = self._samples
        if samples and now - samples[-1][0] < _SOONEST:
            return
        samples.append((now, totals.packets, totals.bytes))
        while len(samples) > 1 and now - samples[1][0] >= _LONGEST:
            samples.popleft()

    def figures(self, now: float, totals: Totals) -> dict[str, Any]:
        """The rates at ``now`` by their published names; ``totals`` are those of ``now``.

        Bits are bytes times 8, without the headers of TCP, UDP and IP.
        """
        rates = {ending: self._over(window, now, totals) for ending, window in WINDOWS.items()}
        return {
            **{f"packets_per_second{ending}": packets for ending, (packets, _) in rates.items()},
            **{f"bits_per_second{ending}": bits for ending, (_, bits) in rates.items()},
        }

    def by_second(self) -> Iterator[tuple[float, float, float]]:
        """The last minute, oldest first: when each second ended, packets/s and bits/s."""
        begun: tuple[float, int, int] | None = None
        for at, packets, octets in self._samples:
            if begun is None:
                begun = at, packets, octets
            elif (seconds := at - begun[0]) >= 1.0 - _SOONEST:
                yield at, (packets - begun[1]) / seconds, (octets - begun[2]) * 8 / seconds
                begun = at, packets, octets

    def _over(self, window: float, now: float, totals: Totals) -> tuple[float, float]:
        old_enough = (sample for sample in reversed(self._samples) if now - sample[0] >= window)
        then, packets, octets = next(old_enough, self._samples[0] if self._samples else (now, 0, 0))
        seconds = now - then
        if seconds <= 0:
            return 0.0, 0.0
        return (totals.packets - packets) / seconds, (totals.bytes - octets) * 8 / seconds
