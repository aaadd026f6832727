from __future__ import annotations

from typing import Any

import pytest

from ctrlserver.client.target import Target
from ctrlserver.errors import UsageError
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.processes import parse_processes
from ctrlserver.load.plan.profile import Profile, parse_profile
from ctrlserver.load.results.goals import parse_goal
from ctrlserver.load.results.thresholds import parse_threshold
from tests.load.asking import options_for


def made(goal: str = "rate+-5%", **flags: Any) -> Options:
    return options_for(Target("127.0.0.1:22222", "127.0.0.1", 22222), until=(parse_goal(goal),), **flags)


@pytest.mark.parametrize(
    ("flags", "least", "most"),
    [
        ({}, 20.0, 200.0),
        ({"interval": 0.5}, 10.0, 100.0),
        ({"interval": 0.0}, 20.0, 200.0),
        ({"duration": 3.0}, 3.0, 30.0),
        ({"duration": 3.0, "at_most": 3.0}, 3.0, 3.0),
        ({"at_most": 5.0}, 5.0, 5.0),
        ({"at_most": 60.0}, 20.0, 60.0),
    ],
)
def test_a_run_until_it_is_sure_has_a_least_and_a_longest_time(
    flags: dict[str, Any], least: float, most: float
) -> None:
    options = made(**flags)
    assert (least, most, most, None) == (options.duration, options.most, options.longest, options.packets)
    document = options.as_options()
    assert (["rate+-5%"], most) == (document["until"], document["at_most_seconds"])


def test_a_schedule_goes_on_to_the_longest_time() -> None:
    assert 30.0 == made(rate=100.0, duration=3.0).longest


@pytest.mark.parametrize(
    ("goal", "flags", "words"),
    [
        ("rate+-5%", {"packets": 5}, "--until: not with --packets, which ends the run itself"),
        ("rate+-5%", {"total_bytes": 5}, "--until: not with --bytes, which ends the run itself"),
        ("rate+-5%", {"profile": Profile("1s@1k", parse_profile("1s@1k"))}, "--until: not with --profile"),
        ("rate+-5%", {"shard": "1/2", "streams": 2}, "--until: not with --shard: each shard would end"),
        (
            "rate+-5%",
            {"processes": parse_processes("2"), "streams": 2},
            "--until: not with --processes: each would end",
        ),
        ("rate+-5%", {"duration": 5.0, "at_most": 4.0}, "--at-most: must be at least --duration, 5 s"),
        ("p99+-5%", {}, "--until: p99+-5%: needs --mode request or connect"),
        ("latency.response.p99+-5%", {"mode": "request"}, "--until: latency.response.p99+-5%: needs --rate or"),
        ("slip.p99+-5%", {}, "--until: slip.p99+-5%: needs --rate or --profile"),
        ("sent.packets_per_second+-5%", {"mode": "connect"}, "needs --mode send or request"),
        ("downloaded.packets_per_second+-5%", {}, "needs --mode receive"),
    ],
)
def test_what_ends_a_run_otherwise_or_is_not_measured_is_refused(goal: str, flags: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        made(goal, **flags)
    assert words in str(caught.value)


def test_the_longest_time_and_a_condition_on_goals_need_goals() -> None:
    target = Target("127.0.0.1:22222", "127.0.0.1", 22222)
    with pytest.raises(UsageError, match="--at-most: needs --until"):
        options_for(target, at_most=5.0)
    with pytest.raises(UsageError, match="unreached>0: needs --until"):
        options_for(target, fail_if=(parse_threshold("unreached>0"),))
    assert made(fail_if=(parse_threshold("unreached>0"),)).fail_if
    assert (None, []) == tuple(options_for(target).as_options()[name] for name in ("at_most_seconds", "until"))
