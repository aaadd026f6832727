"""The conditions of ``--fail-if``: read before the run, judged after it.

Rules: an expression is ``NAME OPERATOR NUMBER[UNIT]``, such as ``packets_per_second<500k``. A name is looked up in
``sent``, then in ``received``, or is a path such as ``received.packets``. What cannot be understood is a usage error
before anything is sent. A value that is not known at the end cannot be vouched for: the condition counts as held.

Beware: units are decimal (``k`` is 1000, ``ms`` a thousandth); a path is one of the result document's.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence

import attrs
from attrs import frozen

from ctrlserver.errors import UsageError, did_you_mean
from ctrlserver.load.ledger import Received, Replies, Volume
from ctrlserver.units import quoted

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

#: The parts of the result document that hold numbers to judge; those first in which a bare name is looked up.
_SECTIONS: dict[str, type[attrs.AttrsInstance]] = {
    "sent": Volume,
    "received": Received,
    "replies": Replies,
    "warm_up": Volume,
}
_BARE = ("sent", "received")


def _names(section: str) -> list[str]:
    return [column.name for column in attrs.fields(_SECTIONS[section])]


@frozen
class Threshold:
    """One condition; ``path`` is ``(section, field)`` of the result document."""

    expression: str
    path: tuple[str, str]
    operator: str
    bound: float


@frozen
class Judgement:
    """A condition after the run. ``failed`` where it held, or where its value (None) is not known."""

    expression: str
    value: float | None
    failed: bool


def parse_threshold(expression: str) -> Threshold:
    """The condition that ``expression`` states; ``UsageError`` in one line where it states none."""
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
    return Threshold(expression.strip(), _path(expression, match["name"]), match["operator"], bound)


def judge(thresholds: Sequence[Threshold], document: Mapping[str, object]) -> list[Judgement]:
    """Each condition, judged on a result document."""
    return [_judged(threshold, document) for threshold in thresholds]


def _judged(threshold: Threshold, document: Mapping[str, object]) -> Judgement:
    section, name = threshold.path
    values = document.get(section)
    value = values.get(name) if isinstance(values, Mapping) else None
    if not isinstance(value, int | float):
        return Judgement(threshold.expression, None, True)
    return Judgement(threshold.expression, value, _OPERATORS[threshold.operator](value, threshold.bound))


def _path(expression: str, name: str) -> tuple[str, str]:
    section, dot, rest = name.partition(".")
    if dot and section in _SECTIONS and rest in _names(section):
        return section, rest
    if not dot:
        for bare in _BARE:
            if name in _names(bare):
                return bare, name
    known = list(dict.fromkeys(entry for bare in _BARE for entry in _names(bare)))
    paths = [f"{section}.{entry}" for section in _SECTIONS for entry in _names(section)]
    near = did_you_mean(name, paths if dot else known + paths)
    words = near or f"; known are {', '.join(known)}, and paths such as received.packets"
    raise UsageError(f"{quoted(expression)}: unknown name {quoted(name)}{words}")
