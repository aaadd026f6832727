"""What a worker tells: each event once, and the figures that have changed."""

from __future__ import annotations

import pickle

from ctrlserver.stats.probing import Probing
from ctrlserver.workers.snapshots import BEGUN, CLOSED, FIGURES, OPENED, RecordingBook, Snapshot, parts
from tests.stats.books import LINES, ORIGIN, WALL, send
from tests.workers.paths import Path


def a_worker() -> RecordingBook:
    return RecordingBook(version="1.2.3", now=500.0, wall=WALL)


def rows(snapshot: Snapshot) -> list[tuple[int | float, ...]]:
    return list(FIGURES.iter_unpack(snapshot.figures))


OPENED_EVENT = (501.0, OPENED, 1, LINES, "10.0.0.1:5", 501.0)
BEGUN_EVENT = (502.0, BEGUN, 1, 502.0, 502.0)
CLOSED_EVENT = (503.0, CLOSED, 1, "reset", 7, 503.0, (2, 2000, 0, 0, 0, 0, 502.0), None, None)


def test_a_stream_that_opens_sends_and_closes_is_told_once_with_its_last_figures() -> None:
    told: list[object] = []
    book = a_worker()
    stream = book.stream_opened(LINES, "10.0.0.1:5", 501.0)
    told += book.take(501.5).events
    send(book, stream, 2, 502.0)
    told += book.take(502.5).events
    book.stream_closed(stream, "reset", 7, 503.0)
    taken = book.take(504.0)
    assert [OPENED_EVENT, BEGUN_EVENT, CLOSED_EVENT] == [*told, *taken.events]
    assert (504.0, b"", 1, 0) == (taken.at, taken.figures, taken.totals.streams_total, taken.totals.streams_open)
    assert [] == book.take(505.0).events


def test_one_that_does_so_between_two_snapshots_is_one_row_of_the_three() -> None:
    book = a_worker()
    stream = book.stream_opened(LINES, "10.0.0.1:5", 501.0)
    send(book, stream, 2, 502.0)
    book.stream_closed(stream, "reset", 7, 503.0)
    book.stream_closed(book.stream_opened(LINES, "10.0.0.1:6", 503.5), "eof", 0, 503.75)
    taken = book.take(504.0)
    assert ([0, 1], ["reset", "eof"]) == (taken.events, [each.reason for each in taken.overs])
    sent, silent = list(parts(taken))[:3], list(parts(taken))[3:]
    assert [OPENED_EVENT, BEGUN_EVENT, CLOSED_EVENT] == sent
    assert [OPENED, CLOSED] == [event[1] for event in silent]
    assert ([], []) == ((again := book.take(504.5)).events, again.overs)


def test_of_the_open_streams_those_that_changed_are_told() -> None:
    book = a_worker()
    first, second = (book.stream_opened(LINES, f"10.0.0.1:{port}", 501.0) for port in (5, 6))
    send(book, first, 2, 502.0)
    assert [(1, 2, 2000, 0, 0, 0, 0, 502.0)] == rows(book.take(503.0))
    assert b"" == book.take(504.0).figures
    send(book, second, 1, 504.0)
    first.unanswered += 1  # no data came: an answer found no taker
    assert [(1, 2, 2000, 1, 0, 0, 0, 502.0), (2, 1, 1000, 0, 0, 0, 0, 504.0)] == rows(book.take(505.0))


def test_figures_of_probe_packets_and_of_connections_are_told_where_they_are_asked_for_and_at_the_close() -> None:
    book = a_worker()
    probing, connected = (book.stream_opened(LINES, f"10.0.0.1:{port}", 501.0) for port in (5, 6))
    probing.probing = Probing()
    probing.probing.take(1, 0, 0, 1_000_000_000)
    probing.probing.take(1, 2, 0, 1_000_000_000)
    connected.path = Path()
    figures = probing.probing.figures()
    assert [(2, None, (0.25, 3)), (1, figures, None)] == book.look_at([2, 7, 1])
    assert (1, 2) == (figures.lost, len(book.take(502.0).events))
    book.stream_closed(probing, "eof", 0, 503.0)
    book.stream_closed(connected, "eof", 0, 503.0)
    assert [(figures, None), (None, (0.25, 3))] == [event[-2:] for event in book.take(504.0).events]
    for port in (7, 8):
        book.stream_opened(LINES, f"10.0.0.1:{port}", 505.0)
    probed, alone = book.counters.open.values()
    probed.probing, alone.path = probing.probing, Path()
    for each in (probed, alone):
        book.stream_closed(each, "eof", 0, 506.0)
    ends = [event[-2:] for event in parts(book.take(507.0)) if event[1] == CLOSED]
    assert [(figures, None), (None, (0.25, 3))] == ends


