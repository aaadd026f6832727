"""Latencies and the schedule: each figure is that of its histogram, and fits what was sent and answered. PURE."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from ctrlserver.load.measure.verdict import LATE, TOLERATED, too_many_late
from ctrlserver.load.results.checks.counts import MICROSECOND, RATE, Part, measured_in, whole_intervals
from ctrlserver.stats.latency import PERCENTILES, UNIT_SECONDS, decoded

#: Responses recorded in groups are up to a sixteenth longer or shorter than each was (``Histogram.record_run``).
_GROUPED = 1.07
_GROUPED_SECONDS = 20e-6

#: The percentiles of a slip, by name.
_SLIP = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}


def replies(document: Part) -> Iterator[str]:
    """The streams sum to the replies, and each was timed."""
    streams, part = document["streams"], document["replies"]
    answered = sum(each["replies"] or 0 for each in streams)
    failed = document["error"] is not None
    if part is not None:
        number, warm = part["packets"], document["warm_up"]
        if number and not part["bytes"] and not over_udp(document):
            yield f"replies are {number} packets of no bytes"
        beside = 0 if warm is None else warm["packets"] + (document["injections"] or {"duplicated": 0})["duplicated"]
        sound = not (failed or document["interrupted"] or document["injections"])
        if not failed and not (number + beside if sound else number) <= answered <= number + beside:
            yield f"streams have {answered} replies, replies {number}, warm_up at most {beside}"
        if sound and number != document["sent"]["packets"]:
            yield f"replies are {number}, packets sent {document['sent']['packets']}, and nothing failed"
    elif answered:
        yield f"streams have {answered} replies, replies is null"
    yield from _latencies(document, part)


def _latencies(document: Part, replies: Part | None) -> Iterator[str]:
    latency = document.get("latency") or {}
    least, most = _awaited(document, replies)
    for kind in ("response", "service"):
        part = latency.get(kind)
        count = 0 if part is None else part["count"]
        if kind == "response" and document["schedule"] is None:
            if count:
                yield "latency.response is given, schedule is null"
            continue
        if not least <= count <= most:
            yield f"latency.{kind} has {count} times, of {least if count < least else most} that were awaited"
    response, service = latency.get("response"), latency.get("service")
    if response is not None and service is not None:
        for key in ("mean", "min", "p50", "p90", "p99", "p99_9", "p99_99", "max"):
            if (service[key] or 0) > (response[key] or 0) * _GROUPED + _GROUPED_SECONDS:
                yield f"latency.service.{key} {service[key]} is above latency.response.{key} {response[key]}"


def _awaited(document: Part, replies: Part | None) -> tuple[float, float]:
    """How many times were recorded, at least and at most. A failed run may count a reply that answers nothing."""
    connected = document["connections"]
    if replies is not None:
        return (0 if document["error"] is not None else replies["packets"]), replies["packets"]
    if connected is not None:
        greeted = document["options"]["greeting"] is not None
        return connected["opened"], math.inf if greeted else connected["opened"] + connected["failed"]
    return 0, 0


def histograms(document: Part) -> Iterator[str]:
    """Each figure is that of its histogram."""
    latency = document["latency"] or {}
    for kind in ("response", "service"):
        if (part := latency.get(kind)) is not None:
            yield from _histogram(f"latency.{kind}", part, latency["unit_seconds"])
    if document["schedule"] is not None:
        yield from _slipped(document["schedule"], document["merged"])
    yield from _interval_histograms(document)


def _interval_histograms(document: Part) -> Iterator[str]:
    """Those of intervals have the percentiles told, and add up to the whole."""
    for kind in ("response", "service"):
        found = 0
        for each in document["intervals"]:
            if (text := each[f"{kind}_hdr"]) is None:
                continue
            try:
                times = decoded(text)
            except ValueError as error:
                yield f"interval at {each['start_seconds']} s: {kind}_hdr: {error}"
                return
            told = [each[f"{kind}_p50"], each[f"{kind}_p99"]]
            if told != times.at((50, 99)):
                yield f"interval at {each['start_seconds']} s: {kind} is {told}, in its histogram {times.at((50, 99))}"
            if not each["warm_up"]:
                found += len(times)
        count = ((document["latency"] or {}).get(kind) or {"count": 0})["count"]
        if found and whole_intervals(document) and found != count:
            yield f"histograms of intervals have {found} times of latency.{kind}, which has {count}"


def _histogram(name: str, part: Part, unit: float) -> Iterator[str]:
    if unit != UNIT_SECONDS:
        yield f"latency.unit_seconds is {unit}, expected {UNIT_SECONDS}"
        return
    try:
        found = decoded(part["hdr"]).figures()
    except ValueError as error:
        yield f"{name}.hdr: {error}"
        return
    for key in ("count", "mean", "min", "max", *PERCENTILES):
        value, wanted = part[key], 0 if found is None else found[key]
        if value is None or not math.isclose(value, wanted, rel_tol=1e-12, abs_tol=0.6e-9):
            yield f"{name}.{key} is {value}, that of its histogram {wanted}"


def schedule(document: Part) -> Iterator[str]:
    """It has what was sent; lateness and verdict are those of the slip."""
    part = document["schedule"]
    options = document["options"]
    if part is None:
        return
    section, whole = measured_in(document)
    sent, planned = part["sent_packets"], part["planned_packets"]
    if sent != whole.get("packets"):
        yield f"schedule.sent_packets is {sent}, {section} has {whole.get('packets')}"
    if sent > planned:
        yield f"schedule.sent_packets {sent} are more than the {planned} planned"
    achieved, target = part["achieved_packets_per_second"], part["target_packets_per_second"]
    share = _share(document)
    rate = options["rate_packets_per_second"]
    if rate is not None and options["profile"] is None and share is not None and planned:
        asked = rate * share
        if not math.isclose(target, asked, rel_tol=1e-6, abs_tol=0.0011 if document["merged"] is None else 0.1):
            yield f"schedule.target_packets_per_second is {target}, the rate asked for {asked:g}"
    other = whole.get("connections_per_second" if section == "connections" else "packets_per_second")
    if (
        achieved is not None
        and other is not None
        and abs(achieved - other) > RATE + achieved * 2e-6 / max(1e-6, whole["seconds"])
    ):
        yield f"schedule.achieved_packets_per_second is {achieved}, {section} says {other}"
    plan = part["plan_seconds"]
    if plan is not None and options["arrival"] == "constant" and document["warm_up"] is None:
        due = target * plan
        parts = 1 if document["merged"] is None and document["shard"] is None else options["streams"]  # dealt in rounds
        if planned > due + target * MICROSECOND + parts + 0.001 + 1e-5 * due:
            yield f"schedule.planned_packets is {planned}, but {target} packets/s for {plan} s are {due:.0f}"
    slip = part["slip"]
    for lower, upper in pairwise(_SLIP):
        if (slip[lower] or 0) > (slip[upper] or 0):
            yield f"schedule.slip.{lower} {slip[lower]} is above {upper} {slip[upper]}"


def _share(document: Part) -> float | None:
    """Which part of the load's rate the schedule has, that of its streams; None if nobody knows."""
    shard, merged, streams = document["shard"], document["merged"], document["options"]["streams"]
    if merged is not None:
        known = not merged["missing"] and all(each["bottleneck"] and each["packets"] for each in merged["shards"])
        return 1.0 if known else None
    return 1.0 if shard is None else len(range(shard["index"], streams + 1, shard["of"])) / float(streams)


