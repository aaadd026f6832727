"""Claims about the document of the live page."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve

from ctrlserver.render.snapshot import RUN_FIELDS, STREAM_FIELDS, Seen, past, snapshot, table
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.stats.records import RunRecord, StreamRecord
from ctrlserver.stats.rename import Renames

ORIGIN = Origin("data", "tcp", "fixed:1024", "sink", size=1024, by_size=True)
NONE = Renames()


def book_with(streams: int) -> Book:
    book = Book(version="1.0.0", now=0.0, wall=1_700_000_000.0)
    for number in range(streams):
        stream = book.stream_opened(ORIGIN, f"10.0.0.1:{40000 + number}", 0.0)
        book.first_data(stream, 0.0, 0.5)
        stream.bytes, stream.last = 1024 * number, 1.0
    return book


def seen(book: Book, **changes: Any) -> Seen:
    plain = Seen(
        time="2026-01-01T00:00:00.000Z",
        instance="8f2a61c09d4be375",
        version="1.0.0",
        charts=None,
        ready=True,
        reasons=(),
        stats=book.stats(1.0),
        streams=book.streams(),
        streams_total=len(book.streams()),
        runs=book.runs.records(1.0),
        runs_total=1,
        listeners=(),
        injections=(),
        workers=None,
    )
    return evolve(plain, **changes)


def read(made: bytes) -> Any:
    assert b"\n" not in made
    return json.loads(made)


def by_field(shown: Any) -> list[dict[str, Any]]:
    return [dict(zip(shown["fields"], row, strict=True)) for row in shown["rows"]]


def test_a_table_has_its_columns_once_and_a_row_for_each_record() -> None:
    shown = read(snapshot(seen(book_with(3)), NONE))["streams"]
    assert shown["fields"] == shown["names"]
    assert [2048, 1024, 0] == [row["bytes"] for row in by_field(shown)]


def test_a_column_of_which_no_row_knows_a_value_is_left_out() -> None:
    fields = read(snapshot(seen(book_with(1)), NONE))["streams"]["fields"]
    assert "bytes" in fields
    assert {"reason", "rtt_seconds", "delay_p50_seconds"}.isdisjoint(fields)


def test_runs_have_all_columns_for_those_of_earlier_starts() -> None:
    assert list(RUN_FIELDS) == read(snapshot(seen(book_with(1)), NONE))["runs"]["fields"]


def test_an_empty_table_has_all_its_columns() -> None:
    shown = read(snapshot(seen(book_with(0)), NONE))["streams"]
    assert [list(STREAM_FIELDS), [], 0] == [shown["fields"], shown["rows"], shown["total"]]


def test_all_columns_of_streams_and_runs_are_published_fields() -> None:
    assert set(STREAM_FIELDS) <= {each.name for each in StreamRecord.__attrs_attrs__}
    assert set(RUN_FIELDS) <= {each.name for each in RunRecord.__attrs_attrs__}


def test_renamed_fields_have_their_new_names_beside_their_own() -> None:
    renames = Renames({"peer": "inet_peer", "packets_total": "all_packets"})
    document = read(snapshot(seen(book_with(1)), renames))
    streams, stats = document["streams"], document["stats"]
    assert "inet_peer" == streams["names"][streams["fields"].index("peer")]
    assert "all_packets" == stats["names"][stats["fields"].index("packets_total")]


def test_a_cut_list_says_how_many_there_are() -> None:
    assert 5000 == read(snapshot(seen(book_with(2), streams_total=5000), NONE))["streams"]["total"]


def test_one_process_has_no_table_of_workers() -> None:
    document = read(snapshot(seen(book_with(0)), NONE))
    assert [None, None] == [document["workers"], document["charts"]]


def test_a_hundred_streams_make_less_than_thirty_kilobytes() -> None:
    assert len(snapshot(seen(book_with(100)), NONE)) < 30_000


def test_texts_of_strangers_are_plain_ascii_in_json() -> None:
    name = "</script><b>\u2028\n\r"
    book = book_with(0)
    book.runs.start(name, None, 1.0)
    made = snapshot(seen(book, runs=book.runs.records(1.0)), NONE)
    assert made.isascii()
    assert name == by_field(read(made)["runs"])[0]["name"]


def test_latency_is_of_open_streams_whose_probes_or_replies_say_it() -> None:
    one = evolve(book_with(1).streams()[0], delay_p50_seconds=0.001, delay_p99_seconds=0.005, lost=0, rtt_seconds=0.1)
    two = evolve(one, delay_p50_seconds=0.003, delay_p99_seconds=0.004, mode="echo", rtt_seconds=0.002)
    gone = evolve(one, state="closed", delay_p50_seconds=9.0, delay_p99_seconds=9.0)
    latency = read(snapshot(seen(book_with(0), streams=[one, two, gone]), NONE))["latency"]
    assert {"delay_p50_seconds": 0.002, "delay_p99_seconds": 0.005, "rtt_seconds": 0.002} == latency


def test_without_probes_and_replies_no_latency_is_known() -> None:
    assert {None} == set(read(snapshot(seen(book_with(2)), NONE))["latency"].values())


def test_the_past_says_how_long_ago_each_second_ended() -> None:
    assert [[-2.0, 10.0, 80.0], [-1.0, 20.5, 164.0]] == read(past([(8.0, 10.0, 80.0), (9.0, 20.5, 164.0)], 10.0))


def test_a_table_of_records_of_all_fields_needs_no_list_of_them() -> None:
    shown = table([book_with(0).stats(1.0)], NONE)
    assert ["version", "1.0.0", 1] == [shown["fields"][0], shown["rows"][0][0], shown["total"]]
