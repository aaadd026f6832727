"""What ctrlload does at what its client of a cluster says. The process is a fake; a real one: tests/integration."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from twisted.internet.error import ProcessTerminated
from twisted.python.failure import Failure

from ctrlserver.client.target import Target
from ctrlserver.errors import UsageError
from ctrlserver.load.fleet.cluster import Workers, check_installed
from ctrlserver.load.fleet.sender import SILENT_SECONDS, Sender
from tests.load.asking import options_for
from tests.load.fleet.test_fleet import Spawned, Spawning


class Bridge(Spawned):
    """The client's process."""

    def closeChildFD(self, descriptor: int) -> None:
        self.signals.append(f"closed {descriptor}")


class Opened:
    """Two workers that are asked for two shards, and what their owner hears."""

    def __init__(self) -> None:
        self.events: list[tuple[int, Any]] = []
        self.reactor = Spawning(Bridge)
        options = options_for(Target("t"), streams=2, dask="10.0.0.1", shards=2)
        self.workers = Workers(self.reactor, options)
        self.placed: list[Any] = []
        self.workers.begin(self).addBoth(self.placed.append)
        self.bridge = self.reactor.spawned[0]

    def heard(self, sender: Sender, event: Any) -> None:
        self.events.append((sender.number, event))

    def ended(self, sender: Sender) -> None:
        self.events.append((sender.number, sender.how))

    def says(self, **told: Any) -> None:
        self.workers.outReceived(json.dumps(told).encode() + b"\n")

    def senders(self) -> list[Sender]:
        self.says(placed=["w1", "w2"])
        (senders,) = self.placed
        assert ["w1", "w2"] == [each.where for each in senders]
        return list(senders)

    def told(self) -> list[Any]:
        lines = self.bridge.written.splitlines()
        self.bridge.written = b""
        return [json.loads(line) for line in lines]


def test_the_cluster_is_asked_for_and_all_shards_are_started_and_begin_at_once() -> None:
    opened = Opened()
    asked = {"address": "tcp://10.0.0.1:8786", "text": "10.0.0.1", "shards": 2, "streams": 2}
    assert [asked] == opened.told()
    senders = opened.senders()
    senders[0].start(["run", "1"])
    assert [] == opened.told()
    senders[1].start(["run", "2"])
    assert [{"load": [["run", "1"], ["run", "2"]], "files": {}}] == opened.told()
    for each in senders:
        each.say_start(5.0)
    assert [{"start": 5.0}] == opened.told()


def test_what_a_worker_says_is_heard_of_its_shard_and_signals_go_there() -> None:
    opened = Opened()
    senders = opened.senders()
    opened.told()
    opened.says(shard=2, line='{"event": "start"}')
    senders[1].interrupt()
    assert [{"shard": 2, "signal": "INT"}] == opened.told()
    opened.says(shard=2, ended="it died")
    assert [(2, {"event": "start"}), (2, "worker w2: it died")] == opened.events
    senders[1].interrupt()
    assert [] == opened.told()


def test_a_worker_that_has_not_begun_may_be_silent_for_twice_as_long() -> None:
    opened = Opened()
    sender = opened.senders()[0]
    assert (True, 2 * SILENT_SECONDS) == (sender.has_to_speak, sender.patience_seconds)
    opened.says(shard=1, line='{"event": "start"}')
    assert (True, SILENT_SECONDS) == (sender.has_to_speak, sender.patience_seconds)


def test_one_that_is_given_up_is_told_so() -> None:
    opened = Opened()
    opened.senders()[0].kill("said nothing for 30 s")
    opened.says(shard=1, ended="was ended")
    assert [(1, "worker w1: said nothing for 30 s and was given up; what it has started ends with it")] == opened.events


def test_a_refusal_is_an_error_in_its_words() -> None:
    opened = Opened()
    opened.says(refused="--dask 10.0.0.1: the cluster has no worker")
    (why,) = opened.placed
    assert "--dask 10.0.0.1: the cluster has no worker" == str(why.value)


def test_if_the_client_dies_all_shards_have_ended() -> None:
    opened = Opened()
    opened.senders()
    opened.workers.processEnded(Failure(ProcessTerminated(None, 9, 0)))
    words = "the client of the cluster is gone: process 100 was ended by SIGKILL"
    assert [(1, f"worker w1: {words}"), (2, f"worker w2: {words}")] == opened.events


def test_the_end_waits_for_the_client_and_at_once_kills_it() -> None:
    opened = Opened()
    ends: list[str] = []
    opened.workers.end(at_once=False).addCallback(lambda _: ends.append("in order"))
    assert ["closed 0"] == opened.bridge.signals
    opened.workers.end(at_once=True).addCallback(lambda _: ends.append("at once"))
    assert (["closed 0", "KILL"], []) == (opened.bridge.signals, ends)
    opened.workers.processEnded(Failure(ProcessTerminated(None, 9, 0)))
    opened.workers.end(at_once=False).addCallback(lambda _: ends.append("again"))
    assert ["again", "at once", "in order"] == sorted(ends)


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it were not installed
    with pytest.raises(UsageError, match=r"^--dask: .*: pip install 'ctrlserver\[fleet\]'$"):
        check_installed()


def test_ctrlload_imports_nothing_of_dask() -> None:
    code = "import sys, ctrlserver.load.commands.execute_run; print([*{'dask', 'distributed'} & {*sys.modules}])"
    assert "[]\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
