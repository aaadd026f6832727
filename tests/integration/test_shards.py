"""One load by several processes that know nothing of each other: ``ctrlload run --shard I/N --start-at``."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import BIN, PATIENCE, Daemon, Start, needs, run
from tests.integration.test_open_loop import program
from tests.integration.test_udp import udp_port
from tests.load.documents import validated, validated_events

CTRLLOAD = str(BIN / "ctrlload")

#: As the page on load testing has it: the shards in the background, then a wait for each of them.
TOGETHER = """
at=$(($(date +%s) + $1)); shift
for shard in 1 2 3 4; do
    "$@" --shard $shard/4 --start-at $at -o $shard.json > $shard.txt 2>&1 &
    running="$running $!"
done
for each in $running; do wait $each || code=$?; done
exit ${code:-0}
"""

#: Seconds until the start of four shards; a machine on which four programs need longer to begin gets the next.
LEADS = ("4", "8", "16", "32")

#: Greets each peer 1.2 s after it has connected, then reads.
SLOW_GREETER = """
import socket, time
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    peer, _ = listening.accept()
    time.sleep(1.2)
    peer.sendall(b"ready\\n")
    while peer.recv(1 << 16):
        pass
"""


def four_shards(
    start: Start, folder: Path, serving: Sequence[str], *flags: str, scheme: str = ""
) -> tuple[Daemon, list[dict[str, Any]]]:
    """A server that has had one load, and the documents of the load's four shards, which had one start."""
    for lead in LEADS:
        daemon = start(*serving, listeners=0 if scheme else 1)
        port = udp_port(daemon) if scheme else daemon.ports["data"]
        target = f"{scheme}127.0.0.1:{port}"
        words = [lead, CTRLLOAD, "run", target, "--admin", daemon.admin, *flags]
        done = run("bash", "-c", TOGETHER, "bash", *words, cwd=folder)
        said = "".join((folder / f"{shard}.txt").read_text() for shard in (1, 2, 3, 4))
        if " is over, it is " not in said:
            break
    assert 0 == done.returncode, said + done.stderr.decode()
    return daemon, [validated((folder / f"{shard}.json").read_text()) for shard in (1, 2, 3, 4)]


@needs("bash")
def test_four_shards_begin_together_each_reconciles_and_the_server_has_exactly_the_whole(
    start: Start, tmp_path: Path
) -> None:
    flags = ["-n", "100003", "-P", "6", "--size", "64"]
    daemon, results = four_shards(start, tmp_path, ["--framing", "fixed:64"], *flags)
    assert [True] * 4 == [result["reconciled"] for result in results]
    assert [(index, 4) for index in (1, 2, 3, 4)] == [tuple(result["shard"].values()) for result in results]
    streams = sorted(stream["stream"] for result in results for stream in result["streams"])
    assert [1, 2, 3, 4, 5, 6] == streams
    assert 100_003 == sum(result["sent"]["packets"] for result in results)
    merged = run(CTRLLOAD, "merge", *(f"{shard}.json" for shard in (1, 2, 3, 4)), "-J", cwd=tmp_path)
    assert (0, 100_003) == (merged.returncode, validated(merged.stdout.decode())["received"]["packets"])
    stats = daemon.await_stats(packets=100_003)
    assert sum(result["sent"]["bytes"] for result in results) == stats["bytes"]
    assert 1 == len({result["start"]["asked"] for result in results})
    assert all(result["start"]["late_seconds"] >= 0 for result in results)
    said = (tmp_path / "2.txt").read_text()
    assert "shard       2 of 4, 2 of " in said
    assert f"start       {results[1]['start']['asked']}, begun " in said


@needs("bash")
def test_four_shards_of_probes_lose_none_and_no_number_comes_twice(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "probes.toml"
    config.write_text(
        '[[listener]]\nname = "data"\nendpoint = "udp:0:interface=127.0.0.1"\nprobe = true\n'
        '[[admin]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
    )
    flags = ["-n", "1001", "-P", "5", "--rate", "2k/s", "--probe", "--size", "64"]
    _, results = four_shards(start, tmp_path, ["--config", str(config)], *flags, scheme="udp:")
    assert 1001 == sum(result["sent"]["packets"] for result in results)
    assert [(0, 0, 0)] * 4 == [
        tuple(result["delivery"][key] for key in ("lost", "duplicate", "out_of_order")) for result in results
    ]


def test_a_shard_that_is_late_by_a_second_says_so_and_sends_its_whole_part() -> None:
    with program(SLOW_GREETER) as target:
        flags = ["-n", "9", "-P", "2", "--shard", "2/2", "--greeting", "line", "--start-at", "+200ms"]
        done = run(CTRLLOAD, "run", target, *flags, "-J")
    result = validated(done.stdout.decode())
    said = done.stderr.decode()
    assert (0, 4) == (done.returncode, result["sent"]["packets"]), said
    assert 0.9 <= result["start"]["late_seconds"]
    assert "ctrlload: began " in said
    assert f"s after the start asked for, {result['start']['asked']}" in said


def test_a_start_that_is_over_is_refused_with_what_it_is_now() -> None:
    done = run(CTRLLOAD, "run", "127.0.0.1:1", "--start-at", "2001-02-03T04:05:06Z")
    assert 2 == done.returncode
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("ctrlload: --start-at: 2001-02-03T04:05:06Z is over, it is 20")


@pytest.mark.parametrize("flag", ["--shard", "--start-at"])
def test_a_search_has_neither_shards_nor_a_start(flag: str) -> None:
    done = run(CTRLLOAD, "search", "127.0.0.1:1", flag, "1/1")
    assert (2, f'ctrlload: unknown option "{flag}"\n') == (done.returncode, done.stderr.decode())


def test_an_interrupt_during_the_wait_ends_the_run_with_its_report(start: Start) -> None:
    daemon = start()
    command = [CTRLLOAD, "run", f"127.0.0.1:{daemon.ports['data']}", "-P", "3", "--start-at", "+1h", "--json-stream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline(), process.stdout.readline()]
            daemon.await_stats(streams_open=3, packets=0)
            process.send_signal(signal.SIGINT)
            out, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    events = validated_events("".join(lines) + out)
    assert ["start", "starting", "end"] == list(dict.fromkeys(event["event"] for event in events))
    assert 3500 < json.loads(lines[1])["starting"]["seconds"] <= 3600
    result = events[-1]["result"]
    assert (130, 130) == (process.returncode, events[-1]["exit_code"])
    assert (0, None, True) == (result["sent"]["packets"], result["start"]["late_seconds"], result["interrupted"])
    assert "ctrlload: starts in 1h" in said
