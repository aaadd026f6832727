from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.client.target import parse_target
from ctrlserver.errors import UsageError
from ctrlserver.inject.strikes import Course, Injection
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.schedule import NEVER, SECOND
from ctrlserver.load.plan.shard import Dealt, Shard, parse_shard
from tests.load.asking import options_for

TARGET = parse_target("127.0.0.1:22222")

#: Packets of a stream that are looked at where the run has no number of them.
LOOKED_AT = 40

#: A stream's packet, by the numbers of both, from 1 and from 0: where it ends, when it is due, what strikes it.
Planned = dict[tuple[int, int], tuple[int, int | None, str]]


def plan_of(options: Options) -> Planned:
    """All that a run of ``options`` is to send."""
    pattern, numbers = options.pattern, list(options.numbers)
    limits = options.limits([0] * len(numbers))
    sent = [LOOKED_AT] * len(numbers) if limits is None else [pattern.packets_in(limit) for limit in limits]
    due: dict[tuple[int, int], int | None] = {}
    if options.curve is None:
        due = {(number, packet): None for number, most in zip(numbers, sent, strict=True) for packet in range(most)}
    else:
        plan = options.plan(options.curve.until(options.duration))
        for released in range(sum(sent)):
            round_, place = divmod(released, len(numbers))
            time = plan.time_of(released)
            if time < NEVER and round_ < sent[place]:
                due[numbers[place], round_] = time
            plan.forget(released)
    struck = strikes(options, numbers, max((packet for _, packet in due), default=0) + 1)
    return {
        (stream, packet): (pattern.bytes_of(packet + 1), time, struck.get((stream, packet), ""))
        for (stream, packet), time in due.items()
    }


def strikes(options: Options, numbers: list[int], packets: int) -> dict[tuple[int, int], str]:
    """What is done to which of the first ``packets`` packets of each stream."""
    found: dict[tuple[int, int], str] = {}
    if options.inject is None:
        return found
    injection = Injection(options.inject, options.seed)
    for number in numbers:
        course = Course(injection, number, "tcp")
        for packet in range(packets):
            size = options.pattern.bytes_of(packet + 1) - options.pattern.bytes_of(packet)
            _, strike = course.look(1, size)
            course.take(1, size)
            if strike is not None:
                found[number, packet] = f"{strike.action.text}@{course.packets}"
    return found


LOADS = st.fixed_dictionaries(
    {"streams": st.integers(1, 12), "seed": st.integers(-5, 5)},
    optional={
        "packets": st.integers(1, 300),
        "total_bytes": st.integers(1, 20_000),
        "size": st.sampled_from(["1", "64", "1..90", "30..40"]),
        "inject": st.sampled_from(["3rd*duplicate", "20%*corrupt(1 bit)", "2*duplicate->5%*drip(10/1ms)", "5th*close"]),
    },
)
PACE: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"duration": st.sampled_from(["10ms", "50ms"]), "rate": st.integers(1, 4000).map(str)}),
    st.fixed_dictionaries(
        {"profile": st.sampled_from(["30ms@1k..3k,20ms@0,9ms@5k", "sine(80ms,100,4k)", "10ms@0,1ms@900"])},
        optional={"duration": st.sampled_from(["5ms", "40ms"])},
    ),
    st.fixed_dictionaries({"rate": st.integers(1, 4000).map(str)}),
)


@settings(max_examples=60)
@given(LOADS, PACE, st.sampled_from(["constant", "poisson"]), st.data())
def test_all_shards_together_send_exactly_the_packets_of_the_whole(
    load: dict[str, Any], pace: dict[str, Any], arrival: str, data: st.DataObject
) -> None:
    flags = {**load, **pace, "framing": "int16"}
    if pace:
        flags["arrival"] = arrival
    if "rate" in pace and "duration" not in pace and "packets" not in load and "total_bytes" not in load:
        flags["packets"] = 100
    if not pace and "packets" not in load and "total_bytes" not in load:
        flags["duration"] = "1s"
    whole = options_for(TARGET, **flags)
    shards = data.draw(st.integers(1, whole.streams))
    together: Planned = {}
    for index in range(1, shards + 1):
        part = plan_of(evolve(whole, shard=Shard(index, shards)))
        assert not together.keys() & part.keys()
        together |= part
    assert plan_of(whole) == together


