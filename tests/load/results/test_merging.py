from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.errors import UsageError
from ctrlserver.load.measure.counts import Counts, Replies, Volume
from ctrlserver.load.measure.injections import ServerInjections
from ctrlserver.load.measure.reconciling import Delivery
from ctrlserver.load.measure.verdict import Bottleneck
from ctrlserver.load.results.checking import contradictions
from ctrlserver.load.results.merging import merged
from ctrlserver.load.results.records import result_in
from ctrlserver.load.results.result import Result, as_document, as_json
from ctrlserver.load.results.shards import ShardOf, Start
from ctrlserver.stats.latency import Histogram, decoded
from tests.load.documents import validated
from tests.load.results.made import SIZE, result

#: Ways to run a load.
WAYS: dict[str, dict[str, Any]] = {
    "send": {"mode": "send"},
    "send, warm-up, by a rate": {"mode": "send", "warm": 2, "rate": 60.0},
    "request": {"mode": "request"},
    "request, by a rate, warm-up": {"mode": "request", "warm": 1, "rate": 60.0},
    "receive": {"mode": "receive"},
    "connect": {"mode": "connect"},
    "connect, by a rate": {"mode": "connect", "rate": 60.0},
    "udp": {"mode": "send", "udp": True},
    "injected": {"mode": "send", "struck": True},
}


def shards(of: int, *, late: float = 0.002, **how: Any) -> dict[str, Result]:
    """The results of all shards of a load, by name; each began ``late`` seconds after the one before."""
    made = {}
    for index in range(1, of + 1):
        began = f"2024-02-03T04:05:{6 + (index - 1) * late:09.6f}Z"
        made[f"{index}.json"] = result(shard=ShardOf(index, of), streams=3 * of, began=began, **how)
    return made


def figures(document: dict[str, Any]) -> dict[str, Any]:
    """The percentiles of a kind of time."""
    return {key: document[key] for key in ("count", "mean", "min", "max", "p50", "p90", "p99", "p99_9", "p99_99")}


@pytest.mark.parametrize("way", WAYS)
def test_a_merged_result_keeps_to_the_schema_and_agrees_with_itself(way: str) -> None:
    whole = merged(shards(3, **WAYS[way]))
    document = validated(as_json(whole))
    assert (None, []) == (whole.error, contradictions(document))
    assert whole == result_in("all.json", json.loads(as_json(whole)))


@pytest.mark.parametrize("way", WAYS)
def test_counts_are_added_and_streams_keep_their_numbers_and_have_their_shard(way: str) -> None:
    parts = shards(3, **WAYS[way])
    whole = merged(parts)
    for key in ("packets", "bytes", "writes"):
        assert getattr(whole.sent, key) == sum(getattr(each.sent, key) for each in parts.values())
    if whole.connections is None:
        assert list(range(1, 10)) == [each.stream for each in whole.streams]
        assert [1, 2, 3] * 3 == [each.shard for each in whole.streams]
        assert whole.received is not None
        assert whole.received.packets == sum(each.received.packets for each in parts.values() if each.received)
        assert whole.reconciled is True
    else:
        assert {"connection refused": 9} == whole.connections.failures


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(WAYS)), st.integers(1, 5), st.integers(0, 99), st.data())
def test_the_order_of_the_shards_does_not_matter(way: str, of: int, seed: int, data: st.DataObject) -> None:
    parts = shards(of, seed=seed, **WAYS[way])
    order = data.draw(st.permutations(sorted(parts)))
    assert merged(parts) == merged({name: parts[name] for name in order})


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(0, 999))
def test_percentiles_are_those_of_all_times_pooled(of: int, seed: int) -> None:
    parts = shards(of, seed=seed, mode="request", rate=60.0)
    whole = merged(parts)
    assert whole.latency is not None
    for kind in ("response", "service"):
        times = Histogram()
        for each in parts.values():
            times.add(decoded(getattr(each.latency, kind).hdr))
        assert times.latency() == getattr(whole.latency, kind)
        for at, one in enumerate(whole.intervals):
            texts = [getattr(part.intervals[at], f"{kind}_hdr") for part in parts.values()]
            told = getattr(one, f"{kind}_p50"), getattr(one, f"{kind}_p99")
            assert told == tuple(decoded(*filter(None, texts)).at((50, 99)))


