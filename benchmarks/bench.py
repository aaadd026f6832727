"""The command line of the benchmarks.

    python -m benchmarks [--quick] [--repeats 5] [--seconds 1] [--only bulk,echo,...] [--markdown] [-o FILE]
    python -m benchmarks --show FILE [--markdown | --fill PAGE]

Rules: exit 0 whatever the speeds are; exit 1 when counts differ or a program of a row failed (the other rows are still
measured); exit 2 for bad usage; 130 after Ctrl-C. The table goes to stdout, progress to stderr, the document with every
measurement to FILE (`benchmarks/build/bench.json`). `--markdown` prints the tables as the documents want them, and
`--show` those of a document written before, without measuring anything; `--fill` puts them between the marks of a page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

from attrs import evolve

from benchmarks import decode, figures, pacing, reading, rows, siege, tools, workers
from benchmarks.figures import FigureRow
from benchmarks.pairs import (
    Cells,
    CountsDifferError,
    Figure,
    MissingError,
    Outcome,
    aligned,
    as_mapping,
    figure_cells,
    figure_mapping,
    figure_of,
    markdown,
    measured,
    outcome_cells,
    outcome_of,
    short,
)
from benchmarks.programs import BUILD, ProgramFailedError
from benchmarks.rows import Row

GROUPS = ("bulk", "writes", "echo", "load", "redis", "udp", "admin", "idle", "tools", "workers", "decode", "siege")
ORDINARY = GROUPS[:-1]  # hostile peers take a minute of all processors
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
ROWS: tuple[Row | FigureRow, ...] = (
    *rows.ROWS,
    *figures.PAIRS,
    *tools.PAIRS,
    *pacing.PAIRS,
    *workers.PAIRS,
    *figures.FIGURES,
    *pacing.FIGURES,
    *workers.FIGURES,
    *siege.FIGURES,
)


def groups(text: str) -> tuple[str, ...]:
    """The groups of rows named by `text`, between commas."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in GROUPS:
            raise argparse.ArgumentTypeError(f"no group of rows {name!r}; there are {', '.join(GROUPS)}")
    return names


