"""What workers tell becomes one book: by the order of events, once, and without a number that falls."""

from __future__ import annotations

import pickle
from collections.abc import Mapping

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.records import describe
from ctrlserver.workers.merging import Mirror
from ctrlserver.workers.snapshots import OPENED, RecordingBook
from tests.stats.books import LINES, ORIGIN, WALL, a_book, send

GROWING = [each.name for each in describe() if each.record == "stats" and each.kind == "counter"]


class Several:
    """Workers and their parent."""

    def __init__(self, number: int = 2, run_gap: float = 1.0, closed_kept: int = 1000) -> None:
        self.book: Book = a_book(run_gap=run_gap, closed_kept=closed_kept)
        self.mirror = Mirror(self.book)
        self.workers = {each: self.worker() for each in range(1, number + 1)}

    @staticmethod
    def worker() -> RecordingBook:
        return RecordingBook(version="1.2.3", now=500.0, wall=WALL)

    def refresh(self, at: float | Mapping[int, float]) -> None:
        times = dict.fromkeys(self.workers, at) if isinstance(at, float) else at
        taken = {each: pickle.loads(pickle.dumps(self.workers[each].take(time))) for each, time in times.items()}
        self.mirror.apply(taken)

    def tick(self, at: float) -> None:
        self.refresh(at)
        self.book.tick(at, self.mirror.take_lag(), WALL + at - 500)

    def open(self, worker: int, now: float, port: int = 5) -> StreamCounters:
        return self.workers[worker].stream_opened(LINES, f"10.0.0.{worker}:{port}", now)

    def close(self, worker: int, stream: StreamCounters, now: float) -> None:
        self.workers[worker].stream_closed(stream, "eof", 0, now)

    def runs(self, now: float) -> list[tuple[str, int, float]]:
        """State, packets and seconds of each, the first one first."""
        return [(run.state, run.packets, run.seconds) for run in reversed(self.book.runs.records(now))]


def test_streams_are_numbered_in_the_order_in_which_they_opened_and_lead_to_their_worker() -> None:
    several = Several()
    for worker, now in [(2, 501.0), (1, 502.0), (2, 503.0)]:
        several.open(worker, now)
    several.refresh(504.0)
    assert ["10.0.0.2:5", "10.0.0.1:5", "10.0.0.2:5"] == [each.peer for each in several.book.counters.open.values()]
    assert [(2, 1), (1, 1), (2, 2), None] == [several.mirror.local(number) for number in range(1, 5)]


def test_of_a_connection_that_is_taken_late_counts_when_it_was_accepted() -> None:
    several = Several()
    several.open(2, 501.25)
    several.workers[1].accepted = 501.0
    assert 501.0 == several.open(1, 501.5).opened
    several.refresh(502.0)
    assert ["10.0.0.1:5", "10.0.0.2:5"] == [each.peer for each in several.book.counters.open.values()]


def test_a_stream_whose_close_was_seen_before_its_last_data_has_all_of_it() -> None:
    several = Several(1)
    stream = several.open(1, 501.0)
    send(several.workers[1], stream, 3, 501.5)
    several.refresh(502.0)
    send(several.workers[1], stream, 4, 503.0)
    several.close(1, stream, 502.75)
    several.refresh(503.25)
    assert ({}, 7) == (several.book.counters.open, several.book.counters.totals().packets)


def test_a_run_spans_workers_from_its_first_data_to_its_last() -> None:
    several = Several()
    for worker, first, last in [(2, 501.0, 504.0), (1, 501.5, 505.0)]:
        stream = several.open(worker, 500.5)
        send(several.workers[worker], stream, 3, first)
        send(several.workers[worker], stream, 4, last)
        several.close(worker, stream, 505.25)
    several.tick(505.5)
    assert [("active", 14, 4.0)] == several.runs(505.5)
    several.tick(506.5)
    assert [("ended", 14, 4.0)] == several.runs(506.5)


def test_short_streams_between_two_refreshes_belong_to_the_run_which_goes_on_until_their_last_close() -> None:
    several = Several()
    several.refresh(500.5)
    first = several.open(1, 500.75)
    send(several.workers[1], first, 3, 500.75)
    several.tick(501.0)
    several.close(1, first, 501.0)
    for worker, opened, closed in [(2, 501.0, 501.75), (1, 501.25, 501.5)]:
        stream = several.open(worker, opened)
        send(several.workers[worker], stream, 2, opened)
        several.close(worker, stream, closed)
    several.close(1, several.open(1, 501.25, port=6), 501.75)  # it sends nothing
    several.tick(501.75)
    records = several.book.streams()
    assert ["10.0.0.1:6", "10.0.0.1:5", "10.0.0.2:5", "10.0.0.1:5"] == [record.peer for record in records]
    assert ([None, 1, 1, 1], 4) == ([record.run for record in records], several.book.counters.totals().streams_total)
    assert 2 * ["active"] == [several.runs(now)[0][0] for now in (502.0, 502.5)]
    several.tick(502.75)
    assert [("ended", 7, 0.5)] == several.runs(502.75)


