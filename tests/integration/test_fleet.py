"""One load by several processes that one ctrlload starts: ``ctrlload run --processes``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.integration.conftest import PATIENCE, Daemon, Start, run, running
from tests.integration.test_shards import CTRLLOAD
from tests.load.documents import validated, validated_events


@contextmanager
def fleet(daemon: Daemon, *flags: str) -> Iterator[tuple[subprocess.Popen[str], list[str], list[int]]]:
    """A load of two processes that have begun to send: their parent, its events so far, and their numbers."""
    target = f"127.0.0.1:{daemon.ports['data']}"
    command = [CTRLLOAD, "run", target, "--admin", daemon.admin, "-P", "4", "--processes", "2", "--json-progress"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with running([*command, *flags], start_new_session=True, **pipes) as parent:
        assert parent.stdout is not None
        events: list[str] = []
        while not events or json.loads(events[-1])["event"] != "progress":
            events.append(parent.stdout.readline())
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        yield parent, events, [int(each) for each in children]


def finished(parent: subprocess.Popen[str], begun: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Its result, as it exited, and what it said to people."""
    out, said = parent.communicate(timeout=PATIENCE)
    end = validated_events("".join(begun) + out)[-1]
    assert end["exit_code"] == parent.returncode, said
    return end["result"], said


def is_running(process: int) -> bool:
    """Whether it runs; whoever inherits it may not take note of its end."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_several_processes_give_the_result_of_one_that_the_server_agrees_with(shared: Start, tmp_path: Path) -> None:
    daemon = shared("--mode", "echo")
    flags = ["-m", "request", "-n", "1003", "-P", "3", "-r", "2k/s", "--processes", "2"]
    outputs = ["-o", "all.json", "--junit", "junit.xml", "--fail-if", "replies.packets<1003"]
    target = f"127.0.0.1:{daemon.ports['data']}"
    done = run(CTRLLOAD, "run", target, "--admin", daemon.admin, *flags, *outputs, cwd=tmp_path)
    assert 0 == done.returncode, done
    result = validated((tmp_path / "all.json").read_text())
    assert (1003, 1003, True) == (result["sent"]["packets"], result["replies"]["packets"], result["reconciled"])
    assert ([1, 2, 3], [1, 2, 1]) == tuple([each[key] for each in result["streams"]] for key in ("stream", "shard"))
    assert (2, None, None) == tuple(result["options"][key] for key in ("processes", "shard", "start_at"))
    assert 0 <= result["merged"]["start_spread_seconds"]
    assert all(part["start"]["asked"] == result["start"]["asked"] for part in result["merged"]["shards"])
    assert 1003 == result["latency"]["response"]["count"] == result["schedule"]["planned_packets"]
    assert [False] == [judged["failed"] for judged in result["thresholds"]]
    assert 3 == (tmp_path / "junit.xml").read_text().count("<testcase ")


def test_a_process_that_dies_is_named_and_the_others_go_on_and_are_reported(shared: Start) -> None:
    daemon = shared("--mode", "echo")
    with fleet(daemon, "-t", "1h") as (parent, events, children):
        os.kill(children[1], signal.SIGKILL)
        assert parent.stdout is not None
        while json.loads(events[-1])["event"] != "note":
            events.append(parent.stdout.readline())
        parent.send_signal(signal.SIGTERM)
        result, said = finished(parent, events)
    words = f"shard 2: process {children[1]} was ended by SIGKILL"
    assert (130, words) == (parent.returncode, result["error"])
    assert f"ctrlload: {words}; the others go on\n" in said
    assert ([2], None, [True]) == (
        result["merged"]["missing"],
        result["reconciled"],
        [part["reconciled"] for part in result["merged"]["shards"]],
    )
    assert 0 < result["sent"]["packets"] == result["received"]["packets"]


def test_an_interrupt_from_the_terminal_ends_all_once_and_they_report(shared: Start) -> None:
    daemon = shared("--mode", "echo")
    with fleet(daemon, "-t", "1h") as (parent, events, children):
        os.killpg(parent.pid, signal.SIGINT)  # as the terminal does: to the processes of its group
        result, _ = finished(parent, events)
    assert (130, None, True) == (parent.returncode, result["error"], result["interrupted"])
    assert (True, 2) == (result["reconciled"], len(result["merged"]["shards"]))
    assert not [each for each in children if Path(f"/proc/{each}").exists()]
    daemon.await_stats(streams_open=0)


def test_no_process_outlives_a_parent_that_is_killed(shared: Start) -> None:
    daemon = shared("--mode", "echo")
    with fleet(daemon, "-t", "1h") as (parent, _, children):
        parent.kill()
    daemon.await_stats(streams_open=0)
    assert 2 == len(children)
    end = time.monotonic() + PATIENCE
    while any(map(is_running, children)):
        assert time.monotonic() < end


def test_if_a_process_cannot_connect_nothing_is_sent() -> None:
    done = run(CTRLLOAD, "run", "127.0.0.1:1", "-P", "2", "--processes", "2")
    (line,) = done.stderr.decode().splitlines()  # one of them may have been called off before it tried
    assert (1, "127.0.0.1:1: connection refused: nothing listens there") == (done.returncode, line.split(" to ")[-1])
