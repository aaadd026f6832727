"""The log of real processes: in both forms, wherever it goes, and where it cannot go on."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.clients import connected
from tests.integration.conftest import BIN, PATIENCE, Start, run

LOOPBACK = "tcp:0:interface=127.0.0.1"
TWISTD = (str(BIN / "twistd"), "-n", "--pidfile=", "ctrlserver")
TWIST = (str(BIN / "twist"), "ctrlserver")


def records(text: str) -> list[dict[str, Any]]:
    """The objects of a JSON log."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(each, dict) and {"ts", "level", "event", "message"} <= set(each) for each in found)
    assert not [value for each in found for value in each.values() if isinstance(value, dict | list)]
    return found


@pytest.mark.parametrize("program", [TWISTD, TWIST, (str(BIN / "ctrlserver"),)], ids=["twistd", "twist", "ctrlserver"])
def test_a_json_log_is_an_object_a_line_twisteds_own_lines_too(start: Start, program: Sequence[str]) -> None:
    daemon = start("--log-format", "json", program=program)
    with daemon.connect() as client:
        client.sendall(b"x" * 1024)
    daemon.log.wait("run-ended")
    events = {each["event"]: each for each in records(daemon.stop())}
    assert {"listening", "message", "run-ended"} <= set(events)
    assert (1, 1024) == (events["run-ended"]["packets"], events["run-ended"]["bytes"])
    assert "run 1 ended: total time" in events["run-ended"]["message"]


def test_a_log_file_and_the_config_file_may_say_so_too(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("log_format = 'json'\nlog_level = 'warn'\n[[listener]]\nendpoint = 'tcp:0'\n")
    log = tmp_path / "x.log"
    taken = socket.create_server(("127.0.0.1", 0))
    endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
    with taken:
        done = run(
            BIN / "twistd", "-n", "--pidfile=", f"--logfile={log}",
            "ctrlserver", "--config", "x.toml", "--admin", endpoint, cwd=tmp_path,
        )  # fmt: skip
    assert 1 == done.returncode
    (line,) = records(log.read_text())
    assert ("error", "cannot-start") == (line["level"], line["event"])


def pinged(process: subprocess.Popen[bytes], path: Path) -> bytes:
    """The answer to a ping, as soon as there is one: no log tells when."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None
        with suppress(FileNotFoundError, ConnectionRefusedError), connected(path) as client:
            client.sendall(b"ping\n")
            return client.recv(100)
        time.sleep(0.02)
    raise AssertionError("it does not answer")


@pytest.mark.parametrize(
    ("where", "end"),
    [
        ("a file", signal.SIGINT),
        ("standard output", signal.SIGTERM),
        ("a closed pipe", signal.SIGINT),
        ("a full disk", signal.SIGTERM),
        ("no output", signal.SIGINT),
        ("a pipe that nobody reads", signal.SIGTERM),
    ],
)
def test_wherever_the_log_goes_it_delays_nothing_and_only_int_and_term_end_the_server(
    where: str, end: signal.Signals, tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    outputs = {"standard output": os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)}
    outputs["a full disk"] = os.open("/dev/full", os.O_WRONLY)
    if where == "a pipe that nobody reads":
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * 65_536)
        os.set_blocking(writing, True)
    else:
        os.close(reading)
    launcher = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh"] if where == "no output" else []
    flags = ["--logfile=x.log"] if where == "a file" else []
    path, output = tmp_path / "a.sock", outputs.get(where, writing)
    process = subprocess.Popen(
        [*launcher, *TWISTD[:-1], *flags, TWISTD[-1], "--data", LOOPBACK, "--admin", f"unix:{path}"],
        stdout=output, stderr=output, cwd=tmp_path,
    )  # fmt: skip
    try:
        for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE) * 2:
            assert b"OK pong\r\n" == pinged(process, path)
            process.send_signal(number)
        assert b"OK pong\r\n" == pinged(process, path)
        process.send_signal(end)
        assert -end == process.wait(PATIENCE)
        assert not path.exists()
    finally:
        process.kill()
        process.wait(PATIENCE)
        for each in (writing, *outputs.values(), *([reading] if where == "a pipe that nobody reads" else [])):
            os.close(each)


def test_the_new_log_file_of_a_daemon_in_the_background_has_the_mode_of_the_old_one(tmp_path: Path) -> None:
    log, pid_file = tmp_path / "x.log", tmp_path / "x.pid"
    log.touch()
    log.chmod(0o640)
    files = (f"--logfile={log}", f"--pidfile={pid_file}")
    assert 0 == run(BIN / "twistd", *files, "ctrlserver", "--data", LOOPBACK, "--admin", LOOPBACK).returncode
    daemon = os.pidfd_open(int(pid_file.read_text()))
    try:
        log.rename(tmp_path / "x.log.1")
        signal.pidfd_send_signal(daemon, signal.SIGUSR1)
        ends = time.monotonic() + PATIENCE
        while not log.exists() and time.monotonic() < ends:
            signal.sigtimedwait([], 0.01)
        assert 0o640 == log.stat().st_mode & 0o777
    finally:
        signal.pidfd_send_signal(daemon, signal.SIGTERM)
        assert select.select([daemon], [], [], PATIENCE)[0]
        os.close(daemon)


def test_syslog_gets_json_too(tmp_path: Path) -> None:
    """In a process of its own whose /dev/log is a socket of the test."""
    path = tmp_path / "log"
    code = f"""
import sys
from functools import partial
from ctrlserver.logs import log
log.Syslog = partial(log.Syslog, address={str(path)!r})
from twisted.scripts.twistd import run
sys.argv = ["twistd", "-n", "--pidfile=", "--syslog", "--prefix=ctrlserver", "ctrlserver", "--log-format", "json",
            "--data", "{LOOPBACK}", "--admin", "{LOOPBACK}"]
run()
"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(path))
        log.settimeout(PATIENCE)
        process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
        try:
            while True:
                head, _, line = log.recv(65_536).decode().partition(": ")
                assert head.endswith(f"ctrlserver[{process.pid}]")
                if json.loads(line).get("listener") == "admin":
                    break
        finally:
            process.terminate()
            process.wait(PATIENCE)


def test_log_debug_shows_streams_and_questions_until_another_level_and_never_an_answer_to_a_challenge(
    start: Start,
) -> None:
    daemon = start("--log-format", "json")
    answer = "0123456789abcdef" * 4
    assert "OK debug\r\n" == daemon.ask("log debug")
    daemon.ask(f"auth {answer}")
    with daemon.connect() as client:
        client.sendall(b"x" * 1024)
    daemon.log.wait('"stream-closed"')
    daemon.ask("log warn")
    before = len(daemon.log.lines)
    daemon.ask("ping")
    daemon.ask("log info")
    daemon.ask("reset")
    daemon.log.wait('"admin: reset')
    assert answer not in daemon.log.text
    events = [each["event"] for each in records("\n".join(daemon.log.lines[:before]))]
    assert {"asked", "stream-opened", "stream-closed", "changed"} <= set(events)
    assert "ping" not in "\n".join(daemon.log.lines[before:])
