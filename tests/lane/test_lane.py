"""The lane's turn: what it serves in one, what it lets be served together, and when it rests."""

from __future__ import annotations

import os
import select
import socket

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from ctrlserver.lane.lane import (
    AGAIN_SECONDS,
    BUSY_SECONDS,
    PAUSE_SECONDS,
    REST_SECONDS,
    RESTING_SECONDS,
    SHORT_FOR_SECONDS,
    STEADY_SECONDS,
    TURN_SECONDS,
    Lane,
)
from ctrlserver.lane.together import Event
from tests.lane.conftest import Flow, Reader, Two


def go_on_for(flow: Flow, seconds: float) -> None:
    """A flow without a pause: a turn of one byte twice as often as would be one."""
    step = PAUSE_SECONDS / 2
    for _ in range(round(seconds / step)):
        flow.far.send(b"x")
        flow.lane.doRead()
        flow.time.advance(step)


def test_a_turn_ends_by_its_time_although_more_is_ready(flow: Flow) -> None:
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN)
    flow.reader.seconds = TURN_SECONDS / 4
    flow.far.send(b"x" * 100)
    assert 5 == flow.turn()


def test_a_short_flow_is_read_without_a_rest(flow: Flow) -> None:
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN, patient=True)
    go_on_for(flow, STEADY_SECONDS * 0.9)
    assert [] == flow.rests


def test_a_long_steady_flow_is_let_gather(flow: Flow) -> None:
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN, patient=True)
    go_on_for(flow, STEADY_SECONDS * 1.1)
    flow.rests.clear()
    flow.far.send(b"xyz")
    assert 3 == flow.turn()
    assert [REST_SECONDS] * 3 == flow.rests


@pytest.mark.parametrize("times", [1, 2])
def test_a_turn_with_rests_ends_soon_although_more_is_ready(flow: Flow, times: int) -> None:
    flow.lane.resting *= times
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN, patient=True)
    go_on_for(flow, STEADY_SECONDS * 1.1)
    began = flow.time.seconds()
    flow.far.send(b"x" * 100)
    flow.lane.doRead()
    assert 0 < flow.time.seconds() - began - times * RESTING_SECONDS <= REST_SECONDS * 1.01


def test_a_flow_with_pauses_is_never_let_gather(flow: Flow) -> None:
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN, patient=True)
    for _ in range(5):
        go_on_for(flow, STEADY_SECONDS * 0.5)
        flow.time.advance(PAUSE_SECONDS * 2)
    assert [] == flow.rests


def test_how_long_a_pause_is_may_be_said(flow: Flow) -> None:
    flow.lane.pause = PAUSE_SECONDS * 3
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN, patient=True)
    for _ in range(5):
        go_on_for(flow, STEADY_SECONDS * 0.5)
        flow.time.advance(PAUSE_SECONDS * 2)
    assert [] != flow.rests


def test_a_rest_may_end_the_turn(flow: Flow) -> None:
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN, patient=True)
    go_on_for(flow, STEADY_SECONDS * 1.1)
    flow.lane.rest = lambda _: True
    flow.far.send(b"xyz")
    assert [1, 1, 1] == [flow.turn() for _ in range(3)]


def test_nobody_rests_while_one_socket_is_eager(flow: Flow) -> None:
    other, peer = socket.socketpair()
    with other, peer:
        flow.lane.watch(other.fileno(), Reader(other, flow.time), select.EPOLLIN)
        flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN, patient=True)
        go_on_for(flow, STEADY_SECONDS * 1.5)
        assert [] == flow.rests
        flow.lane.forget(other.fileno())
        go_on_for(flow, STEADY_SECONDS * 0.1)
        assert [] != flow.rests


@define(eq=False)
class Pairs:
    """Serves rounds of two sockets or more, but for the socket ``left``, and finds all ready ``more`` times.

    ``broken``: raises instead.
    """

    left: int = -1
    broken: bool = False
    fewest: int = 2
    rounds: list[set[int]] = field(factory=list)
    forgotten: list[int] = field(factory=list)
    closed: bool = False
    repeated: int = 0
    more: int = 0

    def serve(self, events: list[Event]) -> list[Event]:
        if self.broken:
            raise RuntimeError("a bug")
        self.rounds.append({fd for fd, _ in events})
        for fd, _ in events:
            if fd != self.left:
                os.read(fd, 1)
        return [event for event in events if event[0] == self.left]

    def repeat(self) -> bool:
        self.repeated += 1
        self.more -= 1
        return self.more >= 0

    def forget(self, fd: int) -> None:
        self.forgotten.append(fd)

    def close(self) -> None:
        self.closed = True


def test_what_serves_sockets_together_has_a_round_first_and_owners_get_what_it_leaves(two: Two) -> None:
    both = [reader.end.fileno() for reader in two.readers]
    two.lane.together = pairs = Pairs(left=both[1])
    assert [0, 1] == two.round()
    assert [set(both)] == pairs.rounds


