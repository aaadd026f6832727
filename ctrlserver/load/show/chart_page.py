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
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from ctrlserver.load.results.comparison import FIGURES
from ctrlserver.load.show.charts import Charts, Document, Panel, Scale, Series, part_of, percentile_label
from ctrlserver.units import format_bits, format_duration, format_rate

_WIDTH, _HEIGHT = 960, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 18, 12, 44

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


def _figure(panel: Panel) -> str:
    x_scale, y_scale = panel.axes()
    title = f"{panel.title} ({panel.y_label})" if panel.y_label != "latency" else panel.title
    key = "".join(
        f'<li><svg viewBox="0 0 28 10"><line x1="0" x2="28" y1="5" y2="5" stroke="{_colour(series)}" stroke-width="2.5"'
        f"{_DASHES[series.style]}/></svg>{escape(series.name)}</li>"
        for series in panel.series
    )
    shades = "".join(
        f'<rect class="shade" x="{_x(start, x_scale):.1f}" y="{_TOP}" height="{_HEIGHT - _TOP - _BOTTOM}" '
        f'width="{_x(end, x_scale) - _x(start, x_scale):.1f}"><title>warm-up</title></rect>'
        for start, end in panel.warm_up
    )
    lines = "".join(
        f'<polyline class="line" stroke="{_colour(series)}"{_DASHES[series.style]} points="'
        f'{" ".join(f"{_x(x, x_scale):.1f},{_y(y, y_scale):.1f}" for x, y in part)}"/>'
        for series in panel.series
        for part in series.parts
    )
    lines += "".join(
        f'<circle r="3" fill="{_colour(series)}" cx="{_x(x, x_scale):.1f}" cy="{_y(y, y_scale):.1f}"/>'
        for series, (x, y) in panel.specks()
    )
    cursor = f'<line class="cursor" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" visibility="hidden"/>'
    svg = (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{shades}{_grid(panel, x_scale, y_scale)}{lines}{cursor}</svg>"
    )
    numbers = json.dumps(_pointed(panel, x_scale, y_scale), allow_nan=False).replace("<", "\\u003c")
    return (
        f'<h2>{escape(title)}</h2>\n<figure>\n<ul class="key">{key}</ul>\n<div style="position:relative">{svg}'
        f'<div class="tip" hidden></div></div>\n<script type="application/json">{numbers}</script>\n</figure>\n'
    )


def _grid(panel: Panel, x_scale: Scale, y_scale: Scale) -> str:
    bottom = _HEIGHT - _BOTTOM
    parts = []
    for value, label in y_scale.ticks:
        y = _y(value, y_scale)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>')
    for value, label in x_scale.ticks:
        x = _x(value, x_scale)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(label)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(panel.x_label)}</text>')
    return "".join(parts)


def _pointed(panel: Panel, x_scale: Scale, y_scale: Scale) -> dict[str, object]:
    """What the script shows: of each point the place and the words for x and y."""
    return {
        "width": _WIDTH,
        "series": [
            {
                "name": series.name,
                "colour": _colour(series),
                "points": [
                    [round(_x(x, x_scale), 1), round(_y(y, y_scale), 1), words, _VALUES[panel.y_kind](y)]
                    for x, y, words in _told(series, panel.x_label)
                ],
            }
            for series in panel.series
        ],
    }


def _told(series: Series, x_label: str) -> list[tuple[float, float, str]]:
    """The points of the spectrum as they are; of steps the middle of each."""
    if x_label == "percentile":
        return [(x, y, percentile_label(x, 1)) for part in series.parts for x, y in part]
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


def _x(value: float, scale: Scale) -> float:
    return _LEFT + scale.share(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, scale: Scale) -> float:
    return _HEIGHT - _BOTTOM - scale.share(value) * (_HEIGHT - _TOP - _BOTTOM)
