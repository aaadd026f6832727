"""Runs that wait for their start."""

from __future__ import annotations

import time
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock

from ctrlserver.load.plan.start import StartAt, parse_start
from ctrlserver.load.results.shards import Start
from ctrlserver.load.running import sending
from ctrlserver.load.running.run import LoadRun
from ctrlserver.load.running.starting import Starting
from tests.peers import Counting, Echo, Source
from tests.runs import Heard, good, load, options, reached
from tests.servers import Servers, reactor

#: 2026-11-26T16:00:00Z
FOUR = 1_795_708_800.0


class Waiting:
    """A wait for ``FOUR`` that begins so many seconds before it; the system's clock is ``ahead`` of the reactor's."""

    def __init__(self, before: float) -> None:
        self.clock = Clock()
        self.ahead = FOUR - before
        self.told: list[float | None] = []
        self.starting = Starting(self.clock, StartAt("t", FOUR), lambda: self.clock.seconds() + self.ahead)
        self.waited = Deferred.fromCoroutine(self.starting.wait(self.told.append))

    def advance(self, *seconds: float) -> None:
        self.clock.pump(seconds)


def test_it_waits_until_the_moment_and_tells_each_second_how_long_that_is() -> None:
    waiting = Waiting(2.25)
    assert [2.25] == waiting.told
    waiting.advance(0.25, 1.0)
    assert [2.25, 2.0, 1.0] == waiting.told
    waiting.advance(0.875)
    assert Start("2026-11-26T16:00:00.000000Z", None) == waiting.starting.outcome
    waiting.advance(0.125)
    assert waiting.waited.called
    assert (0.0, None) == (waiting.starting.late_seconds, waiting.starting.remark)
    assert Start("2026-11-26T16:00:00.000000Z", 0.0) == waiting.starting.outcome


def test_a_clock_that_is_set_meanwhile_moves_the_start() -> None:
    waiting = Waiting(10)
    waiting.advance(1, 1)
    waiting.ahead += 6
    waiting.advance(1)
    assert [10, 9, 8, 1] == waiting.told
    waiting.ahead -= 2
    waiting.advance(1)
    assert [10, 9, 8, 1, 2] == waiting.told
    waiting.advance(1, 1)
    assert 0.0 == waiting.starting.late_seconds


def test_a_moment_that_is_over_is_not_waited_for_and_told() -> None:
    waiting = Waiting(-1.5)
    assert waiting.waited.called
    assert (1.5, []) == (waiting.starting.late_seconds, waiting.told)
    assert "began 1.500 s after the start asked for, 2026-11-26T16:00:00.000000Z" == waiting.starting.remark


@pytest.mark.parametrize(("late", "behind"), [(0.004, 0.004), (0.0, 0.0), (0.02, 0.0)])
def test_a_schedule_begins_at_the_moment_unless_the_run_is_late(late: float, behind: float) -> None:
    assert pytest.approx(behind, abs=1e-6) == Waiting(-late).starting.behind


def test_a_wait_that_is_cancelled_ends_at_once() -> None:
    waiting = Waiting(5)
    ended: list[Any] = []
    waiting.waited.addErrback(lambda failure: ended.append(failure.trap(CancelledError)))
    waiting.waited.cancel()
    assert [CancelledError] == ended
    assert Start("2026-11-26T16:00:00.000000Z", None) == waiting.starting.outcome
    assert [] == waiting.clock.getDelayedCalls()


def test_a_moment_that_nobody_has_said_yet_is_asked_for_once_and_then_waited_for() -> None:
    clock, told, answer = Clock(), list[float | None](), Deferred[StartAt]()
    starting = Starting(clock, parse_start("-"), lambda: FOUR - 2 + clock.seconds(), lambda _: answer)
    waited = Deferred.fromCoroutine(starting.wait(told.append))
    clock.advance(60)
    assert ([None], None, False) == (told, starting.outcome, waited.called)
    answer.callback(parse_start("+1500ms"))
    assert [None, 1.5] == told
    clock.pump((0.5, 0.5, 0.5))
    assert waited.called
    assert Start("2026-11-26T16:00:59.500000Z", 0.0) == starting.outcome


