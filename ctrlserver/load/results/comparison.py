"""Compares the results of two sides, A and B: the ratio B/A of each figure that matters, and how sure it is.

Rules: if each side has several runs, a side's value is the geometric mean of its runs, and the ratio has a 95 %
confidence interval by Welch's t-test on the logarithms. Speeds and times vary by factors, so their logarithms are close
to a normal distribution; Welch's test allows each side a spread of its own. A figure is worse beyond a tolerance only
if the ratio is beyond it and the interval, if there is one, excludes 1: chance fails nobody. Lost, late and duplicate
packets are compared as a share of the packets sent.

Beware: an interval needs two runs or more on both sides, and values above 0; three runs make a wide one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, variance

from attrs import frozen

from ctrlserver.load.measure.student import t_quantile
from ctrlserver.load.results.schemas import number_at
from ctrlserver.units import format_bits, format_duration, format_rate

CONFIDENCE = 0.95

Document = Mapping[str, object]
Path = tuple[str, ...]

#: Above the rounding of a division and of a geometric mean.
_EXACT = 1e-9

_PERCENTILES = ("mean", "p50", "p90", "p99", "p99_9", "p99_99")

_SHOWN: dict[str, Callable[[float], str]] = {
    "rate": format_rate,
    "bits": format_bits,
    "seconds": format_duration,
    "share": lambda share: f"{share * 100:.4g} %",
}


@frozen
class Figure:
    """One number of a document: ``words`` for people; ``unit`` is ``rate``, ``bits``, ``seconds`` or ``share``.

    A ``share`` is divided by the number at ``of``.
    """

    path: Path
    words: str
    unit: str
    more_is_better: bool
    of: Path | None = None

    @property
    def name(self) -> str:
        """The path as it is written in ``--fail-if``."""
        return ".".join(self.path)

    def value(self, document: Document) -> float | None:
        """The figure of one run; None if it is not known."""
        value = number_at(document, self.path)
        if value is None or self.of is None:
            return value if value is None or math.isfinite(value) else None
        whole = number_at(document, self.of)
        return value / whole if whole else None

    def shown(self, value: float | None) -> str:
        """``value`` with its unit, for a person."""
        return "-" if value is None else _SHOWN[self.unit](value)


def _figures() -> tuple[Figure, ...]:
    made: list[Figure] = []
    for section in ("sent", "received", "downloaded"):
        made.append(Figure((section, "packets_per_second"), f"{section} packets/s", "rate", True))
        made.append(Figure((section, "bits_per_second"), f"{section} bits/s", "bits", True))
    made.append(Figure(("connections", "connections_per_second"), "connections/s", "rate", True))
    opened = ("connections", "opened")
    made.append(Figure(("connections", "failed"), "failed connections", "share", False, opened))
    for kind in ("response", "service"):
        for key in _PERCENTILES:
            made.append(Figure(("latency", kind, key), f"{kind} {key.replace('_', '.')}", "seconds", False))
    planned = ("schedule", "planned_packets")
    made.append(Figure(("schedule", "achieved_packets_per_second"), "achieved packets/s", "rate", True))
    made.append(Figure(("schedule", "late_packets"), "late packets", "share", False, planned))
    made.append(Figure(("schedule", "slip", "p99"), "slip p99", "seconds", False))
    sent = ("sent", "packets")
    for key in ("lost", "duplicate", "out_of_order"):
        made.append(Figure(("delivery", key), key.replace("_", " "), "share", False, sent))
    made.append(Figure(("delivery", "dropped_by_receiver"), "receiver's drops", "share", False, sent))
    made.append(Figure(("delivery", "jitter_seconds"), "jitter", "seconds", False))
    return tuple(made)


FIGURES = _figures()


@frozen
class Compared:
    """One figure of both sides. ``a`` and ``b`` are the runs' values, those not known left out.

    ``ratio`` is B/A, None if A has none or is 0; ``better`` is ``a``, ``b``, ``same``, ``unclear`` (the interval
    holds 1) or None if a side has no value.
    """

    figure: Figure
    a: tuple[float, ...]
    b: tuple[float, ...]
    mean_a: float | None
    mean_b: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    better: str | None
    worse_beyond_tolerance: bool


def compare(
    a: Sequence[Document], b: Sequence[Document], tolerance: float | None, figures: Sequence[Figure] = FIGURES
) -> list[Compared]:
    """Each of ``figures`` that a side knows; a rate that is 0 on both sides was not measured."""
    made = []
    for figure in figures:
        of_a = tuple(value for one in a if (value := figure.value(one)) is not None)
        of_b = tuple(value for one in b if (value := figure.value(one)) is not None)
        if any((*of_a, *of_b)) or (of_a + of_b and not figure.more_is_better):
            made.append(_compared(figure, of_a, of_b, tolerance))
    return made


def _compared(figure: Figure, a: tuple[float, ...], b: tuple[float, ...], tolerance: float | None) -> Compared:
    mean_a, mean_b = _mean(a), _mean(b)
    if mean_a is None or mean_b is None:
        return Compared(figure, a, b, mean_a, mean_b, None, None, None, None, False)
    same = math.isclose(mean_a, mean_b, rel_tol=_EXACT)
    ratio = 1.0 if same else mean_b / mean_a if mean_a else None
    low, high = ratio_interval(a, b) or (None, None)
    if same:
        better = "same"
    elif low is not None and high is not None and low <= 1 <= high:
        better = "unclear"
    else:
        better = "b" if (mean_b > mean_a) == figure.more_is_better else "a"
    change = math.inf if ratio is None else ratio - 1
    loss = -change if figure.more_is_better else change
    beyond = tolerance is not None and better == "a" and loss > tolerance + _EXACT
    return Compared(figure, a, b, mean_a, mean_b, ratio, low, high, better, beyond)


def _mean(values: Sequence[float]) -> float | None:
    """The geometric mean if all are above 0."""
    if not values:
        return None
    if len(values) == 1 or min(values) <= 0:
        return fmean(values)
    return math.exp(fmean(map(math.log, values)))


def ratio_interval(a: Sequence[float], b: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % confidence interval of B/A by Welch on logarithms; None if the values do not allow one."""
    if min(len(a), len(b)) < 2 or min(*a, *b) <= 0:
        return None
    logs_a, logs_b = [math.log(value) for value in a], [math.log(value) for value in b]
    centre = fmean(logs_b) - fmean(logs_a)
    spread_a, spread_b = variance(logs_a) / len(a), variance(logs_b) / len(b)
    spread = spread_a + spread_b
    if spread < _EXACT**2:  # equal values but for rounding
        return math.exp(centre), math.exp(centre)
    freedom = spread**2 / (spread_a**2 / (len(a) - 1) + spread_b**2 / (len(b) - 1))
    half = t_quantile(freedom, (1 + CONFIDENCE) / 2) * math.sqrt(spread)
    return math.exp(centre - half), math.exp(centre + half)


#: Options that change how a run is reported or judged, not what it does.
_NOT_COMPARED = (
    *("labels", "fail_if", "admin", "seed", "start_at"),
    *("interval_seconds", "connect_timeout_seconds", "stall_timeout_seconds"),
)


def differing_options(documents: Sequence[Document]) -> list[str]:
    """What the runs were asked for differently, such as ``"streams 1 | 4"``; how they were judged is left out."""
    asked: list[dict[str, object]] = []
    for one in documents:
        options = one.get("options")
        asked.append({"target": one.get("target"), **(options if isinstance(options, Mapping) else {})})
    words = []
    for key in dict.fromkeys(key for options in asked for key in options if key not in _NOT_COMPARED):
        values = [options.get(key) for options in asked]
        distinct = list(dict.fromkeys("none" if value is None else str(value) for value in values))
        if len(distinct) > 1:
            words.append(f"{key} {' | '.join(distinct)}")
    return words
