"""The lane's turn: what it serves in one, and when it rests."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.lane.lane import PAUSE_SECONDS, REST_SECONDS, RESTING_SECONDS, STEADY_SECONDS, TURN_SECONDS, Lane

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="a lane needs epoll")


@define(eq=False)
class Reader:
    """Reads one byte for each ``ready``, which takes ``seconds`` of the lane's time."""

    end: socket.socket
    time: Clock
    seconds: float = 0.0
    read: int = 0

    def ready(self, events: int) -> None:
        self.read += len(self.end.recv(1))
        self.time.advance(self.seconds)

    def failed(self) -> None:
        raise AssertionError("no reader fails here")


@define
class Flow:
    """A lane with one socket on it, and the socket's other end."""

    lane: Lane
    reader: Reader
    far: socket.socket
    time: Clock
    rests: list[float] = field(factory=list)

    def turn(self) -> int:
        """The bytes read in one turn."""
        before = self.reader.read
        self.lane.doRead()
        return self.reader.read - before


@pytest.fixture
def flow() -> Iterator[Flow]:
    near, far = socket.socketpair()
    near.setblocking(False)
    time = Clock()
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        time.advance(seconds)

    lane = Lane(MemoryReactorClock(), time.seconds, rest=rest)
    lane.start()
    yield Flow(lane, Reader(near, time), far, time, rests)
    lane.stop()
    near.close()
    far.close()


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


def test_a_turn_with_rests_ends_soon_although_more_is_ready(flow: Flow) -> None:
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN, patient=True)
    go_on_for(flow, STEADY_SECONDS * 1.1)
    began = flow.time.seconds()
    flow.far.send(b"x" * 100)
    flow.lane.doRead()
    assert RESTING_SECONDS < flow.time.seconds() - began <= RESTING_SECONDS + REST_SECONDS * 1.01


def test_a_flow_with_pauses_is_never_let_gather(flow: Flow) -> None:
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN, patient=True)
    for _ in range(5):
        go_on_for(flow, STEADY_SECONDS * 0.5)
        flow.time.advance(PAUSE_SECONDS * 2)
    assert [] == flow.rests


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


def test_data_that_came_in_a_rest_is_seen_after_it(flow: Flow) -> None:
    flow.lane.watch(flow.reader.end.fileno(), flow.reader, select.EPOLLIN, patient=True)
    go_on_for(flow, STEADY_SECONDS * 1.1)
    began = flow.time.seconds()
    flow.far.send(b"xy")
    flow.lane.doRead()
    assert pytest.approx(began + 2 * REST_SECONDS) == flow.lane.round_began
