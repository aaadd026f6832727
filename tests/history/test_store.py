from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from ctrlserver.errors import HistoryError
from ctrlserver.history import store as module
from ctrlserver.history.ended import EndedRuns
from ctrlserver.history.reading import Reading
from ctrlserver.stats.chosen import Chosen
from ctrlserver.stats.records import RunRecord
from tests.history.stores import Stores, a_run, labelled


def all_of(reading: Reading) -> list[RunRecord]:
    return list(reading.page(Chosen(), 1000, None, ()).records)


def test_runs_are_there_after_a_restart_as_they_were_written(stores: Stores, reading: Reading) -> None:
    runs = [
        a_run(1, name='a "b"', labels=labelled(site=["lab", 2], hot=[True]), listeners="data,lines"),
        a_run(2, expected_packets=200, complete=True, packets_per_second=None),
    ]
    store = stores()
    assert 0 == store.write(runs)
    store.end()
    store.close()
    assert runs[::-1] == all_of(reading)
    assert runs[0] == reading.run(1)
    assert reading.run(3) is None


def test_a_run_has_one_row_however_often_it_is_written(stores: Stores, reading: Reading) -> None:
    store = stores()
    store.write([a_run(1, state="active", packets=5)])
    store.write([a_run(1, state="active", packets=7)])
    store.write([a_run(1)])
    assert [a_run(1)] == all_of(reading)


def test_the_next_number_is_past_all_in_the_file_and_past_those_of_other_servers(stores: Stores) -> None:
    one = stores()
    assert one.shared is not None
    assert [1, 2] == [one.shared.next(), one.shared.next()]
    two = stores()
    assert two.shared is not None
    assert [3, 4, 5] == [two.shared.next(), one.shared.next(), two.shared.next()]
    two.write([a_run(9)])
    one.close()
    two.close()
    stores.path.with_name("history.sqlite3-shared").write_bytes(b"\x00\xff nonsense")
    again = stores()
    assert again.shared is not None
    assert 10 == again.shared.next()


def test_a_row_with_a_number_that_none_can_follow_stops_no_later_run(stores: Stores, reading: Reading) -> None:
    one = stores()
    one.write([a_run(1), a_run(2)])
    one.close()
    with closing(sqlite3.connect(stores.path)) as other, other:
        other.execute("UPDATE runs SET run = ? WHERE run = 2", ((1 << 63) - 1,))
    stores.path.with_name("history.sqlite3-shared").unlink()
    two = stores()
    assert two.shared is not None
    assert (1, 1, 2) == (two.newest, reading.newest(), two.shared.next(two.newest))
    assert 0 == two.write([a_run(2)])


def test_the_active_run_of_a_server_that_died_is_interrupted_with_its_last_checkpoint(
    stores: Stores, reading: Reading
) -> None:
    one, two = stores(), stores()
    one.write([a_run(1), a_run(2, state="active", packets=17)])
    two.write([a_run(3, state="active")])
    two.tidy(100, None)
    assert ["active", "active", "ended"] == [run.state for run in all_of(reading)], "both live"
    one.close()
    two.tidy(100, None)
    assert [a_run(3, state="active"), a_run(2, state="interrupted", packets=17), a_run(1)] == all_of(reading)
    two.tidy(100, None)
    assert ["active", "interrupted", "ended"] == [run.state for run in all_of(reading)]


def test_of_a_server_that_ended_in_good_order_nothing_is_interrupted(stores: Stores, reading: Reading) -> None:
    one = stores()
    one.write([a_run(1)])
    one.end()
    one.close()
    stores().tidy(100, None)
    assert ["ended"] == [run.state for run in all_of(reading)]


def test_a_run_whose_end_was_lost_is_interrupted_at_the_end_of_its_server(stores: Stores, reading: Reading) -> None:
    one, two = stores(), stores()
    two.write([a_run(1, state="active")])
    one.write([a_run(2, state="active", packets=17)])
    one.end()
    assert [a_run(2, state="interrupted", packets=17), a_run(1, state="active")] == all_of(reading)