def _slipped(part: Part, merged: Part | None) -> Iterator[str]:
    """What follows from the histogram of the slip, in documents that have it."""
    sent, planned, late = part["sent_packets"], part["planned_packets"], part["late_packets"]
    slip = part["slip"]
    if slip["hdr"] is None:
        return
    try:
        times = decoded(slip["hdr"])
    except ValueError as error:
        yield f"schedule.slip.hdr: {error}"
        return
    for (name, _), wanted in zip(_SLIP.items(), times.at(tuple(_SLIP.values())), strict=True):
        if slip[name] is None or not math.isclose(slip[name], wanted, abs_tol=0.6e-9):
            yield f"schedule.slip.{name} is {slip[name]}, that of its histogram {wanted}"
    if late != times.count_above(LATE):
        yield f"schedule.late_packets is {late}, by the histogram of the slip {times.count_above(LATE)}"
    kept = not too_many_late(times) and planned - sent <= TOLERATED * planned
    apart = merged is not None and all(each["bottleneck"] in ("none", None) for each in merged["shards"])
    if kept != (part["bottleneck"] == "none") and not apart:
        yield f"schedule.bottleneck is {part['bottleneck']}, with {late} of {planned} packets late and {sent} sent"


def over_udp(document: Part) -> bool:
    """Whether the packets were datagrams."""
    return str(document.get("target")).startswith("udp:")
