"""``ctrlstat`` on a terminal, which it gives back."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.integration.conftest import BIN, PATIENCE, Start, run
from tests.integration.test_ctrlstat import CTRLSTAT
from tests.load.screen import opened
from tests.servers import refusing

#: What takes a screen of its own, and gives it back.
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


class Terminal:
    """A program on a terminal of so many columns; ``wait`` until it has drawn something."""

    def __init__(self, columns: int, *command: str, **environment: str) -> None:
        self.ours, self.theirs, _ = opened(columns)
        self.before = termios.tcgetattr(self.theirs)
        self.drawn = ""
        self.process = subprocess.Popen(
            command,
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            env={**os.environ, "TERM": "xterm", "LANG": "C.UTF-8", **environment},
            start_new_session=True,
            preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_DFL),  # the tests may run under nohup
        )

    def wait(self, *words: str) -> None:
        """Until all of ``words`` have come since the last wait."""
        start, end = len(self.drawn), time.monotonic() + PATIENCE
        while not all(word in self.drawn[start:] for word in words):
            assert select.select([self.ours], [], [], PATIENCE)[0], self.drawn[start:]
            assert time.monotonic() < end, self.drawn[start:]
            self.drawn += os.read(self.ours, 1 << 16).decode()

    def type(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def end(self) -> int:
        """The exit code, once it has ended and all that it drew is read."""
        code = self.process.wait(PATIENCE)
        while select.select([self.ours], [], [], 0)[0]:
            self.drawn += os.read(self.ours, 1 << 16).decode()
        return code


@contextmanager
def on_terminal(columns: int, *words: str, **environment: str) -> Iterator[Terminal]:
    terminal = Terminal(columns, *CTRLSTAT, "--timeout", f"{PATIENCE:g}s", *words, **environment)
    try:
        yield terminal
    finally:
        if terminal.process.poll() is None:
            terminal.process.kill()
        terminal.process.wait(PATIENCE)
        os.close(terminal.ours)
        os.close(terminal.theirs)


@pytest.mark.parametrize("columns", [80, 200])
def test_top_shows_servers_until_q(shared: Start, columns: int) -> None:
    daemon = shared()
    with daemon.connect() as client, on_terminal(columns, daemon.admin, "top") as terminal:
        client.sendall(b"x" * 1024)
        host, port = client.getsockname()
        terminal.wait("1 of 1 server ", f"{host}:{port}", "q quit")
        terminal.type("/no such peer\r")
        terminal.wait("filter: no such peer", "no open streams")
        terminal.type("q")
        assert 0 == terminal.end()
        assert terminal.before == termios.tcgetattr(terminal.theirs)
    assert terminal.drawn.count(ENTER) == 1 == terminal.drawn.count(LEAVE)
    assert "\x1b[?25h" in terminal.drawn.rpartition("\x1b[?25l")[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(shared: Start, number: signal.Signals) -> None:
    with on_terminal(80, shared().admin, "top") as terminal:
        terminal.wait("1 of 1 server ")
        terminal.process.send_signal(number)
        assert 130 == terminal.end()
        assert terminal.before == termios.tcgetattr(terminal.theirs)
    assert LEAVE in terminal.drawn


def test_a_server_that_goes_is_told_and_one_that_comes_back_is_shown(start: Start, tmp_path: Path) -> None:
    admin = f"unix:{tmp_path / 'admin.sock'}"
    (tmp_path / "labs.txt").write_text(f"lab1 = {admin}\n")
    first = start("--admin", admin)
    with on_terminal(120, "--servers", str(tmp_path / "labs.txt"), "top") as terminal:
        terminal.wait("1 of 1 server ")
        first.stop()
        terminal.wait("0 of 1 server ", "cannot connect to")
        start("--admin", admin)
        terminal.wait("1 of 1 server ")
        terminal.type("q")
        assert 0 == terminal.end()


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_without_a_terminal_top_says_so_in_one_line(term: str) -> None:
    done = run(*CTRLSTAT, "127.0.0.1:1", "top", env={**os.environ, "TERM": term})
    assert (2, b"") == (done.returncode, done.stdout)
    line = b"ctrlstat: top needs a terminal, for keys and for drawing; ctrlstat watch 1 gives rows anywhere\n"
    assert line == done.stderr


def test_a_shell_completes_from_the_servers_help_and_keeps_its_history(shared: Start, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with on_terminal(120, shared().admin, "shell", XDG_STATE_HOME=str(state)) as terminal:
        terminal.wait("> ")
        terminal.type("pin\t\r")
        terminal.wait("OK pong", "> ")
        terminal.type("stats packets_t\t\r")
        terminal.wait("packets_total ", "OK 1", "> ")
        terminal.type("watch 0.1\r")
        terminal.wait("# time")
        terminal.process.send_signal(signal.SIGINT)
        terminal.wait("> ")
        terminal.type("auth " + "0" * 64 + "\r")
        terminal.wait("ERR 409 no-auth", "> ")
        terminal.type("\x04")
        assert 0 == terminal.end()
        assert terminal.before == termios.tcgetattr(terminal.theirs)
    history = state / "ctrlserver" / "ctrlstat_history"
    assert ["ping", "stats packets_total", "watch 0.1"] == [line.strip() for line in history.read_text().splitlines()]
    assert 0o600 == history.stat().st_mode & 0o777


def test_a_shell_in_a_script_reads_its_lines_and_an_error_is_exit_1(shared: Start) -> None:
    daemon = shared()
    done = run(*CTRLSTAT, daemon.admin, "shell", stdin=b"ping\n\nwhoami json\nquit\nstast\n")
    assert (0, b"OK pong\n") == (done.returncode, done.stdout[:8])
    assert done.stdout.splitlines()[1].startswith(b'{"ok":true,"command":"whoami"')
    assert 1 == run(*CTRLSTAT, daemon.admin, "shell", stdin=b"stast\nping\n").returncode
    gone = run(*CTRLSTAT, daemon.admin, refusing().text, "shell", stdin=b"ping\n")
    assert (1, 1) == (gone.returncode, gone.stderr.count(b"cannot connect"))


@pytest.mark.skipif(not (BIN / "ctrlstat").exists(), reason="ctrlstat is not installed: make .venv/.made installs it")
def test_bash_completes_both_programs_with_the_line_of_the_pages() -> None:
    script = """
    eval "$(_CTRLSTAT_COMPLETE=bash_source ctrlstat)"
    eval "$(_CTRLLOAD_COMPLETE=bash_source ctrlload)"
    offered() {
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        _${1}_completion "$1"; echo "${COMPREPLY[*]}"
    }
    complete -p ctrlstat ctrlload > /dev/null || exit 1
    offered ctrlstat stre
    offered ctrlstat 127.0.0.1:1 --js
    offered ctrlload run 127.0.0.1:1 -m req
    """
    done = run("bash", "--norc", "-c", script, env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"})
    assert (0, b"streams\n--json\nrequest\n") == (done.returncode, done.stdout), done
