"""One load by the workers of a Dask cluster: ``ctrlload run --dask``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.integration.conftest import Log, Start, run, running
from tests.integration.test_fleet import finished
from tests.integration.test_shards import CTRLLOAD
from tests.load.documents import validated

pytest.importorskip("distributed", reason="needs Dask's distributed (the extra fleet)")


@frozen
class Dask:
    """A scheduler and its two workers, w1 and w2, which run two tasks each at a time."""

    address: str
    workers: list[subprocess.Popen[str]]


def begun(stack: ExitStack, *words: str | Path) -> tuple[subprocess.Popen[str], Log]:
    """A program of Dask, ended with ``stack``, and what it says."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = stack.enter_context(subprocess.Popen([sys.executable, "-m", *map(str, words)], **pipes))
    stack.callback(process.kill)
    log = Log(process)
    return process, log


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    folder = tmp_path_factory.mktemp("dask")
    with ExitStack() as stack:
        alone = ("--host", "127.0.0.1", "--no-dashboard")
        _, said = begun(stack, "distributed.cli.dask_scheduler", "--port", "0", *alone)
        address = said.wait(r"Scheduler at: +(tcp://\S+)")[1]
        more = (*alone, "--no-nanny", "--nthreads", "2", "--memory-limit", "0", "--local-directory", folder)
        each = [begun(stack, "distributed.cli.dask_worker", address, "--name", f"w{n}", *more) for n in (1, 2)]
        for _, log in each:
            log.wait("Registered to")
        yield Dask(address, [process for process, _ in each])


def test_four_shards_on_two_workers_send_exactly_the_whole(dask: Dask, shared: Start, tmp_path: Path) -> None:
    daemon = shared("--mode", "echo")
    flags = ["-m", "request", "-n", "1003", "-P", "5", "-r", "2k/s", "--dask", dask.address, "--shards", "4"]
    target = f"127.0.0.1:{daemon.ports['data']}"
    done = run(CTRLLOAD, "run", target, "--admin", daemon.admin, *flags, "-o", "all.json", cwd=tmp_path)
    assert 0 == done.returncode, done
    result = validated((tmp_path / "all.json").read_text())
    assert (1003, 1003, True) == (result["sent"]["packets"], result["replies"]["packets"], result["reconciled"])
    assert [1, 2, 3, 4, 1] == [each["shard"] for each in result["streams"]]
    assert (dask.address, 4) == (result["options"]["dask"], result["options"]["shards"])
    assert ["w1", "w2", "w1", "w2"] == [each["worker"].split()[0] for each in result["merged"]["shards"]]
    assert 1003 == result["latency"]["response"]["count"] == result["schedule"]["planned_packets"]
    assert 0 == run(CTRLLOAD, "check", "all.json", cwd=tmp_path).returncode


def test_a_cluster_that_cannot_send_the_load_is_told_in_one_line_before_anything_is_sent(
    dask: Dask, shared: Start
) -> None:
    daemon = shared()
    before = daemon.ask_json("stats")["streams_total"]
    target, web = f"127.0.0.1:{daemon.ports['data']}", daemon.admin
    asked: dict[str, tuple[list[str], str]] = {
        "too few workers": (["--dask", dask.address, "--shards", "5"], "runs 4 at a time, 2 workers with .*--shards 4"),
        "no scheduler": (
            ["--dask", "127.0.0.1:1"],
            "tcp://127.0.0.1:1: connection refused: no scheduler listens there",
        ),
        "no Dask": (["--dask", web], "what listens there is no Dask scheduler"),
    }
    for name, (flags, words) in asked.items():
        done = run(CTRLLOAD, "run", target, "-P", "8", "-J", *flags)
        (line,) = done.stderr.decode().splitlines()
        assert 1 == done.returncode, name
        assert re.search(words, line), name
        assert f"ctrlload: {validated(done.stdout.decode())['error']}" == line, name
    assert before == daemon.ask_json("stats")["streams_total"]


def test_a_shard_whose_task_runs_again_is_not_sent_twice(dask: Dask) -> None:
    twice = """
from distributed import Client, Queue
from ctrlserver.load.fleet.worker import send_shard, token_name
with Client({address!r}) as client:
    Queue(token_name("load", 1)).put("token")
    for _ in range(2):
        print(client.submit(send_shard, "load", 1, ["--version"], {{}}, pure=False).result()["how"])
"""
    first, second = run(sys.executable, "-c", twice.format(address=dask.address)).stdout.decode().splitlines()
    assert "gave no result" in first
    assert "died, and its task ran again: a shard is never sent twice" == second


def test_a_worker_that_is_killed_is_named_its_shard_is_not_sent_again_and_the_rest_is_reported(
    dask: Dask, shared: Start
) -> None:
    daemon = shared()
    before = daemon.ask_json("stats")
    target = f"127.0.0.1:{daemon.ports['data']}"
    flags = ["-P", "4", "-t", "3s", "-r", "1k/s", "--dask", dask.address, "--shards", "2", "--json-progress"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with running([CTRLLOAD, "run", target, "--admin", daemon.admin, *flags], **pipes) as parent:
        assert parent.stdout is not None
        events = [parent.stdout.readline()]
        while json.loads(events[-1])["event"] != "progress":
            events.append(parent.stdout.readline())
        while not all(each["packets"] for each in daemon.ask_json("streams open")):
            pass  # all shards have begun, and send for a while
        dask.workers[1].kill()
        result, said = finished(parent, events)
    words = "shard 2: worker w2 (tcp://"
    assert (1, True) == (parent.returncode, result["error"].startswith(words)), result["error"]
    assert words in said
    (left,) = result["merged"]["shards"]
    assert ([2], "w1", True) == (result["merged"]["missing"], left["worker"].split()[0], left["reconciled"])
    now = daemon.await_stats(streams_open=0)
    assert 4 == now["streams_total"] - before["streams_total"]
    sent = [each["packets"] for each in daemon.ask_json("streams limit=4")]
    assert sum(sent) == now["packets_total"] - before["packets_total"]
    ours = sorted(each["packets"] for each in result["streams"])
    assert [750, 750] == ours
    assert 0 < sum(sent) - sum(ours) < 1500
