"""The recipes of CONTRIBUTING.md, followed: each on a copy of the package, with the smallest addition that it allows.

Rules: a recipe is a heading ``### Add ...`` and a numbered list; each item begins with its file, new ones are marked.
The files exist, at most five a recipe, and an entry in the table that the recipe names makes the new thing known.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import CONTRIBUTING, ROOT

RECIPES = dict(re.findall(r"^### (Add .*)\n((?:(?!#).*\n)*)", CONTRIBUTING.read_text(), re.MULTILINE))


def files(recipe: str) -> list[tuple[str, bool]]:
    """The files of a recipe, in its order, and whether each is to be made."""
    found = re.findall(r"^\d\. `([^`]+)`( \(new\))?", RECIPES[recipe], re.MULTILINE)
    return [(name, bool(new)) for name, new in found]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_files_of_a_recipe_are_there_and_at_most_five(recipe: str) -> None:
    listed = files(recipe)
    assert 1 <= len(listed) <= 5
    assert [] == [name for name, new in listed if not new and not (ROOT / name).exists()], "named, but not there"
    assert [] == [name for name, new in listed if new and (ROOT / name).exists()], "said to be new, but already there"


class House:
    """A copy of the package, to be changed."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(ROOT / "ctrlserver", folder / "ctrlserver", ignore=shutil.ignore_patterns("__pycache__"))
        self.folder = folder

    def write(self, recipe: str, name: str, text: str) -> None:
        """Make a new file of the recipe."""
        assert re.sub(r"\w+\.py", "", name) in {re.sub(r"\w+\.py", "", listed) for listed, new in files(recipe) if new}
        (self.folder / name).write_text(text)

    def insert(self, recipe: str, name: str, after: str, text: str) -> None:
        """Put ``text`` behind ``after``, which stands once in a file of the recipe."""
        assert name in dict(files(recipe))
        path = self.folder / name
        before = path.read_text()
        assert 1 == before.count(after), f"{name} has no longer {after!r}: the recipe is to be looked through"
        path.write_text(before.replace(after, after + text))

    def says(self, code: str) -> str:
        """What a program prints that imports the copy."""
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)
        assert 0 == done.returncode, done.stderr
        return done.stdout


def test_ci_installs_every_program_that_a_test_needs_and_the_page_names_it() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    needed = set(re.findall(r'needs\("([a-z-]+)"\)', tests)) - {"bash", "setsid"}  # of every Debian
    installed = (ROOT / ".ci" / "run").read_text()
    assert needed >= {"socat", "redis-server"}
    assert set() == {program for program in needed if f"command -v {program} >" not in installed}
    named = set(re.findall(r"`([\w-]+)`", CONTRIBUTING.read_text()))
    assert set() == needed - named


def test_ci_runs_what_a_commit_has_to_pass() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert {"make lint", "make demo"} <= set(lines)
    assert any(line.startswith("make test ") for line in lines)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_framing_in_the_table_is_known(house: House) -> None:
    recipe = "Add a framing"
    made = "from ctrlserver.wire.delimited import Lines\n\n\nclass Yours(Lines):\n    pass\n"
    house.write(recipe, "ctrlserver/wire/yours.py", made)
    framing = "ctrlserver/wire/framing.py"
    house.insert(recipe, framing, "from typing import Protocol\n", "from ctrlserver.wire.yours import Yours\n")
    house.insert(recipe, framing, "KINDS: dict[str, Kind] = {\n", '    "yours": _plain("yours", Yours.of),\n')
    said = house.says(
        "import click\n"
        "from ctrlserver.load.commands.run import run\n"
        "from ctrlserver.tap import Options\n"
        "from ctrlserver.wire.framing import parse_framing\n"
        "print(parse_framing('yours').new().feed(b'a\\n'))\n"
        "print('yours' in str(Options()), 'yours' in run.get_help(click.Context(run)))\n"
    )
    assert "[b'a']\nTrue True\n" == said


COMMAND = '''

@frozen
class Yours(Command):
    """yours

    Seconds since the start.
    """

    command = "yours"
    answers = "The word soon."
    example = "yours"

    def reply(self, desk: Desk) -> Reply:
        """A word."""
        return Word("soon", {"yours": "soon"})
'''


def test_a_command_in_the_table_is_known(house: House) -> None:
    recipe = "Add an admin command"
    asking = "ctrlserver/admin/commands/asking.py"
    house.insert(recipe, asking, "from ctrlserver.stats.records import as_mapping, describe, field_names\n", COMMAND)
    table = "ctrlserver/admin/commands/table.py"
    house.insert(recipe, table, "from ctrlserver.admin.commands.asking import ", "Yours, ")
    house.insert(recipe, table, "COMMANDS: Final[tuple[type[Command], ...]] = (\n", "    Yours,\n")
    house.insert(recipe, "ctrlserver/commands.py", "NAMES: Final = (\n", '    "yours",\n')
    said = house.says(
        "from ctrlserver.admin.commands.table import Help, call_of, carry_out\n"
        "from ctrlserver.admin.dialogue import Request\n"
        "from ctrlserver.admin.session import Session\n"
        "line = Request(('yours',))\n"
        "print(carry_out(call_of(line, None, Session()), line, None, Session()))\n"
        "print(Help('yours').reply(None).lines)\n"
        "from ctrlserver.admin.commands.page import page\n"
        "print(page(''))\n"
        "from ctrlserver.overview.servers import asked\n"
        "print(asked(['yours'], {}).command)\n"
    )
    assert "soon" in said
    assert said.endswith("['yours']\n")
    assert "Seconds since the start." in said
    assert "> yours\nOK soon\n" in said


def test_a_field_in_a_record_is_published(house: House) -> None:
    recipe = "Add a published field"
    field = '    naps_total: Annotated[int, "counter", "naps", "naps taken"]\n'
    house.insert(recipe, "ctrlserver/stats/records.py", '"""The whole server at one instant."""\n\n', field)
    house.insert(recipe, "ctrlserver/stats/book.py", "return StatsRecord(\n", "            naps_total=7,\n")
    said = house.says(
        "from ctrlserver.stats.book import Book\n"
        "from ctrlserver.stats.records import as_mapping, describe\n"
        "print(describe('naps_total')[0].help)\n"
        "print(as_mapping(Book(version='', now=0.0, wall=0.0).stats(1.0))['naps_total'])\n"
    )
    assert "naps taken\n7\n" == said


def test_a_flag_among_those_asked_is_known(house: House) -> None:
    asked = "ctrlserver/load/plan/asked.py"
    flag = '    naps: int | None = flag("--naps N", "How often to rest.", parse_count)\n'
    house.insert("Add a flag of `ctrlload run`", asked, "    target: Target\n", flag)
    said = house.says(
        "from ctrlserver.load.commands.run import run\n"
        "from ctrlserver.load.commands.search import search\n"
        "from ctrlserver.load.plan.asked import Asked\n"
        "from ctrlserver.load.plan.options import prepared\n"
        "print([sum('--naps' in option.opts for option in command.params) for command in (run, search)])\n"
        "given = run.make_context('run', ['127.0.0.1:22222', '--naps', '3']).params\n"
        "print(prepared(Asked(target=given['target'], naps=given['naps'])).as_options()['naps'])\n"
    )
    assert "[1, 1]\n3\n" == said
