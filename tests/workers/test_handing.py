"""Connections on their way to a worker: each once, in order, with what is said of it, and none lost with a worker."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from ctrlserver.lane.lane import Lane
from ctrlserver.workers import handing
from ctrlserver.workers.handing import BATCH, MOST_WAITING, Handed, Hander, Said, Taker
from tests.servers import PATIENCE

reactor: Any = installed


@define(eq=False)
class Hand:
    """Both ends, the clients of what is handed, and what was taken."""

    hander: Hander
    worker: socket.socket
    clients: list[socket.socket] = field(factory=list)
    got: list[Handed] = field(factory=list)
    lost: list[tuple[int, int, Any]] = field(factory=list)
    lane: Lane | None = None
    broken: list[Exception] = field(factory=list)
    taker: Any = None
    rooms: int = 0
    _wanted: Callable[[], bool] = bool
    _enough: Any = None

    def hand(self, number: int, **said: Any) -> None:
        """Hand so many connections, each of which has its number as its peer."""
        for _ in range(number):
            client, sock = socket.socketpair()
            said_of = {"generation": 0, "listener": 0, "peer": len(self.clients), "strike": "", "at": 0.0} | said
            self.clients.append(client)
            self.hander.hand(sock.detach(), (*said_of.values(),))  # type: ignore[arg-type]
        self.hander.flush()

    def take(self) -> None:
        """Begin to take."""
        self.taker = Taker(self.worker, self._taken, reactor, lambda *of: self.lost.append(of))
        if self.lane is not None:
            self.lane.start()
            self.taker.join(self.lane)

    def _taken(self, descriptor: int, said: Said) -> None:
        if self.broken:
            os.close(descriptor)
            raise self.broken.pop()
        self.got.append((descriptor, said))
        self.look()

    def peers(self) -> list[Any]:
        return [said[2] for _, said in self.got]

    def until(self, wanted: Callable[[], bool]) -> Deferred[None]:
        self._wanted, self._enough = wanted, Deferred()
        self._enough.addTimeout(PATIENCE, reactor)
        waits: Deferred[None] = self._enough
        self.look()
        return waits

    def look(self) -> None:
        if self._enough is not None and self._wanted():
            enough, self._enough = self._enough, None
            enough.callback(None)

    def room(self) -> None:
        self.rooms += 1
        self.look()


@pytest.fixture(params=[False, True], ids=["reactor", "lane"])
def hand(request: pytest.FixtureRequest) -> Iterator[Hand]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made = Hand(Hander(ours, theirs.dup(), reactor, lambda: made.room()), theirs)
    made.lane = Lane(reactor) if request.param else None
    yield made
    for descriptor, _ in made.hander.rest()[0] + made.got:
        os.close(descriptor)
    for client in made.clients:
        client.close()
    made.taker.close() if made.taker else theirs.close()
    if made.lane is not None:
        made.lane.stop()


def is_open(client: socket.socket) -> bool:
    """Whether anybody has the other end."""
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True


@pytest_twisted.ensureDeferred
async def test_a_connection_arrives_with_all_that_is_said_of_it(hand: Hand) -> None:
    hand.take()
    hand.hand(1, generation=3, listener=2, peer=("::1", 5, 0, 0), strike="reset", at=4.5)
    await hand.until(lambda: len(hand.got) == 1)
    descriptor, said = hand.got[0]
    assert (3, 2, ("::1", 5, 0, 0), "reset", 4.5) == said
    assert not os.get_inheritable(descriptor)
    hand.clients[0].send(b"hello")
    assert b"hello" == os.read(descriptor, 10)


@pytest.mark.parametrize("hand", [True], ids=["lane"], indirect=True)
@pytest_twisted.ensureDeferred
async def test_on_a_lane_it_goes_on_after_a_connection_that_could_not_be_served(hand: Hand) -> None:
    hand.broken.append(ZeroDivisionError())
    with capturedLogs() as lines:
        hand.take()
        hand.hand(3)
        hand.hand(1)
        await hand.until(lambda: len(hand.got) == 1)
    assert ([3], ["bug"]) == (hand.peers(), [line["event"] for line in lines])
    assert [False] * 3 == [is_open(client) for client in hand.clients[:3]], "those that came with it are closed"


@pytest_twisted.ensureDeferred
async def test_many_arrive_once_each_and_in_order(hand: Hand) -> None:
    hand.take()
    hand.hand(3 * BATCH + 5)
    await hand.until(lambda: len(hand.got) >= 3 * BATCH + 5)
    assert list(range(3 * BATCH + 5)) == hand.peers()
    assert 3 * BATCH + 5 == hand.taker.taken


@pytest_twisted.ensureDeferred
async def test_the_parent_keeps_no_descriptor_of_what_it_handed(hand: Hand) -> None:
    hand.take()
    hand.hand(2)
    await hand.until(lambda: len(hand.got) == 2)
    os.close(hand.got.pop(0)[0])
    assert [False, True] == [is_open(client) for client in hand.clients]


@pytest_twisted.ensureDeferred
async def test_a_worker_that_does_not_take_fills_up_and_is_given_the_rest_once_it_does(hand: Hand) -> None:
    while hand.hander.has_room:
        hand.hand(BATCH)
    waiting = len(hand.clients)
    assert waiting > MOST_WAITING
    hand.take()
    await hand.until(lambda: len(hand.got) == waiting and hand.rooms == 1)
    assert list(range(waiting)) == hand.peers()
    assert hand.hander.has_room


def test_what_a_dead_worker_had_not_taken_is_given_back_in_order(hand: Hand) -> None:
    while hand.hander.has_room:
        hand.hand(BATCH)
    hand.worker.close()
    hand.got, is_all = hand.hander.rest()
    assert is_all
    assert list(range(len(hand.clients))) == hand.peers()
    assert all(is_open(client) for client in hand.clients)
    assert (([], True), False) == (hand.hander.rest(), hand.hander.has_room)


@contextmanager
def descriptors_up_to(limit: int) -> Iterator[None]:
    """This process may have no higher one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def with_free(number: int) -> int:
    """The limit below which so many descriptors are free."""
    taken = {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}
    return next(islice((each for each in count() if each not in taken), number, None))


