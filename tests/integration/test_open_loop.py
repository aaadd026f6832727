"""``ctrlload --rate`` as a program, against servers that are processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from tests.integration.conftest import BIN, PATIENCE, Start, run
from tests.load.documents import validated

CTRLLOAD = BIN / "ctrlload"

#: An echo of packets of 100 bytes that stands still for half a second before the answer to one of them.
STALLING = """
import socket, sys, time
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    peer, _ = listening.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seen = 0
    while chunk := peer.recv(1 << 16):
        if seen < 50_000 <= seen + len(chunk):
            time.sleep(0.5)
        seen += len(chunk)
        peer.sendall(chunk)
"""


@contextmanager
def program(source: str) -> Iterator[str]:
    """A Python program that prints its port; gives its address."""
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()


def document(*flags: str, code: int = 0) -> dict[str, Any]:
    done = run(CTRLLOAD, "run", *flags, "-J")
    assert code == done.returncode, done.stderr
    return validated(done.stdout.decode())


def longer_than(encoded: str, seconds: float) -> int:
    """How many of an encoded histogram's times were longer."""
    histogram = HdrHistogram.decode(encoded)
    items = histogram.get_recorded_iterator()
    return sum(item.count_added_in_this_iter_step for item in items if item.value_iterated_to > seconds * 1e9)


def test_a_stall_of_half_a_second_is_in_the_response_times_and_not_in_the_service_times() -> None:
    with program(STALLING) as target:
        told = document(target, "-m", "request", "-l", "100", "-r", "1k/s", "-t", "2s")
    response, service = told["latency"]["response"], told["latency"]["service"]
    assert 2000 == told["sent"]["packets"] == response["count"] == service["count"]
    assert longer_than(response["hdr"], 0.3) >= 190  # those due in the first 200 ms of the stall
    assert longer_than(service["hdr"], 0.45) >= 1  # the one that was in flight
    # One is in flight at a time: whatever else the machine stalls, all that is due meanwhile waits for that one.
    assert longer_than(service["hdr"], 0.3) < longer_than(response["hdr"], 0.3) / 10
    assert response["p99"] > 0.3
    assert "none" != told["schedule"]["bottleneck"]
    assert told["schedule"]["late_packets"] >= 450
    assert 2000 == told["schedule"]["planned_packets"]


def test_printed_percentiles_are_those_of_the_histograms_merged(start: Start) -> None:
    daemon = start("--mode", "echo")
    whole = HdrHistogram(1, 3600 * 10**9, 3)
    for _ in range(2):
        told = document(f"127.0.0.1:{daemon.ports['data']}", "-m", "request", "-r", "2k", "-n", "500", "-P", "3")
        for kind in ("response", "service"):
            latency = told["latency"][kind]
            decoded = HdrHistogram.decode(latency["hdr"])
            for percentile, name in ((50, "p50"), (90, "p90"), (99, "p99"), (99.9, "p99_9"), (99.99, "p99_99")):
                value = decoded.get_value_at_percentile(percentile) * told["latency"]["unit_seconds"]
                assert latency[name] == pytest.approx(value, abs=1e-12)
            whole.decode_and_add(latency["hdr"])
    assert 2000 == whole.get_total_count()


@pytest.mark.parametrize(
    "flags", [("-m", "request"), (), ("-m", "request", "--busy-poll")], ids=["request", "send", "busy-poll"]
)
def test_an_interrupted_schedule_is_reported_whole(start: Start, flags: tuple[str, ...]) -> None:
    daemon = start("--mode", "echo")
    target, admin = f"127.0.0.1:{daemon.ports['data']}", daemon.admin
    command = [str(CTRLLOAD), "run", target, "-r", "1k", "-t", "60s", "-i", "100ms", "-J", "--admin", admin, *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    process.stderr.readline()  # the first interval
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=PATIENCE)
    told = validated(printed)
    assert 130 == process.returncode
    assert told["interrupted"]
    assert told["reconciled"]
    assert told["schedule"]["sent_packets"] == told["sent"]["packets"] <= told["schedule"]["planned_packets"]
    assert ("--busy-poll" in flags) == told["options"]["busy_poll"]


def test_a_table_of_rates_is_followed(start: Start, tmp_path: Path) -> None:
    daemon = start()
    table = tmp_path / "rates.csv"
    table.write_text("seconds,rate\n0,1000\n0.5,3000\n")
    target, admin = f"127.0.0.1:{daemon.ports['data']}", daemon.admin
    for given in (str(table), f"@{table}"):
        told = document(target, "--profile", given, "--admin", admin, "-P", "2", "--arrival", "constant")
        assert (1000, True) == (told["sent"]["packets"], told["reconciled"])
        assert given == told["options"]["profile"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-r", "0"], "--rate: must be more than 0"),
        (
            ["-r", "fast"],
            '--rate: rate "fast": expected a number per second such as 5000, "5k" or "5k/s", '
            'or bits such as "10Mbit/s"',
        ),
        (["-r", "1k", "--profile", "10s@1k"], "--rate: not with --profile, which has its own rates"),
        (["--profile", "10s@1k,5s"], '--profile: piece 2 "5s": expected "10s@1k", "60s@1k..50k" or "sine(30s,5k,20k)"'),
        (["--profile", "@nowhere"], "--profile: cannot read nowhere: No such file or directory"),
        (["--arrival", "poison", "-r", "1"], '--arrival: unknown arrival "poison"; did you mean "poisson"?'),
        (["--arrival", "poisson"], "--arrival: needs --rate or --profile"),
        (["-m", "receive", "-r", "5"], "--rate: not with --mode receive, where the target says how fast"),
        (["--fail-if", "slip.p99>1ms"], "--fail-if: slip.p99>1ms: needs --rate or --profile"),
        (["--fail-if", "p99>1ms"], "--fail-if: p99>1ms: needs --mode request or connect"),
    ],
)
def test_a_bad_flag_is_one_line(flags: list[str], said: str) -> None:
    done = run(CTRLLOAD, "run", "127.0.0.1:1", *flags)
    assert (2, f"ctrlload: {said}\n") == (done.returncode, done.stderr.decode())


def test_conditions_see_slip_and_latency(start: Start) -> None:
    daemon = start("--mode", "echo")
    flags = ["-m", "request", "-r", "1k", "-n", "100"]
    target = f"127.0.0.1:{daemon.ports['data']}"
    held = document(target, *flags, "--fail-if", "p99>0", "--fail-if", "latency.service.p99_9>1000s", code=4)
    assert [True, False] == [judged["failed"] for judged in held["thresholds"]]
    assert held["latency"]["response"]["p99"] == held["thresholds"][0]["value"]
    document(target, *flags, "--fail-if", "slip.p99>1000s", "--fail-if", "schedule.late_packets<0")
