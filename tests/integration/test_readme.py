"""Every command of the README and of the guide to load testing runs, and answers as written there.

How a block is read: in ``console`` blocks a line with ``$ `` is a command, the lines up to the next one are what it
must print; figures may differ, ``...`` stands for anything. A command that starts the daemon runs until the end of the
test, on free ports that take the place of the README's in all later commands. ``make`` commands are run by CI itself;
here their targets must exist. A ``telnet`` block is a dialogue: ``> `` is typed.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.integration.conftest import BIN, Daemon, Start, needs, needs_openbsd_netcat, run

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "load-testing.md"]
FIGURE = re.compile(r"\d+(\.\d+)?")


def blocks(page: Path) -> list[tuple[str, str]]:
    """What stands between fences, each with its kind."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


BLOCKS = blocks(PAGES[0])


def commands(page: Path = PAGES[0]) -> list[tuple[str, list[str]]]:
    """Each command with the lines it must print."""
    found: list[tuple[str, list[str]]] = []
    for kind, text in blocks(page):
        if kind == "console":
            for line in text.splitlines():
                if line.startswith("$ "):
                    found.append((line[2:], []))
                else:
                    found[-1][1].append(line)
    return found


def same(expected: list[str], actual: list[str]) -> bool:
    """Line by line, figures and spacing aside; ``...`` in a line stands for its rest, alone for any lines."""
    pattern = ""
    for line in expected:
        if line == "...":
            pattern += r"(?:.*\n)*?"
        else:
            words = " ".join(FIGURE.sub("#", line).split())
            pattern += re.escape(words).replace(re.escape("..."), ".*") + "\n"
    text = "".join(" ".join(FIGURE.sub("#", line).split()) + "\n" for line in actual)
    return re.fullmatch(pattern, text) is not None


@needs_openbsd_netcat()
@needs("jq")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_runs_and_answers_as_written(page: Path, start: Start, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "etc", tmp_path / "etc")
    ports: dict[str, int] = {}

    def put(command: str) -> str:
        return re.sub(r"\b\d{5}\b", lambda match: str(ports.get(match[0], match[0])), command)

    for command, expected in commands(page):
        words = shlex.split(command)
        if words[0] == "make":
            assert run("make", "-n", words[1], cwd=ROOT).returncode == 0, command
        elif words[:3] == ["twistd", "-n", "ctrlserver"] and "--check" not in words:
            ports |= begin(start, words[3:])
        else:
            done = run("bash", "-c", put(command), cwd=tmp_path, env={"PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin"})
            assert done.returncode == 0, (command, done)
            if expected:
                assert same(expected, done.stdout.decode().splitlines()), (command, done.stdout.decode())


def begin(start: Start, flags: list[str]) -> dict[str, int]:
    """Run a daemon of the README on free ports; gives the README's numbers and the real ones."""
    alone = [flag for flag in flags if flag == "--udp"]
    pairs = [flag for flag in flags if flag not in alone]
    given = dict(zip(pairs[::2], pairs[1::2], strict=True))
    data, admin = given.pop("--data", "tcp:22222"), given.pop("--admin", "tcp:22223:interface=127.0.0.1")
    daemon: Daemon = start(*alone, *(word for pair in given.items() for word in pair))
    return {data.split(":")[1]: daemon.ports["data"], admin.split(":")[1]: daemon.ports["admin"]}


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "telnet"])
def test_the_dialogue_of_the_readme_is_a_real_one(start: Start, text: str) -> None:
    daemon = start()
    typed = [line[2:] for line in text.splitlines() if line.startswith("> ")]
    expected = [line for line in text.splitlines() if not line.startswith("> ")]
    assert same(expected, daemon.ask(*typed).splitlines())


def test_the_config_of_the_readme_is_a_good_one(tmp_path: Path) -> None:
    (text,) = [text for kind, text in BLOCKS if kind == "toml"]
    (tmp_path / "x.toml").write_text(text)
    done = run(BIN / "twistd", "-n", "--pidfile=", "ctrlserver", "--config", "x.toml", "--check", cwd=tmp_path)
    assert (0, b"ctrlserver: the configuration is good\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")) + PAGES[:1], ids=lambda page: page.name)
def test_every_file_a_page_points_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_gives_the_two_commands_of_a_newcomer() -> None:
    assert {"make demo", "make test"} <= {command for command, _ in commands()}
