"""``ctrlload plot``: results as a page or a picture.

Rules: the ending of the output's name decides between page and picture. A chart of something that no run measured is
left out, with a note on stderr and in the picture. A bad file or ending is one line and exit 2, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from ctrlserver.console.exit_codes import EXIT_GOOD
from ctrlserver.console.parameters import completing
from ctrlserver.errors import UsageError
from ctrlserver.words import did_you_mean, printable, quoted

_KINDS = {".html": "html", ".htm": "html", ".png": "png", ".svg": "svg"}

#: Characters of a result's name in a legend.
_LONGEST = 50

_EXAMPLES = """\b
Examples:
  ctrlload plot result.json -o result.html
  ctrlload plot before.json after.json -o both.png
  ctrlload plot search.json -o search.html

\b
HTML is one file that needs no network and shows the values under the pointer.
PNG and SVG need matplotlib: pip install matplotlib.
"""


@click.command("plot", epilog=_EXAMPLES, short_help="Draw results as a page or a picture.")
@click.argument("files", metavar="RESULT.json...", nargs=-1, shell_complete=completing())
@click.option(
    *("-o", "--output"),
    metavar="FILE",
    shell_complete=completing(),
    help="The file to write: a name that ends in .html, .png or .svg.",
)
def plot_command(files: Sequence[str], output: str | None) -> int:
    """Draw results: rate over time against its target, latency over time, the percentile spectrum; of a search the
    latency and the achieved rate against the rate.
    """
    from ctrlserver.load.results.stored import is_search, read_result
    from ctrlserver.load.show.chart_page import page
    from ctrlserver.load.show.chart_picture import check_drawing, picture
    from ctrlserver.load.show.charts import charts
    from ctrlserver.load.show.output import check_output, deliver
    from ctrlserver.load.show.search_charts import search_charts

    if not files:
        raise UsageError("RESULT.json is missing: ctrlload plot RESULT.json... -o out.html")
    if output is None:
        raise UsageError("--output is missing: expected -o and a name that ends in .html, .png or .svg")
    kind = _kind(output)
    check_output(output)
    if any(Path(output).exists() and Path(file).exists() and Path(file).samefile(output) for file in files):
        raise UsageError(f"--output: {output} is one of the results")
    if kind != "html":
        check_drawing()
    read = [read_result(file, searches=True) for file in files]
    results = [(_divided(name, document), document) for name, document in zip(_names(files), read, strict=True)]
    searched = [name for name, document in results if is_search(document)]
    if len(searched) not in (0, len(results)):
        raise UsageError(f"{searched[0]}: the document of a search; expected searches alone, or results of runs alone")
    try:
        made = search_charts(results) if searched else charts(results)
    except UsageError as error:
        raise UsageError(f"{files[0]}: {error}" if len(files) == 1 else str(error)) from None
    content = page(results, made) if kind == "html" else picture([name for name, _ in results], made, kind)
    return deliver([(output, content)], "", "", [f"note: {note}" for note in made.notes], EXIT_GOOD)


def _kind(output: str) -> str:
    ending = Path(output).suffix.casefold()
    if ending not in _KINDS:
        near = did_you_mean(ending, _KINDS)
        raise UsageError(f"--output: {quoted(output)}: expected a name that ends in .html, .png or .svg{near}")
    return _KINDS[ending]


def _shortened(names: list[str]) -> list[str]:
    """Long names without their middles, numbered if they are no longer all different."""
    half = _LONGEST // 2
    short = [name if len(name) <= _LONGEST else f"{name[:half]}\u2026{name[-half:]}" for name in names]
    return short if len(set(short)) == len(short) else [f"{at}: {name}" for at, name in enumerate(short, 1)]


def _names(files: Sequence[str]) -> list[str]:
    """The files by their names alone if these are all different, each short enough for a legend."""
    names = [printable(Path(file).name) for file in files]
    if len(set(names)) == len(names):
        return _shortened(names)
    if len(set(files)) == len(files):
        return _shortened([printable(file) for file in files])
    twice = next(file for file in files if files.count(file) > 1)
    raise UsageError(f"{twice}: given twice")


def _divided(name: str, document: Mapping[str, object]) -> str:
    """``"2.json (shard 2 of 4)"``, ``"all.json (4 shards)"``."""
    from ctrlserver.load.results.shards import division_words

    words = division_words(document)
    return f"{name} ({words})" if words else name
