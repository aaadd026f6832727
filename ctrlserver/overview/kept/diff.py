"""``ctrlstat diff RUN RUN``: two runs side by side, with the ratio of their numbers. PURE.

Rules: the fields stand in the order of the first. A ratio is the second by the first; it is left out for what counts
nothing (numbers of runs, texts, times of day) and where the first is 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import isfinite

from ctrlserver.overview.answers import Row
from ctrlserver.stats.records import Value


def side_by_side(
    first: tuple[str, Mapping[str, Value]], second: tuple[str, Mapping[str, Value]], numbers: Collection[str]
) -> list[Row]:
    """A row for each field of two runs, each with its heading; ``numbers`` are the fields that have a ratio."""
    (one, before), (other, after) = first, second
    if one == other:
        one, other = f"{one} (1)", f"{other} (2)"
    return [
        {
            "field": name,
            one: before.get(name),
            other: after.get(name),
            "ratio": ratio(before.get(name), after.get(name)) if name in numbers else None,
        }
        for name in dict.fromkeys((*before, *after))
    ]


def ratio(before: Value, after: Value) -> float | None:
    """How many times ``before`` is ``after``, to four digits; None where that says nothing."""
    for each in (before, after):
        if isinstance(each, bool) or not isinstance(each, int | float) or not isfinite(each):
            return None
    assert isinstance(before, int | float)
    assert isinstance(after, int | float)
    return float(f"{after / before:.4g}") if before else None
