"""Claims about runs by order: what a start takes over, and what a stop leaves."""

from __future__ import annotations

from ctrlserver.stats.records import RunRecord
from tests.stats.conftest import Scene


def test_a_run_by_order_begins_at_once_and_outlasts_the_gap(scene: Scene) -> None:
    record = scene.runs.start("upload", 5, scene.now)
    assert record == RunRecord(
        run=1,
        name="upload",
        state="active",
        started="100.0",
        seconds=0.0,
        streams=0,
        packets=0,
        bytes=0,
        packets_per_second=None,
        bits_per_second=None,
        incomplete_bytes=0,
        faults=0,
        expected_packets=5,
        complete=False,
    )
    stream = scene.open()
    scene.data(stream)
    scene.close(stream)
    scene.wait(10)
    assert [] == scene.reported


def test_the_time_of_a_run_by_order_is_that_of_its_data_not_of_the_typing(scene: Scene) -> None:
    scene.runs.start("upload", None, scene.now)
    scene.wait(7)
    stream = scene.open()
    scene.data(stream, 4)
    scene.wait(2)
    scene.data(stream, 4)
    scene.close(stream)
    scene.wait(9)
    record = scene.runs.stop(scene.now)
    assert record is not None
    assert ("100.0", 2.0, 4.0) == (record.started, record.seconds, record.packets_per_second)
    assert scene.reported == [record]


def test_a_start_ends_the_active_run_and_no_packet_falls_between(scene: Scene) -> None:
    stream = scene.open()
    scene.data(stream, 3)
    scene.wait(1)
    scene.runs.start("second", None, scene.now)
    scene.wait(0.25)
    scene.data(stream, 4)
    scene.runs.start("third", None, scene.now)
    assert [(1, 3), (2, 4)] == [(record.run, record.packets) for record in scene.reported]


def test_a_run_that_takes_over_a_sending_stream_counts_its_time_from_the_start(scene: Scene) -> None:
    stream = scene.open()
    scene.data(stream)
    scene.wait(1)
    scene.runs.start("second", None, scene.now)
    for _ in range(8):
        scene.now += 0.125
        scene.data(stream)
        scene.now += 0.125
        scene.runs.tick(scene.now, scene.counters.totals())
    record = scene.runs.stop(scene.now)
    assert record is not None
    assert (1, 8, 1.875) == (record.streams, record.packets, record.seconds)
    assert 1 == stream.run


def test_a_run_that_takes_over_a_silent_stream_finds_its_first_data_to_the_tick_before(scene: Scene) -> None:
    stream = scene.open()
    scene.data(stream)
    scene.wait(1)
    scene.runs.start("second", None, scene.now)
    scene.wait(10)
    scene.now += 0.125
    scene.data(stream)
    scene.now += 0.875
    scene.data(stream)
    record = scene.runs.stop(scene.now)
    assert record is not None
    assert 1.0 == record.seconds


def test_first_data_of_a_new_stream_is_not_mistaken_for_that_of_a_stream_taken_over(scene: Scene) -> None:
    taken_over = scene.open()
    scene.data(taken_over)
    scene.wait(1)
    scene.runs.start("second", None, scene.now)
    scene.wait(10)
    scene.now += 0.125
    new = scene.open()
    scene.data(new)
    scene.now += 0.5
    scene.data(new)
    active = scene.active()
    assert active is not None
    assert (0.5, 1) == (active.seconds, active.streams)


def test_a_stream_taken_over_counts_for_the_run_also_when_it_closes_in_it(scene: Scene) -> None:
    sending, silent = scene.open(), scene.open()
    scene.data(sending)
    scene.data(silent)
    scene.runs.start("second", None, scene.now)
    scene.wait(1)
    scene.data(sending)
    scene.close(sending)
    scene.close(silent)
    record = scene.runs.stop(scene.now)
    assert record is not None
    assert (1, 1) == (record.streams, record.packets)


def test_after_a_stop_no_run_begins_by_itself_until_no_stream_is_open(scene: Scene) -> None:
    sending = scene.open()
    scene.data(sending)
    scene.runs.stop(scene.now)
    late = scene.open()
    scene.data(late)
    scene.data(sending)
    scene.close(sending)
    scene.wait(5)
    assert (None, None) == (scene.active(), late.run)
    scene.close(late)
    next_one = scene.open()
    scene.data(next_one)
    assert 2 == next_one.run


def test_after_a_stop_connections_without_data_do_not_keep_the_next_run_from_beginning(scene: Scene) -> None:
    sending = scene.open()
    scene.open()
    scene.data(sending)
    scene.runs.stop(scene.now)
    scene.close(sending)
    scene.data(scene.open())
    assert 2 == scene.runs.total


def test_after_a_stop_another_test_begins_a_run_while_an_older_stream_is_silent(scene: Scene) -> None:
    scene.data(scene.open())
    scene.runs.stop(scene.now)
    scene.wait(1)
    scene.data(scene.open())
    assert 2 == scene.runs.total


def test_after_a_stop_with_no_stream_sending_the_next_data_begins_a_run(scene: Scene) -> None:
    scene.runs.start("upload", None, scene.now)
    waiting = scene.open()
    scene.runs.stop(scene.now)
    scene.data(waiting)
    assert 2 == waiting.run


def test_a_stop_ends_a_run_that_began_by_itself(scene: Scene) -> None:
    scene.data(scene.open(), 2)
    record = scene.runs.stop(scene.now)
    assert record is not None
    assert (1, "ended", 2) == (record.run, record.state, record.packets)


def test_a_stop_without_a_run_is_none(scene: Scene) -> None:
    assert scene.runs.stop(scene.now) is None
    assert [] == scene.reported


def test_a_run_by_order_takes_the_configured_expectation_unless_told_otherwise() -> None:
    scene = Scene(expected_packets=10)
    assert 10 == scene.runs.start("a", None, scene.now).expected_packets
    assert 0 == scene.runs.start("b", 0, scene.now).expected_packets
