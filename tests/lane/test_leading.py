"""A lane in its reactor's place: each wakes the process, neither starves the other, and the reactor goes on alone."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from ctrlserver.lane.lane import ROUND_SOCKETS, Lane
from ctrlserver.lane.leading import LaneReactor, LeadingLane


class Beside(FileDescriptor):
    """A descriptor of the reactor's own: a pipe, of which each byte is read by itself."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self.reads, self.writes = os.pipe()
        self.got = b""
        self.error: Exception | None = None
        self.called: Callable[[], object] | None = None
        reactor.addReader(self)

    def fileno(self) -> int:
        return self.reads

    def doRead(self) -> None:
        self.got += os.read(self.reads, 1)
        if self.called is not None:
            self.called()

    def send(self) -> None:
        os.write(self.writes, b"x")


class Owner:
    """A socket of the lane: how often it was ready; ``more``: it has more to do in a later turn each time."""

    def __init__(self, lane: Lane, more: bool = False, patient: bool = False) -> None:
        self.near, self.far = socket.socketpair()
        self.times = 0
        self._lane, self._more = lane, more
        lane.watch(self.near.fileno(), self, select.EPOLLIN, patient=patient)

    def ready(self, events: int) -> None:
        self.times += 1
        if self._more:
            self._lane.again(self.near.fileno(), events)
        else:
            self.near.recv(1)

    def failed(self) -> None:
        raise AssertionError("no owner fails here")


class Bench:
    """A reactor that is not installed, a lane, a descriptor of each, and all that is to be closed."""

    def __init__(self) -> None:
        self.reactor: Any = LaneReactor()  # type: ignore[no-untyped-call]
        self.lane = LeadingLane(self.reactor)
        self.lane.start()
        self.owners: list[Owner] = []
        self.beside = Beside(self.reactor)

    def owner(self, more: bool = False, patient: bool = False) -> Owner:
        self.owners.append(Owner(self.lane, more, patient))
        return self.owners[-1]

    def close(self) -> None:
        self.lane.stop()
        for each in self.reactor.removeAll():
            each.connectionLost(Failure(ConnectionDone()))
        os.close(self.beside.reads)
        os.close(self.beside.writes)
        for owner in self.owners:
            owner.near.close()
            owner.far.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_data_on_the_lane_and_what_the_reactor_has_each_end_the_wait(bench: Bench) -> None:
    owner = bench.owner()
    owner.far.send(b"x")
    bench.reactor.doIteration(None)
    assert (1, b"") == (owner.times, bench.beside.got)
    bench.beside.send()
    bench.reactor.doIteration(None)
    assert (1, b"x") == (owner.times, bench.beside.got)


@pytest.mark.parametrize("patient", [False, True])
@pytest.mark.parametrize("streams", [1, ROUND_SOCKETS - 1, ROUND_SOCKETS, 2 * ROUND_SOCKETS + 1])
def test_what_had_come_before_a_question_is_read_before_it(bench: Bench, streams: int, patient: bool) -> None:
    """Although the reactor was ready first, and where a question ends the rests of a steady flow."""
    owners, before = [bench.owner(patient=patient) for _ in range(streams)], list[int]()
    bench.lane._steady_since, bench.lane.pause, bench.lane.rest = 0.0, inf, lambda _: True
    bench.lane.clock = lambda: 1000.0  # on a busy machine a turn might end before all that is ready is served
    bench.beside.called = lambda: before.append(sum(owner.times for owner in owners))
    for _ in range(3):
        bench.beside.send()
        for owner in owners:
            owner.far.send(b"x")
        bench.reactor.doIteration(None)
    assert [streams, 2 * streams, 3 * streams] == before


def test_who_has_answered_a_question_gives_way_once(bench: Bench) -> None:
    gave: list[bytes] = []
    bench.lane.give_way = lambda: gave.append(bench.beside.got)
    bench.beside.called = bench.lane.make_way
    for _ in range(2):
        bench.beside.send()
        bench.reactor.doIteration(None)
    bench.beside.called = None
    bench.beside.send()
    bench.reactor.doIteration(None)
    assert ([b"x", b"xx"], b"xxx") == (gave, bench.beside.got)


def test_a_wait_ends_in_time_where_nothing_comes_and_a_timer_is_kept(bench: Bench) -> None:
    called: list[bool] = []
    bench.reactor.callLater(0.01, called.append, True)
    while not called:
        bench.reactor.iterate(bench.reactor.timeout())
    assert [True] == called


def test_the_reactor_has_its_turn_where_every_round_is_full(bench: Bench) -> None:
    owners = [bench.owner() for _ in range(ROUND_SOCKETS + 1)]
    for each in owners:
        each.far.send(b"x" * 1000)
    bench.beside.send()
    bench.reactor.doIteration(None)
    assert b"x" == bench.beside.got
    assert sum(each.times for each in owners) >= ROUND_SOCKETS


def test_the_reactor_has_its_turn_where_the_lane_always_has_more_to_do(bench: Bench) -> None:
    owner = bench.owner(more=True)
    owner.far.send(b"x")
    bench.reactor.doIteration(None)
    bench.beside.send()
    bench.reactor.doIteration(None)
    assert b"x" == bench.beside.got
    assert owner.times >= 2


def test_once_the_lane_has_stopped_the_reactor_waits_by_itself(bench: Bench) -> None:
    bench.lane.stop()
    bench.beside.send()
    bench.reactor.doIteration(None)
    assert b"x" == bench.beside.got
    assert bench.reactor.leader is None


def test_a_reactor_whose_poll_fails_waits_by_itself_and_the_lane_is_one_of_its_descriptors(bench: Bench) -> None:
    owner = bench.owner()
    poll, bench.reactor.doPoll = bench.reactor.doPoll, lambda _: 1 / 0
    bench.beside.send()
    with capturedLogs() as lines:
        bench.reactor.doIteration(None)
    assert [ZeroDivisionError] == [each["log_failure"].type for each in lines]
    bench.reactor.doPoll = poll
    owner.far.send(b"x")
    bench.reactor.doIteration(None)
    assert (1, b"x", None) == (owner.times, bench.beside.got, bench.reactor.leader)


def test_a_second_lane_of_a_reactor_is_one_of_its_descriptors(bench: Bench) -> None:
    second = LeadingLane(bench.reactor)
    second.start()
    owner = Owner(second)
    bench.owners.append(owner)
    owner.far.send(b"x")
    bench.reactor.doIteration(None)
    assert 1 == owner.times
    second.stop()
    bench.beside.send()
    bench.reactor.doIteration(None)
    assert b"x" == bench.beside.got
