"""Runs that last until their figures are sure."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from ctrlserver.load.measure.counts import Counts
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.results.goals import parse_goal
from ctrlserver.load.results.thresholds import parse_threshold
from ctrlserver.load.running.until import Goals
from tests.peers import Echo
from tests.runs import Heard, good, load, options
from tests.servers import PATIENCE, Servers, refusing


@pytest.mark.parametrize(
    ("flags", "figures"),
    [
        ({}, ["latency.service.mean", "sent.packets_per_second"]),
        ({"rate": 200.0, "warm_up": 0.1}, ["latency.response.mean", "sent.packets_per_second"]),
    ],
    ids=["closed loop", "open loop"],
)
@pytest_twisted.ensureDeferred
async def test_a_run_ends_once_its_goals_are_reached(
    servers: Servers, flags: dict[str, Any], figures: list[str]
) -> None:
    goals = (parse_goal("mean+-50s"), parse_goal("rate+-1M"))
    watcher = Heard()
    target = servers.listen(Echo)
    result = good(await load(target, watcher, mode="request", until=goals, duration=0.7, at_most=4 * PATIENCE, **flags))
    assert result.until is not None
    assert (0, figures) == (result.until.unreached, [goal.figure for goal in result.until.goals])
    for goal in result.until.goals:
        assert goal.seconds is not None
        assert goal.seconds >= 0.7
        assert goal.estimate is not None
        assert goal.half is not None
    assert result.sent.packets == sum(stream.replies or 0 for stream in result.streams) - (
        0 if result.warm_up is None else result.warm_up.packets
    )
    assert not result.interrupted
    if result.schedule is not None:
        assert result.schedule.planned_packets == result.schedule.sent_packets
    assert {("mean+-50s", "rate+-1M")} == {tuple(one.asked for one in step.until) for step in watcher.steps}


@pytest_twisted.ensureDeferred
async def test_a_goal_that_is_not_reached_in_time_is_told_and_no_failure(servers: Servers) -> None:
    goals = (parse_goal("p50+-0.001us"), parse_goal("slip.p50+-0.001us"))
    flags: dict[str, Any] = {"mode": "request", "rate": 100.0, "until": goals, "duration": 0.7, "at_most": 1.0}
    result = good(await load(servers.listen(Echo), **flags))
    assert result.until is not None
    assert 2 == result.until.unreached
    assert [None, None] != [goal.estimate for goal in result.until.goals]
    judged = good(await load(servers.listen(Echo), fail_if=(parse_threshold("unreached>0"),), **flags), 4)
    assert [2.0] == [judgement.value for judgement in judged.thresholds]


def test_the_longer_a_run_the_rarer_are_its_looks() -> None:
    goals = Goals(options(refusing(), until=(parse_goal("rate+-1%"),), at_most=1000.0), Timing())
    goals.begin(5.0, Counts())
    looks = set()
    for cut in range(1, 3001):
        goals.cut(5.0 + cut / 10, Counts(packets=cut * (1 + cut % 7)))
        looks.add(goals.told[0].seconds)
    counted = [sum(start < (each or 0.0) <= start + 20 for each in looks) for start in (0, 40, 280)]
    assert 18 <= counted[0] <= 22
    assert 6 <= counted[1] <= 9
    assert 1 <= counted[2] <= 2


@pytest_twisted.ensureDeferred
async def test_a_run_that_fails_has_no_goal_reached() -> None:
    result = good(await load(refusing(), until=(parse_goal("rate+-5%"),)), 1)
    assert result.until is not None
    assert (1, [None]) == (result.until.unreached, [goal.estimate for goal in result.until.goals])
