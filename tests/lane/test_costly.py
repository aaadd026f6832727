"""Whose bytes cost much, when they are cheap again, and what the lane does with such owners meanwhile."""

from __future__ import annotations

import select
import socket

import pytest

from ctrlserver.lane.costly import CHEAP_BYTES, CHEAP_RATE, CHEAP_TIMES, COSTLY_SECONDS, Costly, is_costly
from ctrlserver.lane.lane import AGAIN_SECONDS, TURN_SECONDS
from tests.lane.conftest import Flow, Reader, Two


class Nobody:
    """An owner that is never called."""

    def ready(self, events: int) -> None:
        raise AssertionError

    def failed(self) -> None:
        raise AssertionError


def costly() -> Costly:
    return Costly(Nobody(), 3, lambda _fd, _events: None)


@pytest.mark.parametrize(
    ("took", "seconds", "is_so"),
    [
        (1, COSTLY_SECONDS * 0.9, False),
        (1, COSTLY_SECONDS * 1.1, True),
        (0, 1.0, True),
        (None, 1.0, False),
        (1 << 20, (1 << 20) / CHEAP_RATE * 0.9, False),
        (1 << 20, (1 << 20) / CHEAP_RATE * 1.1, True),
    ],
)
def test_much_time_for_few_bytes_is_costly(took: int | None, seconds: float, is_so: bool) -> None:
    assert is_so == is_costly(took, seconds)


def test_an_owner_is_cheap_again_after_some_times_in_a_row() -> None:
    each = costly()
    rows = [each.is_cheap(1, 0.0) for _ in range(CHEAP_TIMES - 1)]
    each.is_cheap(1, 1.0)
    rows += [each.is_cheap(1, 0.0) for _ in range(CHEAP_TIMES)]
    assert [False] * (2 * CHEAP_TIMES - 2) + [True] == rows


def test_an_owner_that_reads_much_is_cheap_again_at_once() -> None:
    assert costly().is_cheap(CHEAP_BYTES * CHEAP_TIMES, 0.0)


def test_an_event_of_a_costly_owner_waits() -> None:
    waiting: list[tuple[int, int]] = []
    Costly(Nobody(), 3, lambda fd, events: waiting.append((fd, events))).ready(1)
    assert [(3, 1)] == waiting


# On a lane


def test_whose_bytes_cost_much_leaves_most_of_a_turn_to_the_others_and_goes_on_all_the_same(two: Two) -> None:
    time, lane = two.readers[0].time, two.lane
    costly, cheap = two.readers
    costly.judged, costly.seconds = True, AGAIN_SECONDS / 2
    cheap.seconds = TURN_SECONDS / 20
    two.fars[0].send(b"x" * 100)
    two.fars[1].send(b"y" * 1000)
    for _ in range(2):
        lane.doRead()
    for _ in range(10):
        worked, read, began = costly.read, cheap.read, time.seconds()
        lane.doRead()
        assert 1 == costly.read - worked
        assert (cheap.read - read) * cheap.seconds > (time.seconds() - began) * 0.7


def test_whose_bytes_cost_much_waits_its_turn_although_its_peer_has_gone(two: Two) -> None:
    costly, cheap = two.readers
    costly.judged, costly.seconds = True, AGAIN_SECONDS / 4
    cheap.seconds = TURN_SECONDS / 20
    two.fars[0].send(b"x" * 100)
    two.fars[1].send(b"y" * 1000)
    for _ in range(2):
        two.lane.doRead()
    two.fars[0].close()  # epoll reports that whatever it was asked for
    for _ in range(10):
        worked = costly.read
        two.lane.doRead()
        assert 1 == costly.read - worked


def test_many_whose_bytes_cost_much_take_turns(flow: Flow) -> None:
    costly: list[Reader] = []
    fars = []
    for _ in range(8):
        near, far = socket.socketpair()
        far.send(b"x" * 100)
        fars.append(far)
        costly.append(Reader(near, flow.time, AGAIN_SECONDS, judged=True))
        flow.lane.watch(near.fileno(), costly[-1], select.EPOLLIN)
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN)
    flow.reader.seconds = TURN_SECONDS / 20
    flow.far.send(b"y" * 10000)
    began = flow.time.seconds()
    for _ in range(80):
        flow.lane.doRead()
    reads = [reader.read for reader in costly]
    assert flow.reader.read * flow.reader.seconds > (flow.time.seconds() - began) * 0.5
    assert max(reads) - min(reads) <= 1
    assert min(reads) >= 9
    for reader, far in zip(costly, fars, strict=True):
        flow.lane.forget(reader.end.fileno())
        reader.end.close()
        far.close()


def test_whose_bytes_cost_much_is_served_at_once_while_nobody_else_is_ready(flow: Flow) -> None:
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN)
    flow.reader.judged, flow.reader.seconds = True, TURN_SECONDS / 10
    flow.far.send(b"x" * 20)
    turns = 0
    while select.select([flow.lane], [], [], 0)[0]:
        flow.lane.doRead()
        turns += 1
    assert 20 == flow.reader.read
    assert turns <= 21


@pytest.mark.parametrize("pauses", [1, 2])
def test_a_pause_of_the_process_makes_no_owner_costly_and_a_second_one_not_for_long(two: Two, pauses: int) -> None:
    paused, other = two.readers
    paused.judged, paused.seconds = True, 0.01
    for _ in range(pauses):
        two.round()
        two.lane.doRead()
    paused.seconds = COSTLY_SECONDS / 2
    for _ in range(CHEAP_TIMES * (pauses - 1)):
        two.round()
    other.seconds = TURN_SECONDS / 10
    read = paused.read
    two.fars[0].send(b"x" * 5)
    two.fars[1].send(b"y" * 100)
    two.lane.doRead()
    assert 5 == paused.read - read


def test_whose_bytes_cost_much_is_not_called_once_it_left_the_lane(two: Two) -> None:
    costly, other = two.readers
    costly.judged, costly.seconds = True, TURN_SECONDS * 2
    for _ in range(2):
        two.round()
        two.lane.doRead()
    other.seconds = TURN_SECONDS * 2  # its turn ends before the other's events are served
    two.round()
    read = costly.read
    two.lane.forget(costly.end.fileno())
    for _ in range(5):
        two.lane.doRead()
    assert read == costly.read
