"""Charts as a PNG or SVG picture, drawn by matplotlib.

Rules: the same panels, colours and ticks as on the page. Nothing of a result is taken for markup.

Beware: matplotlib is an extra (``report``) and slow to import; it is imported when a picture is drawn.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import Any

from ctrlserver.errors import UsageError
from ctrlserver.load.show.charts import Charts, Panel, Series

_COLOURS = ("#0068b5", "#d1440c", "#00805a", "#b0508f", "#8a6d00", "#5b4bc4")
_GREY = "#68717b"
_STYLES = {"solid": "-", "dashed": (0, (5, 3)), "dotted": (0, (1, 2))}


def check_drawing() -> None:
    """UsageError if matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        words = "PNG and SVG need matplotlib: pip install matplotlib; -o FILE.html needs nothing"
        raise UsageError(f"--output: {words}") from None


def picture(names: Sequence[str], charts: Charts, kind: str) -> bytes:
    """The panels one below the other; ``kind`` is ``png`` or ``svg``."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: Any = {"text.parse_math": False, "svg.hashsalt": "ctrlload", "font.size": 9.0}
    with matplotlib.rc_context(settings):
        notes = [line for note in charts.notes for line in textwrap.wrap(f"{note}.", 120)]
        height = 3.1 * len(charts.panels) + 0.5 + 0.2 * len(notes)
        figure = Figure(figsize=(9.0, height), layout="constrained")
        title = "\n".join(textwrap.wrap(f"ctrlload: {', '.join(names)}", 100)[:3])
        figure.suptitle(title, fontsize=11)
        axes = figure.subplots(len(charts.panels), 1, squeeze=False)
        for place, panel in zip(axes[:, 0], charts.panels, strict=True):
            _draw(place, panel)
        if notes:
            figure.supxlabel("\n".join(notes), fontsize=8, color=_GREY)
        out = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {}
        figure.savefig(out, format=kind, dpi=130, metadata=metadata)
    return out.getvalue()


def _draw(place: Any, panel: Panel) -> None:
    x_scale, y_scale = panel.axes()
    for scale, axis in ((x_scale, "x"), (y_scale, "y")):
        if scale.log:
            getattr(place, f"set_{axis}scale")("log")
            getattr(place, f"{axis}axis").minorticks_off()
        getattr(place, f"set_{axis}lim")(scale.low, scale.high)
        ticks = [value for value, _ in scale.ticks]
        getattr(place, f"set_{axis}ticks")(ticks, [label for _, label in scale.ticks])
    for start, end in panel.warm_up:
        place.axvspan(start, end, color="#f1f3f5", linewidth=0)
    for series in panel.series:
        for number, part in enumerate(series.parts):
            xs, ys = zip(*part, strict=True)
            label = series.name if number == 0 else None
            place.plot(xs, ys, color=_colour(series), linestyle=_STYLES[series.style], linewidth=1.5, label=label)
    for series, (x, y) in panel.specks():
        place.plot([x], [y], color=_colour(series), marker="o", markersize=4, clip_on=False)
    columns = 4 if max(len(series.name) for series in panel.series) <= 24 else 2
    rows = -(-len(panel.series) // columns)
    place.set_title(panel.title, loc="left", fontsize=10, pad=8 + 12 * rows)
    place.set_xlabel(panel.x_label)
    place.set_ylabel(panel.y_label)
    place.grid(color="#e3e7eb", linewidth=0.8)
    place.set_axisbelow(True)
    place.spines[["top", "right"]].set_visible(False)
    legend = place.legend(
        fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=columns, borderaxespad=0.2
    )
    legend.set_in_layout(False)  # a long name does not make the chart narrow; the title's pad is the room for it


def _colour(series: Series) -> str:
    return _GREY if series.colour is None else _COLOURS[series.colour]
