"""The command line of the benchmarks.

    python -m benchmarks [--quick] [--repeats 5] [--seconds 3] [--only bulk,echo,udp,decode] [-o FILE]

Rules: exit 0 whatever the speeds are; exit 1 when counts differ or a program of a row failed (the other rows are still
measured); exit 2 for bad usage; 130 after Ctrl-C. The table goes to stdout, progress to stderr, the document with every
measurement to FILE (`benchmarks/build/bench.json`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NoReturn

from attrs import evolve

from benchmarks import decode
from benchmarks.pairs import CountsDifferError, MissingError, Outcome, as_mapping, measured, short, table
from benchmarks.programs import BUILD, ProgramFailedError
from benchmarks.rows import ROWS, Row

GROUPS = ("bulk", "echo", "udp", "decode")


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
    parser.add_argument("--seconds", type=positive, default=3.0, help="seconds of one measurement (3)")
    parser.add_argument("--quick", action="store_true", help="one short pair a row: a smoke run, not a measurement")
    parser.add_argument("--only", type=groups, default=GROUPS, help="groups of rows: " + ",".join(GROUPS))
    parser.add_argument("-o", "--output", type=Path, default=BUILD / "bench.json", help="the JSON document")
    chosen = parser.parse_args(arguments)
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
        self.missing: list[str] = []
        self.failed: list[str] = []

    def take(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        print(
            f"  {outcome.what}: {short(median(outcome.ours))} / {short(median(outcome.peer))} {outcome.unit}"
            f" = {median(outcome.ratios):.2f}",
            file=sys.stderr,
            flush=True,
        )

    def fail(self, words: str) -> None:
        self.failed.append(words)
        print(f"  {words}", file=sys.stderr, flush=True)

    @property
    def code(self) -> int:
        """The exit status: no speed and no missing peer makes it anything but 0."""
        return 1 if self.failed else 0

    def run_rows(self, rows: Iterable[Row]) -> None:
        """The rows of processes; one that fails does not stop the others."""
        for row in rows:
            try:
                with row.sides(self.seconds) as (ours, peer):
                    self.take(measured(row.what, row.unit, row.reach, ours, peer, self.repeats))
            except MissingError as error:
                self.missing.append(f'{error}: no row "{row.what}"')
            except CountsDifferError as error:
                self.fail(f"counts differ: {row.what}: {error}")
            except (ProgramFailedError, OSError) as error:
                self.fail(f"failed: {row.what}: {error}")

    def run_decode(self) -> None:
        """The rows of decoding, which run in this process."""
        try:
            for outcome in decode.rows(self.repeats):
                self.take(evolve(outcome, what=f"decode {outcome.what}: ctrlserver / Twisted's receiver"))
        except CountsDifferError as error:
            self.fail(f"counts differ: {error}")

    def document(self) -> dict[str, object]:
        return {
            "schema": "ctrlserver-bench/1",
            "taken": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "environment": {
                "python": platform.python_version(),
                "system": f"{platform.system()} {platform.release()} {platform.machine()}",
                "processors": len(os.sched_getaffinity(0)),
                "load_average_at_start": round(self.load_average, 2),
            },
            "repeats": self.repeats,
            "seconds": self.seconds,
            "rows": [as_mapping(outcome) for outcome in self.outcomes],
            "missing": self.missing,
            "failed": self.failed,
        }


def ended(_number: int, _frame: object) -> NoReturn:
    """SIGTERM ends the run as Ctrl-C does, so that no server is left behind."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, writes; the exit code."""
    chosen = options(arguments)
    signal.signal(signal.SIGTERM, ended)
    bench = Bench(chosen.repeats, chosen.seconds)
    pairs = f"{chosen.repeats} pair{'s' if chosen.repeats > 1 else ''}"
    busy = f"load average {bench.load_average:.2f} on {len(os.sched_getaffinity(0))} processors"
    print(f"benchmarks: {pairs} a row, {chosen.seconds:g} s a measurement, {busy}", file=sys.stderr, flush=True)
    try:
        bench.run_rows(row for row in ROWS if row.group in chosen.only)
        if "decode" in chosen.only:
            bench.run_decode()
        code = bench.code
    except KeyboardInterrupt:
        print("interrupted: the rows so far", file=sys.stderr)
        code = 130
    print("\n".join(table(bench.outcomes)))
    for words in bench.missing:
        print(f"missing: {words}")
    for words in bench.failed:
        print(words)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(bench.document(), indent=2, allow_nan=False) + "\n")
    return code