def positive(text: str) -> float:
    """A number above 0 and at most an hour of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
    return value


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="ctrlserver side by side with peers")
    parser.add_argument("--repeats", type=positive, default=5, help="pairs for each row (5)")
    parser.add_argument("--seconds", type=positive, default=1.0, help="seconds of one measurement (1)")
    parser.add_argument("--quick", action="store_true", help="one short pair a row: a smoke run, not a measurement")
    parser.add_argument("--only", type=groups, default=ORDINARY, help="groups of rows: " + ",".join(GROUPS))
    parser.add_argument("--markdown", action="store_true", help="tables for the documents")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the tables of a document; measure nothing")
    parser.add_argument("--fill", type=Path, metavar="PAGE", help="with --show: put them between the marks of a page")
    parser.add_argument("-o", "--output", type=Path, default=BUILD / "bench.json", help="the JSON document")
    chosen = parser.parse_args(arguments)
    if chosen.fill is not None and chosen.show is None:
        parser.error("--fill goes with --show: measure first, then look at what is published")
    if chosen.quick:
        chosen.repeats, chosen.seconds = 1, 0.5
    chosen.repeats = max(1, int(chosen.repeats))
    return chosen


class Bench:
    """What has been measured so far, what was missing, what failed."""

    def __init__(self, repeats: int, seconds: float) -> None:
        self.repeats = repeats
        self.seconds = seconds
        self.load_average = os.getloadavg()[0]
        self.outcomes: list[Outcome] = []
        self.figures: list[Figure] = []
        self.missing: list[str] = []
        self.missing_peers: dict[str, None] = {}
        self.failed: list[str] = []

    def take(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        print(
            f"  {outcome.what}: {short(median(outcome.ours))} / {short(median(outcome.peer))} {outcome.unit}"
            f" = {median(outcome.ratios):.2f}",
            file=sys.stderr,
            flush=True,
        )

    def take_figure(self, figure: Figure) -> None:
        self.figures.append(figure)
        asked = figure.asked
        print(f"  {asked.what}: {short(median(figure.samples))} {asked.unit}", file=sys.stderr, flush=True)

    def fail(self, words: str) -> None:
        self.failed.append(words)
        print(f"  {words}", file=sys.stderr, flush=True)

    @property
    def code(self) -> int:
        """The exit status: no speed and no missing peer makes it anything but 0."""
        return 1 if self.failed else 0

    def run_rows(self, rows: Iterable[Row | FigureRow]) -> None:
        """The rows of processes; one that fails does not stop the others."""
        for row in rows:
            what = row.what if isinstance(row, Row) else row.asked[0].what
            try:
                if isinstance(row, Row):
                    with row.sides(self.seconds) as (ours, peer):
                        self.take(measured(row.what, row.unit, row.reach, ours, peer, self.repeats))
                else:
                    with row.figures(self.seconds) as sample:
                        samples = zip(*(sample() for _ in range(self.repeats)), strict=True)
                        for asked, taken in zip(row.asked, samples, strict=True):
                            self.take_figure(Figure(asked, taken))
            except MissingError as error:
                self.missing.append(f'{error}: no row "{what}"')
                self.missing_peers.setdefault(str(error))
            except CountsDifferError as error:
                self.fail(f"counts differ: {what}: {error}")
            except (ProgramFailedError, OSError) as error:
                self.fail(f"failed: {what}: {error}")

    def run_decode(self) -> None:
        """The rows of decoding, which run in this process."""
        try:
            for outcome in decode.rows(self.repeats):
                self.take(evolve(outcome, what=f"decode {outcome.what}: ctrlserver / Twisted's receiver"))
        except CountsDifferError as error:
            self.fail(f"counts differ: {error}")

    def run_reading(self) -> None:
        """The rows of reading datagrams, which run in this process too."""
        for row in reading.rows(self.repeats):
            try:
                self.take(row())
            except (CountsDifferError, OSError) as error:
                self.fail(f"counts differ: {error}" if isinstance(error, CountsDifferError) else f"failed: {error}")

    def document(self) -> dict[str, object]:
        return {
            "schema": "ctrlserver-bench/1",
            "taken": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "environment": {
                "python": platform.python_version(),
                "system": f"{platform.system()} {platform.release()} {platform.machine()}",
                "processors": len(os.sched_getaffinity(0)),
                "processor": processor_name(),
                "load_average_at_start": round(self.load_average, 2),
            },
            "repeats": self.repeats,
            "seconds": self.seconds,
            "rows": [as_mapping(outcome) for outcome in self.outcomes],
            "figures": [figure_mapping(figure) for figure in self.figures],
            "missing": self.missing,
            "missing_peers": list(self.missing_peers),
            "failed": self.failed,
        }


def processor_name() -> str:
    """Its model as the system calls it, else the kind of machine."""
    with suppress(OSError):
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found is not None:
            return found[1]
    return platform.machine()


def tables(document: Mapping[str, Any], style: Callable[[Sequence[Cells]], list[str]]) -> list[str]:
    """The lines for people: the pairs, the figures, how they were taken, who was missing, what failed."""
    taken = document["environment"]
    kind = f" ({taken['processor']})" if "processor" in taken else ""
    lines = style(outcome_cells([outcome_of(row) for row in document["rows"]])) if document["rows"] else []
    if document["figures"]:
        lines += ["", *style(figure_cells([figure_of(row) for row in document["figures"]]))]
    lines += [
        "",
        f"{document['repeats']} repeats of {document['seconds']:g} s, {document['taken'][:10]},"
        f" Python {taken['python']}, {taken['system']}, {taken['processors']} processors{kind},"
        f" load average before {taken['load_average_at_start']:g}",
        f"missing peers: {', '.join(document['missing_peers']) or 'none'}",
    ]
    return [*lines, *document["failed"]]


def ended(_number: int, _frame: object) -> NoReturn:
    """SIGTERM ends the run as Ctrl-C does, so that no server is left behind."""
    raise KeyboardInterrupt


def filled(page: str, lines: Sequence[str]) -> str:
    """The page with those lines between its marks; ValueError where it has not one pair of them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected a page with the lines {BEGIN} and {END}")
    return "\n".join([before + begin, *lines, end + after])


def show(path: Path, style: Callable[[Sequence[Cells]], list[str]], page: Path | None = None) -> int:
    """Print the tables of a document, or put them into a page; 2 where it is no document, or no such page."""
    try:
        document = json.loads(path.read_text())
        if page is None:
            print("\n".join(tables(document, style)))
        else:
            page.write_text(filled(page.read_text(), tables(document, markdown)))
    except (OSError, ValueError, KeyError) as error:
        into = "" if page is None else f" --fill {page}"
        print(f"--show {path}{into}: expected a document of this program: {error!r}", file=sys.stderr)
        return 2
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, writes; the exit code."""
    chosen = options(arguments)
    style = markdown if chosen.markdown else aligned
    if chosen.show is not None:
        return show(chosen.show, style, chosen.fill)
    signal.signal(signal.SIGTERM, ended)
    bench = Bench(chosen.repeats, chosen.seconds)
    pairs = f"{chosen.repeats} pair{'s' if chosen.repeats > 1 else ''}"
    busy = f"load average {bench.load_average:.2f} on {len(os.sched_getaffinity(0))} processors"
    print(f"benchmarks: {pairs} a row, {chosen.seconds:g} s a measurement, {busy}", file=sys.stderr, flush=True)
    try:
        bench.run_rows(row for row in ROWS if row.group in chosen.only)
        if "udp" in chosen.only:
            bench.run_reading()
        if "decode" in chosen.only:
            bench.run_decode()
        code = bench.code
    except KeyboardInterrupt:
        print("interrupted: the rows so far", file=sys.stderr)
        code = 130
    print("\n".join(tables(bench.document(), style)))
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(bench.document(), indent=2, allow_nan=False) + "\n")
    return code
