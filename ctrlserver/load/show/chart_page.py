"""Charts as one HTML page: no network, no other file, readable by day and by night.

``chart_page.html`` is the page's template: its frame, its style, and a small script of our own that shows the values
under the pointer. This module fills it in.

Rules: the charts are plain SVG. Everything from a result is escaped, in the markup and in the script's numbers. Colours
are CSS variables, so that the page follows the reader's light or dark setting.

Beware: ``</script>`` and ``<!--`` may stand in a label; the numbers for the script are written without ``<``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from importlib.resources import files
from string import Template

from attrs import frozen

from ctrlserver.load.results.comparison import FIGURES
from ctrlserver.load.results.schemas import number_at
from ctrlserver.load.show.charts import Charts, Document, Panel, Scale, Series, part_of, percentile_label
from ctrlserver.units import format_bits, format_duration, format_rate


@frozen
class _Frame:
    """A drawing's size and the margins around its axes, in pixels; ``name`` is its class in the page's style."""

    name: str
    width: int
    height: int
    left: int
    right: int
    top: int = 12
    bottom: int = 44

    @property
    def floor(self) -> int:
        """The y of the x axis."""
        return self.height - self.bottom

    def x(self, share: float) -> float:
        """Where a share of the x axis is."""
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        """Where a share of the y axis is."""
        return self.floor - share * (self.floor - self.top)


#: Each chart is drawn twice, for a screen and for a phone; the page's style shows one of them.
_FRAMES = (_Frame("broad", 960, 300, 76, 18), _Frame("slim", 380, 260, 60, 14))

#: About the pixels of a letter of a label, and between two labels.
_LETTER, _BETWEEN = 7, 6

_DASHES = {"solid": "", "dashed": ' stroke-dasharray="7 4"', "dotted": ' stroke-dasharray="2 4"'}

_VALUES = {"rate": format_rate, "bits": format_bits, "seconds": format_duration}


def page(results: Sequence[tuple[str, Document]], charts: Charts) -> str:
    """The whole page."""
    title = f"ctrlload: {', '.join(name for name, _ in results)}"
    figures = "".join(_figure(panel) for panel in charts.panels)
    notes = "".join(f'<p class="note">{escape(note)}.</p>\n' for note in charts.notes)
    template = files("ctrlserver.load.show").joinpath("chart_page.html").read_text(encoding="utf-8")
    return Template(template).substitute(title=escape(title), table=_table(results), figures=figures, notes=notes)


def _table(results: Sequence[tuple[str, Document]]) -> str:
    """What was asked for and what came out, a column for each result."""
    shown: tuple[tuple[str, Callable[[Document], str]], ...] = (
        ("target", lambda document: str(document.get("target"))),
        ("started", lambda document: str(document.get("started"))[:19].replace("T", " ")),
        ("asked for", _asked),
        ("labels", lambda document: ", ".join(f"{key}={value}" for key, value in part_of(document, "labels").items())),
        ("outcome", _outcome),
        ("highest good rate", _highest),
        ("bottleneck", lambda document: str(part_of(document, "schedule").get("bottleneck", ""))),
    )
    rows = [(words, [show(document) for _, document in results]) for words, show in shown]
    for figure in FIGURES:
        values = [figure.value(document) for _, document in results]
        if any(values):
            rows.append((figure.words, [figure.shown(value) for value in values]))
    head = "".join(f"<th>{escape(name)}</th>" for name, _ in results)
    lines = [
        f"<tr><th>{escape(words)}</th>{''.join(_cell(words, value) for value in values)}</tr>\n"
        for words, values in rows
        if any(value not in ("", "-") for value in values)
    ]
    return (
        f'<div class="wide"><table>\n<thead><tr><th></th>{head}</tr></thead>\n'
        f"<tbody>\n{''.join(lines)}</tbody>\n</table></div>\n"
    )


def _cell(words: str, value: str) -> str:
    bad = (words == "outcome" and value != "good") or (words == "bottleneck" and value == "generator")
    mark = ' class="bad"' if bad else ""
    return f"<td{mark}>{escape(value)}</td>"


def _asked(document: Document) -> str:
    options = part_of(document, "options")
    if not options:
        return ""
    streams = options.get("streams")
    plural = "" if streams == 1 else "s"
    words = [f"mode {options.get('mode')}", f"{streams} stream{plural}", f"framing {options.get('framing')}"]
    for key, text in (("in_flight", "{} in flight"), ("rate_packets_per_second", "{:g} packets/s"), ("profile", "{}")):
        value = options.get(key)
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            words.append(text.format(value))
    return ", ".join(words)


def _outcome(document: Document) -> str:
    if document.get("error") is not None:
        return f"failed: {document['error']}"
    if document.get("interrupted") is True:
        return "interrupted"
    differs = document.get("reconciled") is False and document.get("difference") is not None
    return "the counts do not reconcile" if differs else "good"


def _highest(document: Document) -> str:
    """The answer of a search; empty for a run."""
    rate = number_at(document, ("highest_packets_per_second",))
    return "" if rate is None else f"{'at least ' if document.get('lower_bound') is True else ''}{rate:.12g}/s"


def _figure(panel: Panel) -> str:
    x_scale, y_scale = panel.axes()
    title = f"{panel.title} ({panel.y_label})" if panel.y_label != "latency" else panel.title
    key = "".join(
        f'<li><svg viewBox="0 0 28 10"><line x1="0" x2="28" y1="5" y2="5" stroke="{_colour(series)}" stroke-width="2.5"'
        f"{_DASHES[series.style]}/></svg>{escape(series.name)}</li>"
        for series in panel.series
    )
    drawings = "".join(
        f'<div class="{frame.name}">{_drawing(frame, panel, x_scale, y_scale, title)}'
        '<div class="tip" hidden></div></div>'
        for frame in _FRAMES
    )
    numbers = json.dumps(_pointed(panel, x_scale, y_scale), allow_nan=False).replace("<", "\\u003c")
    return (
        f'<h2>{escape(title)}</h2>\n<figure>\n<ul class="key">{key}</ul>\n{drawings}\n'
        f'<script type="application/json">{numbers}</script>\n</figure>\n'
    )


def _drawing(frame: _Frame, panel: Panel, x_scale: Scale, y_scale: Scale, title: str) -> str:
    def place(x: float, y: float) -> tuple[float, float]:
        return frame.x(x_scale.share(x)), frame.y(y_scale.share(y))

    parts = []
    for start, end in panel.warm_up:
        left, right = (frame.x(x_scale.share(moment)) for moment in (start, end))
        parts.append(
            f'<rect class="shade" x="{left:.1f}" y="{frame.top}" height="{frame.floor - frame.top}" '
            f'width="{right - left:.1f}"><title>warm-up</title></rect>'
        )
    parts += _grid(frame, panel, x_scale, y_scale)
    for series in panel.series:
        for part in series.parts:
            points = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in part)
            parts.append(
                f'<polyline class="line" stroke="{_colour(series)}"{_DASHES[series.style]} points="{points}"/>'
            )
    for series, point in panel.specks():
        x, y = place(*point)
        parts.append(f'<circle r="3" fill="{_colour(series)}" cx="{x:.1f}" cy="{y:.1f}"/>')
    parts.append(f'<line class="cursor" y1="{frame.top}" y2="{frame.floor}" visibility="hidden"/>')
    axes = f"{frame.left} {frame.top} {frame.width - frame.right} {frame.floor}"
    return (
        f'<svg class="chart" viewBox="0 0 {frame.width} {frame.height}" data-axes="{axes}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _grid(frame: _Frame, panel: Panel, x_scale: Scale, y_scale: Scale) -> Iterator[str]:
    """The lines of the ticks and their labels; a label of x for which there is no room is left out."""
    right, free = frame.width - frame.right, 0.0
    for value, label in y_scale.ticks:
        y = frame.y(y_scale.share(value))
        yield f'<line class="grid" x1="{frame.left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{frame.left - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>'
    for value, label in x_scale.ticks:
        x, half = frame.x(x_scale.share(value)), len(label) * _LETTER / 2
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{frame.floor}"/>'
        if x - half >= free:
            yield f'<text x="{x:.1f}" y="{frame.floor + 18}" text-anchor="middle">{escape(label)}</text>'
            free = x + half + _BETWEEN
    middle = (frame.left + right) / 2
    yield f'<text x="{middle}" y="{frame.height - 6}" text-anchor="middle">{escape(panel.x_label)}</text>'


def _pointed(panel: Panel, x_scale: Scale, y_scale: Scale) -> dict[str, object]:
    """What the script shows: of each point its share of the axes, and the words for x and y."""
    return {
        "series": [
            {
                "name": series.name,
                "colour": _colour(series),
                "points": [
                    [round(x_scale.share(x), 4), round(y_scale.share(y), 4), words, _VALUES[panel.y_kind](y)]
                    for x, y, words in _told(series, panel.x_label)
                ],
            }
            for series in panel.series
        ],
    }


def _told(series: Series, x_label: str) -> list[tuple[float, float, str]]:
    """The points of the spectrum, and those against a rate, as they are; of steps the middle of each."""
    if x_label == "percentile":
        return [(x, y, percentile_label(x, 1)) for part in series.parts for x, y in part]
    if x_label != "seconds":
        return [(x, y, f"{x:.12g} {x_label}") for part in series.parts for x, y in part]
    return [
        ((start + end) / 2, y, _span(start, end))
        for part in series.parts
        for (start, y), (end, _) in zip(part[::2], part[1::2], strict=True)
    ]


def _span(start: float, end: float) -> str:
    """Two times, to a hundredth of what is between them."""
    digits = max(0, 2 - math.floor(math.log10(end - start)) - 1) if end > start else 6
    return f"{start:.{digits}f} to {end:.{digits}f} s"


def _colour(series: Series) -> str:
    return "var(--cx)" if series.colour is None else f"var(--c{series.colour})"
