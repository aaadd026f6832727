"""Documents of searches as charts: latency against the rate, and the achieved rate against the one asked for.

Rules: a point is a rate that was tried; of several runs at a rate it is their median. Runs in which ctrlload itself was
late count too: the table and the document say which. A time that no run measured is left out, with a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from ctrlserver.errors import UsageError
from ctrlserver.load.results.schemas import number_at
from ctrlserver.load.show.charts import MOST_RESULTS, Charts, Document, Panel, Point, Series, part_of

_NO_TIMES = "no latency against the rate: no replies were timed"
_ACHIEVED = ("achieved_packets_per_second",)


def search_charts(results: Sequence[tuple[str, Document]]) -> Charts:
    """The charts of searches, each with its name; UsageError if there is nothing to draw."""
    if len(results) > MOST_RESULTS:
        raise UsageError(f"{len(results)} searches: at most {MOST_RESULTS} can be told apart in one picture")
    single = len(results) == 1
    times: list[Series] = []
    rates: list[Series] = []
    without: list[str] = []
    for number, (name, document) in enumerate(results):
        lines = list(_times(document, "" if single else f"{name}: ", None if single else number))
        times += lines
        without += [] if lines else [name]
        if points := _points(document, _ACHIEVED):
            rates.append(Series("achieved" if single else name, number, "solid", (points,)))
    notes = [_NO_TIMES if single else f"{', '.join(without)}: {_NO_TIMES}"] if without else []
    if not rates:
        raise UsageError("nothing to draw: no run of the search has achieved a rate")
    asked = sorted({x for series in rates for part in series.parts for x, _ in part})
    rates.append(Series("asked for", None, "dashed", (tuple((x, x) for x in asked),)))
    what = "connections/s" if all(_mode(document) == "connect" for _, document in results) else "packets/s"
    latency = Panel("Latency against the rate", f"{what} asked for", "latency", "seconds", tuple(times))
    achieved = Panel("Achieved rate against the one asked for", f"{what} asked for", what, "rate", tuple(rates))
    return Charts((latency, achieved) if times else (achieved,), tuple(notes))


def _times(document: Document, before: str, number: int | None) -> list[Series]:
    """The lines of p99 and p50, of the response time if there is one."""
    for kind, colour in (("response", 1), ("service", 0)):
        drawn = [
            Series(f"{before}{kind} {name}", colour if number is None else number, style, (points,))
            for name, style in (("p99", "solid"), ("p50", "dotted"))
            if (points := _points(document, ("result", "latency", kind, name)))
        ]
        if drawn:
            return drawn
    return []


def _points(document: Document, path: tuple[str, ...]) -> tuple[Point, ...]:
    """Each rate above 0 that was tried, and the median of the numbers above 0 at ``path`` of its steps."""
    steps = document.get("steps")
    found: dict[float, list[float]] = {}
    for step in steps if isinstance(steps, list) else []:
        rate, value = number_at(step, ("rate_packets_per_second",)), number_at(step, path)
        if rate and value and rate > 0 and value > 0:
            found.setdefault(rate, []).append(value)
    return tuple((rate, median(found[rate])) for rate in sorted(found))


def _mode(document: Document) -> object:
    return part_of(document, "options").get("mode")
