"""Claims about the schema of what is published."""

from __future__ import annotations

import math

import pytest
from attrs import evolve

from ctrlserver.stats.counters import REASONS, REJECTIONS
from ctrlserver.stats.records import (
    PROBE_FIELDS,
    Field,
    StreamRecord,
    as_mapping,
    describe,
    field_names,
    rate_figure,
    seconds_figure,
    timestamp,
)

# As the contract lists them.
STATS = """
    version started uptime_seconds streams_open streams_total packets_total bytes_total packets bytes
    incomplete_bytes_total faults_total rejected_total replies_total packets_per_second packets_per_second_10s
    packets_per_second_60s bits_per_second bits_per_second_10s bits_per_second_60s runs_total resets_total
    loop_lag_seconds
"""
STREAM = """
    stream listener peer protocol framing mode size state reason packets bytes incomplete_bytes seconds
    packets_per_second bits_per_second opened run
"""
TCP = "rtt_seconds retransmits"
PROBE = "lost duplicate out_of_order jitter_seconds delay_p50_seconds delay_p99_seconds"
RUN = """
    run name state started seconds streams packets bytes packets_per_second bits_per_second incomplete_bytes faults
    expected_packets complete listeners
"""
LISTENER = """
    name endpoint address udp_address framing mode streams_open streams_total packets_total bytes_total draining
    injections
"""
INTERVAL = """
    time seconds packets bytes packets_per_second bits_per_second streams_open streams_opened streams_closed rejected
    replies loop_lag_seconds
"""
WORKER = """
    worker pid state streams_open streams_total packets_total bytes_total share cpu_seconds memory_bytes restarts
"""

A_STREAM = StreamRecord(
    stream=7,
    listener="data",
    peer="10.0.0.1:5000",
    protocol="HTTP",
    framing="fixed:1024",
    mode="sink",
    size=1024,
    state="open",
    reason=None,
    packets=2,
    bytes=2048,
    incomplete_bytes=0,
    seconds=0.0,
    packets_per_second=None,
    bits_per_second=None,
    opened="2013-05-01T12:00:00.000Z",
    run=1,
    rtt_seconds=0.0004,
    retransmits=0,
)

CLOSED = [f"closed_{reason.replace('-', '_')}_total" for reason in REASONS]


def names_of(part: str, reasons: tuple[str, ...]) -> list[str]:
    return [f"{part}_{reason.replace('-', '_')}_total" for reason in reasons]


@pytest.mark.parametrize(
    ("record", "names"),
    [
        (
            "stats",
            [
                *STATS.split(),
                *names_of("closed", REASONS),
                *names_of("rejected", REJECTIONS),
                "dropped_total",
                "dropped_in_batches_total",
                "unanswered_loops_total",
                "memory_bytes",
                "kept_given_up_total",
                "config_reloads_total",
                "config_reload_failures_total",
                "admin_refused_total",
                "injections_active",
                "injected_total",
                "swallowed_total",
                "duplicated_total",
                "workers",
                "workers_late",
                "worker_restarts_total",
                "history_lost_total",
            ],
        ),
        ("stream", [*STREAM.split(), *PROBE.split(), *TCP.split(), "injected", "worker"]),
        ("run", RUN.split()),
        ("peer", ["peer", "listener", "streams", "packets", "bytes"]),
        ("listener", LISTENER.split()),
        ("interval", INTERVAL.split()),
        (
            "injection",
            ["injection", "listener", "spec", "hits", "active", "since", "until", "seed", "peer", "streams", "by"],
        ),
        ("worker", WORKER.split()),
    ],
)
def test_the_fields_have_the_names_and_the_order_of_the_contract(record: str, names: list[str]) -> None:
    assert names == [described.name for described in describe() if described.record == record]


def test_every_published_field_says_its_kind_and_what_it_means() -> None:
    kinds = {"counter", "gauge", "text", "timestamp", "flag"}
    for described in describe():
        assert described.kind in kinds, described
        assert described.help, described
        assert (described.unit is not None) == (described.kind in {"counter", "gauge"}), described