def test_a_round_of_fewer_sockets_goes_to_their_owners(two: Two) -> None:
    two.lane.together = pairs = Pairs(fewest=3)
    assert [1, 1] == two.round()
    assert [] == pairs.rounds


@pytest.mark.parametrize(("more", "repeated", "gave"), [(0, 1, 1), (2, 3, 3), (9, 3, 4)])
def test_after_giving_way_the_same_are_served_without_a_poll_for_a_part_of_the_turn(
    two: Two, time: Clock, more: int, repeated: int, gave: int
) -> None:
    two.lane.together = pairs = Pairs(more=more)
    two.lane.repeating = 0.75 * TURN_SECONDS
    ways: list[float] = []

    def give_way() -> None:
        ways.append(time.seconds())
        time.advance(0.2 * TURN_SECONDS)

    two.lane.give_way = give_way
    assert [0, 0] == two.round()
    assert (repeated, gave) == (pairs.repeated, len(ways))


@pytest.mark.parametrize(
    ("pairs", "seconds"),
    [(Pairs(more=9, left=0), 1.0), (Pairs(more=9, fewest=3), 1.0), (Pairs(more=9), 0.0)],
    ids=["one is left", "too few", "no time"],
)
def test_a_round_that_leaves_some_to_their_owners_is_not_repeated(two: Two, pairs: Pairs, seconds: float) -> None:
    pairs.left = two.readers[0].end.fileno() if pairs.left == 0 else -1
    two.lane.together, two.lane.repeating = pairs, seconds
    two.round()
    assert 0 == pairs.repeated


def test_when_serving_together_fails_owners_serve_that_round_and_all_others(two: Two) -> None:
    two.lane.together = pairs = Pairs(broken=True)
    with capturedLogs() as lines:
        assert [1, 1] == two.round()
        assert [2, 2] == two.round()
    assert 1 == sum("one by one from now on" in line["log_format"] for line in lines)
    assert pairs.closed
    assert two.lane.together is None


def test_what_serves_sockets_together_hears_of_each_that_leaves_and_ends_with_the_lane(two: Two) -> None:
    two.lane.together = pairs = Pairs()
    two.lane.forget(two.readers[0].end.fileno())
    assert [two.readers[0].end.fileno()] == pairs.forgotten
    two.lane.stop()
    assert pairs.closed


def test_nobody_rests_where_no_data_gather(flow: Flow) -> None:
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN, patient=None)
    go_on_for(flow, STEADY_SECONDS * 1.5)
    assert [] == flow.rests


def test_data_that_came_in_a_rest_is_seen_after_it(flow: Flow) -> None:
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN, patient=True)
    go_on_for(flow, STEADY_SECONDS * 1.1)
    began = flow.time.seconds()
    flow.far.send(b"xy")
    flow.lane.doRead()
    assert pytest.approx(began + 2 * REST_SECONDS) == flow.lane.round_began


def test_a_socket_that_takes_a_whole_turn_ends_it_and_the_others_begin_the_next_one(two: Two) -> None:
    for reader in two.readers:
        reader.seconds = 2 * TURN_SECONDS
    assert 1 == sum(two.round())
    two.lane.doRead()
    assert [1, 1] == [reader.read for reader in two.readers]


@define(eq=False)
class Worker(Reader):
    """Reads all it gets, then has ``parts`` to do, ``seconds`` each, a part a turn."""

    lane: Lane | None = None
    parts: int = 0
    done: int = 0

    def ready(self, events: int) -> int | None:
        if not self.parts:
            self.parts = len(self.end.recv(100))
        assert self.lane is not None
        self.time.advance(self.seconds)
        self.done += 1
        self.parts -= 1
        if self.parts:
            self.lane.again(self.end.fileno(), select.EPOLLIN)
        return None


def test_who_has_more_to_do_is_called_in_later_turns_although_its_socket_is_not_ready(flow: Flow) -> None:
    worker = Worker(flow.reader.end, flow.time, TURN_SECONDS, lane=flow.lane)
    flow.lane.watch(worker.end.fileno(), worker, select.EPOLLIN)
    flow.far.send(b"xxx")
    done = []
    while select.select([flow.lane], [], [], 0)[0]:
        flow.lane.doRead()
        done.append(worker.done)
    assert [2, 3] == done[-2:]
    assert not select.select([flow.lane], [], [], 0)[0], "the lane is ready only while there is more to do"


