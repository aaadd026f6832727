from __future__ import annotations

from typing import Any

from ctrlserver.stats.chosen import Chosen, Page, listed
from ctrlserver.stats.records import RunRecord, timestamp


def a_run(run: int, **values: Any) -> RunRecord:
    known = dict.fromkeys(("packets_per_second", "bits_per_second", "expected_packets", "complete"))
    numbers = dict.fromkeys(("seconds", "streams", "packets", "bytes", "incomplete_bytes", "faults"), 0)
    own = {"name": None, "state": "ended", "started": timestamp(1e9 + run), "listeners": "data"}
    return RunRecord(run=run, **{**known, **numbers, **own, **values})


def test_what_is_in_memory_beats_what_was_stored_and_is_counted_once() -> None:
    memory = [a_run(5, state="active", packets=9), a_run(4)]
    page = Page([a_run(5, state="active"), a_run(4), a_run(3)], 5, frozenset({4, 5}))
    found = listed(memory, Chosen(), 10, None, page)
    assert ([5, 4, 3], 5, 9) == ([run.run for run in found.records], found.total, found.records[0].packets)


def test_what_is_not_stored_yet_is_among_them() -> None:
    found = listed([a_run(5), a_run(4)], Chosen(), 2, None, Page([a_run(6), a_run(4)], 7, frozenset({4})))
    assert ([6, 5], 8) == ([run.run for run in found.records], found.total)


def test_those_after_a_run_follow_it_and_the_number_is_that_of_all() -> None:
    memory = [a_run(3), a_run(2), a_run(1)]
    found = listed(memory, Chosen(), 1, memory[0])
    assert ([2], 3) == ([run.run for run in found.records], found.total)
