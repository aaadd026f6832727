"""The goals of ``--until``: parsed before the run, told after it. PURE.

Rules: a goal is ``NAME+-WIDTH``, such as ``p99+-5%`` or ``p99+-0.2ms``: the run goes on until the 95 % confidence
interval of the figure reaches no farther from it than that. Names are those of ``--fail-if``, of figures that a longer
run knows better: rates, means and percentiles. All else is a usage error that says why.
"""

from __future__ import annotations

import math
import re

from attrs import frozen

from ctrlserver.errors import UsageError
from ctrlserver.load.measure.confidence import Estimate, Precision
from ctrlserver.load.results.thresholds import BIT_UNITS, PERCENTILE, Path, factor_of, paths_of, shown
from ctrlserver.words import quoted

_GOAL = re.compile(
    r"\s*(?P<name>[^\s<>=!+±]+?)\s*(?:\+\s*/?\s*-|±)\s*(?P<number>(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"\s*(?P<unit>%|[A-Za-z]*)(?:/s)?\s*",
    re.ASCII,
)

_RATES = {"packets_per_second", "bits_per_second", "connections_per_second"}

#: Why a figure is no goal, by the section it stands in.
_SECTIONS = {
    "received": "is known only after the run; take the same of sent",
    "delivery": "is known only after the run",
    "server_injections": "is known only after the run",
    "until": "says how sure the others are",
}


@frozen
class Goal:
    """One goal; ``paths`` are the figures that it may mean, the preferred one first.

    ``width`` is a share of the figure if ``relative``, else in its unit.
    """

    expression: str
    name: str
    paths: tuple[Path, ...]
    width: float
    relative: bool

    def narrow(self, estimate: Estimate) -> bool:
        """Whether the interval is as narrow as asked for."""
        half = estimate.half
        most = self.width * abs(estimate.value) if self.relative else self.width
        return half is not None and estimate.independent and half <= most


def parse_goal(expression: str) -> Goal:
    """The goal that ``expression`` states; ``UsageError`` in one line if it does not parse."""
    match = _GOAL.fullmatch(expression)
    if match is None:
        raise UsageError(f'{quoted(expression)}: expected NAME+-WIDTH, such as "p99+-5%" or "p99+-0.2ms"')
    unit, number = match["unit"], float(match["number"].replace("_", ""))
    relative = unit == "%"
    width = number / 100 if relative else number * factor_of(expression, unit)
    if not 0 < width < math.inf:
        raise UsageError(f"{quoted(expression)}: the width must be more than 0, such as 5%")
    if relative and width >= 1:
        raise UsageError(f"{quoted(expression)}: the width must be less than 100%")
    paths = paths_of(expression, match["name"], in_bits=unit in BIT_UNITS)
    goals = tuple(path for path in paths if _refusal(path) is None)
    if not goals:
        raise UsageError(f"{quoted(expression)}: {match['name']} {_refusal(paths[0])}")
    return Goal(expression.strip(), match["name"], goals, width, relative)


def _refusal(path: Path) -> str | None:
    """Why a longer run does not make a figure surer; None where it does."""
    section, last = path[0], path[-1]
    if section in _SECTIONS:
        return _SECTIONS[section]
    if last in ("max", "min"):
        return "is one extreme time, which a longer run only moves; take a percentile, such as p99.9"
    timed = section == "latency" and (last == "mean" or PERCENTILE.fullmatch(last))
    slipped = path[:2] == ("schedule", "slip") and PERCENTILE.fullmatch(last)
    moved = section in ("sent", "downloaded", "connections") and last in _RATES
    if timed or slipped or moved:
        return None
    return "is no rate, mean or percentile: a longer run does not make it surer"


def precision_words(precision: Precision) -> str:
    """``p99 1.920 ms +-4.1 % (95 %, 16 batches)``."""
    goal = parse_goal(precision.asked)
    value = precision.estimate
    if value is None:
        return f"{goal.name} is not known yet"
    words = f"{goal.name} {shown(goal.paths[0], value)}"
    half = precision.half
    if half is None:
        return f"{words}, too few of them for an interval"
    width = f"{_short(100 * half / abs(value))} %" if goal.relative and value else shown(goal.paths[0], half)
    batches = f"{precision.batches} batches{'' if precision.independent else ', not independent'}"
    return f"{words} +-{width} (95 %, {batches})"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"
