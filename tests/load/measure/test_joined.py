from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.load.measure.joined import Numbers, joined_orders, joined_streams, newest_in, summed
from ctrlserver.load.measure.reading import Reading
from ctrlserver.load.measure.reconciling import ByAddress
from tests.load.measure.records import record, stream

SERVERS = st.lists(st.lists(st.integers(1, 10**6), max_size=5, unique=True), min_size=1, max_size=5)


@given(SERVERS, SERVERS)
def test_numbers_of_several_servers_are_all_different_and_lead_back_and_only_new_streams_are_newer(
    before: list[list[int]], later: list[list[int]]
) -> None:
    rows: list[list[dict[str, Any]]] = [[{"stream": each} for each in one] for one in before]
    numbers = Numbers([newest_in(each) for each in rows])
    newest = newest_in(joined_streams(rows, numbers))
    seen = {(server, number) for server, one in enumerate(before) for number in one}
    seen |= {(server, number) for server, one in enumerate(later[: len(before)]) for number in one}
    joined = {numbers.joined(*each): each for each in seen}
    assert len(seen) == len(joined)
    assert seen == {numbers.apart(each) for each in joined}
    assert {each for each in seen if each[1] > max(before[each[0]], default=0)} == {
        each for number, each in joined.items() if number > newest
    }


def test_what_each_server_counts_is_added_and_all_else_is_the_first_ones() -> None:
    first = {"version": "1.0", "packets_total": 3, "dropped_total": 1, "ready": True, "loop_lag_seconds": 0.5}
    second = {"version": "1.1", "packets_total": 4, "ready": True, "loop_lag_seconds": 0.25, "new_total": 7}
    assert {"version": "1.0", "packets_total": 7, "ready": True, "loop_lag_seconds": 0.5} == summed([first, second])
    assert first == summed([first])


def test_injections_of_two_servers_are_two_though_they_have_one_number() -> None:
    orders: list[dict[str, Any]] = [{"injection": 1, "spec": "2*close"}, {"injection": 1, "spec": "3*reset"}]
    assert 2 == len({each["injection"] for each in joined_orders([orders[:1], orders[1:]])})


def test_streams_on_two_servers_reconcile_with_the_records_of_both() -> None:
    numbers = Numbers([40, 0])
    before = Reading(joined_streams([[record(9, stream=40)], []], numbers))
    theirs = [[record(1, stream=41), record(9, stream=40)], [record(2, stream=1)]]
    comparison = ByAddress([stream(1), stream(2)], "fixed:1024", before, 0.0, 1.0)
    outcome = comparison.compare(Reading(joined_streams(theirs, numbers)))
    assert (True, {1, 2}) == (outcome.reconciled, set(outcome.counted))
    assert not comparison.compare(Reading(joined_streams([theirs[0], []], numbers))).reconciled
