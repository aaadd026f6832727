"""Answers to datagrams that injections strike, seen on the wire and by ctrlload."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Daemon, Start
from tests.integration.test_load_udp import load
from tests.integration.test_udp import ADMIN, udp_port

LISTENER = '[[listener]]\nname = "data"\nendpoint = "udp:0:interface=127.0.0.1"\n'
UDP = socket.SOCK_DGRAM


@pytest.fixture
def echo(start: Start, tmp_path: Path) -> Daemon:
    """A daemon with a UDP port that echoes."""
    path = tmp_path / "x.toml"
    path.write_text(f'{LISTENER}mode = "echo"\n{ADMIN}')
    return start("--config", str(path), listeners=0)


def test_requests_that_are_delayed_take_so_long_and_all_is_reconciled(echo: Daemon) -> None:
    echo.ask("inject data delay(20ms)")
    target = f"udp:127.0.0.1:{udp_port(echo)}"
    document = load(target, "-m", "request", "-n", "200", "-P", "4", "-q", "5", "--admin", echo.admin)
    assert (200, 200, True) == (
        document["replies"]["packets"],
        document["received"]["packets"],
        document["reconciled"],
    )
    assert document["latency"]["service"]["p50"] >= 0.02
    (order,) = echo.ask_json("inject")
    stats = echo.await_stats(packets_total=200)
    assert [200, 200, 200] == [order["hits"], stats["injected_total"], stats["replies_total"]]
    assert 0 == stats["memory_bytes"]


def test_a_server_that_ends_gives_up_what_waits_and_says_how_much(echo: Daemon) -> None:
    echo.ask("inject data 10*ok->delay(1h)")
    with socket.socket(socket.AF_INET, UDP) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", udp_port(echo)))
        for _ in range(15):
            client.send(b"x")
        assert [b"x"] * 10 == [client.recv(100) for _ in range(10)]
        stats = echo.await_stats(packets_total=15)
        assert 15 == stats["replies_total"]
        (stream,) = echo.ask_json("streams")
        echo.ask(f"kick {stream['stream']}")
        stats = echo.await_stats(streams_open=0)
        assert [10, 5, 0] == [stats[name] for name in ("replies_total", "injected_total", "memory_bytes")]
        client.send(b"y")
        assert b"y" == client.recv(100)
        for _ in range(12):
            client.send(b"z")
        echo.await_stats(packets_total=28)
    echo.stop()


def test_as_an_injection_ends_by_its_time_the_answers_leave(echo: Daemon) -> None:
    echo.ask("inject data delay(1h) for=300ms")
    with socket.socket(socket.AF_INET, UDP) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", udp_port(echo)))
        began = time.monotonic()
        for number in range(50):
            client.send(b"%d" % number)
        assert [b"%d" % number for number in range(50)] == [client.recv(100) for _ in range(50)]
        assert 0.2 < time.monotonic() - began


@pytest.mark.skipif(not shutil.which("tcpdump") or os.geteuid() != 0, reason="tcpdump as root sees the wire")
def test_on_the_wire_each_answer_is_late_missing_doubled_or_out_of_its_order(echo: Daemon) -> None:
    port = udp_port(echo)
    echo.ask("inject data 1*swallow->1*duplicate->1*reorder->1*ok->1*corrupt->delay(50ms)")
    seen = subprocess.Popen(
        ["tcpdump", "-i", "lo", "-n", "-tt", "-l", "-x", "--immediate-mode", "-c", "14", f"udp port {port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert seen.stderr is not None
    assert "listening" in seen.stderr.readline() + seen.stderr.readline()
    with socket.socket(socket.AF_INET, UDP) as client:
        client.connect(("127.0.0.1", port))
        for number in range(7):
            client.send(b"%d" % number * 8)
        text, _ = seen.communicate(timeout=20)
        ours = client.getsockname()[1]
    sent: dict[str, float] = {}
    answered: list[tuple[str, float]] = []
    for time_, sender, content in packets(text):
        if sender == ours:
            sent[content] = time_
        else:
            answered.append((content, time_))
    assert 7 == len(sent)
    contents = [content for content, _ in answered]
    assert ["1" * 8, "1" * 8, "3" * 8, "2" * 8] == contents[:4]
    corrupted = bytes(mine ^ other for mine, other in zip(contents[4].encode("latin-1"), b"4" * 8, strict=True))
    assert 1 == sum(octet.bit_count() for octet in corrupted)
    assert ["5" * 8, "6" * 8] == contents[5:]
    assert all(when - sent[content] >= 0.05 for content, when in answered[5:])


def packets(text: str) -> list[tuple[float, int, str]]:
    """Of tcpdump's output each datagram's time, the port of its sender, and its content."""
    found: list[tuple[float, int, Any]] = []
    for line in text.splitlines():
        if line.startswith("\t"):
            found[-1][2].append(line.partition(":")[2].replace(" ", ""))
        else:
            words = line.split()
            found.append((float(words[0]), int(words[2].rpartition(".")[2]), []))
    return [(when, sender, bytes.fromhex("".join(lines))[28:].decode("latin-1")) for when, sender, lines in found]