def test_a_number_of_another_servers_run_is_not_written_over_and_said(stores: Stores, reading: Reading) -> None:
    one, two = stores(), stores()
    one.write([a_run(1, name="mine")])
    assert 1 == two.write([a_run(1, name="other", started=a_run(9).started), a_run(2)])
    assert [None, "mine"] == [run.name for run in all_of(reading)]


def test_a_run_that_another_server_has_entered_is_not_lost(stores: Stores, reading: Reading) -> None:
    left = EndedRuns(str(stores.path))
    left.add(a_run(1))
    left.close()  # its server lives: somebody has cut the file, and it has another one
    one, two = stores(), stores()
    two.begin(go_on=False)
    assert (0, 1) == (one.write([a_run(1)]), one.write([a_run(1, started=a_run(2).started)]))
    assert [a_run(1)] == all_of(reading)


def test_the_oldest_are_deleted_past_a_number_and_a_time_but_never_an_active_one(
    stores: Stores, reading: Reading
) -> None:
    store = stores()
    store.write([a_run(1, state="active"), *(a_run(run) for run in range(2, 12))])
    store.tidy(6, None)
    assert [11, 10, 9, 8, 7, 1] == [run.run for run in all_of(reading)]
    store.tidy(100, a_run(10).started)
    assert [11, 10, 1] == [run.run for run in all_of(reading)]


def test_the_newest_are_those_of_the_greatest_numbers_though_the_clock_was_set_back(
    stores: Stores, reading: Reading
) -> None:
    store = stores()
    store.write([*(a_run(run) for run in range(1, 6)), *(a_run(run, at=-1e9) for run in range(6, 9))])
    store.tidy(4, None)
    assert {5, 6, 7, 8} == {run.run for run in all_of(reading)}


def test_a_begin_that_is_made_again_gives_the_same_totals(stores: Stores) -> None:
    one = stores()
    one.begin(go_on=True)
    one.write([], {"packets_total": 5})
    one.close()
    two = stores()
    assert {"packets_total": 5} == two.begin(go_on=True) == two.begin(go_on=True)
    two.close()
    assert {"packets_total": 5} == stores().begin(go_on=True)


def test_totals_go_on_from_those_of_all_that_ended_and_nobody_has_them_twice(stores: Stores) -> None:
    one = stores()
    assert {} == one.begin(go_on=True)
    one.write([], {"packets_total": 5, "streams_total": 1})
    two = stores()
    assert {} == two.begin(go_on=True), "the other one lives"
    two.write([], {"packets_total": 7})
    one.close()
    two.close()
    three, four = stores(), stores()
    assert {"packets_total": 12, "streams_total": 1} == three.begin(go_on=True)
    assert {} == four.begin(go_on=True)
    three.close()
    assert {"packets_total": 12, "streams_total": 1} == stores().begin(go_on=True), "it was killed before it wrote any"


def test_a_file_that_is_locked_is_waited_for_and_then_told_and_the_same_call_may_be_made_again(
    stores: Stores, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.01)
    store = stores()
    with closing(sqlite3.connect(stores.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(HistoryError, match="database is locked"):
            store.write([a_run(1)])
        assert [] == all_of(reading)
    store.write([a_run(1)])
    assert [a_run(1)] == all_of(reading)


def test_a_file_that_somebody_took_away_is_made_anew(stores: Stores, reading: Reading) -> None:
    store = stores()
    store.write([a_run(1)])
    assert 1 == len(all_of(reading))
    stores.path.rename(stores.path.with_name("elsewhere"))
    for end in ("-wal", "-shm"):
        stores.path.with_name(f"history.sqlite3{end}").unlink()
    store.tidy(100, None)
    store.write([a_run(2)])
    assert [a_run(2)] == all_of(reading)
    with closing(sqlite3.connect(stores.path)) as found:
        assert [(store.daemon,)] == found.execute("SELECT daemon FROM daemons").fetchall()
