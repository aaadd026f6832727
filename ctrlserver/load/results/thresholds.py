"""The conditions of ``--fail-if``: parsed before the run, judged after it.

Rules: an expression is ``NAME OPERATOR NUMBER[UNIT]``, such as ``packets_per_second<500k``. A name is the path of any
number of the result document, such as ``latency.service.p99_9``, or a bare one, which is looked up in ``sent``,
``received``, ``latency`` (the response time where there is one, else the service time), ``schedule``, ``delivery``,
``connections`` and ``downloaded``: the first that this run has measured. An expression that does not parse is a usage
error before anything is sent. If the value is unknown at the end, the condition counts as held.

Beware: units are decimal (``k`` is 1000, ``ms`` a thousandth); a path is one of the result document's.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from ctrlserver.errors import UsageError
from ctrlserver.load.results.schemas import number_at, number_paths, part_at
from ctrlserver.words import did_you_mean, quoted

Path = tuple[str, ...]

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_UNITS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "us": 1e-6, "ms": 1e-3, "s": 1.0}

_EXPRESSION = re.compile(
    r"\s*(?P<name>[^\s<>=!]+)\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<number>-?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"\s*(?P<unit>[A-Za-z]*)(?:/s)?\s*",
    re.ASCII,
)

#: Of the kinds of latency, the one a bare percentile means: the first that was timed.
_KINDS: tuple[Path, ...] = (("latency", "response"), ("latency", "service"))

#: Where a bare name is looked up, in this order.
_BARE: tuple[Path, ...] = (
    *(("sent",), ("received",)),
    *(*_KINDS, ("latency",)),
    *(("schedule",), ("delivery",), ("connections",), ("downloaded",)),
)

#: If one of these was measured, nothing was sent: a bare name then means it rather than ``sent``.
_INSTEAD_OF_SENT = ("downloaded", "connections")

_SAMPLE = "received.packets"


@frozen
class Threshold:
    """One condition; ``paths`` are the places of the result document that it may mean, the preferred one first."""

    expression: str
    paths: tuple[Path, ...]
    operator: str
    bound: float


@frozen
class Judgement:
    """A condition after the run. ``failed`` if it held, or if its value is unknown (None)."""

    expression: str
    value: float | None
    failed: bool


def parse_threshold(expression: str) -> Threshold:
    """The condition that ``expression`` states; ``UsageError`` in one line if it does not parse."""
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        raise UsageError(f'{quoted(expression)}: expected NAME OPERATOR NUMBER, such as "packets_per_second<500k"')
    unit = match["unit"]
    if unit not in _UNITS:
        near = did_you_mean(unit, [name for name in _UNITS if name])
        raise UsageError(f"{quoted(expression)}: unknown unit {quoted(unit)}, expected k, M, G, us, ms or s{near}")
    bound = float(match["number"].replace("_", "")) * _UNITS[unit]
    if not math.isfinite(bound):
        raise UsageError(f"{quoted(expression)}: the number is too large")
    return Threshold(expression.strip(), _paths(expression, match["name"]), match["operator"], bound)


def judge(thresholds: Sequence[Threshold], document: Mapping[str, object]) -> list[Judgement]:
    """Each condition, judged on a result document."""
    return [_judged(threshold, document) for threshold in thresholds]


def _judged(threshold: Threshold, document: Mapping[str, object]) -> Judgement:
    value = number_at(document, _meant(threshold.paths, document))
    failed = value is None or _OPERATORS[threshold.operator](value, threshold.bound)
    return Judgement(threshold.expression, value, failed)


def _meant(paths: Sequence[Path], document: Mapping[str, object]) -> Path:
    """The first of ``paths`` whose section this run has measured."""
    measured = [path for path in paths if part_at(document, path[:-1]) is not None]
    if measured and measured[0][0] == "sent":
        measured = [path for path in measured if path[0] in _INSTEAD_OF_SENT] + measured
    return (measured or paths)[0]


def _paths(expression: str, name: str) -> tuple[Path, ...]:
    """The places that ``name`` may mean: a whole path, one without its kind of latency, or a bare name."""
    known = number_paths()
    given = tuple(name.split("."))
    if given in known:
        return (given,)
    kinds = tuple((*kind, *given[1:]) for kind in _KINDS)
    if given[0] == "latency" and kinds[0] in known:
        return kinds
    candidates = tuple(path for begin in _BARE if (path := (*begin, *given)) in known)
    if candidates:
        return candidates
    ends = [path[2:] if path[:2] in _KINDS else path[1:] for path in known if path[:1] in _BARE]
    bare = list(dict.fromkeys(".".join(end) for end in ends))
    paths = [".".join(path) for path in known]
    near = did_you_mean(name, paths + bare if len(given) > 1 else bare) or did_you_mean(name, paths)
    words = near or f"; known are {', '.join(entry for entry in bare if '.' not in entry)}, and paths such as {_SAMPLE}"
    raise UsageError(f"{quoted(expression)}: unknown name {quoted(name)}{words}")
