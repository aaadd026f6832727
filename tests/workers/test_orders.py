"""What the parent says to its workers: bounds are shared out, sockets arrive, kept packets are the same."""

from __future__ import annotations

import os
import pickle
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from ctrlserver.stats.kept import KeptPackets
from ctrlserver.workers.messages import Look
from ctrlserver.workers.orders import FETCHED_BYTES, Packets, packed, share, unpacked
from ctrlserver.workers.ports.given import Given
from ctrlserver.workers.snapshots import RecordingBook
from tests.workers.parts import ORIGIN


@pytest.mark.parametrize("whole", [0, 1, 3, 4, 5, 10_000])
def test_a_bound_is_shared_out_to_the_last_one_and_evenly(whole: int) -> None:
    parts = [share(whole, 4, number) for number in range(1, 5)]
    assert whole == sum(parts)
    assert max(parts) - min(parts) <= 1


def test_sockets_are_the_same_at_the_other_end() -> None:
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        given = {"a": Given(exact=False, stream=stream, datagrams=datagrams), "b": Given(inherited=True)}
        gifts, descriptors = packed(given)
        arrived = unpacked(gifts, [socket.socket(fileno=os.dup(each)) for each in descriptors])
        assert (False, False, None, None) == (
            arrived["a"].exact,
            arrived["a"].inherited,
            arrived["b"].stream,
            arrived["b"].datagrams,
        )
        for own, other in ((stream, arrived["a"].stream), (datagrams, arrived["a"].datagrams)):
            assert other is not None
            assert os.fstat(own.fileno()).st_ino == os.fstat(other.fileno()).st_ino
            other.close()


@pytest.mark.parametrize(("local", "most", "numbers", "held"), [(1, 2, [5, 6], 3), (1, 9, [5, 6], 3), (2, 9, None, 0)])
def test_of_kept_packets_the_newest_that_fit_are_given(
    local: int, most: int, numbers: list[int] | None, held: int
) -> None:
    book = RecordingBook(version="1.2.3", now=500.0, wall=1.0)
    kept = KeptPackets(3, 64 << 20)
    book.stream_opened(ORIGIN, "10.0.0.1:5", 500.0).kept = kept
    book.stream_opened(ORIGIN, "10.0.0.1:6", 500.0)
    kept.add([b"a", b"b", b"c", b"d" * 100, b"e" * 100, b"f" * (FETCHED_BYTES - 100)])
    worker: Any = SimpleNamespace(book=book)
    given = pickle.loads(pickle.dumps(Packets(local, most).carry_out(worker)))
    found = None if given.kept is None else [number for number, _ in given.kept.last(9)]
    assert (numbers, held) == (found, given.held)


@pytest.mark.parametrize("urgent", [False, True])
def test_before_an_answer_for_which_somebody_waits_the_lane_makes_way(urgent: bool) -> None:
    made: list[int] = []
    book = RecordingBook(version="1.2.3", now=500.0, wall=1.0)
    taker = SimpleNamespace(take_waiting=lambda: None, taken=3)
    worker: Any = SimpleNamespace(
        book=book, taker=taker, clock=lambda: 501.0, around=dict, make_way=lambda: made.append(1)
    )
    looked = Look(urgent).carry_out(worker, [])
    assert (3, [1] * urgent) == (looked.taken, made)
