"""The end of a daemon while its peers are at work, and what signals do to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import BIN, PATIENCE, Daemon, Start

LOOPBACK = "tcp:0:interface=127.0.0.1"


def config(folder: Path, drain_timeout: str, **listener: str) -> list[str]:
    """Flags for a daemon with this time to drain."""
    keys = "".join(f"{key} = {value}\n" for key, value in listener.items())
    ports = f'[[listener]]\nendpoint = "{LOOPBACK}"\n{keys}[[admin]]\nendpoint = "{LOOPBACK}"\n'
    (folder / "x.toml").write_text(f'drain_timeout = "{drain_timeout}"\n{ports}')
    return ["--config", "x.toml"]


def sends(client: socket.socket, packets: int) -> None:
    for _ in range(packets):
        client.sendall(bytes(1024))
        time.sleep(0.01)


def until_refused(daemon: Daemon) -> None:
    """Connect until the port is closed."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            daemon.connect().close()
        except ConnectionRefusedError:
            return
    raise AssertionError("the port is still open")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_that_sends_goes_on_to_its_end_and_the_daemon_leaves_with_it(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    daemon = start(*config(tmp_path, "1h"))
    with daemon.connect() as client, daemon.connect() as silent:
        sends(client, 1)
        daemon.await_stats(packets_total=1, streams_total=2)
        daemon.process.send_signal(number)
        daemon.log.wait("stopping: . open stream")
        until_refused(daemon)
        sends(client, 9)
        assert 10 == daemon.await_stats(packets_total=10)["packets"]
        silent.settimeout(PATIENCE)
        while not daemon.ask_json("stats")["closed_drain_total"]:  # once it has been silent for a second
            sends(client, 1)
        assert b"" == silent.recv(1)
        assert daemon.process.poll() is None
    daemon.process.wait(PATIENCE)
    assert "run 1 ended" in daemon.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    daemon = start(*config(tmp_path, "1h"))
    with daemon.connect() as client:
        sends(client, 1)
        daemon.await_stats(packets_total=1)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.log.wait("stopping: 1 open stream may go on for 3600 s")
        sends(client, 1)
        daemon.process.send_signal(number)
        daemon.process.wait(PATIENCE)
        assert b"" == client.recv(1)


def test_a_second_shutdown_is_answered_and_ends_it_at_once(start: Start, tmp_path: Path) -> None:
    flags = config(tmp_path, "1h")
    path = tmp_path / "a.sock"
    with (tmp_path / "x.toml").open("a") as written:
        written.write(f'[[admin]]\nendpoint = "unix:{path}"\n')
    daemon = start(*flags, admins=2)
    with daemon.connect() as client, socket.socket(socket.AF_UNIX) as operator:
        sends(client, 1)
        daemon.await_stats(packets_total=1)
        operator.settimeout(PATIENCE)
        operator.connect(str(path))
        replies = operator.makefile("rb")
        operator.sendall(b"shutdown\n")
        assert b"OK stopping\r\n" == replies.readline()
        daemon.log.wait("stopping: 1 open stream may go on for 3600 s")
        sends(client, 1)
        operator.sendall(b"shutdown\n")
        assert b"OK stopping\r\n" == replies.readline()
        daemon.process.wait(PATIENCE)
        assert b"" == client.recv(1)


def test_a_stream_that_does_not_end_is_ended_after_the_time_given(start: Start, tmp_path: Path) -> None:
    daemon = start(*config(tmp_path, "300ms", mode='"source"'))
    with daemon.connect() as client:
        client.sendall(b"\n")  # packets without end
        client.recv(1024)
        daemon.process.send_signal(signal.SIGTERM)
        while client.recv(1 << 20):
            pass
    daemon.process.wait(PATIENCE)


def test_a_udp_peer_that_sends_is_counted_to_its_end_and_a_new_one_is_rejected(start: Start, tmp_path: Path) -> None:
    daemon = start(*config(tmp_path, "1h", udp="true"))
    port = int(daemon.log.wait(r"listening data udp \S+:(\d+)")[1])
    with socket.socket(type=socket.SOCK_DGRAM) as known, socket.socket(type=socket.SOCK_DGRAM) as new:
        known.connect(("127.0.0.1", port))
        new.connect(("127.0.0.1", port))
        known.send(b"x")
        daemon.await_stats(packets_total=1)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.log.wait("stopping: 1 open stream")
        new.send(b"x")
        known.send(b"x")
        daemon.await_stats(packets_total=2, rejected_draining_total=1)
    daemon.process.wait(PATIENCE)


def test_without_an_open_stream_it_ends_at_once(start: Start, tmp_path: Path) -> None:
    daemon = start(*config(tmp_path, "1h"))
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.wait(PATIENCE)
    assert "stopping" not in daemon.stop()


def to_a_file(folder: Path) -> tuple[list[str], dict[str, Any]]:
    return [f"--logfile={folder / 'log'}"], {}


def to_stdout(folder: Path) -> tuple[list[str], dict[str, Any]]:
    return [], {"stdout": (folder / "log").open("wb")}


def to_a_closed_pipe(_: Path) -> tuple[list[str], dict[str, Any]]:
    reads, writes = os.pipe()
    os.close(reads)
    return [], {"stdout": os.fdopen(writes, "wb"), "stderr": subprocess.DEVNULL}


@pytest.mark.parametrize("log", [to_a_file, to_stdout, to_a_closed_pipe])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_only_int_and_term_end_it_wherever_its_log_goes(
    tmp_path: Path, log: Callable[[Path], tuple[list[str], dict[str, Any]]], end: signal.Signals
) -> None:
    flags, options = log(tmp_path)
    path = tmp_path / "a.sock"
    data = ["--data", f"unix:{tmp_path}/d.sock", "--admin", f"unix:{path}"]
    process = subprocess.Popen([BIN / "twistd", "-n", "--pidfile=", *flags, "ctrlserver", *data], **options)
    try:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE) * 2:
            assert b"OK pong\r\n" == pinged(process, path)
            process.send_signal(number)
        assert b"OK pong\r\n" == pinged(process, path)
        process.send_signal(end)
        assert process.wait(PATIENCE) in (-end, 0, 1)
        assert not path.exists()
    finally:
        process.kill()
        process.wait(PATIENCE)
        if options:
            with suppress(BrokenPipeError):
                options["stdout"].close()


def pinged(process: subprocess.Popen[bytes], path: Path) -> bytes:
    """The answer to a ping, as soon as there is one."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None
        with socket.socket(socket.AF_UNIX) as client, suppress(FileNotFoundError, ConnectionRefusedError):
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(b"ping\n")
            return client.recv(100)
        time.sleep(0.02)
    raise AssertionError("it does not answer")
