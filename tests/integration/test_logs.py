"""The log of real processes: in both forms, wherever it goes, and where it cannot go on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import BIN, PATIENCE, Start, run
from tests.ports import free_port

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


@pytest.fixture
def endpoint() -> str:
    """An admin port known beforehand, for logs that cannot tell."""
    return f"tcp:{free_port()}:interface=127.0.0.1"


def asked(endpoint: str, line: bytes = b"ping\n") -> bytes:
    """The reply of the admin port, once it is there."""
    for _ in range(int(PATIENCE * 100)):
        try:
            with socket.create_connection(("127.0.0.1", int(endpoint.split(":")[1])), PATIENCE) as client:
                client.sendall(line)
                return client.recv(1000)
        except ConnectionRefusedError:
            signal.sigtimedwait([], 0.01)
    raise AssertionError("no admin port")


@pytest.mark.parametrize("where", ["a closed pipe", "a full disk", "no output", "a pipe that nobody reads"])
def test_a_log_that_cannot_be_written_neither_ends_nor_delays_the_server(
    where: str, endpoint: str, tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    if where == "a pipe that nobody reads":
        os.set_blocking(writing, False)
        try:
            while True:
                os.write(writing, b"x" * 65_536)
        except BlockingIOError:
            os.set_blocking(writing, True)
    else:
        os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    output = {"a full disk": full}.get(where, writing)
    launcher = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh"] if where == "no output" else []
    process = subprocess.Popen(
        [*launcher, *TWISTD, "--data", LOOPBACK, "--admin", endpoint], stdout=output, stderr=output, cwd=tmp_path
    )
    try:
        for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE):
            assert b"OK pong\r\n" == asked(endpoint)
            process.send_signal(number)
        assert b"OK pong\r\n" == asked(endpoint)
        assert process.poll() is None
    finally:
        process.terminate()
        status = process.wait(PATIENCE)
        for each in (writing, full, *([reading] if where == "a pipe that nobody reads" else [])):
            os.close(each)
    assert -signal.SIGTERM == status


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
