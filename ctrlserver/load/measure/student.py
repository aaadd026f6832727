"""Student's t distribution. PURE."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache


@cache
def t_quantile(freedom: float, probability: float) -> float:
    """Of Student's t with ``freedom`` >= 1 degrees, for a ``probability`` of 0.5 to below 1.

    With t = sqrt(freedom) tan(u) the distribution is an integral of cos(u) ** (freedom - 1): Simpson's rule, bisected.
    """

    def density(u: float) -> float:
        return math.pow(max(0.0, math.cos(u)), freedom - 1)

    freedom = min(freedom, 1000.0)  # from there on the normal distribution, to three digits
    whole = _simpson(density, math.pi / 2)
    low, high = 0.0, math.pi / 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _simpson(density, middle) / whole < 2 * probability - 1 else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _simpson(function: Callable[[float], float], end: float, steps: int = 100) -> float:
    step = end / steps
    odd = sum(function(step * number) for number in range(1, steps, 2))
    even = sum(function(step * number) for number in range(2, steps, 2))
    return (function(0.0) + 4 * odd + 2 * even + function(end)) * step / 3