@given(st.lists(st.lists(st.integers(0, 10**10), max_size=5), min_size=3, max_size=3))
def test_adding_histograms_is_associative(times: list[list[int]]) -> None:
    texts = []
    for each in times:
        histogram = Histogram()
        for time in each:
            histogram.record(time)
        texts.append(histogram.encoded())
    left = decoded(decoded(*texts[:2]).encoded(), texts[2])
    right = decoded(texts[0], decoded(*texts[1:]).encoded())
    assert left.encoded() == right.encoded() == decoded(*texts).encoded()


def test_times_are_from_the_first_packet_of_all_to_the_last() -> None:
    whole = merged(shards(3, late=0.1, mode="request"))
    assert whole.merged is not None
    assert 0.2 == whole.merged.start_spread_seconds
    assert pytest.approx(4 - 0.0125 + 0.2) == whole.sent.seconds
    assert "2024-02-03T04:05:06.000000Z" == whole.began


def test_intervals_of_shards_that_begin_within_half_an_interval_are_those_of_the_whole() -> None:
    parts = shards(3, late=0.1, mode="request", warm=1, rate=60.0)
    whole = merged(parts)
    assert 4 == len(whole.intervals)
    for at, each in enumerate(whole.intervals):
        assert each.packets == sum(part.intervals[at].packets for part in parts.values())
        assert (at == 0, 60.0) == (each.warm_up, each.target_packets_per_second)
        assert each.response_p99 is not None
    assert whole.merged is not None
    assert [] == whole.merged.unknown


def test_a_shard_that_began_an_interval_later_has_the_later_cells_and_it_is_told() -> None:
    parts = shards(2, late=1.02, mode="send")
    whole = merged(parts)
    assert 5 == len(whole.intervals)
    assert parts["1.json"].intervals[0].packets == whole.intervals[0].packets
    assert whole.merged is not None
    assert ["intervals: 2 of 5 have packets of a part of the shards alone"] == whole.merged.unknown


def test_intervals_without_histograms_have_no_percentiles_and_it_is_told() -> None:
    parts = shards(2, mode="request")
    bare = [evolve(each, service_hdr=None) for each in parts["2.json"].intervals]
    whole = merged({**parts, "2.json": evolve(parts["2.json"], intervals=bare)})
    assert [None] * 4 == [each.service_p99 for each in whole.intervals]
    assert whole.merged is not None
    assert ["intervals.*.service: not all have their histogram"] == whole.merged.unknown


def test_conditions_are_judged_over_the_whole() -> None:
    parts = shards(3, mode="request")
    most = max(each.sent.packets for each in parts.values())
    options = {**parts["1.json"].options, "fail_if": [f"packets>{most}"]}
    whole = merged({name: evolve(each, options=options) for name, each in parts.items()})
    assert [True] == [each.failed for each in whole.thresholds]
    assert 4 == whole.exit_code


def test_errors_are_kept_with_the_number_of_their_shard() -> None:
    parts = shards(3, mode="send")
    parts["2.json"] = evolve(parts["2.json"], error="gone", reconciled=None, interrupted=True)
    whole = merged(parts)
    assert ("shard 2: gone", True, None) == (whole.error, whole.interrupted, whole.reconciled)
    assert whole.merged is not None
    assert [None, "gone", None] == [each.error for each in whole.merged.shards]


def test_a_difference_of_one_shard_is_that_of_the_whole() -> None:
    parts = shards(2, mode="send")
    parts["2.json"] = evolve(parts["2.json"], reconciled=False, difference="stream 2: 3 packets fewer")
    whole = merged(parts)
    assert (False, "shard 2: stream 2: 3 packets fewer", 3) == (whole.reconciled, whole.difference, whole.exit_code)


def test_a_shard_that_never_began_leaves_the_spread_unknown() -> None:
    parts = shards(2, mode="send")
    nothing = Volume.of(Counts(), 0.0)
    failed = evolve(parts["2.json"], began=None, error="cannot connect", received=None, reconciled=None, sent=nothing)
    whole = merged({**parts, "2.json": evolve(failed, streams=[], intervals=[])})
    assert whole.merged is not None
    assert whole.merged.start_spread_seconds is None
    assert "start_spread_seconds: shard 2 did not begin to send" in whole.merged.unknown
    assert ("shard 2: cannot connect", parts["1.json"].sent.packets) == (whole.error, whole.sent.packets)


