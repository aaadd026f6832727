"""Pairs of measurements, A and B in turn, and the table of their ratios.

Rules: no process, no clock, no printing here. A row's ratio is taken pair by pair, so that a slow moment of the machine
falls on both sides; the table shows the median of the ratios with the least and the greatest, and the medians of both
sides.

Beware: the ratio of the two medians is not the median ratio; the table's ratio is the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from attrs import frozen

Measure = Callable[[], float]


class CountsDifferError(Exception):
    """What was sent is not what was counted: the row has no speed, and the run fails."""


class MissingError(Exception):
    """A peer that this machine does not have; the message names it and where it comes from."""


@frozen
class Outcome:
    """A measured row. `ours` and `peer` are in `unit` (per second), one of each for each pair; `reach` is the ratio
    that is asked for, or None where the row only informs."""

    what: str
    unit: str
    ours: tuple[float, ...]
    peer: tuple[float, ...]
    reach: float | None = None

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours through the peer's, pair by pair."""
        return tuple(ours / peer for ours, peer in zip(self.ours, self.peer, strict=True))

    @property
    def reached(self) -> bool | None:
        """Whether the median ratio is at least what is asked for; None where nothing is."""
        return None if self.reach is None else median(self.ratios) >= self.reach


def measured(what: str, unit: str, reach: float | None, ours: Measure, peer: Measure, repeats: int) -> Outcome:
    """Ours, the peer, ours, the peer ... `repeats` of each. Raises what the measures raise."""
    pairs = [(ours(), peer()) for _ in range(repeats)]
    return Outcome(what, unit, tuple(a for a, _ in pairs), tuple(b for _, b in pairs), reach)


def as_mapping(outcome: Outcome) -> dict[str, object]:
    """The row for the JSON document: every measurement and the figures of the table."""
    return {
        "what": outcome.what,
        "unit": outcome.unit,
        "ours": list(outcome.ours),
        "peer": list(outcome.peer),
        "ratio": {
            "median": median(outcome.ratios),
            "min": min(outcome.ratios),
            "max": max(outcome.ratios),
        },
        "reach": outcome.reach,
        "reached": outcome.reached,
    }


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """The lines of the table; numbers are right-aligned under their names."""
    head = ("what", "ours", "peer", "unit", "ratio", "min", "max", "reach", "")
    body = [
        (
            outcome.what,
            short(median(outcome.ours)),
            short(median(outcome.peer)),
            outcome.unit,
            f"{median(outcome.ratios):.2f}",
            f"{min(outcome.ratios):.2f}",
            f"{max(outcome.ratios):.2f}",
            "-" if outcome.reach is None else f"{outcome.reach:g}",
            {True: "reached", False: "not reached", None: ""}[outcome.reached],
        )
        for outcome in outcomes
    ]
    texts = {0, 3, 8}
    widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if column in texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *body)
    ]


def short(value: float) -> str:
    """Three significant digits with a decimal prefix: 72377.8 is "72.4 k"."""
    for prefix in ("", " k", " M"):
        if value < 999.5:
            return f"{value:.3g}{prefix}"
        value /= 1000
    return f"{value:.4g} G" if value >= 999.5 else f"{value:.3g} G"
