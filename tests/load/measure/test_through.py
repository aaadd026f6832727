from __future__ import annotations

from typing import Any

import pytest

from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.injections import ServerInjections
from ctrlserver.load.measure.reading import Reading
from ctrlserver.load.measure.reconciling import ByAddress, Reconciliation
from ctrlserver.load.measure.through import Through
from tests.load.measure.records import record, stream, struck

ENDED: dict[str, Any] = {"state": "closed", "reason": "injected", "injected": 1}


def reconcile(stream: StreamCount, *records: dict[str, object], verb: str = "sent") -> Reconciliation:
    return ByAddress([stream], "fixed:1024", Reading(), 0.0, 1.0, verb).compare(Reading(records))


@pytest.mark.parametrize("reason", ["injected", "idle"])
def test_what_an_order_ended_may_have_fewer_packets(reason: str) -> None:
    outcome = reconcile(stream(1), record(1, 4, 4096, **{**ENDED, "reason": reason}))
    assert (True, None) == (outcome.reconciled, outcome.difference)
    assert Through(6, 6144, ended=frozenset({1})) == outcome.through
    assert {1: (4, 4096)} == outcome.counted


def test_what_an_order_stalls_may_have_fewer_packets() -> None:
    outcome = reconcile(stream(1), record(1, 4, 4096, injected=1))
    assert (True, Through(6, 6144, stalled=frozenset({1}))) == (outcome.reconciled, outcome.through)


@pytest.mark.parametrize(
    "found",
    [
        {"packets": 11, "nbytes": 11264, **ENDED},
        {"packets": 11, "nbytes": 11264, "injected": 1},
        {"packets": 9, "nbytes": 11264, **ENDED},
        {"packets": 11, "nbytes": 9216, **ENDED},
        {"packets": 4, "nbytes": 4096},
        {"packets": 4, "nbytes": 4096, **ENDED, "injected": 0},
        {"packets": 4, "nbytes": 4096, **ENDED, "reason": "eof"},
        {"packets": 4, "nbytes": 4096, **ENDED, "reason": "fault"},
    ],
)
def test_more_than_was_sent_and_less_without_an_order_are_differences(found: dict[str, Any]) -> None:
    outcome = reconcile(stream(1), record(1, **found))
    assert (False, Through()) == (outcome.reconciled, outcome.through)
    assert "stream 1 (127.0.0.1:40001): sent 10 packets" in str(outcome.difference)


def test_a_stream_that_no_order_struck_must_match_beside_one_that_was() -> None:
    found = [record(2, 9, 9216), record(1, 4, 4096, **ENDED)]
    outcome = ByAddress([stream(1), stream(2)], "fixed:1024", Reading(), 0.0, 1.0).compare(Reading(found))
    assert outcome.reconciled is False
    assert "stream 2" in str(outcome.difference)


def test_what_was_hit_and_received_whole_needs_no_explanation() -> None:
    outcome = reconcile(stream(1), record(1, **ENDED))
    assert (True, Through()) == (outcome.reconciled, outcome.through)


def test_what_a_server_sent_is_not_explained() -> None:
    found = record(1, 4, 4096, **ENDED, mode="source")
    assert reconcile(stream(1), found, verb="received").reconciled is False


def test_of_framing_raw_the_bytes_are_told() -> None:
    outcome = reconcile(stream(1), record(1, 0, 4096, **ENDED, framing="raw"))
    assert Through(0, 6144, ended=frozenset({1})) == outcome.through


def test_a_stream_that_an_order_ended_is_not_held_to_how_ours_ended_it() -> None:
    outcome = reconcile(struck(end="reset"), record(1, **ENDED))
    assert (True, Through(0, 0, ended=frozenset({1}))) == (outcome.reconciled, outcome.through)


def test_streams_off_view_are_explained_if_orders_ended_as_many() -> None:
    streams, rows = [stream(1), stream(2)], [{**record(2, 4, 4096, **ENDED), "listener": "data"}]
    sums = {"peer": "127.0.0.1", "listener": "data", "streams": 2, "packets": 8, "bytes": 8192}
    for closed, reconciled in ((2, True), (1, False)):
        reading = Reading(rows, {"closed_injected_total": 5 + closed}, [sums])
        before = Reading(stats={"closed_injected_total": 5})
        outcome = ByAddress(streams, "fixed:1024", before, 0.0, 1.0).compare(reading)
        assert outcome.reconciled is reconciled
        assert (12 if reconciled else 0) == outcome.through.packets


@pytest.mark.parametrize(
    ("through", "words"),
    [
        (Through(596, 610304, frozenset({1, 2})), "596 packets not received on 2 streams that they ended"),
        (Through(1, 1024, stalled=frozenset({1})), "1 packet not received on 1 stream that they stalled: 9*ok->stall"),
        (
            Through(2, 9, frozenset({1}), frozenset({2})),
            "2 packets not received on 2 streams that they ended or stalled: 9*ok->stall",
        ),
        (Through(0, 9, frozenset({1})), "9 bytes not received on 1 stream that they ended"),
        (Through(), ""),
    ],
)
def test_what_is_explained_is_told(through: Through, words: str) -> None:
    found = ServerInjections(1, 2, 0, 0, 0, 0, 2, ["9*ok->stall"])
    assert words == through.told_in(found).explained


def test_the_orders_that_struck_during_the_run_are_named_once() -> None:
    before = [{"injection": 1, "spec": "close", "hits": 3}, {"injection": 2, "spec": "stall", "hits": 1}]
    after = [
        {"injection": 4, "spec": "reset", "hits": 1},
        {"injection": 3, "spec": "swallow", "hits": 0},
        {"injection": 2, "spec": "stall", "hits": 2},
        {"injection": 1, "spec": "close", "hits": 3},
        {"injection": 5, "spec": "reset", "hits": 1},
    ]
    found = ServerInjections.between(Reading(orders=before), Reading(stats={"injected_total": 3}, orders=after))
    assert found is not None
    assert ["reset", "stall"] == found.orders
    assert "3 hits, 0 active (reset, stall)" == found.words
    assert found.resets