@given(st.integers(1, 12), st.data())
def test_each_number_of_the_whole_belongs_to_one_shard_and_is_dealt_to_the_stream_that_it_has_in_the_whole(
    streams: int, data: st.DataObject
) -> None:
    shards = data.draw(st.integers(1, streams))
    found: dict[int, int] = {}
    for index in range(1, shards + 1):
        options = options_for(TARGET, streams=streams, rate="1k", shard=Shard(index, shards))
        assert options.curve is not None
        plan = options.plan(options.curve)
        assert isinstance(plan, Dealt)
        for packet in range(5 * len(options.numbers)):
            number = plan.number_of(packet)
            assert number not in found
            found[number] = options.numbers[packet % len(options.numbers)]
    assert {number: number % streams + 1 for number in range(5 * streams)} == found


@given(st.integers(1, 9), st.sampled_from(["constant", "poisson"]), st.data())
def test_a_shards_packet_is_due_from_its_time_on_and_not_before(
    streams: int, arrival: str, data: st.DataObject
) -> None:
    shards = data.draw(st.integers(1, streams))
    shard = Shard(data.draw(st.integers(1, shards)), shards)
    options = options_for(TARGET, streams=streams, profile="40ms@500..3k,5ms@0,5ms@1k", arrival=arrival, shard=shard)
    assert options.curve is not None
    plan, looked = options.plan(options.curve), options.plan(options.curve)
    times = [time for packet in range(60) if (time := looked.time_of(packet)) < NEVER]
    for at in sorted({moment for time in times for moment in (time - 1, time, time + 1)}):
        assert sum(time <= at for time in times) == min(len(times), plan.due(at))


def test_a_shard_has_its_streams_part_of_the_rate_and_the_wholes_end() -> None:
    options = options_for(TARGET, streams=3, profile="1s@900,1s@900..1500", shard="1/2")
    assert options.curve is not None
    curve = options.plan(options.curve).curve
    assert (600.0, 800.0, 2 * SECOND) == (curve.rate(0), curve.mean(SECOND, 2 * SECOND), curve.end)


def test_a_shard_has_what_its_streams_have_of_the_whole() -> None:
    options = options_for(TARGET, streams=5, packets=13, shard="2/2")
    assert ([2, 4], [3, 2], 5, None) == (
        list(options.numbers),
        options.shares(13),
        options.part(13),
        options.part(None),
    )
    assert "2/2" == options.as_options()["shard"]
    assert options_for(TARGET).as_options()["shard"] is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2", '"2": expected I/N, such as "1/4"'),
        ("1/x", '"1/x": expected I/N, such as "1/4"'),
        ("-1/4", '"-1/4": expected I/N, such as "1/4"'),
        ("0/4", '"0/4": shards count from 1 to 4; did you mean "1/4"?'),
        ("5/4", '"5/4": shards count from 1 to 4; did you mean "4/4"?'),
        ("1/0", '"1/0": there is at least 1 shard; did you mean "1/1"?'),
    ],
)
def test_what_is_no_shard_is_refused_with_the_nearest_one(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_shard(text)
    assert words == str(caught.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            {"streams": 4, "shard": "2/8"},
            "--shard 2/8: a shard has at least one stream, and the whole has 4; did you mean --streams 8?",
        ),
        (
            {"streams": 4, "shard": "2/4", "inject": "3*ok->2*reset->off"},
            '--shard: not with --inject "2*reset", which counts over all streams of the whole',
        ),
    ],
)
def test_what_cannot_be_divided_is_refused_with_its_flag(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        options_for(TARGET, **flags)
    assert words == str(caught.value)


def test_a_whole_of_one_shard_may_count_over_all_streams() -> None:
    assert Shard(1, 1) == options_for(TARGET, streams=4, shard=" 1 / 1 ", inject="2*reset").shard
