"""Holds result documents, events, comparisons and searches to the shipped schemas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]
from hdrh.histogram import HdrHistogram
from referencing import Registry, Resource

from ctrlserver.load.results.schemas import shipped_schema


@cache
def validator(name: str) -> Any:
    """Validates by a shipped schema, which may refer to that of a result; made once, for a schema is slow to read."""
    result: Resource[Any] = Resource.from_contents(shipped_schema("result"))
    registry: Registry[Any] = Registry().with_resource(str(shipped_schema("result")["$id"]), result)
    return jsonschema.Draft202012Validator(shipped_schema(name), registry=registry)


def validated(text: str) -> dict[str, Any]:
    """The document in ``text``, which keeps to the schema and has no key twice."""
    document: dict[str, Any] = json.loads(text, object_pairs_hook=without_duplicates, parse_constant=refused)
    validator("result").validate(document)
    return document


def validated_events(text: str) -> list[dict[str, Any]]:
    """The events in ``text``: each keeps to the schema, the first is start, the last and no other is end."""
    events = [json.loads(line, object_pairs_hook=without_duplicates, parse_constant=refused) for line in lines(text)]
    for event in events:
        validator("events").validate(event)
    names = [event["event"] for event in events]
    assert ("start", "end") == (names[0], names[-1])
    assert 2 == sum(name in ("start", "end") for name in names)
    return events


def validated_search(text: str) -> dict[str, Any]:
    """The document of a search in ``text``, which keeps to its schema and has no key twice."""
    document: dict[str, Any] = json.loads(text, object_pairs_hook=without_duplicates, parse_constant=refused)
    validator("search").validate(document)
    return document


def lines(text: str) -> list[str]:
    """Each line of ``text``, all of which are ended."""
    assert text.endswith("\n")
    return text.split("\n")[:-1]


def check_schema(name: str = "result") -> None:
    """See that the schema is one."""
    jsonschema.Draft202012Validator.check_schema(shipped_schema(name))


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    assert len(made) == len(pairs)
    return made


def refused(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def latency(times: Sequence[float]) -> dict[str, Any]:
    """The part ``response`` or ``service`` of a document, of these seconds; recorded in microseconds."""
    histogram = HdrHistogram(1, 3_600_000_000, 3)
    for time in times:
        histogram.record_value(round(time * 1e6))
    shares = {"p50": 50, "p90": 90, "p99": 99, "p99_9": 99.9, "p99_99": 99.99}
    return {
        "count": len(times),
        "mean": histogram.get_mean_value() / 1e6,
        "min": min(times),
        "max": max(times),
        **{name: histogram.get_value_at_percentile(share) / 1e6 for name, share in shares.items()},
        "hdr": histogram.encode().decode("ascii"),
    }


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy of ``document`` with ``section__field=value`` changed or added."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    for name, value in changes.items():
        *way, last = name.split("__")
        part = copy
        for key in way:
            part = part[key]
        part[last] = value
    return copy
