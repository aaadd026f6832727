"""Claims about the book as a whole: what the shell writes is what the admin port reads."""

from __future__ import annotations

import pytest

from ctrlserver.errors import RenameError
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import REASONS
from ctrlserver.stats.kept import PACKET_OVERHEAD, KeptPackets
from ctrlserver.stats.records import RunRecord, as_mapping
from ctrlserver.stats.rename import Renames
from tests.stats.books import LINES, ORIGIN, WALL, a_book, keep, send

# stats and reset


def test_a_new_book_is_all_zero() -> None:
    record = as_mapping(a_book().stats(502.5))
    assert ("1.2.3", "2013-05-01T12:00:00.000Z") == (record.pop("version"), record.pop("started"))
    assert (2.5, 1) == (record.pop("uptime_seconds"), record.pop("workers"))
    assert {0} == set(record.values())


def test_the_least_book_needs_a_version_and_two_times() -> None:
    book = Book(version="0", now=0.0, wall=0.0)
    stream = book.stream_opened(ORIGIN, "a:1", 0.0)
    send(book, stream, 1, 0.0)
    book.runs.stop(1.0)
    assert 1 == book.stats(1.0).runs_total


def test_stats_tell_what_the_streams_brought() -> None:
    book = a_book()
    first, second = (book.stream_opened(ORIGIN, f"a:{n}", 500.0) for n in (1, 2))
    send(book, first, 3, 500.5)
    send(book, second, 7, 501.0)
    second.unanswered += 1
    book.stream_closed(first, "fault", 17, 501.0)
    book.counters.rejected("limit")
    stats = book.stats(501.0)
    assert (1, 2) == (stats.streams_open, stats.streams_total)
    assert (10, 10_000, 17) == (stats.packets_total, stats.bytes_total, stats.incomplete_bytes_total)
    assert (1, 1, 9, 1) == (stats.faults_total, stats.rejected_total, stats.replies_total, stats.runs_total)
    assert (10.0, 80_000.0) == (stats.packets_per_second, stats.bits_per_second)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_to_close_has_its_own_count(reason: str) -> None:
    book = a_book()
    book.stream_closed(book.stream_opened(ORIGIN, "a:1", 500.0), reason, 0, 500.0)
    stats = as_mapping(book.stats(501.0))
    closed = {name: value for name, value in stats.items() if name.startswith("closed_") and value}
    assert {f"closed_{reason.replace('-', '_')}_total": 1} == closed


def test_a_reset_gives_the_reading_it_closes_and_begins_a_new_one() -> None:
    book = a_book()
    stream = book.stream_opened(ORIGIN, "a:1", 500.0)
    send(book, stream, 5, 500.5)
    closed = book.reset(501.0)
    assert (5, 5_000, 5, 0) == (closed.packets, closed.bytes, closed.packets_total, closed.resets_total)
    send(book, stream, 2, 501.5)
    after = book.stats(502.0)
    assert (2, 2_000, 7, 1) == (after.packets, after.bytes, after.packets_total, after.resets_total)


def test_questions_that_have_arrived_share_one_record() -> None:
    book = a_book()
    first, second = book.asked(), book.asked()
    assert book.stats(501.0, first) is book.stats(501.5, second)


def test_a_question_is_told_what_was_counted_before_it_arrived() -> None:
    book = a_book()
    stream = book.stream_opened(ORIGIN, "a:1", 500.0)
    before = book.stats(501.0, book.asked())
    send(book, stream, 5, 500.5)
    after = book.stats(501.0, book.asked())
    assert (0, 5) == (before.packets, after.packets)


def test_who_may_see_what_was_a_moment_ago_has_the_reading_of_the_last_tick() -> None:
    book = a_book()
    stream = book.stream_opened(ORIGIN, "a:1", 500.0)
    book.tick(501.0, 0.0, WALL + 1)
    send(book, stream, 5, 501.1)
    seen = book.reading(501.2, 0)
    assert (0, 0, 1) == (seen.stats.packets, seen.totals.packets, seen.totals.listeners["data"].open)
    book.changed()
    assert 5 == book.reading(501.2, 0).stats.packets


