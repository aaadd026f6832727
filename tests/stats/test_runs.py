"""Claims about runs: when they begin, when they end, what they count."""

from __future__ import annotations

import pytest
from attrs import evolve

from ctrlserver.stats.counters import Counters, Totals
from ctrlserver.stats.records import RunRecord
from ctrlserver.stats.runs import ENDED_KEPT, summary_line
from tests.stats.conftest import Scene

A_RECORD = RunRecord(
    run=1,
    name=None,
    state="ended",
    started="0.0",
    seconds=0.138164,
    streams=1,
    packets=10_000,
    bytes=10_240_000,
    packets_per_second=72377.8,
    bits_per_second=592.9e6,
    incomplete_bytes=0,
    faults=0,
    expected_packets=None,
    complete=None,
)


class CountedWalks(Counters):
    """Counters that count how often their open streams were gone through."""

    walks = 0

    def totals(self) -> Totals:
        self.walks += 1
        return super().totals()

    def last_data(self) -> float:
        self.walks += 1
        return super().last_data()


# Runs that begin by themselves


def test_an_open_stream_without_data_begins_no_run(scene: Scene) -> None:
    scene.open()
    scene.wait(5)
    assert [] == scene.runs.records(scene.now)
    assert 0 == scene.runs.total


def test_the_first_data_begins_a_run(scene: Scene) -> None:
    stream = scene.open()
    scene.wait(5)
    scene.data(stream, 3)
    active = scene.active()
    assert active is not None
    assert (1, None, "105.0", 1, 3) == (active.run, active.name, active.started, active.streams, active.packets)
    assert 1 == stream.run


def test_a_run_ends_when_no_stream_has_been_open_for_the_gap_and_the_gap_is_not_in_its_time(scene: Scene) -> None:
    stream = scene.open()
    scene.data(stream, 1)
    scene.wait(2)
    scene.data(stream, 9)
    scene.wait(0.5)
    scene.close(stream)
    scene.wait(0.75)
    assert [] == scene.reported
    scene.wait(0.25)
    assert scene.reported == [
        RunRecord(
            run=1,
            name=None,
            state="ended",
            started="100.0",
            seconds=2.0,
            streams=1,
            packets=10,
            bytes=10_240,
            packets_per_second=5.0,
            bits_per_second=40_960.0,
            incomplete_bytes=0,
            faults=0,
            expected_packets=None,
            complete=None,
            listeners="data",
        )
    ]
    assert scene.runs.records(scene.now) == scene.reported


def test_a_stream_opened_within_the_gap_goes_on_with_the_run(scene: Scene) -> None:
    first = scene.open()
    scene.data(first)
    scene.close(first)
    scene.wait(0.75)
    second = scene.open()
    scene.data(second)
    scene.wait(3)
    scene.close(second)
    scene.wait(1)
    assert [(1, 2, 2)] == [(record.run, record.streams, record.packets) for record in scene.reported]


def test_a_stream_opened_after_the_gap_belongs_to_a_new_run_even_before_a_tick(scene: Scene) -> None:
    first = scene.open()
    scene.data(first)
    scene.close(first)
    scene.now += 1.0
    second = scene.open()
    assert [1] == [record.run for record in scene.reported]
    scene.data(second)
    assert (1, 2) == (first.run, second.run)


def test_connections_without_data_do_not_keep_a_run_open(scene: Scene) -> None:
    scene.open()
    first = scene.open()
    scene.data(first)
    scene.close(first)
    for _ in range(4):
        scene.close(scene.open())
        scene.wait(0.5)
    assert [1] == [record.run for record in scene.reported]
    scene.data(scene.open())
    assert 2 == scene.runs.total


def test_a_test_after_the_gap_is_another_run_while_an_older_stream_is_silent(scene: Scene) -> None:
    idle = scene.open()
    scene.data(idle)
    for _ in range(2):
        scene.wait(4)
        stream = scene.open()
        scene.data(stream, 10)
        scene.close(stream)
    scene.wait(1)
    assert [(1, 1), (2, 10), (3, 10)] == [(record.run, record.packets) for record in scene.reported]


def test_streams_of_one_test_that_begin_to_send_late_are_in_one_run(scene: Scene) -> None:
    for stream in [scene.open() for _ in range(3)]:
        scene.data(stream)
        scene.wait(2)
    assert 1 == scene.runs.total


def test_a_stream_that_falls_silent_and_goes_on_is_in_one_run(scene: Scene) -> None:
    stream = scene.open()
    for _ in range(3):
        scene.data(stream)
        scene.wait(5)
    assert [(1, 3)] == [(record.run, record.packets) for record in scene.runs.records(scene.now)]


def test_a_pause_of_the_process_is_no_gap(scene: Scene) -> None:
    first = scene.open()
    scene.data(first)
    scene.close(first)
    scene.now += 3.0
    scene.runs.tick(scene.now, scene.counters.totals(), 2.75)
    second = scene.open()
    scene.data(second)
    assert (1, 1) == (first.run, second.run)


