"""Counts and rates: those of the intervals, the streams and the whole agree. PURE."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import Any

from ctrlserver.load.measure.intervals import INTERVALS_KEPT

Part = Mapping[str, Any]

#: Of a time in seconds with six digits: half of the last one, and what a sum of two loses.
MICROSECOND = 0.6e-6

#: Of a rate with one digit.
RATE = 0.0501


def measured_in(document: Part) -> tuple[str, Part]:
    """The section that the intervals sum to, by its name, and its counts as ``packets`` and ``bytes``."""
    connected = document["connections"]
    if connected is not None:
        return "connections", {**connected, "packets": connected["opened"], "bytes": 0}
    name = "sent" if document["downloaded"] is None else "downloaded"
    return name, document[name]


def whole_intervals(document: Part) -> bool:
    """Whether there are intervals, and the oldest were not given up."""
    return 0 < len(document["intervals"]) < INTERVALS_KEPT


def intervals(document: Part) -> Iterator[str]:
    """They join without a gap, and sum to the whole."""
    kept: Sequence[Part] = document["intervals"]
    if not kept:
        return
    whole = whole_intervals(document)
    if whole and kept[0]["start_seconds"] > MICROSECOND:
        yield f"intervals begin at {kept[0]['start_seconds']} s, not at 0"
    for number, (one, following) in enumerate(pairwise(kept), 2):
        gap = following["start_seconds"] - one["start_seconds"] - one["seconds"]
        if abs(gap) > 4 * MICROSECOND:
            yield f"interval {number} begins {gap:.6f} s after the end of the one before"
        if following["warm_up"] and not one["warm_up"]:
            yield f"interval {number} is of the warm-up, the one before is not"
    section, part = measured_in(document)
    warmed: Part = document["warm_up"] or {"packets": 0, "bytes": 0, "seconds": 0.0}
    for name, warm_up, total in ((section, False, part), ("warm_up", True, warmed)):
        slices = [each for each in kept if each["warm_up"] is warm_up]
        for unit in ("packets", "bytes"):
            found, wanted = sum(each[unit] for each in slices), total[unit]
            if found > wanted or (whole and found < wanted):
                yield f"intervals have {found} {unit}, {name} {wanted}"
        for number, each in enumerate(slices, 1):
            plan = math.inf if number == len(slices) and document["schedule"] is not None else 0.0
            yield from _rates(f"interval at {each['start_seconds']} s", each, plan, rounded=False)
            yield from _interval_times(each, document)
    ends, sent = kept[-1]["start_seconds"] + kept[-1]["seconds"], warmed["seconds"] + part["seconds"]
    if ends + 4 * MICROSECOND < sent:
        yield f"intervals end at {ends:.6f} s, the sending at {sent:.6f} s"


def _interval_times(each: Part, document: Part) -> Iterator[str]:
    for kind in ("response", "service"):
        p50, p99 = each.get(f"{kind}_p50"), each.get(f"{kind}_p99")
        name = f"interval at {each['start_seconds']} s: {kind}"
        if (p50 is None) != (p99 is None):
            yield f"{name}_p50 is {p50}, {kind}_p99 is {p99}"
        if p50 is None or p99 is None:
            continue
        if p50 > p99:
            yield f"{name}_p50 {p50} is above {kind}_p99 {p99}"
        total = (document["latency"] or {}).get(kind)
        if total is not None and None not in (total["min"], total["max"]) and not each["warm_up"]:
            for value in (p50, p99):
                if not total["min"] <= value <= total["max"]:
                    yield f"{name}: {value} is outside latency.{kind}, {total['min']} to {total['max']}"


# Counts and rates


def volumes(document: Part) -> Iterator[str]:
    """Each rate is a count over its time."""
    section, _ = measured_in(document)
    for key in ("packets", "bytes", "writes", "seconds") if section != "sent" else ():
        if document["sent"][key]:
            yield f"sent.{key} is {document['sent'][key]}, though it is {section} that was measured"
    if section == "downloaded" and document["downloaded"]["writes"]:
        yield f"downloaded.writes is {document['downloaded']['writes']}, of a download"
    for name in ("sent", "downloaded", "warm_up", "received"):
        if (part := document[name]) is not None:
            yield from _rates(name, part, plan_of(document) if name == "sent" else 0.0)


def parts(document: Part) -> Iterator[str]:
    """The shards of a merged result sum to it."""
    if (merged := document["merged"]) is None:
        return
    section, whole = measured_in(document)
    for key in ("packets", "bytes"):
        if (found := sum(each[key] for each in merged["shards"])) != whole[key]:
            yield f"merged.shards have {found} {key}, {section} {whole[key]}"
    of, told = merged["of"], sorted([*merged["missing"], *(each["shard"] for each in merged["shards"])])
    if told != list(range(1, of + 1)):
        yield f"merged.shards and missing are {told}, expected 1 to {of}"
    for each in document["streams"]:
        if each["shard"] != (dealt := (each["stream"] - 1) % of + 1):
            yield f"stream {each['stream']} is of shard {each['shard']}, dealt to {dealt}"


def plan_of(document: Part) -> float:
    """The seconds that a schedule gave the packets; infinite if an older document does not tell them, 0 without one."""
    schedule = document["schedule"]
    if schedule is None:
        return 0.0
    return math.inf if schedule["plan_seconds"] is None else float(schedule["plan_seconds"])


def _rates(name: str, part: Part, plan: float, *, rounded: bool = True) -> Iterator[str]:
    """``rounded``: they were made from the seconds as published, or from those of the ``plan`` if these are more."""
    packets, nbytes, seconds = part["packets"], part["bytes"], part["seconds"]
    for key, number, unit in (("packets_per_second", packets, "packets"), ("bits_per_second", 8 * nbytes, "bits")):
        single = packets == 1 and (unit == "packets" or part.get("writes", 1) <= 1)
        yield from rate_lines(f"{name}.{key}", part[key], number, unit, seconds, plan, rounded=rounded, single=single)
    rate, bits = part.get("packets_per_second"), part.get("bits_per_second")
    if rate is not None and bits is not None:
        room = RATE * (nbytes * 8 + packets) + 1e-12 * rate * nbytes * 8
        if abs(rate * nbytes * 8 - bits * packets) > room:
            yield f"{name}: {rate} packets/s and {bits} bit/s are not of {packets} packets of {nbytes} bytes"


def rate_lines(
    name: str,
    rate: float | None,
    number: int,
    unit: str,
    seconds: float,
    plan: float,
    *,
    rounded: bool = True,
    single: bool = False,
) -> Iterator[str]:
    """``rate`` is ``number`` over the longer of ``seconds`` and ``plan``; null is right of a ``single`` packet."""
    span = max(seconds, plan)
    if rate is None:
        if number and seconds > 0 and not single:
            yield f"{name} is null, for {number} {unit} in {seconds} s"
    elif span <= 0:
        yield f"{name} is {rate}, in no time"
    elif span < math.inf or seconds > 0:
        known = span if span < math.inf else seconds
        exact = number / known
        room = RATE + exact * 1e-12
        if not rounded or plan + MICROSECOND >= seconds:
            room += exact * MICROSECOND / known
        if rate > exact + room or (rate < exact - room and span < math.inf):
            yield f"{name} is {rate}, but {number} {unit} in {known} s are {exact:.1f}"


def connections(document: Part) -> Iterator[str]:
    """The failures sum to those that failed; the rate is that of those opened."""
    if (part := document["connections"]) is None:
        return
    failures = sum(part["failures"].values())
    if part["failed"] != failures:
        yield f"connections.failed is {part['failed']}, its reasons {failures}"
    name, rate, opened = "connections.connections_per_second", part["connections_per_second"], part["opened"]
    plan = plan_of(document)
    yield from rate_lines(name, rate, opened, "connections", part["seconds"], plan, single=opened == 1)


# Streams


def streams(document: Part) -> Iterator[str]:
    """They are numbered, and sum to the whole."""
    yield from _numbers(document)
    section, part = measured_in(document)
    if section == "connections":
        return
    warmed: Part = document["warm_up"] or {"packets": 0, "bytes": 0, "writes": 0, "seconds": 0.0}
    for key in ("packets", "bytes", "writes"):
        found, wanted = sum(each[key] for each in document["streams"]), part[key] + warmed[key]
        if found != wanted:
            yield f"streams have {found} {key}, {section} and warm_up {wanted}"
    for each in document["streams"]:
        name = f"stream {each['stream']}"
        if each["incomplete_bytes"] > each["bytes"]:
            yield f"{name} has {each['incomplete_bytes']} incomplete bytes of {each['bytes']}"
        if (each["replies"] or 0) > each["packets"] and document["error"] is None and each["injected"] is None:
            yield f"{name} has {each['replies']} replies to {each['packets']} packets"
    yield from _strides(document)


def _numbers(document: Part) -> Iterator[str]:
    streams: int = document["options"]["streams"]
    shard, merged = document["shard"] or {"index": 1, "of": 1}, document["merged"]
    found = [each["stream"] for each in document["streams"]]
    expected = list(range(shard["index"], streams + 1, shard["of"]))
    if merged is not None and (merged["missing"] or document["error"] is not None or document["interrupted"]):
        expected = sorted(set(found))  # some shards opened none
    elif document["error"] is not None or document["connections"] is not None or not found:
        expected = expected[: len(found)]  # not all were opened
    wrong = next((pair for pair in zip_longest(found, expected) if pair[0] != pair[1]), None)
    if wrong is not None:
        yield f"stream {wrong[0]} stands where stream {wrong[1]} is expected"


def _strides(document: Part) -> Iterator[str]:
    """Packets of one size are that on every stream."""
    options = document["options"]
    if not isinstance(options.get("size"), int) or options.get("mode") == "receive" or options.get("inject"):
        return
    first: float | None = None
    for each in document["streams"]:
        nbytes, packets = each["bytes"] - each["incomplete_bytes"], each["packets"]
        if not packets:
            if nbytes:
                yield f"stream {each['stream']} has no packet, and {nbytes} bytes of whole ones"
            continue
        first = nbytes / packets if first is None else first
        if nbytes % packets or nbytes / packets != first:
            yield f"stream {each['stream']} has {packets} packets of one size in {nbytes} bytes"