def test_a_record_is_shared_until_the_next_tick_or_change() -> None:
    book = a_book()
    asked = book.asked()
    records = [book.stats(501.0, asked)]
    book.tick(501.0, 0.0, WALL + 1)
    records.append(book.stats(501.0, asked))
    book.reset(501.0)
    records.append(book.stats(501.0, asked))
    book.changed()
    records.append(book.stats(501.0, asked))
    assert 4 == len({id(record) for record in records})


def test_the_loop_lag_is_the_largest_of_the_last_ten_seconds() -> None:
    book = a_book()
    for now, lag in ((501.0, 0.001), (502.0, 0.5), (505.0, 0.02), (508.0, 0.01)):
        book.tick(now, lag, WALL + now - 500)
    seen = [book.stats(now).loop_lag_seconds for now in (508.0, 512.0, 512.5, 516.0, 530.0)]
    assert [0.5, 0.5, 0.02, 0.01, 0.0] == seen


def test_what_begins_after_the_clock_was_set_has_the_new_time_of_day_and_no_duration_changes() -> None:
    book = a_book()
    early = book.stream_opened(ORIGIN, "a:1", 501.0)
    send(book, early, 1, 501.0)
    send(book, early, 1, 503.0)
    book.stream_closed(early, "eof", 0, 503.0)
    book.tick(505.0, 0.0, WALL + 5 + 7 * 86400)
    late = book.stream_opened(ORIGIN, "a:2", 506.0)
    send(book, late, 1, 506.0)
    send(book, late, 1, 508.0)
    book.stream_closed(late, "eof", 0, 508.0)
    assert ["2013-05-08T12:00:06.000Z", "2013-05-01T12:00:01.000Z"] == [r.opened for r in book.streams()]
    assert ["2013-05-08T12:00:06.000Z", "2013-05-01T12:00:01.000Z"] == [r.started for r in book.runs.records(509.0)]
    assert [2.0, 2.0] == [record.seconds for record in book.runs.records(509.0)]
    assert ("2013-05-01T12:00:00.000Z", 9.0) == (book.stats(509.0).started, book.stats(509.0).uptime_seconds)


def test_timestamps_do_not_tremble_with_a_clock_that_is_only_slewed() -> None:
    book = a_book()
    book.tick(501.0, 0.0, WALL + 1.02)
    assert "2013-05-01T12:00:02.000Z" == book.record(book.stream_opened(ORIGIN, "a:1", 502.0)).opened


def test_a_clock_ahead_of_its_time_is_no_lag() -> None:
    book = a_book()
    book.tick(501.0, -0.001, WALL + 1)
    assert 0.0 == book.stats(501.0).loop_lag_seconds


def test_the_workers_are_those_that_the_book_is_told_of() -> None:
    book = a_book()
    book.workers = lambda: (4, 1, 7)
    record = book.stats(501.0)
    assert (4, 1, 7) == (record.workers, record.workers_late, record.worker_restarts_total)


def test_a_stream_is_published_with_its_worker() -> None:
    book = a_book()
    stream = book.stream_opened(ORIGIN, "10.0.0.1:5", 501.5)
    stream.worker = 3
    assert 3 == book.record(stream).worker


# streams


def test_a_stream_is_published_with_its_origin_and_numbers() -> None:
    book = a_book()
    stream = book.stream_opened(ORIGIN, "10.0.0.1:5", 501.5)
    send(book, stream, 10, 502.0)
    send(book, stream, 10, 504.0)
    assert {
        "stream": 1,
        "listener": "data",
        "peer": "10.0.0.1:5",
        "protocol": "tcp",
        "framing": "fixed:1000",
        "mode": "echo",
        "size": 1000,
        "state": "open",
        "reason": None,
        "packets": 20,
        "bytes": 20_000,
        "incomplete_bytes": 0,
        "seconds": 2.0,
        "packets_per_second": 10.0,
        "bits_per_second": 80_000.0,
        "opened": "2013-05-01T12:00:01.500Z",
        "run": 1,
        "injected": 0,
        "worker": 1,
        "site": "lab",
    } == as_mapping(book.streams()[0])
    book.stream_closed(stream, "eof", 3, 505.0)
    closed = book.streams()[0]
    assert ("closed", "eof", 3) == (closed.state, closed.reason, closed.incomplete_bytes)


def test_a_stream_without_data_has_no_time_no_rate_and_no_run() -> None:
    book = a_book()
    book.stream_opened(LINES, "a:1", 500.0)
    record = book.streams()[0]
    assert (
        None,
        0.0,
        None,
        None,
        None,
    ) == (record.size, record.seconds, record.packets_per_second, record.bits_per_second, record.run)


