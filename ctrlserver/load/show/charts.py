"""Result documents as charts, apart from the drawing: rate over time, latency over time, the percentile spectrum.

``charts`` -> ``Charts`` of ``Panel`` of ``Series`` of points; ``chart_page.py`` and ``chart_picture.py`` draw them.

Rules: a panel is numbers and words; it knows no pixels and no drawing library. One result shows response and service
time side by side. Of several results each has a colour of its own, and the time charts show one percentile. A chart of
something that no run measured is left out, with a note. In the spectrum x is 1/(1-q): the median is at 2, p99 at 100,
p99.9 at 1 000, so that the tail has as much room as the rest. A tick is a round number that a person would choose, and
its label is short: ``10 ms``, ``2.5 k``, ``99.9 %``; a linear scale starts at 0.

Beware: long runs have more intervals than a picture has columns. Neighbours are merged; the worst percentile stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, frozen

from ctrlserver.errors import UsageError
from ctrlserver.load.results.schemas import number_at
from ctrlserver.stats.latency import in_library

#: Columns of a time chart: the eye cannot separate more.
MOST_COLUMNS = 600

#: Results in one picture: the eye cannot separate more colours.
MOST_RESULTS = 6

#: Points of a spectrum for each factor of ten.
_POINTS_A_DECADE = 40

#: A line shorter than this part of the width is a speck.
_SPECK = 0.005

#: A logarithmic scale is used if the largest value is so many times the smallest.
_LOG_FROM = 20.0

#: Steps of a linear scale, times a power of ten.
_STEPS = (1, 2, 2.5, 5, 10)

_PREFIXES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0))

#: The units of each kind, and how much each is: the largest that a value reaches is shown, or else the last.
_UNITS = {
    "time": (("", 1.0),),
    "rate": _PREFIXES,
    "bits": _PREFIXES,
    "seconds": (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)),
}

Document = Mapping[str, object]
Point = tuple[float, float]


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


@frozen
class Series:
    """One line. ``colour`` counts from 0, None is grey; ``style`` is ``solid``, ``dashed`` or ``dotted``.

    ``parts`` are its pieces, a gap between each two: points of x and y.
    """

    name: str
    colour: int | None
    style: str
    parts: tuple[tuple[Point, ...], ...]


@frozen
class Panel:
    """One chart. ``x_label`` is ``seconds``, ``percentile`` or else the words for a rate.

    ``y_kind`` is ``rate``, ``bits`` or ``seconds``; ``warm_up`` are the spans of x to be shaded.
    """

    title: str
    x_label: str
    y_label: str
    y_kind: str
    series: tuple[Series, ...]
    warm_up: tuple[tuple[float, float], ...] = ()

    @property
    def log_y(self) -> bool:
        """Whether one value would be flat on the x axis beside another: of rates, the highest of each line count."""
        lines = [[y for part in series.parts for _, y in part] for series in self.series]
        latencies = self.y_kind == "seconds"
        values = [y for line in lines for y in line if y > 0] if latencies else [max(line) for line in lines]
        return min(values, default=0.0) > 0 and max(values) / min(values) >= _LOG_FROM

    def axes(self) -> tuple[Scale, Scale]:
        """The scales of x and y that show all points."""
        points = [point for series in self.series for part in series.parts for point in part]
        last = max(x for x, _ in points)
        values = [y for _, y in points]
        if self.x_label == "percentile":
            x = nines(last)
        elif self.x_label == "seconds":
            x = linear(last, "time", 10, tight=True)
        else:
            least = min(x for x, _ in points)
            x = logarithmic(least, last, "rate") if last / least >= _LOG_FROM else linear(last, "rate", 10, tight=True)
        if self.log_y:
            return x, logarithmic(min(y for y in values if y > 0), max(values), self.y_kind)
        return x, linear(max(values), self.y_kind)

    def specks(self) -> list[tuple[Series, Point]]:
        """The pieces too short to be seen as a line: they need a dot."""
        x_scale, _ = self.axes()
        return [
            (series, part[0])
            for series in self.series
            for part in series.parts
            if x_scale.share(part[-1][0]) - x_scale.share(part[0][0]) < _SPECK
        ]


@frozen
class Charts:
    """All panels of some results, and a note for each that is left out."""

    panels: tuple[Panel, ...]
    notes: tuple[str, ...]


def charts(results: Sequence[tuple[str, Document]]) -> Charts:
    """The charts of results, each with its name; UsageError if there is nothing to draw."""
    if len(results) > MOST_RESULTS:
        raise UsageError(f"{len(results)} results: at most {MOST_RESULTS} can be told apart in one picture")
    names = [name for name, _ in results]
    runs = [_slices(document) for _, document in results]
    panels: list[Panel] = []
    notes: list[str] = []
    for panel, drawn, word in (
        _rate_panel(names, runs, _counted_in(results)),
        _latency_panel(names, runs),
        _spectrum_panel(results),
    ):
        without = [name for name, lines in zip(names, drawn, strict=True) if not any(line.parts for line in lines)]
        if len(without) < len(names):
            lines = (line for lines in drawn for line in lines if line.parts)
            panels.append(evolve(panel, series=(*lines, *panel.series)))
        if without:
            notes.append(f"{', '.join(without)}: {word}" if len(results) > 1 else word)
    if not panels:
        raise UsageError(f"nothing to draw: {'; '.join(notes)}")
    return Charts(tuple(panels), tuple(notes))


#: A panel, its lines for each run (one without parts is left out), and the note for a run that has no line.
_Drawn = tuple[Panel, list[list[Series]], str]


@frozen
class _Slice:
    start: float
    end: float
    packets_per_second: float | None
    bits_per_second: float | None
    warm_up: bool
    target: float | None
    times: Mapping[str, float | None]


_TIMES = ("response_p50", "response_p99", "service_p50", "service_p99")


def _slices(document: Document) -> list[_Slice]:
    """The intervals, merged if there are too many."""
    given = document.get("intervals")
    found: list[_Slice] = []
    for interval in given if isinstance(given, list) else []:
        start, seconds = number_at(interval, ("start_seconds",)), number_at(interval, ("seconds",))
        if start is None or seconds is None or not 0 < seconds < math.inf:
            continue
        found.append(
            _Slice(
                start=start,
                end=start + seconds,
                packets_per_second=number_at(interval, ("packets_per_second",)),
                bits_per_second=number_at(interval, ("bits_per_second",)),
                warm_up=interval.get("warm_up") is True,
                target=number_at(interval, ("target_packets_per_second",)),
                times={name: number_at(interval, (name,)) for name in _TIMES},
            )
        )
    size = -(-len(found) // MOST_COLUMNS)
    return found if size <= 1 else [_together(found[at : at + size]) for at in range(0, len(found), size)]


def _together(slices: Sequence[_Slice]) -> _Slice:
    """Neighbours as one: rates by the time they took, the worst of each percentile."""
    seconds = sum(one.end - one.start for one in slices)
    worst = {name: max((t for one in slices if (t := one.times[name]) is not None), default=None) for name in _TIMES}
    return evolve(
        slices[0],
        end=slices[0].start + seconds,
        packets_per_second=_mean([(one.packets_per_second, one.end - one.start) for one in slices]),
        bits_per_second=_mean([(one.bits_per_second, one.end - one.start) for one in slices]),
        target=_mean([(one.target, one.end - one.start) for one in slices]),
        times=worst,
    )


def _mean(rates: Iterable[tuple[float | None, float]]) -> float | None:
    """Of rates with the seconds that each lasted; None if none is known."""
    known = [(rate, seconds) for rate, seconds in rates if rate is not None]
    return sum(rate * seconds for rate, seconds in known) / sum(seconds for _, seconds in known) if known else None


def _steps(columns: Iterable[tuple[float, float, float | None]]) -> tuple[tuple[Point, ...], ...]:
    """Columns of start, end and value as steps; a missing value ends a piece."""
    parts: list[list[Point]] = [[]]
    for start, end, value in columns:
        if value is None:
            if parts[-1]:
                parts.append([])
        else:
            parts[-1] += [(start, value), (end, value)]
    return tuple(tuple(part) for part in parts if part)


def _counted_in(results: Sequence[tuple[str, Document]]) -> str:
    """What the intervals count: packets, or connections in mode connect."""
    connecting = [isinstance(document.get("connections"), Mapping) for _, document in results]
    return "connections" if all(connecting) else "packets and connections" if any(connecting) else "packets"


def _rate_panel(names: Sequence[str], runs: Sequence[Sequence[_Slice]], counted: str) -> _Drawn:
    in_packets = any(one.packets_per_second for slices in runs for one in slices)
    drawn: list[list[Series]] = []
    targets: dict[str, Series] = {}
    for number, (name, slices) in enumerate(zip(names, runs, strict=True)):
        parts = _steps(
            (one.start, one.end, one.packets_per_second if in_packets else one.bits_per_second) for one in slices
        )
        drawn.append([Series("achieved" if len(runs) == 1 else name, number, "solid", parts)])
        if in_packets and (parts := _steps((one.start, one.end, one.target) for one in slices)):
            targets[name] = Series(f"{name}: target", number, "dotted", parts)
    series = tuple(targets.values())
    if len({target.parts for target in series}) == 1:
        series = (Series("target", None, "dashed", series[0].parts),)
    title = "Rate over time, and its target" if targets else "Rate over time"
    label, kind = (f"{counted}/s", "rate") if in_packets else ("bit/s", "bits")
    panel = Panel(title, "seconds", label, kind, series, _warm_up(runs))
    return panel, drawn, "no rate over time: no interval has a rate"


def _latency_panel(names: Sequence[str], runs: Sequence[Sequence[_Slice]]) -> _Drawn:
    title = "Latency over time"
    if len(runs) == 1:
        drawn = [
            [
                Series(f"{kind} {percentile}", colour, style, _times(runs[0], f"{kind}_{percentile}"))
                for kind, colour in (("response", 1), ("service", 0))
                for percentile, style in (("p99", "solid"), ("p50", "dotted"))
            ]
        ]
    else:
        kinds: set[str] = set()
        drawn = []
        for number, (name, slices) in enumerate(zip(names, runs, strict=True)):
            kind = "response" if _times(slices, "response_p99") else "service"
            drawn.append([Series(f"{name}: {kind} p99", number, "solid", _times(slices, f"{kind}_p99"))])
            kinds |= {kind for line in drawn[-1] if line.parts}
        title += f": {' and '.join(sorted(kinds))} p99"
    panel = Panel(title, "seconds", "latency", "seconds", (), _warm_up(runs))
    return panel, drawn, "no latency over time: no interval has timed replies"


def _warm_up(runs: Sequence[Sequence[_Slice]]) -> tuple[tuple[float, float], ...]:
    """The spans to be shaded: those of a single run."""
    return tuple((one.start, one.end) for one in runs[0] if one.warm_up) if len(runs) == 1 else ()


def _times(slices: Sequence[_Slice], name: str) -> tuple[tuple[Point, ...], ...]:
    return _steps((one.start, one.end, one.times[name] or None) for one in slices)


def _spectrum_panel(results: Sequence[tuple[str, Document]]) -> _Drawn:
    single = len(results) == 1
    drawn: list[list[Series]] = []
    for number, (name, document) in enumerate(results):
        drawn.append([])
        for kind, colour, style in (("response", 1, "solid"), ("service", 0, "solid" if single else "dashed")):
            try:
                points = spectrum(document, kind)
            except Exception as error:  # hdrh and zlib raise many kinds of errors; the caller names a single file
                words = f"latency.{kind}.hdr does not decode: {type(error).__name__}"
                raise UsageError(words if single else f"{name}: {words}") from None
            words = f"{kind} time" if single else f"{name}: {kind}"
            drawn[-1].append(Series(words, colour if single else number, style, (points,) if points else ()))
    panel = Panel("Percentile spectrum", "percentile", "latency", "seconds", ())
    return panel, drawn, "no percentile spectrum: no replies were timed"


def spectrum(document: Document, kind: str) -> tuple[Point, ...]:
    """1/(1-q) and the latency in seconds at quantile q, up to the longest: from 1/(1-q) above the count on.

    ``kind`` is ``response`` or ``service``; empty if the run has not timed it. A histogram that does not decode
    raises errors of many kinds.
    """
    unit = number_at(document, ("latency", "unit_seconds"))
    encoded = part_of(part_of(document, "latency"), kind).get("hdr")
    if unit is None or not isinstance(encoded, str):
        return ()
    histogram = in_library(encoded)
    last = 2 * int(histogram.get_total_count())
    places = math.ceil(math.log10(last) * _POINTS_A_DECADE) if last > 0 else -1
    xs = [min(10 ** (place / _POINTS_A_DECADE), last) for place in range(places + 1)]
    values = [histogram.get_value_at_percentile(100 * (1 - 1 / x)) * unit for x in xs]
    return tuple((x, value) for x, value in zip(xs, values, strict=True) if value > 0)


def part_of(document: Document, key: str) -> Document:
    """The object at ``key``, an empty one if there is none."""
    part = document.get(key)
    return part if isinstance(part, Mapping) else {}


def linear(highest: float, kind: str, most_ticks: int = 6, *, tight: bool = False) -> Scale:
    """From 0 to a round number at or above ``highest``; ``tight``: to just that."""
    highest = highest if highest > 0 else 1.0
    least = highest / most_ticks * (1 - 1e-9)
    power = 10.0 ** math.floor(math.log10(highest / most_ticks))
    step = next(factor * power for factor in _STEPS if factor * power >= least)
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


def tick_label(value: float, kind: str) -> str:
    """``value`` as a tick says it; ``kind`` is ``time`` ``rate`` ``bits`` or ``seconds``."""
    if value == 0:
        return "0"
    units = _UNITS[kind]
    unit, scale = next((one for one in units if value >= one[1] * 0.9999), units[-1])
    return f"{value / scale:.6g} {unit}".rstrip()