def test_data_of_an_older_stream_keeps_a_run_open(scene: Scene) -> None:
    older = scene.open()
    scene.data(older)
    scene.wait(2)
    stream = scene.open()
    scene.data(stream)
    scene.close(stream)
    for _ in range(4):
        scene.wait(0.5)
        scene.data(older)
    assert [1] == [record.run for record in scene.reported]
    scene.wait(1)
    assert [(2, 2, 5), (1, 1, 1)] == [(record.run, record.streams, record.packets) for record in scene.runs.ended]


def test_a_reader_sees_a_run_ended_as_soon_as_the_gap_is_over(scene: Scene) -> None:
    stream = scene.open()
    scene.data(stream)
    scene.close(stream)
    scene.now += 1.0
    assert ["ended"] == [record.state for record in scene.runs.records(scene.now)]


def test_incomplete_bytes_and_faults_are_those_of_the_run(scene: Scene) -> None:
    for reason, incomplete_bytes in (("fault", 5), ("eof", 100)):
        stream = scene.open()
        scene.data(stream)
        scene.close(stream, reason, incomplete_bytes)
        scene.wait(1)
    assert [(1, 5), (0, 100)] == [(record.faults, record.incomplete_bytes) for record in scene.reported]


def test_data_in_one_instant_has_no_rate(scene: Scene) -> None:
    scene.data(scene.open(), 10)
    active = scene.active()
    assert active is not None
    assert (0.0, None, None) == (active.seconds, active.packets_per_second, active.bits_per_second)


def test_an_expected_number_makes_a_run_complete_or_not() -> None:
    scene = Scene(expected_packets=10)
    stream = scene.open()
    scene.data(stream, 9)
    active = scene.active()
    assert active is not None
    assert (10, False) == (active.expected_packets, active.complete)
    scene.data(stream, 1)
    scene.close(stream)
    scene.wait(1)
    assert scene.reported[0].complete is True


def test_the_first_data_of_a_stream_in_a_run_costs_no_walk_over_all_streams() -> None:
    scene = Scene(counters=(counters := CountedWalks()))
    streams = [scene.open() for _ in range(3)]
    scene.data(streams[0])
    walks = counters.walks
    scene.data(streams[1])
    scene.data(streams[2])
    assert counters.walks == walks
    assert [1, 1, 1] == [stream.run for stream in streams]


def test_a_stream_that_goes_on_from_before_a_run_counts_once_in_it_open_and_closed(scene: Scene) -> None:
    goes_on, silent, ends = (scene.open() for _ in range(3))
    for stream in (goes_on, silent, ends):
        scene.data(stream)
    assert 0 == scene.runs.start("b", None, scene.now).streams
    scene.data(goes_on)
    scene.data(ends)
    assert 2 == scene.runs.records(scene.now)[0].streams
    scene.close(ends)
    scene.close(silent)
    assert 2 == scene.runs.records(scene.now)[0].streams


# Runs on view


def test_a_run_is_found_by_its_number_active_or_ended(scene: Scene) -> None:
    scene.runs.start("a", None, scene.now)
    scene.runs.start("b", None, scene.now)
    found = [scene.runs.record(number, scene.now) for number in (1, 2)]
    assert [("a", "ended"), ("b", "active")] == [(run.name, run.state) for run in found if run is not None]
    assert scene.runs.record(3, scene.now) is None


def test_the_last_ended_runs_are_kept_newest_first_up_to_a_bound(scene: Scene) -> None:
    for number in range(1, ENDED_KEPT + 3):
        scene.runs.start(str(number), None, scene.now)
    scene.runs.stop(scene.now)
    records = scene.runs.records(scene.now)
    assert (ENDED_KEPT, ENDED_KEPT + 2, 3) == (len(records), records[0].run, records[-1].run)
    assert ENDED_KEPT + 2 == scene.runs.total


# The line


def test_the_line_says_total_time_number_of_packets_and_rate() -> None:
    line = "run 1 ended: total time 0.138164 s, number of packets 10000, rate 72377.8 packets/s (593 Mbit/s)"
    assert summary_line(A_RECORD) == line


@pytest.mark.parametrize(
    ("packets", "said"),
    [
        (10_000, ", complete: 10000 expected"),
        (9_990, ", not complete: 10000 expected, 10 missing"),
        (10_001, ", not complete: 10000 expected, 1 too many"),
    ],
)
def test_the_line_says_whether_what_was_expected_came(packets: int, said: str) -> None:
    record = evolve(A_RECORD, packets=packets, expected_packets=10_000, complete=packets == 10_000)
    assert summary_line(record).endswith(said)


def test_the_line_says_so_where_there_is_no_rate() -> None:
    record = evolve(A_RECORD, seconds=0.0, packets_per_second=None, bits_per_second=None)
    assert "run 1 ended: total time 0.000000 s, number of packets 10000, rate unknown" == summary_line(record)


def test_a_name_cannot_break_the_line() -> None:
    line = summary_line(evolve(A_RECORD, name="two\r\nlines"))
    assert line.isprintable()
    assert line.startswith('run 1 "two\\r\\nlines" ended: ')
