"""The end of a daemon while its peers are at work, and what signals do to it."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from tests.clients import connected
from tests.integration.conftest import PATIENCE, Daemon, Start

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


def asks_without_end(client: socket.socket) -> None:
    """Of a source: a stream that never ends by itself has begun."""
    client.sendall(b"\n")
    client.recv(1024)


def reads_to_the_end(client: socket.socket) -> None:
    end = time.monotonic() + PATIENCE
    while client.recv(1 << 20):
        assert time.monotonic() < end, "the stream goes on"


def until_refused(daemon: Daemon) -> None:
    """Connect until the port is closed."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            daemon.connect().close()
        except ConnectionRefusedError:
            return
    raise AssertionError("the port is still open")


@pytest.mark.workers_too
def test_a_stream_that_sends_goes_on_to_its_end_and_the_daemon_leaves_with_it(start: Start, tmp_path: Path) -> None:
    daemon = start(*config(tmp_path, "1h"))
    with daemon.connect() as client, daemon.connect() as silent:
        sends(client, 1)
        daemon.await_stats(packets_total=1, streams_total=2)
        daemon.process.send_signal(signal.SIGTERM)
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
    daemon = start(*config(tmp_path, "1h", mode='"source"'))
    with daemon.connect() as client:
        asks_without_end(client)
        daemon.process.send_signal(number)
        daemon.log.wait("stopping: 1 open stream may go on for 3600 s")
        daemon.process.send_signal(number)
        reads_to_the_end(client)
    daemon.process.wait(PATIENCE)


def test_a_second_shutdown_is_answered_and_ends_it_at_once(start: Start, tmp_path: Path) -> None:
    flags = config(tmp_path, "1h", mode='"source"')
    path = tmp_path / "a.sock"
    with (tmp_path / "x.toml").open("a") as written:
        written.write(f'[[admin]]\nendpoint = "unix:{path}"\n')
    daemon = start(*flags, admins=2)
    with daemon.connect() as client, connected(path) as operator:
        asks_without_end(client)
        replies = operator.makefile("rb")
        operator.sendall(b"shutdown\n")
        assert b"OK stopping\r\n" == replies.readline()
        daemon.log.wait("stopping: 1 open stream may go on for 3600 s")
        operator.sendall(b"shutdown\n")
        assert b"OK stopping\r\n" == replies.readline()
        reads_to_the_end(client)
    daemon.process.wait(PATIENCE)


def test_a_stream_that_does_not_end_is_ended_after_the_time_given(start: Start, tmp_path: Path) -> None:
    daemon = start(*config(tmp_path, "300ms", mode='"source"'))
    with daemon.connect() as client:
        asks_without_end(client)
        daemon.process.send_signal(signal.SIGTERM)
        reads_to_the_end(client)
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
