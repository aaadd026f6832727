from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctrlserver.errors import HistoryError
from ctrlserver.history.reading import Reading
from ctrlserver.stats.chosen import Chosen
from ctrlserver.stats.records import RunRecord
from tests.history.stores import Stores, a_run, labelled


def listed(reading: Reading, chosen: Chosen | None = None, limit: int = 1000) -> list[int]:
    return [run.run for run in reading.page(chosen or Chosen(), limit, None, ()).records]


def test_a_file_that_is_not_there_is_told_and_read_once_it_is(stores: Stores, reading: Reading) -> None:
    with pytest.raises(HistoryError, match="no such file"):
        reading.run(3)
    stores().write([a_run(3)])
    assert a_run(3) == reading.run(3)


@pytest.mark.parametrize("spoilt", ["", "[]", '{"packets":', "null"])
def test_a_row_that_somebody_has_spoilt_hides_no_other(stores: Stores, reading: Reading, spoilt: str) -> None:
    stores().write([a_run(1), a_run(2), a_run(3)])
    with closing(sqlite3.connect(stores.path)) as other, other:
        other.execute("UPDATE runs SET record = ? WHERE run = 2", (spoilt,))
    assert [3, 1] == listed(reading)
    assert (None, a_run(3)) == (reading.run(2), reading.run(3))


@pytest.mark.parametrize("spoilt", ["", "[", "[7]", "7", '{"site":7}', '{"site":null}', '{"a":{"b":[1]}}'])
def test_a_row_whose_labels_or_listeners_somebody_has_spoilt_hides_no_other(
    stores: Stores, reading: Reading, spoilt: str
) -> None:
    stores().write([a_run(run, listeners="data", labels=labelled(site=["lab"])) for run in (1, 2, 3)])
    with closing(sqlite3.connect(stores.path)) as other, other:
        other.execute("UPDATE runs SET labels = ?, listeners = ? WHERE run = 2", (spoilt, spoilt))
    assert [3, 1] == listed(reading, Chosen(labels=(("site", "lab"),)))
    assert [3, 1] == listed(reading, Chosen(listener="data"))


def test_the_newest_come_first_by_the_time_they_began_and_pages_follow_each_other(
    stores: Stores, reading: Reading
) -> None:
    stores().write([a_run(1), a_run(2, at=9), a_run(3), a_run(4, at=3), a_run(5)])
    assert [2, 5, 4, 3, 1] == listed(reading)
    first = reading.page(Chosen(), 2, None, ())
    last = first.records[-1]
    second = reading.page(Chosen(), 2, last, ())
    assert ([2, 5], [4, 3]) == ([run.run for run in first.records], [run.run for run in second.records])
    assert (5, 5) == (first.total, second.total)


def test_runs_are_chosen_by_time_name_listener_and_label(stores: Stores, reading: Reading) -> None:
    stores().write(
        [
            a_run(1, name="soak 1", listeners="data", labels=labelled(site=["lab"], rack=[4])),
            a_run(2, name="soak 2", listeners="data,lines", labels=labelled(site=["lab", "roof"], ok=[True])),
            a_run(3, listeners=None),
        ]
    )
    assert [3, 2] == listed(reading, Chosen(since=a_run(2).started))
    assert [1] == listed(reading, Chosen(until=a_run(2).started))
    assert [2, 1] == listed(reading, Chosen(name="soak*"))
    assert [2] == listed(reading, Chosen(listener="lines"))
    assert [2, 1] == listed(reading, Chosen(labels=(("site", "lab"),)))
    assert [2] == listed(reading, Chosen(labels=(("site", "roof"), ("ok", "true"))))
    assert [1] == listed(reading, Chosen(labels=(("rack", "4"),)))
    assert [] == listed(reading, Chosen(name="soak"))


def test_of_the_named_runs_those_that_are_in_the_file_and_chosen_are_known(stores: Stores, reading: Reading) -> None:
    stores().write([a_run(run) for run in range(1, 1200)])
    page = reading.page(Chosen(until=a_run(1100).started), 1, None, range(500, 2000))
    assert (1099, frozenset(range(500, 1100))) == (page.total, page.known)


TEXTS = st.none() | st.text("ab*?[]é '\"", max_size=4)
LABELS = st.dictionaries(st.sampled_from(["site", "rack"]), st.lists(st.sampled_from(["a", 1, 2.5, True]), min_size=1))
RUNS = st.builds(
    a_run,
    st.integers(1, 50),
    at=st.integers(0, 5),
    name=TEXTS,
    listeners=st.sampled_from([None, "data", "data,lines"]),
    labels=LABELS,
)
TIMES = st.none() | st.integers(0, 5).map(lambda at: a_run(1, at=at).started)
PAIRS = st.tuples(st.sampled_from(["site", "rack"]), st.sampled_from(["a", "1", "2.5", "true"]))
CHOICES = st.builds(
    Chosen, TIMES, TIMES, TEXTS, st.sampled_from([None, "data", "lines"]), st.lists(PAIRS, max_size=2).map(tuple)
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(RUNS, max_size=8, unique_by=lambda run: run.run), CHOICES)
def test_what_a_choice_takes_of_the_file_is_what_it_takes_of_memory(
    stores: Stores, reading: Reading, runs: list[RunRecord], chosen: Chosen
) -> None:
    stores.path.unlink(missing_ok=True)
    for end in ("-wal", "-shm"):
        stores.path.with_name(f"history.sqlite3{end}").unlink(missing_ok=True)
    reading.close()
    store = stores()
    store.write(runs)
    page = reading.page(chosen, 100, None, ())
    taken = sorted([run for run in runs if chosen.takes(run)], key=lambda run: (run.started, run.run), reverse=True)
    assert taken == list(page.records)
    assert len(taken) == page.total
    store.close()
