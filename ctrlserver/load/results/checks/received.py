"""What the server said, what injections did, and the conditions: each fits what was sent. PURE."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from ctrlserver.errors import UsageError
from ctrlserver.load.results.checks.counts import MICROSECOND, Part, measured_in
from ctrlserver.load.results.thresholds import judge, parse_threshold

#: What an injection did to packets of a stream, by the name in the sums.
_TO_PACKETS = ("hits", "duplicated", "truncated", "corrupted", "dripped", "slowed", "unconfirmed_bytes")
_ENDS = {
    "reset_streams": "reset",
    "closed_streams": "close",
    "half_closed_streams": "half-close",
    "stalled_streams": "stall",
}


def received(document: Part) -> Iterator[str]:
    """What the server counted is not more than was sent, and the same where it is said so."""
    part, reconciled, difference = document.get("received"), document["reconciled"], document["difference"]
    streams: Sequence[Part] = document.get("streams") or ()
    if reconciled is True and difference is not None:
        yield f"reconciled is true, but a difference is told: {difference}"
    if reconciled is True and part is None and any(each["bytes"] for each in streams):
        yield "reconciled is true, received is null"
    if part is None:
        return
    for key in ("packets", "bytes"):
        told = [each[f"received_{key}"] for each in streams]
        if streams and None not in told and sum(told) != part[key]:
            yield f"streams have {sum(told)} received {key}, received {part[key]}"
    section, whole = measured_in(document)
    if part["seconds"] + 2 * MICROSECOND < whole["seconds"]:
        yield f"received in {part['seconds']} s, {section} in {whole['seconds']} s"
    if reconciled is True:
        yield from _as_sent(document, part, streams)
    yield from _delivery(document, part, streams)


def _as_sent(document: Part, received: Part, streams: Iterable[Part]) -> Iterator[str]:
    """All was received, but for what injections explain."""
    most = least = nbytes = fewest = 0
    for each in streams:
        struck: Part = each["injected"] or {}
        most += struck.get("expected_packets", each["packets"])
        least += struck.get("least_packets", each["packets"])
        nbytes += each["bytes"]
        fewest += 0 if struck.get("faulty") else each["bytes"] - struck.get("unconfirmed_bytes", 0)
    theirs = document.get("server_injections") or {}
    least -= theirs.get("unreceived_packets", 0)
    fewest -= theirs.get("unreceived_bytes", 0)
    for key, low, high in (("packets", least, most), ("bytes", fewest, nbytes)):
        uncounted = key == "packets" and not received[key]  # a server whose framing is raw counts none
        if not uncounted and not low <= received[key] <= high:
            right = f"{high}" if low == high else f"{low} to {high}"
            yield f"reconciled is true, but {received[key]} {key} were received of {right} sent"


def _delivery(document: Part, received: Part, streams: Iterable[Part]) -> Iterator[str]:
    delivery = document.get("delivery")
    if delivery is None:
        return
    sent = sum(
        each["packets"] if each["injected"] is None else each["injected"]["expected_packets"] for each in streams
    )
    missing = sent - received["packets"]
    twice = delivery["duplicate"] or 0
    if document["difference"] is None and not missing <= delivery["lost"] <= max(0, missing) + twice:
        yield f"delivery.lost is {delivery['lost']}, but {received['packets']} of {sent} packets were received"
    if document["reconciled"] is True and delivery["lost"]:
        yield f"reconciled is true, delivery.lost is {delivery['lost']}"


def injections(document: Part) -> Iterator[str]:
    """The streams and the terms sum to the hits."""
    part = document.get("injections")
    struck = [each["injected"] for each in document.get("streams") or () if each["injected"] is not None]
    if part is None:
        if struck:
            yield "streams were struck, injections is null"
        return
    if part["seed"] != document["options"]["seed"]:
        yield f"injections.seed is {part['seed']}, that of the options {document['options']['seed']}"
    for each in struck:
        least, most = each["least_packets"], each["expected_packets"]
        if least > most or (least < most and not each["unconfirmed_bytes"]):
            yield f"injected: {least} to {most} packets are expected, {each['unconfirmed_bytes']} bytes unconfirmed"
    for key in _TO_PACKETS:
        if (found := sum(each[key] for each in struck)) != part[key]:
            yield f"injections.{key} is {part[key]}, that of the streams {found}"
    for key, end in _ENDS.items():
        if (found := sum(each["end"] == end for each in struck)) != part[key]:
            yield f"injections.{key} is {part[key]}, that of the streams {found}"
    if (found := sum(term["hits"] for term in part["terms"])) != part["hits"]:
        yield f"injections.hits is {part['hits']}, that of the terms {found}"


def thresholds(document: Part) -> Iterator[str]:
    """Each is judged as it was."""
    for told in document.get("thresholds") or ():
        try:
            (found,) = judge([parse_threshold(told["expression"])], document)
        except UsageError as error:
            yield f"thresholds: {error}"
            continue
        except Exception:  # of the library, for a histogram that is told above
            continue
        same = found.value == told["value"]
        if not same and found.value is not None and told["value"] is not None:
            same = math.isclose(found.value, told["value"], rel_tol=1e-9)
        if not same or found.failed != told["failed"]:
            yield (
                f"thresholds: {told['expression']} has the value {told['value']} and {_held(told['failed'])}, "
                f"by the result {found.value} and {_held(found.failed)}"
            )


def _held(failed: bool) -> str:
    return "held" if failed else "did not hold"
