"""Packets and bits per second over the last 1, 10 and 60 seconds.

Rules: the shell gives a sample of the totals every :data:`SAMPLE_SECONDS`; a figure is the growth since the youngest
sample that is at least as old as its window, divided by the true time since then. So a late sample makes a window
longer, never a figure wrong. At the start of life, while no sample is old enough, a figure covers the time there is.

Beware: without a sample there is nothing to grow from; take one when the counting begins.
"""

from __future__ import annotations

from collections import deque

from attrs import frozen

from ctrlserver.stats.counters import Totals

SAMPLE_SECONDS = 0.25
WINDOWS = (1.0, 10.0, 60.0)

_SOONEST = SAMPLE_SECONDS / 2
"""A sample sooner than this after the last one is left out, so that the bound below never cuts the longest window."""

_MOST = int(WINDOWS[-1] / _SOONEST) + 2


@frozen
class Figures:
    """Rates at one instant; bits are bytes times 8, without the headers of the network below."""

    packets_per_second: float
    packets_per_second_10s: float
    packets_per_second_60s: float
    bits_per_second: float
    bits_per_second_10s: float
    bits_per_second_60s: float


class Rates:
    """A bounded history of samples: monotonic seconds, packets, bytes."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=_MOST)

    def sample(self, now: float, totals: Totals) -> None:
        """Keep the totals of this instant, and drop what no window reaches any more."""
        samples = self._samples
        if samples and now - samples[-1][0] < _SOONEST:
            return
        samples.append((now, totals.packets, totals.bytes))
        while len(samples) > 1 and now - samples[1][0] >= WINDOWS[-1]:
            samples.popleft()

    def figures(self, now: float, totals: Totals) -> Figures:
        """The rates now, where ``totals`` are those of now."""
        (p1, b1), (p10, b10), (p60, b60) = (self._over(window, now, totals) for window in WINDOWS)
        return Figures(p1, p10, p60, b1, b10, b60)

    def _over(self, window: float, now: float, totals: Totals) -> tuple[float, float]:
        old_enough = (sample for sample in reversed(self._samples) if now - sample[0] >= window)
        then, packets, octets = next(old_enough, self._samples[0] if self._samples else (now, 0, 0))
        seconds = now - then
        if seconds <= 0:
            return 0.0, 0.0
        return (totals.packets - packets) / seconds, (totals.bytes - octets) * 8 / seconds
