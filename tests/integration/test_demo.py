"""The demo of ``make demo``, with fewer packets."""

from __future__ import annotations

import re
import sys

import pytest

from tests.integration.conftest import run
from tests.pages import README, ROOT, commands

SMALLER = """
import sys
sys.path.insert(0, "etc")
import demo
demo.LOADS = (("packets", "sink", ()), ("requests", "echo", ("-m", "request", "-n", "2k", "-P", "5")))
sys.exit(demo.main())
"""


@pytest.fixture(scope="module")
def said() -> list[str]:
    """The lines that the demo prints."""
    done = run(sys.executable, "-c", SMALLER, cwd=ROOT)
    assert 0 == done.returncode, done
    return done.stdout.decode().splitlines()


def test_the_demo_compares_every_count_and_finds_them_equal(said: list[str]) -> None:
    compared = [line for line in said if re.match(r"  (load|stats|streams|runs|workers)\b.* = ", line)]
    assert 13 == len(compared)
    assert "all counts are equal: every packet that was sent is counted, wherever one asks" in said


def test_the_demo_shows_two_workers_that_served_both(said: list[str]) -> None:
    shown = said.index(next(line for line in said if line.startswith("$ echo workers ")))
    rows = [line for line in said[shown + 1 : said.index("OK 2", shown)] if line.strip()]
    assert ["1", "2"] == [row.split()[0] for row in rows if row.split()[0].isdigit()], rows


def test_the_demo_ends_with_what_to_type_next_which_the_readme_has_too(said: list[str]) -> None:
    activate, daemon, again, load, ask = [line.strip() for line in said[-8:] if line.startswith("  ")]
    typed = [command for command, _ in commands(README)]
    assert activate == again == typed[typed.index(daemon) - 1]
    assert any(command.startswith(load.split(" --admin")[0]) for command in typed)
    assert ask.replace("stats", "ping") in typed


def test_what_the_demo_says_itself_fits_80_columns(said: list[str]) -> None:
    reports = r" +\d+\.\d\d -|total time|sent |received |replies |latency |service |reconciled "  # ctrlload's own
    workers = r"# worker |\d +\d+ +running "  # the admin port's
    assert [] == [line for line in said if len(line) > 80 and not re.match(f"{reports}|{workers}", line)]
