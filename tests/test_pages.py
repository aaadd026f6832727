"""What can be checked of the README and the pages in docs/ without a process: files, flags, rooms and arrows.

``tests/integration/test_readme.py`` runs the commands in ``console`` blocks. Commands in any other block are not run,
and the line above it must say why: ``<!-- not run: the reason -->``.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import click
import pytest

from ctrlserver.config.tree import MODES
from ctrlserver.load.commands.group import ctrlload
from ctrlserver.wire.framing import FRAMINGS
from tests.pages import ARCHITECTURE, CONTRIBUTING, DAEMON, README, ROOT, blocks, commands, every_page
from tests.test_architecture import FLOOR, MODULES, PACKAGE, room_of

ROOMS = {room_of(path) for path in MODULES} - {""}


def test_the_readme_gives_the_two_commands_of_a_newcomer() -> None:
    assert {"make demo", "make test"} <= {command for command, _ in commands(README)}


@pytest.mark.parametrize(("page", "most"), [(README, 300), (CONTRIBUTING, 150)], ids=["README", "CONTRIBUTING"])
def test_a_newcomers_page_is_read_in_one_go(page: Path, most: int) -> None:
    assert len(page.read_text().splitlines()) <= most


@every_page
def test_a_line_of_prose_is_no_longer_than_150_columns(page: Path) -> None:
    prose = re.sub(r"(?ms)^```.*?^```$", "", page.read_text())
    assert [] == [line for line in prose.splitlines() if len(line) > 150 and not line.startswith("|")]


@pytest.mark.parametrize("word", [*FRAMINGS, *MODES])
def test_the_page_on_the_daemon_has_every_framing_and_mode(word: str) -> None:
    rows = re.findall(r"^\| (`.*?) \|", DAEMON.read_text(), re.MULTILINE)
    shown = word.replace(":N", ":1024").replace(":HEX", ":0d0a")
    assert any(f"`{shown.removesuffix(':little')}`" in row for row in rows)


@every_page
def test_every_file_and_heading_a_page_points_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^):]+)\)", page.read_text()):
        file, _, heading = target.partition("#")
        where = page.parent / file if file else page
        assert where.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", where.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", words).lower().replace(" ", "-") for words in headings}, target


@every_page
def test_every_source_file_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|toml|json|sh))`(?! \(new\))", page.read_text())
    folders = [ROOT, PACKAGE, ROOT / "tests" / "integration", ROOT / "benchmarks"]
    written_by_a_command = {"result.json", "benchmarks/build/bench.json"}
    missing = [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert set() == set(missing) - written_by_a_command


@every_page
def test_commands_that_are_not_run_say_why(page: Path) -> None:
    before, kind, explained = "", None, False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            kind = None if kind is not None else line[3:] or "text"
            explained = before.startswith("<!-- not run: ")
        elif kind not in (None, "console"):
            assert explained or (kind != "sh" and not line.startswith("$ ")), line
        before = line or before


@every_page
def test_no_page_installs_the_package_from_a_registry_where_it_is_not_yet(page: Path) -> None:
    installs = re.findall(r"(?:pipx?|uv tool) install [^\n`#]*", page.read_text())
    assert [] == [command for command in installs if re.search(r"ctrlserver(?:$|[\s'\"\[=<>~])", command)]


@every_page
def test_the_flags_of_every_load_are_known(page: Path) -> None:
    text = page.read_text()
    shown = re.findall(r"`(ctrlload (?:run|search|compare|plot) [^`\n]*)`", text.replace("\\|", "|"))
    typed = re.findall(r"^\$ (?:python \S+ )?(ctrlload .*)$", text, re.MULTILINE)
    for command in [*shown, *typed]:
        name, *words = shlex.split(re.split(r" \| | 2>>", command)[0], comments=True)[1:]
        subcommand = ctrlload.get_command(click.Context(ctrlload), name)
        assert subcommand is not None, command
        known = {"--help", *(flag for option in subcommand.params for flag in option.opts + option.secondary_opts)}
        assert {word for word in words if re.match(r"--?[a-zA-Z]", word)} <= known, command


def test_every_room_is_on_the_page_on_architecture() -> None:
    (rooms,) = [text for text in blocks(ARCHITECTURE, "") if text.startswith("twisted/")]
    named = re.findall(r"^  ( *)([a-z_]+)(?:/|\.py)  ", rooms, re.MULTILINE)
    assert ROOMS == {f"load/{name}" if deep else name for deep, name in named} - {"load"}


@pytest.mark.parametrize("page", [ARCHITECTURE, CONTRIBUTING], ids=lambda page: page.name)
def test_the_arrows_of_a_page_are_those_that_are_checked(page: Path) -> None:
    lines = re.findall(r"^(.* <- .* <- .*)$", "".join(blocks(page, "")), re.MULTILINE)
    named: set[str] = set()
    for line, inside in zip(lines, ("", "load/"), strict=True):
        groups = [[inside + name for name in group.split(", ") if name != "load"] for group in line.split(" <- ")]
        named.update(*groups)
        floors = [[FLOOR[name] for name in group] for group in groups]
        assert all(max(left) < min(right) for left, right in pairwise(floors)), line
    assert ROOMS == named


def test_the_parts_on_the_page_on_architecture_are_where_it_says() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| `([\w/]+\.py)` \|", ARCHITECTURE.read_text(), re.MULTILINE)
    assert len(rows) > 20
    missing = [
        (name, file)
        for names, file in rows
        for name in re.findall(r"\w+", names)
        if not re.search(rf"^class {name}\b", (PACKAGE / file).read_text(), re.MULTILINE)
    ]
    assert [] == missing


def test_every_bound_on_the_page_on_architecture_is_held_by_tests_that_are_there() -> None:
    _, table = ARCHITECTURE.read_text().split("## Where the bounds are\n")
    header, _, *rows = re.findall(r"^\| .*$|^\|---.*$", table.partition("\n## ")[0], re.MULTILINE)
    assert header.endswith("| held by |")
    texts = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    there = {name for text in texts for name in re.findall(r"def (test_\w+)", text)}
    for row in rows:
        what, *_, held_by = row.strip("| ").split(" | ")
        named = re.findall(r"`(\w+)`", held_by)
        assert named, f"no test attacks the bound of {what}"
        assert set() == set(named) - there, what
    assert len(rows) > 30
