"""The conditions of ``--fail-if``: parsed before the run, judged after it.

Rules: an expression is ``NAME OPERATOR NUMBER[UNIT]``, such as ``packets_per_second<500k``. A name is the path of any
number of the result document, such as ``latency.service.p99_9``, or a bare one, which is looked up in ``sent``,
``received``, ``latency`` (the response time where there is one, else the service time), ``schedule``, ``delivery``,
``connections``, ``downloaded`` and ``until``: the first that this run has measured. An expression that does not parse
is a usage error before anything is sent. If the value is unknown at the end, the condition counts as held.

Names that are no fields: any percentile of a latency, such as ``p75`` or ``p99.95``, read from its histogram; ``rate``,
packets or connections per second, or bits if the unit is such as ``Mbit/s``; ``errors``, the connections that failed,
in other modes 1 if the run has failed, else 0.

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
from ctrlserver.stats.latency import in_library
from ctrlserver.units import format_bits, format_duration
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

#: Units that say that a rate is in bits.
BIT_UNITS = {"bit": 1.0, "kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9}
_BYTE_UNITS = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_UNITS = {
    "": 1.0,
    "k": 1e3,
    "K": 1e3,
    "M": 1e6,
    "G": 1e9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    **BIT_UNITS,
    **_BYTE_UNITS,
}

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
    *(("schedule",), ("delivery",), ("connections",), ("downloaded",), ("until",)),
)

#: If one of these was measured, nothing was sent: a bare name then means it rather than ``sent``.
_INSTEAD_OF_SENT = ("downloaded", "connections")

#: What ``rate`` and ``errors`` mean.
_RATES = ("packets_per_second", "connections_per_second")
_BITS = ("bits_per_second",)
_ERRORS: Path = ("errors",)

#: The name of a percentile.
PERCENTILE = re.compile(r"p(\d\d?)(?:[._](\d{1,6}))?", re.IGNORECASE | re.ASCII)

#: Names that other tools have for ours.
_FOREIGN = {
    **dict.fromkeys(("avg", "average"), "mean"),
    **dict.fromkeys(("med", "median"), "p50"),
    **dict.fromkeys(("p100", "worst"), "max"),
    **dict.fromkeys(("rps", "qps", "tps", "http_reqs"), "rate"),
    **dict.fromkeys(("bandwidth", "bitrate", "throughput", "bits", "bps"), "bits_per_second"),
    **dict.fromkeys(("failures", "error_rate", "http_req_failed"), "errors"),
    **dict.fromkeys(("loss", "lost_packets", "dropped"), "lost"),
}

_KNOWN = (
    "packets, bytes, rate, bits_per_second, errors, lost, mean, max, p50, p95 or another percentile, "
    "or a path of the result document such as received.packets"
)


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

    @property
    def words(self) -> str:
        """The value in the units of the report, such as ``5.456 ms``; ``unknown`` if it is not known."""
        return "unknown" if self.value is None else self._shown(self.value)

    @property
    def bound(self) -> str:
        """The number that the expression names, in the same units."""
        return self._shown(parse_threshold(self.expression).bound)

    def _shown(self, value: float) -> str:
        return shown(parse_threshold(self.expression).paths[0], value)


def shown(path: Path, value: float) -> str:
    """The number at ``path`` in the units of the report."""
    last = path[-1]
    if "seconds" in last or PERCENTILE.fullmatch(last) or last in ("mean", "min", "max"):
        return format_duration(value)
    if last == "bits_per_second":
        return format_bits(value)
    if last.endswith("_per_second"):
        return f"{value:.1f}/s"
    return f"{value:.12g} bytes" if last == "bytes" else f"{value:.12g}"


def parse_threshold(expression: str) -> Threshold:
    """The condition that ``expression`` states; ``UsageError`` in one line if it does not parse."""
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        better = re.sub(r"(?<![<>=!])=(?![<>=])", "==", re.sub("=([<>])", r"\1=", expression))
        near = f"; did you mean {quoted(better)}?" if better != expression and _EXPRESSION.fullmatch(better) else ""
        raise UsageError(
            f'{quoted(expression)}: expected NAME OPERATOR NUMBER, such as "packets_per_second<500k"{near}'
        )
    unit = match["unit"]
    bound = float(match["number"].replace("_", "")) * factor_of(expression, unit)
    if not math.isfinite(bound):
        raise UsageError(f"{quoted(expression)}: the number is too large")
    paths = paths_of(expression, match["name"], in_bits=unit in BIT_UNITS)
    return Threshold(expression.strip(), paths, match["operator"], bound)


def factor_of(expression: str, unit: str) -> float:
    """What ``unit`` multiplies a number with; ``UsageError`` with the nearest one for one that there is not."""
    if unit not in _UNITS:
        bits = re.fullmatch(r"([kKmMgG]?)b(?:its?|ps)?", unit, re.IGNORECASE)  # 10Mbps is no 10ms
        meant = f"{bits[1].upper().replace('K', 'k')}bit" if bits else unit
        near = f'; did you mean "{meant}"?' if bits else did_you_mean(unit, [name for name in _UNITS if name])
        expected = "expected k, M, G, us, ms, s, MB or Mbit"
        raise UsageError(f"{quoted(expression)}: unknown unit {quoted(unit)}, {expected}{near}")
    return _UNITS[unit]


def share_of(path: Path) -> float | None:
    """Of the percentile at ``path``, as a share from 0 to 1; None for another number."""
    match = PERCENTILE.fullmatch(path[-1])
    return None if match is None else float(f"{match[1]}.{match[2] or 0}") / 100


def judge(thresholds: Sequence[Threshold], document: Mapping[str, object]) -> list[Judgement]:
    """Each condition, judged on a result document."""
    return [_judged(threshold, document) for threshold in thresholds]


def _judged(threshold: Threshold, document: Mapping[str, object]) -> Judgement:
    value = _value(document, _meant(threshold.paths, document))
    failed = value is None or _OPERATORS[threshold.operator](value, threshold.bound)
    return Judgement(threshold.expression, value, failed)


def _meant(paths: Sequence[Path], document: Mapping[str, object]) -> Path:
    """The first of ``paths`` whose section this run has measured."""
    measured = [path for path in paths if part_at(document, path[:-1]) is not None]
    if measured and measured[0][0] == "sent":
        measured = [path for path in measured if path[0] in _INSTEAD_OF_SENT] + measured
    return (measured or paths)[0]


def _value(document: Mapping[str, object], path: Path) -> float | None:
    if path == _ERRORS:
        failed = number_at(document, ("connections", "failed"))
        return float(document.get("error") is not None) if failed is None else failed
    value = number_at(document, path)
    percentile = PERCENTILE.fullmatch(path[-1])
    if value is not None or percentile is None or path[0] != "latency":
        return value
    return _from_histogram(document, path[:-1], float(f"{percentile[1]}.{percentile[2] or 0}"))


def _from_histogram(document: Mapping[str, object], kind: Path, percentile: float) -> float | None:
    """Seconds, as the document has its own percentiles; None if nothing was timed."""
    encoded, unit = part_at(document, (*kind, "hdr")), number_at(document, ("latency", "unit_seconds"))
    if not isinstance(encoded, str) or unit is None:
        return None
    return float(in_library(encoded).get_value_at_percentile(percentile)) * unit


def paths_of(expression: str, name: str, *, in_bits: bool) -> tuple[Path, ...]:
    """The places that ``name`` may mean: a whole path, one without its kind of latency, or a bare name."""
    *section, last = name.split(".")
    if last == "rate":
        rates = _BITS if in_bits else _RATES
        begins = [begin for begin in _BARE if not section or begin == tuple(section)]
        if found := tuple(path for begin in begins for rate in rates if (path := (*begin, rate)) in number_paths()):
            return found
    if name == "errors":
        return (_ERRORS,)
    known = (*number_paths(), *_percentiles(name))
    given = _keys(name)
    if given in known:
        return (given,)
    kinds = tuple((*kind, *given[1:]) for kind in _KINDS)
    if given[0] == "latency" and kinds[0] in known:
        return kinds
    candidates = tuple(path for begin in _BARE if (path := (*begin, *given)) in known)
    if candidates:
        return candidates
    raise UsageError(f"{quoted(expression)}: unknown name {quoted(name)}{_nearest(name)}")


def _keys(name: str) -> Path:
    """The keys of a name: the dot of ``p99.9`` is none that parts two."""
    before, dot, last = re.sub(r"(?<![A-Za-z0-9_])([pP]\d\d?)\.(\d+)$", r"\1_\2", name).rpartition(".")
    if PERCENTILE.fullmatch(last):
        last = re.sub(r"_?0+$", "", last.lower()) if "_" in last else last.lower()
    return tuple((before + dot + last).split("."))


def _percentiles(name: str) -> tuple[Path, ...]:
    """The percentile that ``name`` ends with, as a number of each latency; none for another name."""
    last = _keys(name)[-1]
    return tuple((*kind, last) for kind in _KINDS) if PERCENTILE.fullmatch(last) else ()


def _nearest(name: str) -> str:
    """``'; did you mean "p95"?'``, or the names that there are."""
    word = re.sub(r"^p\((\d\d?(?:\.\d+)?)\)$", r"p\1", name.casefold())
    if word != name.casefold() or word in _FOREIGN:
        return f'; did you mean "{_FOREIGN.get(word, word)}"?'
    known = number_paths()
    ends = [path[2:] if path[:2] in _KINDS else path[1:] for path in known if path[:1] in _BARE]
    bare = list(dict.fromkeys(("rate", "errors", *(".".join(end) for end in ends))))
    paths = [".".join(path) for path in known]
    near = did_you_mean(name, paths + bare if "." in name else bare) or did_you_mean(name, paths)
    return near or f"; expected {_KNOWN}"
