"""Every command of the README and of the pages in docs/ runs, and answers as written there.

How a block is read: in ``console`` blocks a line with ``$ `` is a command, the lines up to the next one are what it
must print; figures may differ, ``...`` stands for anything. A command that starts the daemon runs until the end of the
test, on free ports that take the place of the page's in all later commands. The README is read in a plain shell, where
our programs are found once it has activated the environment that ``make demo`` made (here: the running one). ``make``
commands are run by CI itself; here their targets must exist. A ``telnet`` block is a dialogue: ``> `` is typed; a
``toml`` block is a good config.
``tests/test_pages.py`` checks what needs no process.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import BIN, MANY, Daemon, Start, needs, needs_openbsd_netcat, run
from tests.pages import PAGES, README, ROOT, blocks, commands

FIGURE = re.compile(r"\d+(\.\d+)?( [kMG](?=bit/s|/s)| (?=bit/s|/s)| [um]?s\b)?")
"""What may differ between the page and a run: a number, and how large its unit is."""
PLAIN = "/usr/local/bin:/usr/bin:/bin"
"""The programs of a shell in which no environment is active."""
PORT = re.compile(r"\b\d{5}\b")


def pages_with(*kinds: str) -> pytest.MarkDecorator:
    """One test for each page that has such a block."""
    return pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, *kinds)], ids=lambda page: page.name)


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
@needs("curl")
@needs("jq")
@needs("openssl")
@needs("redis-cli")
@pages_with("console")
def test_every_command_runs_and_answers_as_written(page: Path, start: Start, tmp_path: Path) -> None:
    run_commands(page, start, tmp_path)


@needs_openbsd_netcat()
@needs("jq")
@needs("openssl")
@needs("redis-cli")
@pytest.mark.parametrize("server_workers", [MANY], indirect=True)
def test_every_command_of_the_readme_is_answered_so_by_several_workers(start: Start, tmp_path: Path) -> None:
    run_commands(README, start, tmp_path)


def run_commands(page: Path, start: Start, tmp_path: Path) -> None:
    """Run the commands of a page, and compare what they print."""
    shutil.copytree(ROOT / "etc", tmp_path / "etc")
    ports: dict[str, int] = {}
    environment = {"PATH": PLAIN if page == README else f"{BIN}:{PLAIN}"}

    def real(command: str) -> str:
        return PORT.sub(lambda match: str(ports.get(match[0], match[0])), command)

    for command, expected in commands(page):
        words = shlex.split(command, comments=True)
        if words[0] == "make":
            check_make(words)
        elif words == [".", ".venv/bin/activate"]:
            environment["PATH"] = f"{BIN}:{PLAIN}"
        elif words[0] == "ctrlserver" and "--check" not in words:
            ports.update(begin(start, words[1:], program=words[:1], env=environment))
        else:
            done = run("bash", "-c", real(command), cwd=tmp_path, env=environment)
            assert 0 == done.returncode, (command, done)
            if expected:
                assert same(expected, done.stdout.decode().splitlines()), (command, done.stdout.decode())


def check_make(words: list[str]) -> None:
    """Its target exists, and so does every file that its variables name."""
    done = run("make", "-n", *words[1:], cwd=ROOT)
    assert 0 == done.returncode, (words, done)
    for path in re.findall(r"tests/[\w./]*", " ".join(words)):
        assert (ROOT / path).exists(), (words, path)


def begin(start: Start, flags: list[str], **options: Any) -> dict[str, int]:
    """Run a daemon of a page on free ports; the page's numbers and the real ones."""
    given = [flag for flag in flags if flag == "--udp"]
    others = [flag for flag in flags if flag != "--udp"]
    pairs = {"--data": "tcp:22222", "--admin": "tcp:22223", **dict(zip(others[::2], others[1::2], strict=True))}
    wanted = {"data": pairs["--data"].split(":")[1], "admin": pairs["--admin"].split(":")[1]}
    if "--http" in pairs:
        wanted["http"] = pairs["--http"].split(":")[1]
        pairs["--http"] = "tcp:0:interface=127.0.0.1"
    pairs["--data"] = f"{PORT.sub('0', pairs['--data'])}:interface=127.0.0.1"
    pairs["--admin"] = "tcp:0:interface=127.0.0.1"
    daemon: Daemon = start(*given, *(word for pair in pairs.items() for word in pair), **options)
    return {number: daemon.ports[name] for name, number in wanted.items()}


@pages_with("telnet")
@pytest.mark.workers_too
def test_every_dialogue_is_a_real_one(page: Path, start: Start) -> None:
    for text in blocks(page, "telnet"):
        typed = [line[2:] for line in text.splitlines() if line.startswith("> ")]
        expected = [line for line in text.splitlines() if not line.startswith("> ")]
        assert same(expected, start().ask(*typed).splitlines()), text


@pages_with("toml")
def test_every_config_is_a_good_one(page: Path, tmp_path: Path) -> None:
    (tmp_path / "ctrlserver-admin").write_text("0123456789abcdef")
    (tmp_path / "ctrlserver-admin").chmod(0o400)
    environment = {"PATH": PLAIN, "CREDENTIALS_DIRECTORY": str(tmp_path)}  # as systemd passes credentials on
    for text in blocks(page, "toml"):
        if "systemd:" in text:
            continue  # its sockets: test_activation.py
        (tmp_path / "x.toml").write_text(text)
        command = (BIN / "twistd", "-n", "--pidfile=", "ctrlserver", "--config", "x.toml", "--check")
        done = run(*command, cwd=tmp_path, env=environment)
        assert (0, b"ctrlserver: the configuration is good\n") == (done.returncode, done.stdout)