def test_who_has_more_to_do_leaves_most_of_a_turn_to_the_others_and_goes_on_all_the_same(two: Two) -> None:
    time, lane = two.readers[0].time, two.lane
    lane.forget(two.readers[0].end.fileno())
    worker = Worker(two.readers[0].end, time, AGAIN_SECONDS, lane=lane)
    lane.watch(worker.end.fileno(), worker, select.EPOLLIN)
    other = two.readers[1]
    other.seconds = TURN_SECONDS / 20
    two.fars[0].send(b"x" * 50)
    two.fars[1].send(b"y" * 1000)
    lane.doRead()
    for _ in range(10):
        worked, read, began = worker.done, other.read, time.seconds()
        lane.doRead()
        assert 1 <= worker.done - worked <= 2
        assert (other.read - read) * other.seconds > (time.seconds() - began) * 0.6


def test_what_shall_follow_a_round_comes_once_when_it_is_over_and_before_the_next(two: Two) -> None:
    seen: list[list[int]] = []

    @define(eq=False)
    class Asking(Reader):
        def ready(self, events: int) -> None:
            super().ready(events)
            two.lane.after_round(lambda: seen.append([reader.read for reader in readers]))

    readers = [Asking(reader.end, reader.time) for reader in two.readers]
    for reader in readers:
        two.lane.forget(reader.end.fileno())
        two.lane.watch(reader.end.fileno(), reader, select.EPOLLIN)
    for far in two.fars:
        far.send(b"xyz")
    two.lane.doRead()
    two.round()
    assert [[1, 1], [2, 2], [3, 3], [4, 4]] == seen


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, OSError])
def test_a_turn_that_fails_beside_all_owners_is_logged_and_the_next_one_goes_on(
    two: Two, error: type[Exception]
) -> None:
    def fails() -> None:
        raise error

    two.lane.after_round(fails)
    with capturedLogs() as logged:
        assert [1, 1] == two.round()
    assert ["a turn of the lane failed"] == [each["log_format"] for each in logged]
    assert [2, 2] == two.round()


def test_a_lane_had_a_turn_for_a_moment_after_it(flow: Flow) -> None:
    flow.lane.doRead()
    assert flow.lane.make_way()
    flow.time.advance(BUSY_SECONDS)
    assert not flow.lane.make_way()


def test_turns_are_short_for_a_while_after_the_lane_made_way(flow: Flow) -> None:
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN)
    flow.reader.seconds = TURN_SECONDS / 4
    flow.far.send(b"x" * 100)
    flow.lane.make_way()
    assert [3, 3] == [flow.turn(), flow.turn()]
    flow.time.advance(SHORT_FOR_SECONDS)
    assert 5 == flow.turn()


def test_who_left_the_lane_is_not_called_again(flow: Flow) -> None:
    worker = Worker(flow.reader.end, flow.time, TURN_SECONDS * 2, lane=flow.lane)
    flow.lane.watch(worker.end.fileno(), worker, select.EPOLLIN)
    flow.far.send(b"xxxx")
    flow.lane.doRead()
    flow.lane.forget(worker.end.fileno())
    done = worker.done
    flow.lane.doRead()
    flow.lane.doRead()
    assert done == worker.done


def test_what_a_socket_had_to_do_is_not_asked_of_the_next_one_with_its_number(flow: Flow) -> None:
    seen: list[int] = []

    @define(eq=False)
    class Owing(Reader):
        """Owes replies, so it waits for room and reads nothing."""

        def ready(self, events: int) -> None:
            seen.append(events)
            self.time.advance(self.seconds)

    worker = Worker(flow.reader.end, flow.time, TURN_SECONDS * 2, lane=flow.lane)
    flow.lane.watch(worker.end.fileno(), worker, select.EPOLLIN)
    flow.far.send(b"xxxx")
    flow.lane.doRead()
    flow.lane.forget(worker.end.fileno())
    flow.lane.watch(worker.end.fileno(), Owing(worker.end, flow.time, TURN_SECONDS * 2), select.EPOLLOUT)
    for _ in range(3):
        flow.lane.doRead()
    assert [select.EPOLLOUT] * 3 == seen


@define(eq=False)
class Raising:
    """Raises whenever it is ready."""

    error: Exception
    ended: int = 0

    def ready(self, events: int) -> None:
        raise self.error

    def failed(self) -> None:
        self.ended += 1


def test_a_flood_of_owners_that_raise_is_a_line_a_second_with_the_number_of_the_others(flow: Flow) -> None:
    owner = Raising(ValueError("a bug"))
    with capturedLogs() as lines:
        for _ in range(100):
            flow.lane.watch(flow.reader.end.fileno(), owner, select.EPOLLIN)
            flow.far.send(b"x")
            flow.lane.doRead()
            flow.lane.tell_left_out(flow.time.seconds())
        flow.time.advance(1)
        flow.lane.tell_left_out(flow.time.seconds())
    assert 100 == owner.ended
    assert 1 == sum("log_failure" in line for line in lines)
    assert [99] == [line["number"] for line in lines if "number" in line]
    assert 2 == len(lines)
