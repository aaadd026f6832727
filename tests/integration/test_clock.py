"""The machine's clock is set by an hour while daemon and ctrlload run."""

from __future__ import annotations

import glob
import json
import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from ctrlserver.lane.lane import STEADY_SECONDS
from tests.integration.conftest import BIN, PATIENCE, Start

LIBFAKETIME = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")

CONFIG = """
run_gap = "1s"
[[listener]]
endpoint = "tcp:0:interface=127.0.0.1"
mode = "echo"
stall_timeout = "500ms"
idle_timeout = "1s"
udp = true
udp_idle_timeout = "500ms"
[[admin]]
endpoint = "tcp:0:interface=127.0.0.1"
"""

STEPPED = """
import time
real = time.time
def stepped():
    try:
        return real() + float(open({path!r}).read())
    except (OSError, ValueError):
        return real()
time.time = stepped
"""


@frozen
class WallClock:
    """The time of day of programs with ``environment``; ``set`` moves it by whole seconds."""

    path: Path
    environment: dict[str, str]

    def set(self, seconds: int) -> None:
        whole = self.path.with_suffix(".new")
        whole.write_text(f"{seconds:+d}")
        whole.replace(self.path)


def by_python(folder: Path) -> WallClock:
    """``time.time`` is replaced."""
    path = folder / "step"
    (folder / "sitecustomize.py").write_text(STEPPED.format(path=str(path)))
    return WallClock(path, {**os.environ, "PYTHONPATH": str(folder)})


def by_libfaketime(folder: Path) -> WallClock:
    """The C library's time of day is replaced."""
    if not LIBFAKETIME:
        pytest.skip("libfaketime is not installed")
    clock = WallClock(
        folder / "step",
        {
            **os.environ,
            "LD_PRELOAD": LIBFAKETIME[0],
            "FAKETIME_TIMESTAMP_FILE": str(folder / "step"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
    )
    clock.set(0)
    return clock


clocks = pytest.mark.parametrize("make", [by_python, by_libfaketime])
steps = pytest.mark.parametrize("step", [-3600, 3600])


def fill(client: socket.socket) -> None:
    """Send until the other side takes no more, and read nothing."""
    client.setblocking(False)
    while select.select([], [client], [], 0.2)[1]:
        client.send(bytes(65536))


@pytest.mark.parametrize(
    ("make", "program"),
    [
        (by_python, (BIN / "twistd", "-n", "--pidfile=", "ctrlserver")),
        (by_libfaketime, (BIN / "twistd", "-n", "--pidfile=", "ctrlserver")),
        (by_python, (BIN / "twist", "--log-format=text", "ctrlserver")),
    ],
    ids=["python", "libfaketime", "twist"],
)
@steps
def test_a_clock_that_is_set_ends_streams_and_runs_neither_early_nor_late(
    start: Start, tmp_path: Path, make: Callable[[Path], WallClock], program: tuple[str | Path, ...], step: int
) -> None:
    clock = make(tmp_path)
    (tmp_path / "x.toml").write_text(CONFIG)
    daemon = start("--config", "x.toml", listeners=1, env=clock.environment, program=program)
    asking = daemon.connect("admin")
    slow, idle, datagrams = daemon.connect(), daemon.connect(), socket.socket(type=socket.SOCK_DGRAM)
    fill(slow)
    idle.send(b"x")
    port = re.search(r"listening data udp \S+:(\d+)", daemon.log.text)
    assert port is not None
    datagrams.sendto(b"x", ("127.0.0.1", int(port[1])))
    daemon.await_stats(streams_total=3)
    clock.set(step)
    stats = daemon.await_stats(streams_open=0, closed_idle_total=2, closed_slow_reader_total=1)
    assert 0 < stats["uptime_seconds"] < 600
    daemon.log.wait("run 1")
    assert "ended" == daemon.ask_json("runs")[0]["state"]
    asking.sendall(b"ping\n")
    assert b"OK pong\r\n" == asking.recv(100), "an admin connection in use stays open"
    for client in (asking, slow, idle, datagrams):
        client.close()


@clocks
@steps
def test_rates_are_of_the_time_that_went_by_and_not_of_the_clock(
    start: Start, tmp_path: Path, make: Callable[[Path], WallClock], step: int
) -> None:
    clock = make(tmp_path)
    began = time.monotonic()
    daemon = start("--framing", "fixed:1", env=clock.environment)
    with daemon.connect() as client, daemon.connect("admin") as watching:
        watching.sendall(b"watch 0.1 3 json\n")
        client.sendall(bytes(1000))
        daemon.await_stats(packets_total=1000)
        clock.set(step)
        with watching.makefile() as lines:
            rows = [json.loads(next(lines))["data"] for _ in range(3)]
        stats = daemon.ask_json("stats")
        longest = time.monotonic() - began
    assert 1000 / longest <= stats["packets_per_second_60s"]
    for row in rows:
        assert 0 < row["seconds"] <= longest
        assert row["packets"] / row["seconds"] == pytest.approx(row["packets_per_second"], rel=0.01)


@clocks
@steps
def test_a_clock_that_is_set_leaves_a_load_test_its_time(
    start: Start, tmp_path: Path, make: Callable[[Path], WallClock], step: int
) -> None:
    daemon = start()
    clock = make(tmp_path)
    load = subprocess.Popen(
        [
            BIN / "ctrlload",
            "run",
            f"127.0.0.1:{daemon.ports['data']}",
            "--admin",
            daemon.admin,
            "-t",
            "1s",
            "-r",
            "1000",
        ],
        env=clock.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not daemon.ask_json("stats")["streams_total"]:
        time.sleep(0.01)
    clock.set(step)
    said, _ = load.communicate(timeout=PATIENCE)
    assert 0 == load.returncode, said
    assert 1000 == daemon.ask_json("stats")["packets_total"]


@pytest.mark.workers_too
@clocks
def test_a_steady_flow_between_whose_reads_the_server_rests_is_taken_whole(
    start: Start, tmp_path: Path, make: Callable[[Path], WallClock]
) -> None:
    daemon = start("--mode", "sink", "--framing", "fixed:1024", env=make(tmp_path).environment)
    block, sent = bytes(1 << 20), 0
    end = time.monotonic() + 6 * STEADY_SECONDS
    with daemon.connect() as client:
        while time.monotonic() < end:
            client.sendall(block)
            sent += len(block)
        assert sent == daemon.await_stats(packets_total=sent // 1024)["bytes_total"]
    assert "Traceback" not in daemon.log.text


@clocks
@steps
def test_the_time_to_drain_is_neither_cut_short_nor_made_longer(
    start: Start, tmp_path: Path, make: Callable[[Path], WallClock], step: int
) -> None:
    clock = make(tmp_path)
    text = CONFIG.replace('mode = "echo"', 'mode = "source"').replace("udp = true", "")
    (tmp_path / "x.toml").write_text(f'drain_timeout = "500ms"\n{text}')
    daemon = start("--config", "x.toml", env=clock.environment)
    with daemon.connect() as client:
        client.sendall(b"\n")  # packets without end
        client.recv(1024)
        began = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        daemon.log.wait("stopping: 1 open stream")
        clock.set(step)
        while client.recv(1 << 20):
            pass
        assert time.monotonic() - began >= 0.4
    daemon.process.wait(PATIENCE)
