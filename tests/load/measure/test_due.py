from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.load.measure.due import MOST_RUNS, Backlog, Releases
from ctrlserver.load.measure.timing import Timing


def test_packets_go_in_the_order_in_which_they_came() -> None:
    queue = Backlog()
    queue.push(3, 10, 30)
    queue.push(1, 40, 40)
    assert 4 == queue.waiting
    assert [(2, 10, 20)] == queue.pop(2)
    assert [(1, 30, 30), (1, 40, 40)] == queue.pop(2)
    assert 0 == queue.waiting


def test_no_more_go_than_there_are() -> None:
    queue = Backlog()
    queue.push(2, 1, 2)
    assert [(2, 1, 2)] == queue.pop(5)
    assert (0, []) == (queue.waiting, queue.pop(1))


def test_none_waits_after_a_clear() -> None:
    queue = Backlog()
    queue.push(2, 1, 2)
    queue.clear()
    assert (0, []) == (queue.waiting, queue.pop(1))


def test_a_packet_that_has_begun_keeps_its_moment_when_no_more_are_released() -> None:
    timing = Timing()
    releases = Releases(timing)
    releases.add(4, 10, 40, 9)
    assert [(1, 10, 10)] == releases.begun(1, 50)
    releases.end(2)  # the second goes in parts, and counts as begun once it is whole
    assert (4, 2, 1) == (releases.due, releases.dropped, releases.waiting)
    assert [(1, 20, 20)] == releases.begun(1, 60)
    assert (2, 0) == (len(timing.slip), releases.waiting)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 50)), max_size=20), st.lists(st.integers(1, 30)))
def test_each_packet_keeps_its_moment_however_they_are_taken(runs: list[tuple[int, int]], takes: list[int]) -> None:
    queue = Backlog()
    expected: list[int] = []
    moment = 0
    for count, step in runs:
        last = moment + step * (count - 1)
        queue.push(count, moment, last)
        expected += range(moment, last + 1, step) if step else [moment] * count
        moment = last + 100
    taken: list[int] = []
    for take in [*takes, len(expected)]:
        for count, first, last in queue.pop(take):
            taken += [first + (last - first) * i // max(1, count - 1) for i in range(count)]
    assert expected == taken
    assert 0 == queue.waiting


def test_a_long_queue_stays_small_and_loses_no_packet() -> None:
    queue = Backlog()
    for moment in range(10 * MOST_RUNS):
        queue.push(2, 2 * moment, 2 * moment + 1)
    assert len(queue._runs) <= MOST_RUNS
    assert 20 * MOST_RUNS == queue.waiting
    runs = queue.pop(queue.waiting)
    assert 20 * MOST_RUNS == sum(count for count, _, _ in runs)
    assert (0, 20 * MOST_RUNS - 1) == (runs[0][1], runs[-1][2])


def test_the_moments_of_the_oldest_are_those_with_which_they_would_go() -> None:
    backlog = Backlog()
    backlog.push(3, 10, 30)
    backlog.push(1, 35, 35)
    assert [10, 20, 30, 35] == backlog.moments(9)
    assert [10, 20] == backlog.moments(2)
    backlog.pop(2)
    assert [30, 35] == backlog.moments(2)
    assert 2 == backlog.waiting
