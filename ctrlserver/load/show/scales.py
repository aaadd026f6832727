"""Ticks and their words for charts.

Rules: a tick is a round number that a person would choose, and its label is short: ``10 ms``, ``2.5 k``, ``99.9 %``. A
linear scale starts at 0.
"""

from __future__ import annotations

import math

from attrs import frozen

_STEPS = (1, 2, 2.5, 5, 10)

_PREFIXES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0))

#: The units of each kind, and how much each is: the largest that a value reaches is shown, or else the last.
_UNITS = {
    "time": (("", 1.0),),
    "rate": _PREFIXES,
    "bits": _PREFIXES,
    "seconds": (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)),
}


@frozen
class Scale:
    """The range of an axis and its ticks with their labels."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """How far ``value`` is along the axis, 0 to 1."""
        if self.log:
            value = max(value, self.low)
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)


def linear(highest: float, kind: str, most_ticks: int = 6, *, tight: bool = False) -> Scale:
    """From 0 to a round number at or above ``highest``; ``tight``: to just that."""
    highest = highest if highest > 0 else 1.0
    step = _round_step(highest / most_ticks)
    number = math.floor(highest / step + 1e-9) if tight else math.ceil(highest / step - 1e-9)
    ticks = tuple((step * tick, tick_label(step * tick, kind)) for tick in range(number + 1))
    return Scale(0.0, highest if tight else step * number, False, ticks)


def logarithmic(lowest: float, highest: float, kind: str) -> Scale:
    """Powers of ten around the values; with 2 and 5 between them if there are few."""
    low, high = math.floor(math.log10(lowest) + 1e-9), math.ceil(math.log10(highest) - 1e-9)
    high = max(high, low + 1)
    between = (1, 2, 5) if high - low <= 2 else (1,)
    values = [factor * 10.0**power for power in range(low, high + 1) for factor in between]
    ticks = tuple((value, tick_label(value, kind)) for value in values if value <= 10.0**high * 1.0001)
    return Scale(10.0**low, 10.0**high, True, ticks)


def nines(highest: float) -> Scale:
    """Of 1/(1-q): the percentiles people name, up to ``highest``."""
    highest = max(highest, 10.0)
    powers = range(1, int(math.log10(highest * 1.0001)) + 1)
    ticks = [(x, percentile_label(x)) for x in (1.0, 2.0, *(10.0**power for power in powers))]
    return Scale(1.0, highest, True, tuple(ticks))


def percentile_label(x: float, more_digits: int = 0) -> str:
    """``99.9 %`` for 1 000: as many digits as the nines need, and some more."""
    digits = max(0, math.ceil(math.log10(x) - 1e-9) - 2) + more_digits
    return f"{100 * (1 - 1 / x):.{digits}f} %"


def _round_step(step: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in _STEPS if factor * power >= step * (1 - 1e-9))


def tick_label(value: float, kind: str) -> str:
    """``value`` as a tick says it; ``kind`` is ``time`` ``rate`` ``bits`` or ``seconds``."""
    if value == 0:
        return "0"
    units = _UNITS[kind]
    unit, scale = next((one for one in units if value >= one[1] * 0.9999), units[-1])
    return f"{value / scale:.6g} {unit}".rstrip()
