"""``ctrlload compare``: two results, or two sets of them, side by side.

Rules: A is the old side, B the new one. The table goes to stdout, or with ``--json`` one document; notes and figures
that are worse beyond the tolerance go to stderr. Exit codes: 0 good, 2 a file that is no result, 4 worse beyond
``--tolerance``, or a run of B failed.

Beware: ``--to`` takes all the files that follow it, up to the next option.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import attrs
import click

from ctrlserver.console.exit_codes import EXIT_THRESHOLD
from ctrlserver.console.parameters import completing, reading
from ctrlserver.errors import UsageError
from ctrlserver.load.results.comparison import CONFIDENCE, FIGURES, Compared, Figure, compare, differing_options
from ctrlserver.units import parse_share
from ctrlserver.words import did_you_mean, printable, quoted

SCHEMA = "ctrlload-comparison/1"

_EXAMPLES = """\b
Examples:
  ctrlload compare before.json after.json
  ctrlload compare before.json after.json --tolerance 5%
  ctrlload compare a1.json a2.json --to b1.json b2.json --tolerance 5%
  ctrlload compare before.json after.json --figure sent.packets_per_second -J

\b
With two runs or more on both sides a ratio is that of the geometric means,
with a 95 % confidence interval (Welch's t-test on the logarithms). If the
interval holds 1, the difference may be chance: it is "unclear", never worse.

\b
Exit codes: 0 good; 2 usage, or a file that is no result; 4 worse beyond --tolerance,
or a run of B failed.
"""


class _Sided(click.Command):
    """Lets one ``--to`` take all the files after it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with a ``--to`` before each of those files."""
        spread: list[str] = []
        sided = False
        for number, word in enumerate(args):
            if word == "--to":
                sided = True
                if not args[number + 1 :] or args[number + 1].startswith("-"):
                    raise UsageError("--to: expected the files of side B after it")
            elif sided and word.startswith("-"):
                sided = False
                spread.append(word)
            else:
                spread += ["--to", word] if sided else [word]
        return super().parse_args(ctx, spread)


def _figure(text: str) -> Figure:
    for figure in FIGURES:
        if text in (figure.name, figure.words):
            return figure
    names = [figure.name for figure in FIGURES]
    near = did_you_mean(text, names) or f"; known are {', '.join(names)}"
    raise UsageError(f"unknown figure {quoted(text)}{near}")


@click.command("compare", cls=_Sided, epilog=_EXAMPLES, short_help="Show results side by side, and which is better.")
@click.argument("files", metavar="A.json [B.json]", nargs=-1, shell_complete=completing())
@click.option(
    "--to", "others", metavar="B.json...", multiple=True, help="The files of side B; those before are side A."
)
@click.option(
    "--tolerance",
    metavar="5%",
    type=reading(parse_share),
    help="Exit 4 if B is worse by more, in any figure that is shown.",
)
@click.option(
    "--figure",
    "figures",
    metavar="NAME",
    type=reading(_figure),
    multiple=True,
    help="Only this one, such as latency.service.p99; repeatable.",
)
@click.option("-J", "--json", "as_document", is_flag=True, help="The comparison as one JSON document on stdout.")
def compare_command(
    files: Sequence[str],
    others: Sequence[str],
    tolerance: float | None,
    figures: Sequence[Figure],
    as_document: bool,
) -> int:
    """Compare the results A and B: the ratio B/A of speeds, latencies and losses, and which side is better."""
    from ctrlserver.load.results.stored import read_result
    from ctrlserver.load.show.output import deliver

    names_a, names_b = _sides(files, others)
    a, b = [[read_result(name) for name in names] for names in (names_a, names_b)]
    compared = compare(a, b, tolerance, list(dict.fromkeys(figures)) or FIGURES)
    notes = _notes([*names_a, *names_b], [*a, *b])
    worse = [_worse(one, tolerance) for one in compared if one.worse_beyond_tolerance and tolerance is not None]
    worse += [
        f"{name}: a run of B failed" for name, one in zip(names_b, b, strict=True) if one.get("error") is not None
    ]
    code = EXIT_THRESHOLD if worse else 0
    if as_document:
        document = {
            "schema": SCHEMA,
            "a": _runs(names_a, a),
            "b": _runs(names_b, b),
            "confidence": CONFIDENCE,
            "tolerance": tolerance,
            "figures": [_as_document(one) for one in compared],
            "notes": notes,
            "exit_code": code,
        }
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    else:
        text = "".join(f"{line}\n" for line in table(compared, names_a, names_b))
    return deliver([], text, "", [*notes, *worse], code)


def _sides(files: Sequence[str], others: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    if others and not files:
        raise UsageError("side A is missing: ctrlload compare A.json... --to B.json...")
    if others:
        return files, others
    if len(files) != 2:
        given = "one file" if len(files) == 1 else f"{len(files)} files" if files else "no file"
        raise UsageError(f"{given} given: expected A.json B.json, or A.json... --to B.json...")
    return files[:1], files[1:]


def _notes(names: Sequence[str], documents: Sequence[Mapping[str, object]]) -> list[str]:
    """What a reader has to know before believing the figures."""
    notes = []
    if differing := differing_options(documents):
        notes.append(f"note: the runs differ in {'; '.join(differing)}")
    for name, document in zip(names, documents, strict=True):
        schedule = document.get("schedule")
        if document.get("error") is not None:
            notes.append(f"note: {name}: the run failed: {document['error']}")
        elif document.get("interrupted") is True:
            notes.append(f"note: {name}: the run was interrupted")
        elif document.get("reconciled") is False and document.get("difference") is not None:
            notes.append(f"note: {name}: the counts did not reconcile")
        if isinstance(schedule, Mapping) and schedule.get("bottleneck") == "generator":
            notes.append(f"note: {name}: the generator was the bottleneck: the figures are its own")
    return [" ".join(note.split()) for note in notes]


def _worse(one: Compared, tolerance: float) -> str:
    if one.ratio is None:
        return f"{one.figure.words}: {one.figure.shown(one.mean_b)} in B, none in A"
    way = "below" if one.figure.more_is_better else "above"
    return f"{one.figure.words}: B is {abs(one.ratio - 1) * 100:.1f} % {way} A, the tolerance is {tolerance * 100:g} %"


def table(compared: Sequence[Compared], names_a: Sequence[str], names_b: Sequence[str]) -> list[str]:
    """The comparison for people, at most 80 columns but for the names of files."""
    lines = [f"{side}  {printable(' '.join(names))}" for side, names in (("A", names_a), ("B", names_b))] + [""]
    if not compared:
        return [*lines, "no figure that either side knows"]
    with_interval = any(one.ratio_low is not None for one in compared)
    rows = [("", "A", "B", "B/A", "95 % interval" if with_interval else "", "better")]
    for one in compared:
        ratio = "-" if one.ratio is None else _ratio(one.ratio)
        ends = " to ".join(_ratio(end) for end in (one.ratio_low, one.ratio_high) if end is not None)
        better = "-" if one.better is None else one.better.upper() if one.better in "ab" else one.better
        mark = " !" if one.worse_beyond_tolerance else ""
        values = (one.figure.shown(one.mean_a), one.figure.shown(one.mean_b))
        rows.append((one.figure.words, *values, ratio, ends, better + mark))
    words, a, b, ratios, ends_, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    for row in rows:
        ends = f"{row[4]:<{ends_}}  " if with_interval else ""
        lines.append(f"{row[0]:<{words}}  {row[1]:>{a}}  {row[2]:>{b}}  {row[3]:>{ratios}}  {ends}{row[5]}")
    return lines


def _ratio(ratio: float) -> str:
    return f"{ratio:.3f}" if 0.1 <= ratio < 100 else f"{ratio:.3g}"


def _as_document(one: Compared) -> dict[str, object]:
    return {
        "name": one.figure.name,
        "unit": {"rate": "1/s", "bits": "bit/s", "seconds": "s", "share": "1"}[one.figure.unit],
        "more_is_better": one.figure.more_is_better,
        **attrs.asdict(one, filter=attrs.filters.exclude(attrs.fields(Compared).figure)),
    }


def _runs(names: Sequence[str], documents: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    keys = ("started", "target", "labels")
    return [{"file": name, **{key: one.get(key) for key in keys}} for name, one in zip(names, documents, strict=True)]