def test_a_run_goes_on_from_its_last_close_though_an_earlier_one_is_told_after_that() -> None:
    several = Several()
    streams = {worker: several.open(worker, 501.0) for worker in (1, 2)}
    for worker, stream in streams.items():
        send(several.workers[worker], stream, 1, 501.0)
    several.tick(501.25)
    several.close(1, streams[1], 502.0)
    several.refresh({1: 502.0})
    several.close(2, streams[2], 501.5)
    several.tick(502.25)
    several.tick(502.75)
    assert ["active"] == [run[0] for run in several.runs(502.75)]
    several.tick(503.0)
    assert ["ended"] == [run[0] for run in several.runs(503.0)]


def test_a_run_names_its_listeners_in_the_order_in_which_they_got_data() -> None:
    several = Several()
    send(several.workers[2], several.open(2, 501.0), 1, 501.0)
    several.refresh(501.0)
    late, early = several.open(1, 501.25), several.workers[2].stream_opened(ORIGIN, "10.0.0.2:7", 501.5)
    third = several.workers[1].stream_opened(evolve(LINES, listener="third"), "10.0.0.1:8", 501.0)
    for worker, stream, when in [(2, early, 502.0), (1, late, 502.5), (1, third, 502.25)]:
        send(several.workers[worker], stream, 1, when)
        several.close(worker, stream, 503.0)
    several.refresh(503.25)
    assert ["lines,data,third"] == [run.listeners for run in several.book.runs.records(503.25)]


def test_runs_that_begin_and_end_between_two_refreshes_come_apart_at_the_gap() -> None:
    several = Several(run_gap=0.01)
    several.tick(500.75)
    for worker, at in [(1, 501.0), (2, 501.05), (1, 501.1)]:
        stream = several.open(worker, at)
        send(several.workers[worker], stream, 5, at)
        send(several.workers[worker], stream, 5, at + 0.02)
        several.close(worker, stream, at + 0.02)
    several.tick(501.25)
    assert [("ended", 10, 0.02)] * 3 == several.runs(501.25)


def test_a_stream_that_sends_all_the_time_keeps_short_ones_from_being_runs_of_their_own() -> None:
    several = Several(run_gap=0.01)
    steady = several.open(1, 500.5)
    send(several.workers[1], steady, 1, 500.5)
    several.tick(500.75)
    for at, moments in [(501.0, 0), (501.1, 240)]:  # the first one is another test than the steady stream began
        stream = several.open(2, at)
        send(several.workers[2], stream, 1, at)
        several.close(2, stream, at)
        for moment in range(moments):
            send(several.workers[1], steady, 1, 501.001 + moment / 1000)
        several.refresh(at + moments / 1000)
    several.tick(501.241)
    assert [1, 242] == [packets for _, packets, _ in several.runs(501.241)]


def test_what_a_stream_counts_as_it_begins_is_in_the_run_that_it_begins() -> None:
    several = Several()
    stream = several.open(1, 500.5)
    several.refresh(500.75)
    several.open(1, 502.0, port=6)  # in the same turn, in which others have been read before
    several.workers[1].first_data(stream, 501.0, 501.5)
    send(several.workers[1], stream, 3, 501.5)
    several.refresh(502.5)
    assert [("active", 3, 0.0)] == several.runs(502.5)


def test_no_run_ends_while_a_worker_has_not_told_what_it_counts() -> None:
    several = Several()
    stream = several.open(1, 501.0)
    send(several.workers[1], stream, 1, 501.0)
    several.close(1, stream, 501.1)
    several.refresh(501.25)
    late = several.open(2, 501.5)
    send(several.workers[2], late, 1, 501.5)
    several.refresh({1: 503.0})
    several.book.tick(503.0, 0.0, WALL + 3)
    assert ["active"] == [state for state, *_ in several.runs(503.0)]
    several.refresh({2: 503.5})
    assert [("active", 2, 0.5)] == several.runs(503.5)
    assert 0 == several.mirror.lost(3, 503.5)


def test_a_pause_of_a_worker_is_no_silence() -> None:
    several = Several()
    for worker in several.workers.values():
        worker.tick(500.75, 0.0, WALL)
    stream = several.open(1, 501.0)
    send(several.workers[1], stream, 1, 501.0)
    several.close(1, stream, 501.0)
    several.workers[2].tick(504.0, 0.0, WALL)
    several.tick(504.0)
    assert ["active"] == [state for state, *_ in several.runs(504.0)]
    assert 3.0 == several.book.stats(504.0).loop_lag_seconds


