"""``ctrlstat`` against real servers."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import PATIENCE, Daemon, Start, run, running
from tests.load.screen import opened
from tests.servers import refusing

CTRLSTAT = (sys.executable, "-m", "ctrlserver.overview.cli")


def ctrlstat(*words: str | Path, code: int = 0) -> tuple[str, str]:
    """Stdout and stderr of ``ctrlstat``, which has patience."""
    done = run(*CTRLSTAT, "--timeout", f"{PATIENCE:g}s", *words)
    assert code == done.returncode, done
    return done.stdout.decode(), done.stderr.decode()


@pytest.fixture(scope="module")
def labs(shared: Start) -> tuple[Daemon, Daemon]:
    """Two servers with 3 and 4 packets."""
    found = shared(), shared("--framing", "line")
    for daemon, sent, packets in zip(found, (b"x" * 3072, b"a\nb\nc\nd\n"), (3, 4), strict=True):
        if not daemon.ask_json("stats")["packets_total"]:
            with daemon.connect() as client:
                client.sendall(sent)
            daemon.await_stats(packets_total=packets, streams_open=0)
    return found


def test_one_servers_reply_is_that_which_netcat_gets(labs: tuple[Daemon, Daemon]) -> None:
    for command in ("version", "stats packets_total", "help", "streams", "ping", "runs json"):
        assert (labs[0].ask(command).replace("\r\n", "\n"), "") == ctrlstat(labs[0].admin, *command.split())


def test_several_stand_side_by_side_with_a_total(labs: tuple[Daemon, Daemon]) -> None:
    out, _ = ctrlstat(labs[0].admin, labs[1].admin, "stats", "packets_total")
    assert [["#", "field", labs[0].admin, labs[1].admin, "total"], ["packets_total", "3", "4", "7"]] == [
        line.split() for line in out.splitlines()
    ]


def test_tables_have_the_server_in_front(labs: tuple[Daemon, Daemon]) -> None:
    out, _ = ctrlstat(labs[0].admin, labs[1].admin, "streams", "limit=1")
    assert ["server", labs[0].admin, labs[1].admin] == [line.removeprefix("# ").split()[0] for line in out.splitlines()]


def test_who_does_not_answer_is_named_and_the_others_are_shown(labs: tuple[Daemon, Daemon]) -> None:
    gone = refusing().text
    out, err = ctrlstat(labs[0].admin, gone, "stats", "packets_total", code=1)
    assert ["packets_total", "3"] == out.splitlines()[1].split()[:2]
    assert err.startswith(f"ctrlstat: {gone}: cannot connect")
    assert 1 == err.count("\n")
    document = json.loads(ctrlstat(labs[0].admin, gone, "stats", "--json", code=1)[0])
    assert ("no-answer", 3) == (document["servers"][gone]["error"]["id"], document["total"]["packets_total"])


def test_an_error_of_any_server_is_exit_1(labs: tuple[Daemon, Daemon]) -> None:
    assert ctrlstat(labs[0].admin, "kick", "99", code=1)[0].startswith("ERR 404 unknown-stream")
    out, err = ctrlstat(labs[0].admin, labs[1].admin, "run", "99", code=1)
    assert "" == out
    assert [labs[0].admin, labs[1].admin] == [line.split(": ")[1] for line in err.splitlines()]
    assert not json.loads(ctrlstat(labs[0].admin, "run", "99", "--json", code=1)[0])["ok"]


def test_names_come_from_a_file(labs: tuple[Daemon, Daemon], tmp_path: Path) -> None:
    path = tmp_path / "labs.txt"
    path.write_text(f"lab1 = {labs[0].admin}\nlab2 = {labs[1].admin}  # the second\n")
    out, _ = ctrlstat("--servers", path, "stats", "packets_total")
    assert ["#", "field", "lab1", "lab2", "total"] == out.splitlines()[0].split()
    assert ("packets_total 4\nOK 1\n", "") == ctrlstat("--servers", path, "lab2", "stats", "packets_total")
    assert "lab2" in json.loads(ctrlstat("--servers", path, "lab2", "--json")[0])["servers"]
    rows = list(csv.DictReader(io.StringIO(ctrlstat("--servers", path, "runs", "--csv")[0])))
    assert [("lab1", "3"), ("lab2", "4")] == [(row["server"], row["packets"]) for row in rows]


def test_a_server_is_asked_through_its_unix_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    start("--admin", f"unix:{path}")
    assert ("OK pong\n", "") == ctrlstat(path, "ping")
    assert "No such file" in ctrlstat(tmp_path / "other.sock", "ping", code=1)[1]


def test_wait_ends_with_the_moment_and_a_time_that_is_over_is_exit_1(labs: tuple[Daemon, Daemon]) -> None:
    assert "packets_total 3\n" in ctrlstat(labs[0].admin, "wait", "packets_total>=3")[0]
    assert ctrlstat(labs[0].admin, "wait", "packets_total>=9", "timeout=0.1s", code=1)[0].startswith("ERR 408 timeout")
    out, err = ctrlstat(labs[0].admin, labs[1].admin, "wait", "packets_total>=4", "timeout=0.1s", code=1)
    assert ["packets_total", "4"] == out.splitlines()[1].split()
    assert err.startswith(f"ctrlstat: {labs[0].admin}: ERR 408 timeout")


def test_watch_shows_a_row_for_each_interval_of_each_server(labs: tuple[Daemon, Daemon]) -> None:
    out, _ = ctrlstat(labs[0].admin, "watch", "0.1", "2")
    assert ("# time", "OK 2", 4) == (out[:6], out.splitlines()[-1], out.count("\n"))
    lines = ctrlstat(labs[0].admin, labs[1].admin, "watch", "0.1", "2")[0].splitlines()
    assert sorted([labs[0].admin, labs[1].admin] * 2) == sorted(line.split()[0] for line in lines[1:])
    documents = [json.loads(line) for line in ctrlstat(labs[0].admin, "watch", "0.1", "2", "--json")[0].splitlines()]
    assert (3, 2) == (len(documents), documents[-1]["count"])
    assert "bad-argument" in ctrlstat(labs[0].admin, "watch", "soon", code=1)[1]


def test_watch_ends_when_nobody_reads_it_and_by_a_signal(labs: tuple[Daemon, Daemon]) -> None:
    watch = shlex.join([*CTRLSTAT, labs[0].admin, "watch", "0.1"])
    done = run("bash", "-o", "pipefail", "-c", f"{watch} | head -2")
    assert (0, 2) == (done.returncode, done.stdout.count(b"\n"))
    with running(shlex.split(watch), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert (130, b"") == (process.wait(PATIENCE), process.stderr.read() if process.stderr else b"")


def test_the_challenge_of_a_port_is_answered_from_a_file(start: Start, tmp_path: Path) -> None:
    secret, other, config = (tmp_path / name for name in ("secret", "other", "x.toml"))
    for file, text in ((secret, "correct horse battery\n"), (other, "another horse battery\n")):
        file.write_text(text)
        file.chmod(0o600)
    listener = '[[listener]]\nname = "data"\nendpoint = "tcp:0:interface=127.0.0.1"\n'
    admin = f'[[admin]]\nendpoint = "tcp:0:interface=127.0.0.1"\nauth = "{secret}"\n'
    config.write_text(listener + admin)
    port = start("--config", config).admin
    assert "level operator\n" in ctrlstat(port, "whoami")[0]
    assert "level admin\n" in ctrlstat("--auth-file", secret, port, "whoami")[0]
    err = ctrlstat("--auth-file", other, port, "whoami", code=1)[1]
    assert f"the admin port {port} refused the secret: ERR 403 wrong-answer" in err


@pytest.mark.parametrize("columns", [80, 300])
def test_on_a_terminal_a_wide_table_is_cut_to_the_columns_that_matter(
    labs: tuple[Daemon, Daemon], columns: int
) -> None:
    ours, theirs, _ = opened(columns)
    with open(theirs, "wb") as terminal, open(ours, "rb", buffering=0) as reader:
        command = [*CTRLSTAT, labs[0].admin, labs[1].admin, "streams"]
        done = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
        lines = reader.read(1 << 16).decode().splitlines()
    assert 0 == done.returncode
    assert columns >= max(map(len, lines))
    assert {"server", "stream", "peer", "packets"} <= set(lines[0].split())
    assert (columns == 80) == done.stderr.startswith(b"ctrlstat: left out for want of columns")


@pytest.mark.parametrize("redirect", [">/dev/full", ">&-"])
def test_a_stdout_that_cannot_be_written_is_one_line_and_exit_1(labs: tuple[Daemon, Daemon], redirect: str) -> None:
    done = run("bash", "-c", f'exec "$0" "$@" {redirect}', *CTRLSTAT, labs[0].admin, env=os.environ)
    assert (1, 1) == (done.returncode, done.stderr.count(b"\n"))
    assert done.stderr.startswith(b"ctrlstat: cannot write to stdout: ")