def idle(part: Result, *, warmed: bool = False) -> Result:
    """The same with nothing sent in the measured part, nor in the warm-up unless ``warmed``."""
    kept = part.warm_up if warmed and part.warm_up is not None else Volume.of(Counts(), 0.0)
    rates: dict[str, Any] = dict.fromkeys(("packets_per_second", "bits_per_second"), 0.0)
    none: dict[str, Any] = dict.fromkeys(("packets", "bytes"), 0) | rates
    none |= dict.fromkeys(("service_p50", "service_p99", "service_hdr"))
    left = kept.packets  # all of it on the first stream
    streams = []
    for each in part.streams:
        counts: dict[str, Any] = dict.fromkeys(("packets", "writes", "received_packets"), left)
        counts |= dict.fromkeys(("bytes", "received_bytes"), left * SIZE)
        replies = None if each.replies is None else left
        streams.append(evolve(each, seconds=0.0, replies=replies, **counts))
        left = 0
    return evolve(
        part,
        sent=Volume.of(Counts(), 0.0),
        warm_up=None if part.warm_up is None else kept,
        intervals=[each if warmed and each.warm_up else evolve(each, **none) for each in part.intervals],
        replies=None if part.replies is None else Replies(0, 0),
        received=None,
        latency=None,
        streams=streams,
    )


def test_a_shard_that_had_nothing_to_send_neither_begins_the_whole_nor_hides_what_was_received() -> None:
    parts = shards(2, late=0.3, mode="send", udp=True)
    whole = merged({**parts, "1.json": evolve(idle(parts["1.json"]), delivery=None)})
    other = parts["2.json"]
    assert (None, other.began, other.sent) == (whole.error, whole.began, whole.sent)
    assert whole.received is not None
    assert other.received is not None
    assert (other.received.packets, other.delivery) == (whole.received.packets, whole.delivery)
    assert whole.merged is not None
    assert 0.3 == whole.merged.start_spread_seconds


def test_shards_that_sent_all_they_had_in_the_warm_up_have_their_measured_part_after_it() -> None:
    parts = {name: idle(each, warmed=True) for name, each in shards(2, late=0.03, mode="request", warm=1).items()}
    whole = merged({name: evolve(each, reconciled=None) for name, each in parts.items()})
    assert (None, 0) == (whole.error, whole.sent.packets)
    assert [(0.0, True), (1.03, False)] == [(each.start_seconds, each.warm_up) for each in whole.intervals][:2]


def test_a_shard_that_was_interrupted_before_it_began_has_no_streams() -> None:
    parts = shards(2, mode="send")
    nothing: dict[str, Any] = {
        "streams": [],
        "intervals": [],
        "sent": Volume.of(Counts(), 0.0),
        "received": None,
        "reconciled": None,
    }
    whole = merged({**parts, "1.json": evolve(parts["1.json"], began=None, interrupted=True, **nothing)})
    assert (None, 130, [2, 4, 6]) == (whole.error, whole.exit_code, [each.stream for each in whole.streams])


def test_a_missing_shard_is_an_error_of_the_whole_where_it_may_be_missing() -> None:
    parts = shards(3, mode="send")
    del parts["2.json"]
    whole = merged(parts, lacking={2: "ended by SIGKILL"})
    assert whole.merged is not None
    assert (3, [2]) == (whole.merged.of, whole.merged.missing)
    assert ("shard 2: ended by SIGKILL", 1, None) == (whole.error, whole.exit_code, whole.reconciled)


def test_shards_that_failed_alike_are_told_together() -> None:
    parts = shards(3, mode="send")
    errors = {"1.json": "connection refused", "2.json": "timed out", "3.json": "connection refused"}
    whole = merged({name: evolve(part, error=errors[name]) for name, part in parts.items()})
    assert "shards 1, 3: connection refused; shard 2: timed out" == whole.error


def test_what_a_receivers_kernel_dropped_is_not_added() -> None:
    parts = shards(2, mode="send", udp=True, delivery=Delivery(0, 0, 2, 0.001, 7))
    whole = merged(parts)
    assert Delivery(0, 0, 4, 0.001, None) == whole.delivery
    assert whole.merged is not None
    assert whole.merged.unknown[0].startswith("delivery.dropped_by_receiver: the receiver's kernel counts")


def test_hits_of_one_server_are_those_of_the_shard_that_saw_most_and_never_added() -> None:
    parts = shards(2, mode="send")
    first = ServerInjections(1, 9, 90, 80, 9, 1, 0, ["a"], 3, 300, 1, 0)
    second = ServerInjections(1, 7, 70, 60, 7, 0, 0, ["b"], 2, 200, 1, 0)
    seen = {"1.json": first, "2.json": second}
    whole = merged({name: evolve(each, server_injections=seen[name], reconciled=None) for name, each in parts.items()})
    assert ServerInjections(1, 9, 90, 80, 9, 1, 0, ["a", "b"], 5, 500, 2, 0) == whole.server_injections
    seen["2.json"] = evolve(second, hits=10)
    whole = merged({name: evolve(each, server_injections=seen[name], reconciled=None) for name, each in parts.items()})
    assert whole.server_injections is None
    assert whole.merged is not None
    assert "none saw all that the others saw" in whole.merged.unknown[-1]