def test_a_stream_of_one_read_has_no_rate_however_long_that_read_took() -> None:
    book = a_book()
    stream = book.stream_opened(LINES, "a:1", 500.0)
    book.first_data(stream, 500.0, 500.5)
    stream.packets, stream.bytes, stream.last = 8, 8000, 500.5
    record, run = book.streams()[0], book.runs.records(500.5)[0]
    assert (0.0, None, None) == (record.seconds, record.packets_per_second, record.bits_per_second)
    assert (8, 0.0, None, None) == (run.packets, run.seconds, run.packets_per_second, run.bits_per_second)
    stream.packets, stream.bytes, stream.last = 16, 16_000, 502.0
    record, run = book.streams()[0], book.runs.records(502.0)[0]
    assert (2.0, 8.0) == (record.seconds, record.packets_per_second)
    assert (2.0, 8.0) == (run.seconds, run.packets_per_second)


def test_a_run_of_which_every_stream_was_read_in_one_round_has_no_rate() -> None:
    book = a_book()
    for read in (500.1, 500.2):
        stream = book.stream_opened(LINES, "a:1", 500.0)
        book.first_data(stream, 500.0, read)
        stream.packets, stream.bytes, stream.last = 4, 4000, read
    assert book.runs.records(500.2)[0].packets_per_second is None
    later = book.stream_opened(LINES, "a:1", 500.0)
    book.first_data(later, 501.0, 502.0)
    later.packets, later.bytes, later.last = 2, 2000, 502.0
    run = book.runs.records(502.0)[0]
    assert (10, 2.0, 5.0) == (run.packets, run.seconds, run.packets_per_second)


def test_the_size_of_packets_that_vary_is_their_mean_without_the_unfinished_one() -> None:
    book = a_book()
    stream = book.stream_opened(LINES, "a:1", 500.0)
    send(book, stream, 4, 500.5, size=5)
    stream.bytes += 3
    book.stream_closed(stream, "eof", 3, 501.0)
    assert 5.0 == book.streams()[0].size


def test_streams_come_newest_first_whatever_the_order_of_their_closes() -> None:
    book = a_book()
    streams = [book.stream_opened(ORIGIN, f"10.0.0.{n}:{n}", 500.0) for n in range(1, 6)]
    for n in (3, 1):
        book.stream_closed(streams[n], "eof", 0, 501.0)
    numbers = {state: [record.stream for record in book.streams(state)] for state in (None, "open", "closed")}
    assert {None: [5, 4, 3, 2, 1], "open": [5, 3, 1], "closed": [4, 2]} == numbers
    assert [5, 4] == [record.stream for record in book.streams(limit=2)]
    assert [5, 3, 2] == [book.choose(state, limit=1)[1] for state in (None, "open", "closed")]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("10.0.0.1:5", [1]),
        ("10.0.0.1", [2, 1]),
        ("10.0.0.1:", []),
        ("[::1]:7", [3]),
        ("::1", [3]),
        ("[::1]", [3]),
        ("unix", [4]),
        ("", []),
    ],
)
def test_a_peer_is_an_address_or_its_host(asked: str, found: list[int]) -> None:
    book = a_book()
    for peer in ("10.0.0.1:5", "10.0.0.1:6", "[::1]:7", "unix"):
        book.stream_opened(ORIGIN, peer, 500.0)
    assert found == [record.stream for record in book.streams(peer=asked)]
    assert book.choose(peer=asked, limit=0) == ([], len(found))


def test_only_the_first_close_of_a_stream_counts() -> None:
    book = a_book()
    stream = book.stream_opened(ORIGIN, "a:1", 500.0)
    book.stream_closed(stream, "kicked", 4, 501.0)
    book.stream_closed(stream, "eof", 9, 501.0)
    stats = book.stats(501.0)
    assert (1, 0, 4) == (stats.closed_kicked_total, stats.closed_eof_total, stats.incomplete_bytes_total)


# packets kept


def kept_of(book: Book, number: int) -> KeptPackets | None:
    stream = book.counters.find(number)
    return None if stream is None else stream.kept