def test_of_a_lost_worker_streams_close_with_their_last_figures_and_what_it_held_is_gone() -> None:
    several = Several()
    fixed = several.workers[1].stream_opened(evolve(ORIGIN, by_size=True), "10.0.0.1:5", 501.0)
    send(several.workers[1], fixed, 3, 502.0, size=1100)
    several.workers[1].memory.add(4096)
    several.workers[2].memory.add(5)
    several.refresh(502.5)
    send(several.workers[1], fixed, 9, 502.75)
    assert (1, 5) == (several.mirror.lost(1, 503.0), several.book.memory.held)
    (record,) = several.book.streams()
    assert ("worker", 3, 3300, 300) == (record.reason, record.packets, record.bytes, record.incomplete_bytes)
    stats = several.book.stats(503.0)
    assert (1, 0, 3, 300) == (
        stats.closed_worker_total,
        stats.streams_open,
        stats.packets_total,
        stats.incomplete_bytes_total,
    )


def test_the_one_that_replaces_a_lost_worker_begins_its_numbers_anew_and_gets_nobody_elses_streams() -> None:
    several = Several()
    send(several.workers[1], several.open(1, 501.0), 3, 502.0)
    several.workers[1].counters.rejected("draining", 7)
    several.refresh(503.0)
    several.mirror.lost(1, 503.5)
    several.workers[1] = several.worker()
    send(several.workers[1], several.open(1, 504.0), 1, 504.0)
    several.workers[1].counters.rejected("draining", 2)
    several.refresh(505.0)
    assert [None, (1, 1)] == [several.mirror.local(number) for number in (1, 2)]
    assert (9, 4) == (several.book.counters.rejected_by_reason["draining"], several.book.counters.totals().packets)


def test_what_cannot_be_entered_is_raised_once_all_the_rest_is_entered() -> None:
    several = Several()
    for worker, book in several.workers.items():
        send(book, several.open(worker, 501.0), 3, 501.0)
    good = {worker: book.take(502.0) for worker, book in several.workers.items()}
    broken = evolve(good[1], events=[event for event in good[1].events if event[1] != OPENED])
    with pytest.raises(KeyError):
        several.mirror.apply({1: broken, 2: good[2]})
    assert 3 == several.book.counters.totals().packets
    send(several.workers[1], several.open(1, 503.0), 4, 503.0)
    several.refresh(504.0)
    assert 7 == several.book.counters.totals().packets


def test_equal_origins_of_all_workers_and_reloads_are_one() -> None:
    several = Several()
    for now in (501.0, 502.0):
        for worker in several.workers:
            several.open(worker, now)
        several.refresh(now)
    flag, number = (evolve(LINES, labels={"site": value}) for value in (True, 1))
    several.workers[1].stream_opened(flag, "10.0.0.1:7", 503.0)
    several.workers[1].stream_opened(number, "10.0.0.1:8", 503.0)
    several.refresh(503.0)
    origins = [stream.origin for stream in several.book.counters.open.values()]
    assert 3 == len(set(map(id, origins)))
    assert [True, 1] == [origin.labels["site"] for origin in origins[-2:]]
    assert origins[-1].labels["site"] is not True


def test_a_question_that_waited_for_a_refresh_is_answered_by_it() -> None:
    several = Several()
    stream = several.open(1, 501.0)
    several.refresh(501.0)
    asked = several.book.asked()
    assert 0 == several.book.stats(501.0, asked).packets_total  # another question of the same moment
    send(several.workers[1], stream, 3, 501.0)
    several.refresh(501.5)
    assert 3 == several.book.stats(501.5, asked).packets_total


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("osscrtnl"), st.integers(1, 3), st.integers(0, 9)), max_size=60))
def test_no_counter_falls_and_streams_add_up_whoever_tells_and_whoever_is_lost(
    happens: list[tuple[str, int, int]],
) -> None:
    several = Several(3)
    mine: dict[int, list[StreamCounters]] = {worker: [] for worker in several.workers}
    now = 500.0
    before = several.book.stats(now)
    for what, worker, number in happens:
        now += 0.1
        book, streams = several.workers[worker], mine[worker]
        if what == "o":
            streams.append(several.open(worker, now, number))
        elif what == "r":
            book.counters.rejected("draining", number)
            book.counters.loops += number
            book.memory.given_up += number
        elif what == "t":
            several.refresh({worker: now})
        elif what == "n":
            several.tick(now)
        elif what == "l":
            several.mirror.lost(worker, now)
            several.workers[worker], mine[worker] = several.worker(), []
        elif streams and what == "s":
            send(book, streams[number % len(streams)], number, now)
        elif streams:
            book.stream_closed(streams.pop(number % len(streams)), "eof", number, now)
        stats = several.book.stats(now)
        assert [] == [name for name in GROWING if getattr(stats, name) < getattr(before, name)]
        records = several.book.streams()
        assert stats.packets_total == sum(record.packets for record in records)
        assert stats.bytes_total == sum(record.bytes for record in records)
        assert stats.streams_open == sum(record.state == "open" for record in records)
        assert stats.streams_total == len(records)
        before = stats
    several.refresh(now)
    for worker, streams in mine.items():
        shown = {each.local: each for each in several.book.counters.open.values() if each.worker == worker}
        assert {each.stream: each.packets for each in streams} == {key: each.packets for key, each in shown.items()}
