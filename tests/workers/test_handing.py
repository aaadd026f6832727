"""Connections on their way to a worker: each once, in order, with what is said of it, and none lost with a worker."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred

from ctrlserver.workers.handing import BATCH, MOST_WAITING, Handed, Hander, Taker
from tests.servers import PATIENCE

reactor: Any = installed


@define(eq=False)
class Hand:
    """Both ends, the clients of what is handed, and what was taken."""

    hander: Hander
    worker: socket.socket
    clients: list[socket.socket] = field(factory=list)
    got: list[Handed] = field(factory=list)
    taker: Any = None
    rooms: int = 0
    _wanted: Callable[[], bool] = bool
    _enough: Any = None

    def hand(self, number: int, **said: Any) -> None:
        """Hand so many connections, each of which has its number as its peer."""
        for _ in range(number):
            client, sock = socket.socketpair()
            said_of = {"generation": 0, "listener": 0, "peer": len(self.clients)} | said
            self.clients.append(client)
            self.hander.hand(Handed(sock, **said_of))

    def take(self) -> None:
        """Begin to take."""
        self.taker = Taker(self.worker, self._taken, reactor)

    def _taken(self, handed: Handed) -> None:
        self.got.append(handed)
        self.look()

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


@pytest.fixture
def hand() -> Iterator[Hand]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made = Hand(Hander(ours, theirs.dup(), reactor, lambda: made.room()), theirs)
    yield made
    for each in made.hander.rest() + made.got:
        each.sock.close()
    for client in made.clients:
        client.close()
    made.taker.close() if made.taker else theirs.close()


def is_open(client: socket.socket) -> bool:
    """Whether anybody has the other end."""
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True


@pytest_twisted.ensureDeferred
async def test_a_connection_arrives_with_all_that_is_said_of_it_and_does_not_block(hand: Hand) -> None:
    hand.take()
    hand.hand(1, generation=3, listener=2, peer=("::1", 5, 0, 0), strike="reset")
    await hand.until(lambda: len(hand.got) == 1)
    taken = hand.got[0]
    assert (3, 2, ("::1", 5, 0, 0), "reset") == (taken.generation, taken.listener, taken.peer, taken.strike)
    assert (socket.AF_UNIX, 0.0, False) == (taken.sock.family, taken.sock.gettimeout(), taken.sock.get_inheritable())
    hand.clients[0].send(b"hello")
    assert b"hello" == taken.sock.recv(10)


@pytest_twisted.ensureDeferred
async def test_many_arrive_once_each_and_in_order(hand: Hand) -> None:
    hand.take()
    hand.hand(3 * BATCH + 5)
    await hand.until(lambda: len(hand.got) >= 3 * BATCH + 5)
    assert list(range(3 * BATCH + 5)) == [each.peer for each in hand.got]
    assert 3 * BATCH + 5 == hand.taker.taken


@pytest_twisted.ensureDeferred
async def test_the_parent_keeps_no_descriptor_of_what_it_handed(hand: Hand) -> None:
    hand.take()
    hand.hand(2)
    await hand.until(lambda: len(hand.got) == 2)
    hand.got[0].sock.close()
    assert [False, True] == [is_open(client) for client in hand.clients]


@pytest_twisted.ensureDeferred
async def test_a_worker_that_does_not_take_fills_up_and_is_given_the_rest_once_it_does(hand: Hand) -> None:
    while hand.hander.has_room:
        hand.hand(BATCH)
    waiting = len(hand.clients)
    assert waiting > MOST_WAITING
    hand.take()
    await hand.until(lambda: len(hand.got) == waiting and hand.rooms == 1)
    assert list(range(waiting)) == [each.peer for each in hand.got]
    assert hand.hander.has_room


def test_what_a_dead_worker_had_not_taken_is_given_back_in_order(hand: Hand) -> None:
    while hand.hander.has_room:
        hand.hand(BATCH)
    hand.worker.close()
    hand.got = hand.hander.rest()
    assert list(range(len(hand.clients))) == [each.peer for each in hand.got]
    assert all(is_open(client) for client in hand.clients)
    assert ([], False) == (hand.hander.rest(), hand.hander.has_room)


@pytest_twisted.ensureDeferred
async def test_without_descriptors_a_taker_waits_and_loses_one_batch_at_most(hand: Hand) -> None:
    hand.hand(3 * BATCH)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = hand.clients[0].dup()
    free = lowest.fileno()
    lowest.close()
    hand.take()
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 10, hard))
    try:
        hand.taker.doRead()
        taken, lost = hand.taker.taken, hand.taker.lost
        assert lost > 0
        assert BATCH == taken + lost
        hand.taker.doRead()
        assert (taken, lost) == (hand.taker.taken, hand.taker.lost)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await hand.until(lambda: len(hand.got) == 2 * BATCH + taken)
    assert lost == hand.taker.lost
    assert [True] * taken + [False] * lost == [is_open(client) for client in hand.clients[:BATCH]]


@pytest_twisted.ensureDeferred
async def test_who_comes_near_the_last_descriptor_loses_nothing(hand: Hand) -> None:
    hand.hand(3 * BATCH)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    hand.take()
    taken = {int(name) for name in os.listdir("/proc/self/fd")}
    free = (number for number in count() if number not in taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(islice(free, BATCH + 10, None)), hard))
    try:
        hand.taker.doRead()
        assert (BATCH, 0) == (hand.taker.taken, hand.taker.lost)
        hand.taker.doRead()
        assert (BATCH, 0) == (hand.taker.taken, hand.taker.lost)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await hand.until(lambda: len(hand.got) == 3 * BATCH)
    assert 0 == hand.taker.lost