def test_times_of_events_never_fall_though_a_datagram_was_seen_before_others_were_read() -> None:
    book = a_worker()
    stream = book.stream_opened(ORIGIN, "10.0.0.1:5", 502.0)
    send(book, stream, 1, 503.0)
    datagrams = book.stream_opened(LINES, "10.0.0.2:6", 501.0)
    book.first_data(datagrams, 501.0, 502.5)
    events = book.take(504.0).events
    assert [(502.0, 503.0), (503.0, 503.0)] == [(opened[0], begun[0]) for opened, begun in (events[:2], events[2:])]
    assert [(501.0,), (501.0, 502.5)] == [events[2][5:], events[3][3:]]


def test_of_a_source_it_is_told_that_nobody_knows_how_fast_its_first_turn_went() -> None:
    book = a_worker()
    stream = book.stream_opened(ORIGIN, "10.0.0.1:5", 501.0)
    send(book, stream, 1, 502.0)
    stream.last = 502.5
    book.first_turn_sent(stream)
    assert (502.0, BEGUN, 1, 502.0, 502.5) == book.take(503.0).events[1]


def test_the_latest_tick_is_told_once_and_one_that_is_overdue_too() -> None:
    book = a_worker()
    assert 0.0 == book.take(600.0).lag_seconds
    book.tick(600.0, 0.5, WALL)
    book.tick(600.25, 0.1, WALL)
    assert 0.5 == book.take(600.25).lag_seconds
    assert 0.0 == book.take(600.5).lag_seconds
    assert 2.75 == book.take(603.25).lag_seconds


def test_a_snapshot_is_the_same_after_it_went_through_a_pipe_but_for_the_identity_of_origins() -> None:
    book = a_worker()
    for port in range(3):
        send(book, book.stream_opened(ORIGIN, f"10.0.0.1:{port}", 501.0), 1, 502.0)
    book.counters.rejected("draining", 2)
    book.memory.add(1000)
    taken = book.take(503.0, last_refused="10.0.0.1:5", cpu_seconds=1.5)
    again: Snapshot = pickle.loads(pickle.dumps(taken))
    assert (taken.figures, taken.totals, {"draining": 2}) == (again.figures, again.totals, again.rejected)
    assert (1000, "10.0.0.1:5", 1.5) == (again.memory_held, again.last_refused, again.cpu_seconds)
    origins = [event[3] for event in again.events if event[1] == OPENED]
    assert [{"site": "lab"}] * 3 == [origin.labels for origin in origins]
    assert 1 == len(set(map(id, origins)))


def test_what_nobody_has_taken_is_counted() -> None:
    book = a_worker()
    send(book, book.stream_opened(ORIGIN, "10.0.0.1:5", 501.0), 1, 502.0)
    book.stream_closed(book.stream_opened(ORIGIN, "10.0.0.1:6", 503.0), "eof", 0, 503.0)
    assert 2 == book.waiting
    book.take(503.0)
    assert 0 == book.waiting


def test_a_worker_has_no_runs_and_no_hosts() -> None:
    book = a_worker()
    stream = book.stream_opened(ORIGIN, "10.0.0.1:5", 501.0)
    send(book, stream, 1, 502.0)
    book.tick(502.25, 0.0, WALL)
    book.stream_closed(stream, "eof", 0, 503.0)
    book.stream_closed(stream, "reset", 0, 503.0)
    assert ([], 0) == (book.runs.records(600.0), len(book.hosts.sums()))
    assert {"eof": 1} == {reason: number for reason, number in book.counters.closed_by_reason.items() if number}