def test_the_packets_kept_of_a_stream_outlast_its_close() -> None:
    book = a_book()
    stream = keep(book.stream_opened(ORIGIN, "a:1", 500.0), b"one", b"two")
    book.stream_opened(ORIGIN, "a:2", 500.0)
    book.stream_closed(stream, "eof", 0, 501.0)
    kept = kept_of(book, 1)
    assert kept is not None
    assert [(1, b"one"), (2, b"two")] == kept.last(9)
    assert kept_of(book, 2) is None
    assert kept_of(book, 3) is None


def test_the_packets_kept_of_closed_streams_are_bounded_in_all_and_the_oldest_go() -> None:
    book = a_book(kept_closed_bytes=10 + 2 * PACKET_OVERHEAD)
    for n in range(1, 5):
        stream = keep(book.stream_opened(ORIGIN, f"a:{n}", 500.0), b"1234")
        book.stream_closed(stream, "eof", 0, 501.0)
    assert [False, False, True, True] == [kept_of(book, n) is not None for n in range(1, 5)]


def test_a_stream_that_goes_off_view_frees_its_share_of_the_bound() -> None:
    book = a_book(closed_kept=2, kept_closed_bytes=10 + 2 * PACKET_OVERHEAD)
    for n in range(1, 10):
        stream = book.stream_opened(ORIGIN, f"a:{n}", 500.0)
        if n % 3:
            keep(stream, b"1234")
        book.stream_closed(stream, "eof", 0, 501.0)
        on_view = [kept for m in range(1, n + 1) if (kept := kept_of(book, m)) is not None]
        assert len(on_view) == sum(m % 3 > 0 for m in range(max(1, n - 1), n + 1))


def test_where_no_closed_stream_stays_on_view_no_packets_do() -> None:
    book = a_book(closed_kept=0)
    stream = keep(book.stream_opened(ORIGIN, "a:1", 500.0), b"one")
    book.stream_closed(stream, "eof", 0, 501.0)
    assert (None, None, []) == (kept_of(book, 1), stream.kept, book.streams())


# runs


def test_the_end_of_a_run_is_told_once_with_its_record() -> None:
    told: list[RunRecord] = []
    book = a_book(on_run_end=told.append)
    stream = book.stream_opened(ORIGIN, "a:1", 500.0)
    send(book, stream, 1, 500.5)
    send(book, stream, 3, 502.5)
    book.stream_closed(stream, "eof", 0, 502.5)
    book.tick(503.5, 0.0, WALL + 3.5)
    book.tick(503.75, 0.0, WALL + 3.75)
    assert [(1, "2013-05-01T12:00:00.500Z", 2.0, 4)] == [(r.run, r.started, r.seconds, r.packets) for r in told]
    assert book.runs.records(504.0) == told
    assert book.runs.record(1, 504.0) == told[0]
    assert book.runs.record(2, 504.0) is None


def test_a_run_is_started_and_stopped_by_order() -> None:
    book = a_book()
    started = book.runs.start("upload", 4, 500.0)
    assert (1, "upload", "active", 4) == (started.run, started.name, started.state, started.expected_packets)
    send(book, book.stream_opened(ORIGIN, "a:1", 500.0), 4, 500.5)
    stopped = book.runs.stop(501.0)
    assert stopped is not None
    assert ("ended", True) == (stopped.state, stopped.complete)
    assert book.runs.stop(501.0) is None


def test_the_end_of_the_server_ends_the_run() -> None:
    told: list[RunRecord] = []
    book = a_book(on_run_end=told.append)
    book.runs.stop(500.0)
    assert [] == told
    send(book, book.stream_opened(ORIGIN, "a:1", 500.0), 4, 500.5)
    book.runs.stop(501.0)
    assert [(1, "ended", 4)] == [(record.run, record.state, record.packets) for record in told]


# renames


def test_the_renames_of_a_book_know_its_labels() -> None:
    book = a_book(renames=Renames(fields=("site",)))
    assert (("site", "place"),) == book.renames.with_rename("site", "place").pairs


def test_a_rename_onto_a_label_is_refused_before_a_book_is_made() -> None:
    with pytest.raises(RenameError, match='"site"'):
        a_book(renames=Renames([("protocol", "site")], fields=("site",)))


def test_renames_can_be_replaced() -> None:
    book = a_book()
    book.renames = book.renames.with_rename("protocol", "inet_protocol")
    assert {"inet_protocol": "tcp"} == book.renames.apply({"protocol": "tcp"})
