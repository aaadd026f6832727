"""Echoes read without a poll, after others had the processor: as if each had been asked for.

Rules: ``give_way`` is where the peers send again. The rest is as in ``test_echoes.py``.
"""

from __future__ import annotations

import contextlib
import gc
import random
import select
import socket
from collections import Counter

import pytest
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.lane.lane import Lane
from ctrlserver.linux.transfers import ROW_BYTES, Transfers
from ctrlserver.net.modes import EchoStream
from tests.net.conftest import reset
from tests.net.echolab import MANY, SIZE, Lab, exactly, fails

pytestmark = pytest.mark.skipif(not Lane.supported(MemoryReactorClock()), reason="a lane needs epoll")


def send_all(lab: Lab, but: int = -1) -> None:
    """Have each peer but one send a byte, and wait until it is there."""
    for row, far in enumerate(lab.fars):
        if row != but:
            far.sendall(b"x")
            lab.arrives(row, select.POLLIN)


def polls(lab: Lab) -> list[int]:
    """Notes how many sockets each poll of the lane finds."""
    found: list[int] = []
    poll = lab.lane._poll

    def noted(timeout: float, most: int) -> list[tuple[int, int]]:
        events = poll(timeout, most)
        found.append(len(events))
        return events

    lab.lane._poll = noted
    return found


def answers(lab: Lab) -> list[bytes]:
    """What each peer has got."""
    return [far.recv(100) for far in lab.fars]


def test_who_has_sent_again_is_echoed_without_a_poll(lab: Lab) -> None:
    lab.begin()
    lab.lane.repeating = 100.0
    found = polls(lab)
    again = iter(range(4))

    def give_way() -> None:
        assert [b"x"] * MANY == answers(lab)
        if next(again, None) is not None:
            lab.time.advance(1)
            send_all(lab)

    lab.lane.give_way = give_way
    send_all(lab)
    lab.lane.doRead()
    assert [MANY] == found  # of five rounds one was asked for
    assert {(SIZE + 5, 4.0)} == {(lab.counters(row).bytes, lab.counters(row).last) for row in range(MANY)}


def test_after_two_in_vain_in_a_row_there_is_none_for_ever_longer(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.begin()
    lab.lane.repeating = 1.0
    read, reads = Transfers.read_again, Counter[float]()

    def noted(self: Transfers, rows: int) -> list[int]:
        reads[lab.time.seconds()] += 1
        return read(self, rows)

    monkeypatch.setattr(Transfers, "read_again", noted)
    lab.lane.give_way = lambda: send_all(lab) if lab.time.seconds() == 16 and reads[16] == 1 else None
    for _ in range(19):
        lab.time.advance(1)
        send_all(lab)
        lab.lane.doRead()
    assert [1, 2, 4, 8, 16, 17, 19] == [turn for turn in sorted(reads) if reads[turn] > 1]
    assert 3 == reads[16]


def test_when_the_table_fails_then_its_streams_end_and_the_lane_goes_on_without_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.begin()
    lab.lane.repeating = 1.0
    lab.lane.give_way = lambda: monkeypatch.setattr(Transfers, "read_again", fails)
    send_all(lab)
    lab.lane.doRead()
    assert ["fault"] * MANY == [lab.counters(row).reason for row in range(MANY)]
    assert [b"x"] * MANY == [exactly(far, 2) for far in lab.fars]
    lab.begin(1)
    assert lab.lane.together is None


def test_streams_that_are_over_are_not_kept_for_the_next_round(lab: Lab) -> None:
    lab.begin()
    send_all(lab)
    lab.lane.doRead()
    terms = lab.open_streams.terms
    for row, far in enumerate(lab.fars):
        far.close()
        lab.arrives(row, select.POLLRDHUP)
        lab.lane.doRead()
    lab.links.clear()
    gc.collect()
    assert [] == [each for each in gc.get_objects() if isinstance(each, EchoStream) and each.terms is terms]


def test_those_that_are_not_all_are_asked_for(lab: Lab) -> None:
    lab.begin()
    lab.lane.repeating = 1.0
    found = polls(lab)
    again = iter(range(1))
    lab.lane.give_way = lambda: None if next(again, None) is None else send_all(lab, but=0)
    send_all(lab, but=0)
    lab.lane.doRead()
    assert [MANY - 1, MANY - 1, 0] == found
    assert [b"xx"] * (MANY - 1) == [exactly(far, 2) for far in lab.fars[1:]]


def test_who_has_not_or_has_ended_or_sent_much_is_told_apart(lab: Lab) -> None:
    lab.begin()
    lab.lane.repeating = 1.0
    found = polls(lab)
    content = random.Random(1).randbytes(ROW_BYTES + 4000)
    again = iter(range(1))

    def give_way() -> None:
        assert [b"x"] * MANY == answers(lab)
        if next(again, None) is None:
            return
        lab.fars[0].shutdown(socket.SHUT_WR)
        lab.fars[1].sendall(b"y" * 25)
        reset(lab.fars[1])
        lab.fars[3].sendall(content)
        for far in lab.fars[4:]:
            far.sendall(b"z")
        for row in range(MANY):
            if row != 2:
                lab.arrives(row, {0: select.POLLRDHUP, 1: 0}.get(row, select.POLLIN))

    lab.lane.give_way = give_way
    send_all(lab)
    lab.lane.doRead()
    assert MANY == found[0]
    assert b"" == lab.fars[0].recv(10)
    assert content == exactly(lab.fars[3], len(content))
    assert [b"z"] * (MANY - 4) == [far.recv(10) for far in lab.fars[4:]]
    assert ["eof", "reset", None] == [lab.counters(row).reason for row in range(3)]
    assert [1, 1 + 25, 1, 1 + len(content)] == [lab.counters(row).bytes - SIZE for row in range(4)]
    lab.fars[2].sendall(b"w")
    lab.arrives(2, select.POLLIN)
    lab.lane.doRead()
    assert b"w" == lab.fars[2].recv(10)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_peers_do_meanwhile_every_byte_comes_back_and_is_counted_once(lab: Lab, seed: int) -> None:
    dice = random.Random(seed)
    lab.begin(MANY, sndbuf=4096)
    lab.lane.repeating = 1.0
    sent, got = [bytearray() for _ in lab.fars], [bytearray() for _ in lab.fars]
    for far in lab.fars:
        far.setblocking(False)

    def exchange() -> None:
        for row, far in enumerate(lab.fars):
            if dice.random() < 0.98:
                content = dice.randbytes(dice.choice((1, 9, 10, 3000)) if dice.random() < 0.99 else 3 * ROW_BYTES)
                with contextlib.suppress(BlockingIOError):
                    sent[row] += content[: far.send(content)]
            if dice.random() < (0.9 if row else 0.3):
                with contextlib.suppress(BlockingIOError):
                    got[row] += far.recv(dice.choice((5000, 1 << 20)))

    lab.lane.give_way = lambda: exchange() if dice.random() < 0.9 else None
    for _ in range(60):
        exchange()
        lab.lane.doRead()
    lab.lane.give_way = lambda: None
    lab.take_the_rest(got)
    assert sent == got
    assert [SIZE + len(content) for content in sent] == [lab.counters(row).bytes for row in range(MANY)]
    assert {"eof"} == {lab.counters(row).reason for row in range(MANY)}
