"""What a fleet does at what its processes tell. The clock and the processes are fakes; real ones: tests/integration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from attrs import asdict, evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ctrlserver.client.target import Target
from ctrlserver.errors import LoadError
from ctrlserver.load.fleet.fleet import END_SECONDS, SHOW_SECONDS, Fleet
from ctrlserver.load.fleet.process import Processes
from ctrlserver.load.fleet.sender import SILENT_SECONDS, Owner, Sender
from ctrlserver.load.fleet.telling import LEAD_SECONDS
from ctrlserver.load.measure.intervals import Progress
from ctrlserver.load.plan.processes import parse_processes
from ctrlserver.load.plan.start import StartAt
from ctrlserver.load.results.result import Result, as_document
from ctrlserver.load.results.shards import ShardOf
from tests.load.asking import options_for
from tests.load.results.made import result
from tests.runs import Heard

#: Of the system's clock.
NOW = 1_795_708_800.0


class Spawned:
    """A process that is not there: what is written to it, and the signals it gets."""

    def __init__(self, pid: int, arguments: list[str]) -> None:
        self.pid = pid
        self.arguments = arguments
        self.written = b""
        self.signals: list[str] = []

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        assert 0 == descriptor
        self.written += data

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)


class Spawning(Clock):
    """A reactor that starts such processes."""

    def __init__(self, kind: type[Spawned] = Spawned) -> None:
        super().__init__()
        self._kind = kind
        self.spawned: list[Spawned] = []

    def spawnProcess(self, _: Any, program: str, arguments: list[str], *more: Any, **options: Any) -> Spawned:
        self.spawned.append(self._kind(100 + len(self.spawned), arguments))
        return self.spawned[-1]


class Running:
    """A fleet of two that has started its processes."""

    def __init__(self, start_at: StartAt | None = None) -> None:
        self.reactor = Spawning()
        self.heard = Heard()
        options = options_for(Target("t"), streams=2, processes=parse_processes("2"), start_at=start_at)
        self.fleet = Fleet(self.reactor, options, ["--x=y"], Processes(self.reactor, 2), self.heard, lambda: NOW)
        self.results: list[Result] = []
        self.fleet.run().addCallback(self.results.append)
        self.processes = self.reactor.spawned
        self.shards: Any = self.fleet._senders

    def tells(self, number: int, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields}).encode() + b"\n"
        for part in (line[:7], line[7:]):
            self.shards[number - 1].outReceived(part)

    def ready(self, *numbers: int) -> None:
        for number in numbers:
            self.tells(number, "start")
            self.tells(number, "starting", starting={"seconds": None})

    def ends(self, number: int, code: int = 0, signal: int | None = None, **how: Any) -> None:
        if signal is None and how is not None:
            made = result("send", shard=ShardOf(number, 2), **how)
            self.tells(number, "end", exit_code=code, result=as_document(made))
        value = ProcessDone(0) if not code and not signal else ProcessTerminated(code, signal, 0)
        self.shards[number - 1].processEnded(Failure(value))

    @property
    def signals(self) -> list[list[str]]:
        return [each.signals for each in self.processes]


def test_each_process_is_started_for_its_shard() -> None:
    running = Running()
    told = [each.arguments[-6:] for each in running.processes]
    assert [["--x=y", f"--shard={number}/2", "--start-at=-", "--json-progress", "--", "t"] for number in (1, 2)] == told


def test_the_start_is_told_to_all_at_once_when_the_last_is_ready() -> None:
    running = Running()
    running.ready(2)
    assert [b"", b""] == [each.written for each in running.processes]
    running.ready(1)
    assert [f"{NOW + LEAD_SECONDS:.6f}\n".encode()] * 2 == [each.written for each in running.processes]


def test_a_start_that_was_asked_for_is_that() -> None:
    running = Running(StartAt("+5s", NOW + 5))
    running.ready(1, 2)
    assert [f"{NOW + 5:.6f}\n".encode()] * 2 == [each.written for each in running.processes]
    running.tells(1, "starting", starting={"seconds": 4.5})
    running.tells(2, "starting", starting={"seconds": 4.4})
    assert [4.5] == running.heard.starts


def test_if_one_ends_before_the_start_the_others_are_called_off() -> None:
    running = Running()
    running.ready(1)
    running.ends(2, code=1, error="connection refused")
    assert [["INT"], []] == running.signals
    running.ends(1, interrupted=True)
    (whole,) = running.results
    assert (False, "shard 2: connection refused", 1) == (whole.interrupted, whole.error, whole.exit_code)


def test_an_interrupt_waits_until_a_process_counts_signals() -> None:
    running = Running()
    running.tells(1, "start")
    running.fleet.interrupt()
    assert [["INT"], []] == running.signals
    running.tells(2, "start")
    assert [["INT"], ["INT"]] == running.signals


def test_a_second_interrupt_ends_all_and_those_that_do_not_are_killed() -> None:
    running = Running()
    running.tells(1, "start")
    running.fleet.interrupt()
    running.fleet.interrupt()
    assert [["INT", "INT"], ["KILL"]] == running.signals
    running.ends(2, signal=9)
    running.reactor.advance(END_SECONDS)
    assert ["INT", "INT", "KILL"] == running.signals[0]
    running.ends(1, signal=9)
    (whole,) = running.results
    assert (True, None, 130) == (whole.interrupted, whole.error, whole.exit_code)


def test_one_that_dies_ends_nothing_and_is_named() -> None:
    running = Running()
    running.ready(1, 2)
    running.ends(2, signal=11)
    assert ["shard 2: process 101 was ended by SIGSEGV; the others go on"] == running.heard.notes
    assert [[], []] == running.signals
    running.ends(1)
    (whole,) = running.results
    assert ("shard 2: process 101 was ended by SIGSEGV", 1) == (whole.error, whole.exit_code)
    assert whole.merged is not None
    assert ([2], [1]) == (whole.merged.missing, [part.shard for part in whole.merged.shards])


def test_one_that_a_signal_from_elsewhere_interrupts_has_failed() -> None:
    running = Running()
    running.ready(1, 2)
    cut = evolve(result("send", shard=ShardOf(2, 2)), interrupted=True)
    running.tells(2, "end", exit_code=130, result=as_document(cut))
    running.shards[1].processEnded(Failure(ProcessTerminated(130, None, 130 << 8)))
    running.ends(1)
    (whole,) = running.results
    assert ("shard 2: a signal from elsewhere interrupted it", 1) == (whole.error, whole.exit_code)
    assert whole.merged is not None
    assert ([], False) == (whole.merged.missing, whole.interrupted)


def test_one_that_gives_no_result_is_told_with_its_last_line() -> None:
    running = Running()
    for number in (1, 2):
        running.shards[number - 1].errReceived(b"Traceback ...\nctrlload: no memory\n\n")
        running.shards[number - 1].processEnded(Failure(ProcessTerminated(2, None, 2 << 8)))
    (whole,) = running.results
    gave = "gave no result: no memory"
    assert f"shard 1: process 100 {gave}; shard 2: process 101 {gave}" == whole.error
    assert (1, []) == (whole.exit_code, whole.streams)


def test_one_that_says_nothing_for_long_is_killed_but_not_while_it_connects() -> None:
    running = Running()
    running.tells(1, "start")
    looks = round(SILENT_SECONDS / SHOW_SECONDS)
    running.reactor.pump([SHOW_SECONDS] * (looks - 1))
    assert [[], []] == running.signals
    running.reactor.pump([SHOW_SECONDS] * looks)
    assert ([], "KILL") == (running.signals[0], running.signals[1][0])
    running.tells(1, "progress", progress=asdict(Progress(0.1, 1.0, 10, 100)))
    running.reactor.pump([SHOW_SECONDS] * (looks + 1))
    assert "KILL" == running.signals[0][0]
    running.ends(1, signal=9)
    running.ends(2, signal=9)
    (whole,) = running.results
    assert "shard 1: process 100 said nothing for 30 s and was ended" in str(whole.error)


def test_what_several_note_alike_is_told_once() -> None:
    running = Running()
    for number in (2, 1):
        running.tells(number, "note", message="the server does not look")
    assert ["shard 2: the server does not look"] == running.heard.notes


class FromElsewhere(Sender):
    """The sender of a shard on a worker."""

    def start(self, words: Sequence[str]) -> None:
        self.words = words

    def say_start(self, seconds: float) -> None:
        self.begins = seconds

    def signal(self, name: str) -> None:
        self.over(f"it got {name}")


class Elsewhere:
    """Workers w1 and w2, or the reason why there are none."""

    lead_seconds = 3.0

    def __init__(self, why: str = "") -> None:
        self.senders: list[FromElsewhere] = []
        self.asked: Deferred[Sequence[Sender]] = Deferred()
        self.ends: list[bool] = []
        self._why = why

    def begin(self, owner: Owner) -> Deferred[Sequence[Sender]]:
        if self._why:
            self.asked.errback(LoadError(self._why))
        self.senders = [FromElsewhere(number, owner, f"w{number}") for number in (1, 2)]
        return self.asked

    def end(self, *, at_once: bool) -> Deferred[None]:
        self.ends.append(at_once)
        if not self.asked.called:
            self.asked.errback(LoadError("ended"))
        return succeed(None)


def from_elsewhere(source: Elsewhere) -> tuple[Fleet, list[Result]]:
    """A fleet of these, and where its result comes."""
    options = options_for(Target("t"), streams=2, dask="10.0.0.1", shards=2)
    fleet = Fleet(Spawning(), options, ["--x=y"], source, Heard(), lambda: NOW)
    results: list[Result] = []
    fleet.run().addCallback(results.append)
    return fleet, results


def test_the_reason_why_nobody_can_send_is_that_of_the_result() -> None:
    source = Elsewhere("--dask 10.0.0.1: the cluster has no worker")
    _, (whole,) = from_elsewhere(source)
    assert ("--dask 10.0.0.1: the cluster has no worker", 1) == (whole.error, whole.exit_code)
    assert [False] == source.ends


def test_an_interrupt_before_anybody_is_there_ends_the_wait() -> None:
    source = Elsewhere()
    fleet, results = from_elsewhere(source)
    assert [] == results
    fleet.interrupt()
    (whole,) = results
    assert (None, True, 130) == (whole.error, whole.interrupted, whole.exit_code)


def test_errors_name_the_worker_and_the_result_says_who_sent_which_shard() -> None:
    source = Elsewhere()
    _, results = from_elsewhere(source)
    source.asked.callback(source.senders)
    for sender in source.senders:
        for event in ({"event": "start"}, {"event": "starting", "starting": {"seconds": None}}):
            sender.heard(json.dumps(event))
    assert [NOW + 3.0] * 2 == [sender.begins for sender in source.senders]
    for sender, error in zip(source.senders, ("connection reset", None), strict=True):
        made = as_document(result("send", shard=ShardOf(sender.number, 2), error=error))
        sender.heard(json.dumps({"event": "end", "exit_code": 0, "result": made}))
        sender.over("")
    (whole,) = results
    assert ("shard 1: worker w1: connection reset", 1) == (whole.error, whole.exit_code)
    assert whole.merged is not None
    assert ["w1", "w2"] == [part.worker for part in whole.merged.shards]
    assert ("10.0.0.1", 2) == (whole.options["dask"], whole.options["shards"])
