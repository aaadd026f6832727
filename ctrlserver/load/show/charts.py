"""Result documents as charts, apart from the drawing: rate over time, latency over time, the percentile spectrum.

``charts`` -> ``Charts`` of ``Panel`` of ``Series`` of points; ``chart_page.py`` and ``chart_picture.py`` draw them.

Rules: a panel is numbers and words; it knows no pixels and no drawing library. One result shows response and service
time side by side. Of several results each has a colour of its own, and the time charts show one percentile. A chart of
something that no run measured is left out, with a note. In the spectrum x is 1/(1-q): the median is at 2, p99 at 100,
p99.9 at 1 000, so that the tail has as much room as the rest.

Beware: long runs have more intervals than a picture has columns. Neighbours are merged; the worst percentile stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from attrs import field, frozen

from ctrlserver.errors import UsageError
from ctrlserver.load.results.schemas import number_at
from ctrlserver.load.show.scales import Scale, linear, logarithmic, nines

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

Document = Mapping[str, object]
Point = tuple[float, float]


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
    """One chart. ``x_kind`` is ``time`` or ``nines``, ``y_kind`` is ``rate``, ``bits`` or ``seconds``.

    ``warm_up`` are the spans of x to be shaded.
    """

    title: str
    x_label: str
    y_label: str
    x_kind: str
    y_kind: str
    series: tuple[Series, ...]
    log_y: bool = False
    warm_up: tuple[tuple[float, float], ...] = ()

    def axes(self) -> tuple[Scale, Scale]:
        """The scales of x and y that show all points."""
        points = [point for series in self.series for part in series.parts for point in part]
        last = max(x for x, _ in points)
        values = [y for _, y in points]
        x = nines(last) if self.x_kind == "nines" else linear(last, "time", 10, tight=True)
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
    notes: tuple[str, ...] = field(factory=tuple)


def charts(results: Sequence[tuple[str, Document]]) -> Charts:
    """The charts of results, each with its name; UsageError if there is nothing to draw."""
    if len(results) > MOST_RESULTS:
        raise UsageError(f"{len(results)} results: at most {MOST_RESULTS} can be told apart in one picture")
    slices = [(name, _slices(document)) for name, document in results]
    panels: list[Panel] = []
    notes: list[str] = []
    for panel, without, word in (
        _rate_panel(slices, _counted_in(results)),
        _latency_panel(slices),
        _spectrum_panel(results),
    ):
        if panel is not None:
            panels.append(panel)
        if without:
            notes.append(f"{', '.join(without)}: {word}" if len(results) > 1 else word)
    if not panels:
        raise UsageError(f"nothing to draw: {'; '.join(notes)}")
    return Charts(tuple(panels), tuple(notes))


_Found = tuple[Panel | None, list[str], str]


@frozen
class _Slice:
    start: float
    end: float
    packets: float
    bytes: float
    warm_up: bool
    target: float | None
    times: Mapping[str, float | None]


_TIMES = ("response_p50", "response_p99", "service_p50", "service_p99")


def _slices(document: Document) -> list[_Slice]:
    """The intervals, merged if there are too many."""
    given = document.get("intervals")
    found: list[_Slice] = []
    for interval in given if isinstance(given, list) else []:
        if not isinstance(interval, Mapping):
            continue
        start, seconds = number_at(interval, ("start_seconds",)), number_at(interval, ("seconds",))
        if start is None or seconds is None or not 0 < seconds < math.inf:
            continue
        found.append(
            _Slice(
                start=start,
                end=start + seconds,
                packets=number_at(interval, ("packets",)) or 0,
                bytes=number_at(interval, ("bytes",)) or 0,
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
    targets = [(one.target, one.end - one.start) for one in slices if one.target is not None]
    worst = {name: max((t for one in slices if (t := one.times[name]) is not None), default=None) for name in _TIMES}
    return _Slice(
        start=slices[0].start,
        end=slices[0].start + seconds,
        packets=sum(one.packets for one in slices),
        bytes=sum(one.bytes for one in slices),
        warm_up=slices[0].warm_up,
        target=sum(target * time for target, time in targets) / sum(time for _, time in targets) if targets else None,
        times=worst,
    )


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


def _rate_panel(runs: Sequence[tuple[str, list[_Slice]]], counted: str) -> _Found:
    single = len(runs) == 1
    series: list[Series] = []
    in_packets = any(one.packets for _, slices in runs for one in slices)
    scheduled = {
        name: parts
        for name, slices in runs
        if in_packets and (parts := _steps((one.start, one.end, one.target) for one in slices))
    }
    for number, (name, slices) in enumerate(runs):
        numbers = [(one.start, one.end, one.packets if in_packets else one.bytes * 8) for one in slices]
        parts = _steps((start, end, value / (end - start)) for start, end, value in numbers)
        if parts:
            series.append(Series("achieved" if single else name, number, "solid", parts))
    if scheduled and len(set(scheduled.values())) == 1:
        series.append(Series("target", None, "dashed", next(iter(scheduled.values()))))
    else:
        numbers_of = {name: number for number, (name, _) in enumerate(runs)}
        series += [Series(f"{name}: target", numbers_of[name], "dotted", parts) for name, parts in scheduled.items()]
    without = [name for name, slices in runs if not slices]
    word = "no rate over time: the result has no intervals"
    if not series:
        return None, without, word
    shaded = tuple((one.start, one.end) for one in runs[0][1] if one.warm_up) if single else ()
    title = "Rate over time" if not scheduled else "Rate over time, and its target"
    label = f"{counted}/s" if in_packets else "bit/s"
    kind = "rate" if in_packets else "bits"
    return Panel(title, "seconds", label, "time", kind, tuple(series), _far_apart(series), shaded), without, word


def _latency_panel(runs: Sequence[tuple[str, list[_Slice]]]) -> _Found:
    series: list[Series] = []
    without: list[str] = []
    if len(runs) == 1:
        ((_, slices),) = runs
        for kind, colour in (("response", 1), ("service", 0)):
            for percentile, style in (("p99", "solid"), ("p50", "dotted")):
                parts = _times(slices, f"{kind}_{percentile}")
                if parts:
                    series.append(Series(f"{kind} {percentile}", colour, style, parts))
        title = "Latency over time"
        without = [] if series else [runs[0][0]]
    else:
        kinds = set()
        for number, (name, slices) in enumerate(runs):
            response, service = _times(slices, "response_p99"), _times(slices, "service_p99")
            if response or service:
                kind = "response" if response else "service"
                kinds.add(kind)
                series.append(Series(f"{name}: {kind} p99", number, "solid", response or service))
            else:
                without.append(name)
        title = f"Latency over time: {' and '.join(sorted(kinds))} p99"
    word = "no latency over time: no interval has timed replies"
    if not series:
        return None, without, word
    shaded = tuple((one.start, one.end) for one in runs[0][1] if one.warm_up) if len(runs) == 1 else ()
    panel = Panel(title, "seconds", "latency", "time", "seconds", tuple(series), _wide(series), shaded)
    return panel, without, word


def _times(slices: Sequence[_Slice], name: str) -> tuple[tuple[Point, ...], ...]:
    return _steps((one.start, one.end, one.times[name] or None) for one in slices)


def _wide(series: Sequence[Series]) -> bool:
    values = [y for one in series for part in one.parts for _, y in part if y > 0]
    return bool(values) and max(values) / min(values) >= _LOG_FROM


def _far_apart(series: Sequence[Series]) -> bool:
    """Whether one line would be flat on the x axis beside another."""
    highest = [max(y for part in one.parts for _, y in part) for one in series]
    return min(highest) > 0 and max(highest) / min(highest) >= _LOG_FROM


def _spectrum_panel(results: Sequence[tuple[str, Document]]) -> _Found:
    series: list[Series] = []
    without: list[str] = []
    single = len(results) == 1
    for number, (name, document) in enumerate(results):
        before = len(series)
        for kind, colour, style in (("response", 1, "solid"), ("service", 0, "solid" if single else "dashed")):
            try:
                points = spectrum(document, kind)
            except ValueError as error:
                raise UsageError(f"{name}: {error}") from None
            if points:
                words = f"{kind} time" if single else f"{name}: {kind}"
                series.append(Series(words, colour if single else number, style, (points,)))
        if len(series) == before:
            without.append(name)
    word = "no percentile spectrum: no replies were timed"
    if not series:
        return None, without, word
    panel = Panel("Percentile spectrum", "percentile", "latency", "nines", "seconds", tuple(series), _wide(series))
    return panel, without, word


def spectrum(document: Document, kind: str) -> tuple[Point, ...]:
    """1/(1-q) and the latency in seconds at quantile q, up to the longest: from 1/(1-q) above the count on.

    ``kind`` is ``response`` or ``service``; empty if the run has not timed it. ValueError in words for a histogram
    that does not decode.
    """
    from hdrh.histogram import HdrHistogram

    latency = document.get("latency")
    part = latency.get(kind) if isinstance(latency, Mapping) else None
    unit = number_at(document, ("latency", "unit_seconds"))
    encoded = part.get("hdr") if isinstance(part, Mapping) else None
    if unit is None or not isinstance(encoded, str):
        return ()
    try:
        histogram = HdrHistogram.decode(encoded)
        last = 2 * int(histogram.get_total_count())
        places = math.ceil(math.log10(last) * _POINTS_A_DECADE) if last > 0 else -1
        xs = [min(10 ** (place / _POINTS_A_DECADE), last) for place in range(places + 1)]
        values = [histogram.get_value_at_percentile(100 * (1 - 1 / x)) * unit for x in xs]
    except Exception as error:  # hdrh and zlib raise many kinds of errors
        raise ValueError(f"latency.{kind}.hdr does not decode: {type(error).__name__}") from None
    return tuple((x, value) for x, value in zip(xs, values, strict=True) if value > 0)