def test_a_moment_that_is_said_when_it_is_over_is_told_as_late() -> None:
    starting = Starting(Clock(), parse_start("-"), lambda: FOUR, lambda _: succeed(parse_start(str(FOUR - 1))))
    Deferred.fromCoroutine(starting.wait(lambda _: None))
    assert Start("2026-11-26T15:59:59.000000Z", 1.0) == starting.outcome


class Looking(Heard):
    """A watcher that looks, each time it is told of the start, at what a server has by then."""

    def __init__(self, servers: Servers) -> None:
        super().__init__()
        self.servers = servers
        self.seen: list[tuple[int, int]] = []

    def starting(self, seconds: float | None) -> None:
        super().starting(seconds)
        self.seen.append((len(self.servers.open), sum(stream.bytes for stream in self.servers.streams)))


@pytest.mark.parametrize(
    ("protocol", "flags"),
    [
        (Counting, {}),
        (Counting, {"rate": 1000.0}),
        (Echo, {"mode": "request"}),
        (Source, {"mode": "receive"}),
        (Echo, {"mode": "connect"}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_nothing_moves_before_the_start(servers: Servers, protocol: Any, flags: dict[str, Any]) -> None:
    looking = Looking(servers)
    at = time.time() + 0.75
    result = good(
        await load(servers.listen(protocol), looking, packets=20, streams=3, start_at=StartAt("t", at), **flags)
    )
    assert {0} == {moved for _, moved in looking.seen}
    assert 1 <= len(looking.starts) <= 3
    assert result.start is not None
    assert result.start.late_seconds is not None
    assert 0 <= result.start.late_seconds
    moved = result.connections.opened if result.connections else (result.downloaded or result.sent).packets
    assert 20 == moved


@pytest_twisted.ensureDeferred
async def test_a_run_that_is_late_by_a_second_begins_at_once_and_says_so(servers: Servers) -> None:
    heard = Heard()
    result = good(await load(servers.listen(Counting), heard, packets=20, start_at=StartAt("t", time.time() - 1.0)))
    assert result.start is not None
    assert result.start.late_seconds is not None
    assert 1.0 <= result.start.late_seconds
    (note,) = heard.notes
    assert note.startswith("began 1.")
    assert note.endswith(f"s after the start asked for, {result.start.asked}")
    assert [] == heard.starts


@pytest.mark.parametrize("warm_up", [0.0, 0.05])
@pytest_twisted.ensureDeferred
async def test_packets_of_a_schedule_are_due_from_the_moment_or_the_warm_up_after_it_on_though_the_wait_ended_late(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, warm_up: float
) -> None:
    monkeypatch.setattr(sending, "LATE_SECONDS", 10.0)  # however late a busy machine ends the warm-up
    flags: dict[str, Any] = {"rate": 1000.0, "duration": 0.1, "warm_up": warm_up, "start_at": StartAt("t", FOUR)}
    late = 0.008
    run = LoadRun(reactor, options(servers.listen(Counting), **flags), Heard(), now=lambda: FOUR + late)
    result = good(await run.run())
    assert result.schedule is not None
    assert result.schedule.slip.max is not None
    assert (100, 0.1) == (result.schedule.sent_packets, result.schedule.plan_seconds)
    assert late <= result.schedule.slip.max


@pytest_twisted.ensureDeferred
async def test_an_interrupt_before_the_start_ends_the_run_at_once_and_nothing_was_sent(servers: Servers) -> None:
    heard = Heard()
    flags: dict[str, Any] = {"streams": 2, "start_at": StartAt("t", time.time() + 3600)}
    run = LoadRun(reactor, options(servers.listen(Counting), **flags), heard)
    running = run.run()
    await reached(lambda: heard.starts)
    run.interrupt()
    result = good(await running, 130)
    assert (0, True, None) == (result.sent.packets, result.interrupted, result.error)
    assert result.start is not None
    assert result.start.late_seconds is None
