"""Packets and bits per second over the last 1, 10 and 60 seconds.

Rules: the shell gives a sample of the totals every :data:`SAMPLE_SECONDS`; a figure is the growth since the youngest
sample that is at least as old as its window, divided by the true time since then. So a late sample makes a window
longer, never a figure wrong. At the start of life, while no sample is old enough, a figure covers the time there is.

Beware: without a sample there is nothing to grow from; take one when the counting begins.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ctrlserver.stats.counters import Totals

SAMPLE_SECONDS = 0.25
WINDOWS = {"": 1.0, "_10s": 10.0, "_60s": 60.0}
"""Seconds of each window, by what ends the names of its rates."""

_SOONEST = SAMPLE_SECONDS / 2
"""A sample sooner than this after the last one is left out, so that the bound below never cuts the longest window."""

_LONGEST = max(WINDOWS.values())
_MOST = int(_LONGEST / _SOONEST) + 2


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
        while len(samples) > 1 and now - samples[1][0] >= _LONGEST:
            samples.popleft()

    def figures(self, now: float, totals: Totals) -> dict[str, Any]:
        """The rates now, where ``totals`` are those of now, by their published names.

        Bits are bytes times 8, without the headers of the network below.
        """
        rates = {ending: self._over(window, now, totals) for ending, window in WINDOWS.items()}
        return {
            **{f"packets_per_second{ending}": packets for ending, (packets, _) in rates.items()},
            **{f"bits_per_second{ending}": bits for ending, (_, bits) in rates.items()},
        }

    def _over(self, window: float, now: float, totals: Totals) -> tuple[float, float]:
        old_enough = (sample for sample in reversed(self._samples) if now - sample[0] >= window)
        then, packets, octets = next(old_enough, self._samples[0] if self._samples else (now, 0, 0))
        seconds = now - then
        if seconds <= 0:
            return 0.0, 0.0
        return (totals.packets - packets) / seconds, (totals.bytes - octets) * 8 / seconds
