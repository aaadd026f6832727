from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.load.measure.confidence import Precision
from ctrlserver.load.measure.counts import Replies
from ctrlserver.load.results.checking import contradiction_words, contradictions
from ctrlserver.load.results.checks.received import received
from ctrlserver.load.results.checks.times import schedule
from ctrlserver.load.results.judging import judged
from ctrlserver.load.results.merging import merged
from ctrlserver.load.results.result import as_document
from ctrlserver.load.results.shapes import misfits
from ctrlserver.load.results.shards import ShardOf
from ctrlserver.load.results.thresholds import parse_threshold
from tests.load.documents import changed, validated
from tests.load.results.made import document, result

SURE = Precision("latency.service.p50+-5%", "latency.service.p50", True, 0.0045, 0.0044, 0.0046, 32, True, 3.5)
UNSURE = Precision("rate+-10", "sent.packets_per_second", False, 60.0, 40.5, 79.5, 10, True, 3.5)

GOOD: dict[str, dict[str, Any]] = {
    "send": document("send"),
    "send, warm-up": document("send", warm=2, fail_if=("packets<5", "rate<1")),
    "send, by a rate": document("send", rate=50),
    "request": document("request", fail_if=("p99>1s", "p97.5>1ms", "received.packets<1")),
    "request, by a rate, warm-up": document("request", rate=50, warm=1, fail_if=("slip.p99>1us",)),
    "request, a shard": document("request", rate=60, warm=1, streams=6, shard=ShardOf(2, 3)),
    "receive": document("receive"),
    "connect": document("connect"),
    "connect, by a rate": document("connect", rate=60, fail_if=("errors>1",)),
    "udp": document("send", udp=True),
    "injected": document("send", struck=True),
    "until": document("request", until=(SURE, UNSURE), fail_if=("unreached>0",)),
}

#: Numbers that no other of the document contradicts, within what is possible at all; * stands for any index.
FREE = {
    "intervals.*.target_packets_per_second",
    "intervals.*.response_p50",
    "intervals.*.response_p99",
    "intervals.*.service_p50",
    "intervals.*.service_p99",
    "intervals.*.packets_per_second",  # of the last interval of connections by a schedule
    "schedule.planned_packets",  # more than were sent, with a warm-up or at random
    "until.goals.*.batches",  # each version may have its own
    "schedule.dropped_ticks",
    "schedule.plan_seconds",  # by rounding
    "replies.bytes",
    "streams.*.seconds",
    "delivery.duplicate",
    "delivery.out_of_order",
    "delivery.jitter_seconds",
    "delivery.dropped_by_receiver",
    "until.goals.*.estimate",  # what a goal needs that was reached is held to it
    "until.goals.*.low",
    "until.goals.*.high",
    "until.goals.*.seconds",
    "streams.*.incomplete_bytes",  # where packets have several sizes
}

#: The same of a run by a schedule, which gives its packets more time than they took.
FREE_BY_A_SCHEDULE = {"sent.seconds", "connections.seconds"}


