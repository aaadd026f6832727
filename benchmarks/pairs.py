"""Pairs of measurements, A and B in turn, and the table of their ratios.

Rules: no process, no clock, no printing here. A row's ratio is taken pair by pair, so that a slow moment of the machine
falls on both sides; the table shows the median of the ratios with the least and the greatest, and the medians of both
sides.

Beware: the ratio of the two medians is not the median ratio; the table's ratio is the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

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


@frozen
class Asked:
    """One figure that is asked for without a peer: at least `reach`, or at most where `at_most`; None only informs."""

    what: str
    unit: str
    reach: float | None = None
    at_most: bool = True


@frozen
class Figure:
    """A measured figure, one sample for each repeat, in the unit of what was asked."""

    asked: Asked
    samples: tuple[float, ...]

    @property
    def reached(self) -> bool | None:
        """Whether the median is what is asked for; None where nothing is."""
        reach, middle = self.asked.reach, median(self.samples)
        if reach is None:
            return None
        return middle <= reach if self.asked.at_most else middle >= reach


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


def figure_mapping(figure: Figure) -> dict[str, object]:
    """The figure for the JSON document: every sample and what the table shows."""
    return {
        "what": figure.asked.what,
        "unit": figure.asked.unit,
        "samples": list(figure.samples),
        "median": median(figure.samples),
        "min": min(figure.samples),
        "max": max(figure.samples),
        "reach": figure.asked.reach,
        "at_most": figure.asked.at_most,
        "reached": figure.reached,
    }


def outcome_of(row: Mapping[str, Any]) -> Outcome:
    """What `as_mapping` wrote."""
    return Outcome(row["what"], row["unit"], tuple(row["ours"]), tuple(row["peer"]), row["reach"])


def figure_of(row: Mapping[str, Any]) -> Figure:
    """What `figure_mapping` wrote."""
    return Figure(Asked(row["what"], row["unit"], row["reach"], row["at_most"]), tuple(row["samples"]))


Cells = tuple[str, ...]
WORDS = {True: "reached", False: "not reached", None: ""}


def outcome_cells(outcomes: Sequence[Outcome]) -> list[Cells]:
    """The head and the rows of the pairs."""
    head = ("what", "ours", "peer", "unit", "ratio", "min", "max", "reach", "")
    return [
        head,
        *(
            (
                outcome.what,
                short(median(outcome.ours)),
                short(median(outcome.peer)),
                outcome.unit,
                f"{median(outcome.ratios):.2f}",
                f"{min(outcome.ratios):.2f}",
                f"{max(outcome.ratios):.2f}",
                "-" if outcome.reach is None else f"{outcome.reach:g}",
                WORDS[outcome.reached],
            )
            for outcome in outcomes
        ),
    ]


def figure_cells(figures: Sequence[Figure]) -> list[Cells]:
    """The head and the rows of the figures without a peer."""
    head = ("figure", "median", "min", "max", "unit", "reach", "")
    return [
        head,
        *(
            (
                figure.asked.what,
                short(median(figure.samples)),
                short(min(figure.samples)),
                short(max(figure.samples)),
                figure.asked.unit,
                "-" if (reach := figure.asked.reach) is None else f"{'<=' if figure.asked.at_most else '>='} {reach:g}",
                WORDS[figure.reached],
            )
            for figure in figures
        ),
    ]


TEXTS = {"what", "figure", "unit", ""}


def aligned(rows: Sequence[Cells]) -> list[str]:
    """Plain lines; numbers are right-aligned under their names."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if name in TEXTS else cell.rjust(width)
            for name, cell, width in zip(rows[0], row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def markdown(rows: Sequence[Cells]) -> list[str]:
    """The same as a table for the documents."""
    rule = tuple("---" if name in TEXTS else "---:" for name in rows[0])
    return [f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:])]


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """The lines of the pairs."""
    return aligned(outcome_cells(outcomes))


def short(value: float) -> str:
    """Three significant digits with a decimal prefix: 72377.8 is "72.4 k"."""
    for prefix in ("", " k", " M"):
        if value < 999.5:
            return f"{value:.3g}{prefix}"
        value /= 1000
    return f"{value:.4g} G" if value >= 999.5 else f"{value:.3g} G"
