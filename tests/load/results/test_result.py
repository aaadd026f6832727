from __future__ import annotations

from typing import Any

import attrs
import pytest
from attrs import evolve

from ctrlserver.client.target import Target
from ctrlserver.load.measure.confidence import Precision, Until
from ctrlserver.load.measure.counts import Received, Replies, StreamCount, Volume
from ctrlserver.load.measure.intervals import Interval
from ctrlserver.load.results.result import Environment, Result, as_document, as_json
from ctrlserver.load.results.schemas import shipped_schema
from ctrlserver.load.results.thresholds import Judgement
from ctrlserver.load.streams.wire import REASONS
from tests.load.asking import options_for
from tests.load.documents import check_schema, validated

VOLUME = Volume(packets=10, bytes=10240, writes=1, seconds=0.5, packets_per_second=20.0, bits_per_second=163840.0)
STREAM = StreamCount(1, "127.0.0.1:4", "127.0.0.1:5", 10, 10240, 0.5, 0, 1, 10, 10, 10240, "complete")

FULL = Result(
    started="2024-02-03T04:05:06.789Z",
    began="2024-02-03T04:05:06.799123Z",
    target="127.0.0.1:5",
    options=options_for(Target("127.0.0.1:5")).as_options(),
    labels={"site": "lab"},
    environment=Environment("0.1.0"),
    intervals=[Interval(0.0, 0.5, 10, 10240, 20.0, 163840.0, False)],
    sent=VOLUME,
    warm_up=VOLUME,
    replies=Replies(10, 10240),
    received=Received(10, 10240, 0.4, 25.0, 204800.0),
    reconciled=True,
    streams=[STREAM],
    interrupted=False,
    error=None,
    difference=None,
    until=Until.of([Precision("rate+-5%", "sent.packets_per_second", True, 20.0, 19.5, 20.5, 10, True, 0.5)]),
    thresholds=[Judgement("packets<5", 10, False)],
)
EMPTY = evolve(
    FULL,
    labels={},
    environment=Environment(),
    intervals=[],
    sent=Volume(0, 0, 0, 0.0, None, None),
    warm_up=None,
    replies=None,
    received=None,
    reconciled=None,
    streams=[],
    error="cannot connect",
    thresholds=[],
)


def defined(part: dict[str, Any]) -> set[str]:
    """The keys a part of the schema knows, all of which it requires."""
    assert set(part["required"]) == set(part["properties"])
    assert part["additionalProperties"] is False
    return set(part["properties"])


@pytest.mark.parametrize("result", [FULL, EMPTY], ids=["full", "empty"])
def test_a_result_keeps_to_the_schema(result: Result) -> None:
    assert result.target == validated(as_json(result))["target"]


def test_the_schema_itself_is_one() -> None:
    check_schema("result")


def test_the_schema_knows_every_field_and_no_other() -> None:
    properties: Any = shipped_schema("result")["properties"]
    definitions: Any = shipped_schema("result")["$defs"]
    assert defined(shipped_schema("result")) == {field.name for field in attrs.fields(Result)}
    assert defined(properties["options"]) == set(FULL.options)
    assert defined(properties["environment"]) == {field.name for field in attrs.fields(Environment)}
    assert defined(properties["intervals"]["items"]) == {field.name for field in attrs.fields(Interval)}
    assert defined(properties["streams"]["items"]) == {field.name for field in attrs.fields(StreamCount)}
    assert defined(properties["thresholds"]["items"]) == {field.name for field in attrs.fields(Judgement)}
    until = properties["until"]["anyOf"][0]
    assert defined(until) == {field.name for field in attrs.fields(Until)}
    assert defined(until["properties"]["goals"]["items"]) == {field.name for field in attrs.fields(Precision)}
    assert defined(properties["received"]["anyOf"][0]) == {field.name for field in attrs.fields(Received)}
    assert defined(properties["replies"]["anyOf"][0]) == {field.name for field in attrs.fields(Replies)}
    assert defined(definitions["volume"]) == {field.name for field in attrs.fields(Volume)}
    assert properties["streams"]["items"]["properties"]["reason"]["enum"] == list(REASONS)


def test_the_document_names_its_schema_first_and_has_every_field() -> None:
    document = as_document(FULL)
    assert ("schema", "ctrlload/1") == next(iter(document.items()))
    assert set(document) == {field.name for field in attrs.fields(Result)}


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        as_json(evolve(FULL, sent=evolve(VOLUME, seconds=float("nan"))))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"thresholds": [Judgement("packets>5", 10, True)]}, 4),
        ({"reconciled": False, "difference": "x", "thresholds": [Judgement("packets>5", 10, True)]}, 3),
        ({"reconciled": None}, 0),
        ({"reconciled": False, "difference": None}, 0),
        ({"error": "x", "reconciled": False}, 1),
        ({"interrupted": True, "error": "x", "reconciled": False}, 130),
    ],
)
def test_the_gravest_outcome_is_the_exit_code(changes: dict[str, Any], code: int) -> None:
    assert code == evolve(FULL, **changes).exit_code