@pytest.mark.parametrize("free", [10, BATCH + 10])
@pytest_twisted.ensureDeferred
async def test_a_limit_that_is_lowered_while_a_worker_runs_loses_nothing(hand: Hand, free: int) -> None:
    hand.take()
    hand.hand(2)
    await hand.until(lambda: len(hand.got) == 2)
    hand.hand(3 * BATCH)
    whole = 2 + BATCH * (free // BATCH)
    with descriptors_up_to(with_free(free)):
        for _ in range(3):
            hand.taker.doRead()
            assert hand.taker.taken <= whole
        assert (whole, 0) == (hand.taker.taken, hand.taker.lost)
    await hand.until(lambda: len(hand.got) == 2 + 3 * BATCH)
    assert [] == hand.lost
    assert all(map(is_open, hand.clients))


def test_what_the_kernel_cut_off_a_batch_is_told(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing, "is_whole", lambda _: True)
    hand.hand(5, generation=2, listener=1)
    hand.take()
    with descriptors_up_to(with_free(3)):
        hand.taker.doRead()
    assert [0, 1, 2] == hand.peers()
    assert [(2, 1, 3), (2, 1, 4)] == hand.lost
    assert (5, 2) == (hand.taker.taken, hand.taker.lost)
    assert [True] * 3 + [False] * 2 == [is_open(client) for client in hand.clients]


def test_what_a_dead_worker_had_not_taken_waits_for_descriptors_of_the_parent(hand: Hand) -> None:
    hand.hand(3 * BATCH)
    hand.worker.close()
    with descriptors_up_to(with_free(BATCH + 10)):
        hand.got, is_all = hand.hander.rest()
        assert (BATCH, False) == (len(hand.got), is_all)
    rest, is_all = hand.hander.rest()
    assert is_all
    hand.got += rest
    assert list(range(3 * BATCH)) == hand.peers()
    assert all(map(is_open, hand.clients))