def test_a_name_that_ends_in_total_is_a_counter() -> None:
    assert {"counter"} == {described.kind for described in describe() if described.name.endswith("_total")}


def test_a_unit_in_a_name_is_the_unit_of_the_field() -> None:
    for described in describe():
        if described.name.endswith("_seconds"):
            assert "seconds" == described.unit
        if described.name.startswith("packets_per_second"):
            assert "packets/s" == described.unit
        if described.name.startswith("bits_per_second"):
            assert "bits/s" == described.unit


def test_describe_of_a_name_gives_it_in_every_record_that_has_it() -> None:
    assert [("faults_total", "stats")] == [(found.name, found.record) for found in describe("faults_total")]
    assert ["stats", "stream", "run", "peer", "interval"] == [found.record for found in describe("packets")]


def test_describe_of_an_unknown_name_is_empty() -> None:
    assert [] == describe("labels")


def test_the_names_are_those_described() -> None:
    assert field_names() == {described.name for described in describe()}


def test_a_mapping_has_all_fields_in_order() -> None:
    assert list(as_mapping(A_STREAM)) == [*STREAM.split(), *TCP.split(), "injected", "worker"]
    assert "HTTP" == as_mapping(A_STREAM)["protocol"]


def test_what_only_some_streams_have_is_left_out_of_the_records_of_the_others() -> None:
    mapping = as_mapping(evolve(A_STREAM, rtt_seconds=None, retransmits=None, run=None))
    assert [*STREAM.split(), "injected", "worker"] == list(mapping)


def test_the_fields_of_probe_packets_are_there_only_where_such_are_looked_for() -> None:
    assert list(PROBE_FIELDS) == PROBE.split()
    probed = as_mapping(evolve(A_STREAM, lost=0, duplicate=0, out_of_order=0, jitter_seconds=0.0, labels={"site": 1}))
    assert list(probed) == [*STREAM.split(), *PROBE.split(), *TCP.split(), "injected", "worker", "site"]
    assert probed["delay_p50_seconds"] is None


def test_the_labels_follow_the_fields_of_a_stream() -> None:
    labelled = evolve(A_STREAM, labels={"site": "lab", "rack": 4, "weight": 0.5, "spare": True})
    assert [
        ("site", "lab"),
        ("rack", 4),
        ("weight", 0.5),
        ("spare", True),
    ] == list(as_mapping(labelled).items())[len(STREAM.split()) + 4 :]


def test_a_label_never_hides_a_field() -> None:
    assert as_mapping(evolve(A_STREAM, labels={"packets": "many"})) == as_mapping(A_STREAM)


@pytest.mark.parametrize("label", [math.nan, math.inf, -math.inf])
def test_a_label_that_is_not_finite_is_published_as_not_known(label: float) -> None:
    assert as_mapping(evolve(A_STREAM, labels={"weight": label}))["weight"] is None


def test_a_description_is_published_like_a_record() -> None:
    described = Field("peer", "stream", "text", None, "address")
    assert {
        "name": "peer",
        "record": "stream",
        "kind": "text",
        "unit": None,
        "help": "address",
    } == as_mapping(described)


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        A_STREAM.packets = 3  # type: ignore[misc]


def test_a_timestamp_is_utc_with_milliseconds() -> None:
    assert "1970-01-01T00:00:00.000Z" == timestamp(0.0)
    assert "2013-05-01T12:00:00.250Z" == timestamp(1367409600.25)


def test_figures_are_rounded_and_a_rate_over_no_time_is_not_known() -> None:
    assert 0.138164 == seconds_figure(0.13816412345)
    assert 72377.8 == rate_figure(10_000, 0.138164)
    assert rate_figure(10_000, 0.0) is None
    assert 0.0 == rate_figure(0, 2.0)