@pytest.mark.parametrize(
    ("asked", "hits"),
    [
        ((["a", "b"], ["b", "a"]), 9),  # each sees the sum of both
        ((["a", "b"], ["c", "d"]), 16),
        ((["a", "b"], "b"), None),
    ],
)
def test_hits_of_servers_that_were_asked_together_are_added_to_those_of_others_alone(
    asked: tuple[object, object], hits: int | None
) -> None:
    parts = shards(2, mode="send", reconciled=None)
    seen = [ServerInjections(1, 9, 90, 80, 9, 1, 0), ServerInjections(1, 7, 70, 60, 7, 0, 0)]
    for (name, part), admin, injections in zip(list(parts.items()), asked, seen, strict=True):
        parts[name] = evolve(part, options={**part.options, "admin": admin}, server_injections=injections)
    whole = merged(parts)
    assert hits == (whole.server_injections and whole.server_injections.hits)
    assert whole.merged is not None
    assert hits is not None or "b together with the same other servers" in whole.merged.unknown[-1]


def test_the_verdict_against_the_figures_is_that_of_any_shard() -> None:
    parts = shards(2, mode="send", rate=60.0)
    schedule = parts["1.json"].schedule
    assert schedule is not None
    assert Bottleneck.TARGET is schedule.bottleneck
    parts["1.json"] = evolve(parts["1.json"], schedule=evolve(schedule, bottleneck=Bottleneck.GENERATOR))
    whole = merged(parts)
    assert whole.schedule is not None
    assert (Bottleneck.GENERATOR, 60.0) == (whole.schedule.bottleneck, whole.schedule.target_packets_per_second)


def test_the_start_asked_for_is_told_with_how_late_the_last_one_was() -> None:
    parts = shards(2, mode="send")
    asked = "2024-02-03T04:05:06.000000Z"
    late = {"1.json": 0.001, "2.json": 0.004}
    whole = merged({name: evolve(each, start=Start(asked, late[name])) for name, each in parts.items()})
    assert Start(asked, 0.004) == whole.start


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"2.json": None}, "shard 2 of 3 is missing: expected the results of all 3 shards"),
        (
            {"2.json": {"shard": ShardOf(1, 3)}},
            "2.json: shard 1 of 3 twice, 1.json has it too; expected each shard once",
        ),
        ({"2.json": {"shard": None}}, "2.json: the result of a whole load, expected one of ctrlload run --shard I/N"),
        ({"2.json": {"shard": ShardOf(2, 4)}}, 'number of shards is "3" in 1.json, "4" in 2.json'),
        ({"3.json": {"options": {"streams": 8}}}, 'option streams is "9" in 1.json, "8" in 3.json'),
        ({"3.json": {"labels": {"site": "x"}}}, 'label site is "lab" in 1.json, "x" in 3.json'),
    ],
)
def test_what_does_not_belong_together_is_refused_with_both_values(
    changes: dict[str, dict[str, Any] | None], words: str
) -> None:
    parts = shards(3, mode="send")
    for name, change in changes.items():
        if change is None:
            del parts[name]
        else:
            if "options" in change:
                change = {"options": {**parts[name].options, **change["options"]}}
            parts[name] = evolve(parts[name], **change)
    with pytest.raises(UsageError) as told:
        merged(parts)
    assert words.replace('"3"', "3").replace('"4"', "4").replace('"9"', "9").replace('"8"', "8") in str(told.value)


def test_a_merged_result_is_not_merged_again() -> None:
    whole = merged(shards(2, mode="send"))
    with pytest.raises(UsageError, match=r"all.json: merged already, expected the results of its shards"):
        merged({"all.json": whole})


def test_a_document_that_contradicts_itself_is_not_merged() -> None:
    bad: Any = as_document(result("send", shard=ShardOf(1, 1)))
    bad["sent"]["packets"] = 3
    with pytest.raises(UsageError, match=r"1.json: contradicts itself: intervals have .*; ctrlload check says more"):
        result_in("1.json", bad)


def test_where_connections_are_made_by_a_rate_no_packets_have_one() -> None:
    shards = {f"{n}.json": result("connect", rate=60, streams=4, shard=ShardOf(n, 2)) for n in (1, 2)}
    assert {merged(shards).sent} == {each.sent for each in shards.values()}