def numbers(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each number of a document that was measured."""
    if isinstance(part, dict | list):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            if path or key not in ("options", "environment", "labels"):
                yield from numbers(value, (*path, key))
    elif isinstance(part, int | float) and not isinstance(part, bool):
        yield path


def with_number(good: dict[str, Any], path: tuple[Any, ...], change: float) -> dict[str, Any]:
    """A copy in which one number is ``change`` times what it was, and at least one more or less."""
    copy: dict[str, Any] = json.loads(json.dumps(good))
    part: Any = copy
    for key in path[:-1]:
        part = part[key]
    old = part[path[-1]]
    if isinstance(old, int):
        new = round(old * change)
        part[path[-1]] = new if new != old else old + 1
    else:
        part[path[-1]] = old * change if old else change
    return copy


@pytest.mark.parametrize("name", GOOD)
def test_a_good_document_has_its_shape_and_agrees_with_itself(name: str) -> None:
    validated(json.dumps(GOOD[name]))
    assert ([], []) == (list(misfits(GOOD[name])), contradictions(GOOD[name]))


@settings(max_examples=400)
@given(st.data())
def test_any_number_that_is_changed_is_found_or_known_to_be_free(data: st.DataObject) -> None:
    good = GOOD[data.draw(st.sampled_from(sorted(GOOD)))]
    path = data.draw(st.sampled_from(list(numbers(good))))
    bad = with_number(good, path, data.draw(st.sampled_from((0.5, 0.9, 1.02, 1.5, 10.0))))
    name = ".".join("*" if isinstance(key, int) else key for key in path)
    if name not in FREE and not (good["schedule"] is not None and name in FREE_BY_A_SCHEDULE):
        assert [*misfits(bad), *contradictions(bad)], name


ANYTHING = st.one_of(
    st.none(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3), st.just([]), st.just({})
)


@settings(max_examples=300)
@given(st.data(), ANYTHING)
def test_whatever_a_document_holds_it_is_told_and_nothing_raised(data: st.DataObject, value: object) -> None:
    good: Any = json.loads(json.dumps(GOOD[data.draw(st.sampled_from(sorted(GOOD)))]))
    part: Any = good
    while isinstance(part, dict | list) and part:
        key = data.draw(st.sampled_from(sorted(part))) if isinstance(part, dict) else len(part) - 1
        if not isinstance(part[key], dict | list) or not part[key] or data.draw(st.booleans()):
            part[key] = value
            break
        part = part[key]
    found = list(misfits(good)) or contradictions(good)
    assert all(line and "\n" not in line for line in found)


def test_a_document_without_the_fields_added_since_is_still_checked() -> None:
    old: Any = json.loads(json.dumps(GOOD["request, by a rate, warm-up"]))
    for key in ("began", "start", "shard", "merged", "until"):
        del old[key]
    for part in old["intervals"]:
        del part["service_hdr"], part["response_hdr"]
    del old["options"]["until"], old["options"]["at_most_seconds"]
    del old["schedule"]["plan_seconds"], old["schedule"]["slip"]["hdr"], old["streams"][0]["shard"]
    assert ([], []) == (list(misfits(old)), contradictions(old))
    assert old["merged"] is None


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("send", {"sent__packets": 7}, "sent 7"),
        ("send", {"sent__packets_per_second": 1.0}, "sent.packets_per_second is 1.0, but"),
        ("request", {"latency__service__p99": 5.0}, "latency.service.p99 is 5.0, that of its histogram"),
        ("request", {"latency__service__hdr": "x"}, "latency.service.hdr: no HDR histogram"),
        ("request", {"reconciled": True, "received__packets": 3}, "received packets, received 3"),
        ("request", {"thresholds": [{"expression": "packets<5", "value": 4.0, "failed": True}]}, "packets<5 has the"),
        (
            "send, by a rate",
            {"schedule__bottleneck": "none", "schedule__planned_packets": 10_000},
            "bottleneck is none",
        ),
        ("udp", {"delivery__lost": 5}, "delivery.lost is 5"),
        ("connect", {"connections__failed": 5}, "connections.failed is 5, its reasons 3"),
        ("injected", {"injections__hits": 99}, "injections.hits is 99"),
        ("request, a shard", {"shard__index": 1}, "stream 2 stands where stream 1 is expected"),
    ],
)
def test_a_contradiction_names_both_numbers(name: str, changes: dict[str, Any], words: str) -> None:
    found = contradictions(changed(GOOD[name], **changes))
    assert any(words in line for line in found), found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reached": False}, "reached is false, 0.0045 lies in 0.0044 to 0.0046"),
        ({"independent": False}, "reached is true, 0.0045 lies"),
        ({"high": 0.0048}, "reached is true, 0.0045 lies in 0.0044 to 0.0048"),
        ({"high": None}, "reached is true, 0.0045 lies in 0.0044 to None"),
        ({"low": 0.0047}, "estimate 0.0045 is not within its interval, 0.0047 to 0.0046"),
        ({"estimate": 0.1, "low": 0.1, "high": 0.1}, "estimate is 0.1, all times are "),
        ({"estimate": None}, "it has no estimate, and more is told of it"),
        ({"figure": "latency.service.p90"}, "its figure is latency.service.p90"),
        ({"seconds": 4.1}, "it was looked at after 4.1 s, the measured part took 4.000000 s"),
    ],
)
def test_what_is_told_of_a_goal_agrees_with_itself_and_with_the_run(change: dict[str, Any], words: str) -> None:
    until = GOOD["until"]["until"]
    first, second = until["goals"]
    found = contradictions({**GOOD["until"], "until": {**until, "goals": [{**first, **change}, second]}})
    assert any(line.startswith(f"until.goals: {SURE.asked}: {words}") for line in found), found


def test_all_goals_asked_for_are_told_and_counted() -> None:
    until = GOOD["until"]["until"]
    assert "until.unreached is 2, of the goals 1 were not reached" in contradictions(
        {**GOOD["until"], "until": {**until, "unreached": 2}}
    )
    found = contradictions({**GOOD["until"], "until": None, "thresholds": []})
    assert ["until.goals are none, asked for were latency.service.p50+-5%, rate+-10"] == found


def test_each_packet_sent_twice_in_the_warm_up_may_have_two_replies() -> None:
    doubled = document("request", struck=True, warm=1)
    first, *others = doubled["streams"]
    for more, sound in ((doubled["injections"]["duplicated"], True), (doubled["injections"]["duplicated"] + 1, False)):
        streams = [{**first, "replies": first["replies"] + more}, *others]
        assert sound is (not contradictions({**doubled, "streams": streams}))


def test_where_nothing_was_sent_nothing_needs_to_be_received() -> None:
    nothing = dict.fromkeys(("packets", "bytes"), 0)
    assert [] == list(received({**GOOD["udp"], "received": None, "streams": [nothing]}))
    assert ["reconciled is true, received is null"] == list(received({**GOOD["udp"], "received": None}))


def test_a_rate_whose_plan_takes_less_than_a_microsecond_contradicts_nothing() -> None:
    fast: dict[str, Any] = {"options__rate_packets_per_second": 1e12, "schedule__target_packets_per_second": 1e12}
    assert [] == list(schedule(changed(GOOD["send, by a rate"], **fast, schedule__plan_seconds=0.0)))


def test_the_shards_of_a_merged_result_sum_to_it() -> None:
    whole: dict[str, Any] = as_document(
        merged({f"{n}.json": result("receive", streams=4, shard=ShardOf(n, 2)) for n in (1, 2)})
    )
    assert [] == contradictions(whole)
    one, two = whole["merged"]["shards"]
    for changes, words in (
        ({"shards": [{**one, "packets": 1}, two]}, "merged.shards have "),
        ({"shards": [{**one, "shard": 2}, two]}, "merged.shards and missing are [2, 2], expected 1 to 2"),
        ({"missing": [2]}, "merged.shards and missing are [1, 2, 2], expected 1 to 2"),
    ):
        found = contradictions({**whole, "merged": {**whole["merged"], **changes}})
        assert any(line.startswith(words) for line in found), found
    first, *others = whole["streams"]
    found = contradictions({**whole, "streams": [{**first, "shard": 2}, *others]})
    assert ["stream 1 is of shard 2, dealt to 1"] == found


def test_the_error_of_a_result_has_the_first_contradiction_and_how_many_more() -> None:
    assert "the result contradicts itself: a" == contradiction_words(["a"])
    assert "the result contradicts itself: a; and 2 more, which ctrlload check tells" == contradiction_words(
        list("abc")
    )


@pytest.mark.parametrize("error", [None, "the target closed the connection"])
def test_a_result_that_was_found_to_contradict_itself_still_does(error: str | None) -> None:
    bad = evolve(result("request", error=error), replies=Replies(7, 700))
    found = judged(bad, [parse_threshold("errors>5")])
    assert (1, True) == (
        found.exit_code,
        str(found.error).startswith(error or "the result contradicts itself: "),
    )
    assert contradictions(as_document(bad)) == contradictions(as_document(found)) != []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sent__packets": -1}, "sent.packets is -1, expected at least 0"),
        ({"sent__packets": 1.5}, "sent.packets is 1.5, expected a whole number"),
        ({"latency__service__count": "x"}, 'latency.service.count is "x", expected a whole number'),
        ({"interrupted": 0}, "interrupted is 0, expected true or false"),
        (
            {"schedule__bottleneck": "me"},
            'schedule.bottleneck is "me", expected one of generator, target, injection, none',
        ),
        ({"intervals": [3]}, "intervals[0] is 3, expected an object"),
        ({"started": "now"}, 'started is "now", expected a text like'),
    ],
)
def test_a_misfit_names_the_field_and_what_was_expected(changes: dict[str, Any], words: str) -> None:
    found = list(misfits(changed(GOOD["request, by a rate, warm-up"], **changes)))
    assert [True] == [line.startswith(words) for line in found], found


def test_what_the_schema_requires_is_missing_in_words() -> None:
    bad: Any = json.loads(json.dumps(GOOD["send"]))
    del bad["sent"]["writes"]
    assert ["sent.writes is missing"] == list(misfits(bad))


def test_what_came_later_takes_the_value_that_held_before_each_time_anew() -> None:
    """Of the server's injections an earlier version told the hits alone."""
    told = ("active", "hits", "received", "answered", "swallowed", "duplicated", "closed_streams")
    old = changed(GOOD["request, by a rate, warm-up"], server_injections=dict.fromkeys(told, 0))
    for key in ("busy_poll", "probe", "insecure", "until"):
        del old["options"][key]
    other = deepcopy(old)
    assert ([], []) == (list(misfits(old)), list(misfits(other)))
    assert (False, False, False, []) == tuple(
        old["options"][key] for key in ("busy_poll", "probe", "insecure", "until")
    )
    assert {"orders": [], "unreceived_packets": 0, "unreceived_bytes": 0, "ended_streams": 0, "stalled_streams": 0} == {
        key: value for key, value in old["server_injections"].items() if key not in told
    }
    assert old["options"]["until"] is not other["options"]["until"]
