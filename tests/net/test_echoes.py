"""Plain echoes served together: each peer gets what it would have got alone, and the books say the same.

Rules: real TCP sockets on loopback, a real lane, and the lane's turns taken by hand, so nothing depends on time.
"""

from __future__ import annotations

import contextlib
import errno
import random
import select
import socket

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs

from ctrlserver.lane.lane import ROUND_SOCKETS, Lane
from ctrlserver.linux.transfers import ROW_BYTES, Transfers
from ctrlserver.net import echoes
from ctrlserver.net.echoes import FEWEST, Echoes, serve_together
from ctrlserver.net.modes import EchoStream
from tests.net.conftest import reset
from tests.net.echolab import MANY, SIZE, Lab, exactly, fails

pytestmark = pytest.mark.skipif(not Lane.supported(MemoryReactorClock()), reason="a lane needs epoll")


def test_rounds_are_left_to_the_owners_until_there_are_echoes_enough(lab: Lab) -> None:
    echoes = lab.lane.together
    assert echoes is not None
    assert echoes.fewest > ROUND_SOCKETS
    lab.connect(FEWEST)
    assert FEWEST == echoes.fewest
    lab.stream(0).abort("kicked", 0.0)
    assert echoes.fewest > ROUND_SOCKETS


def test_many_are_read_in_one_call_and_each_gets_its_own_back(lab: Lab) -> None:
    lab.begin()
    assert [] == lab.joint  # the first packet of a stream is its own affair: it may begin a run
    for row, far in enumerate(lab.fars):
        far.sendall(bytes([row]) * (row + 1))
    lab.lane.doRead()
    assert [MANY] == lab.joint
    assert [bytes([row]) * (row + 1) for row in range(MANY)] == [far.recv(100) for far in lab.fars]
    assert [SIZE + row + 1 for row in range(MANY)] == [lab.counters(row).bytes for row in range(MANY)]
    assert sum((SIZE + row + 1) // SIZE for row in range(MANY)) == lab.open_streams.terms.book.counters.totals().replies


def test_a_few_are_served_one_by_one(lab: Lab) -> None:
    lab.begin(FEWEST - 1)
    for far in lab.fars:
        far.sendall(b"x")
    lab.lane.doRead()
    assert [] == lab.joint
    assert [b"x"] * (FEWEST - 1) == [far.recv(10) for far in lab.fars]


def test_a_round_that_is_answered_gives_way_unless_somebody_asks_and_a_few_sockets_do_not(lab: Lab) -> None:
    lab.begin()
    answers: list[list[bytes]] = []
    lab.lane.give_way = lambda: answers.append([far.recv(10) for far in lab.fars])
    for row, far in enumerate(lab.fars):
        far.sendall(b"x")
        lab.arrives(row, select.POLLIN)
    lab.lane.doRead()
    lab.fars[0].sendall(b"y")
    lab.arrives(0, select.POLLIN)
    lab.lane.doRead()
    lab.lane.make_way()
    for row, far in enumerate(lab.fars):
        far.sendall(b"z")
        lab.arrives(row, select.POLLIN)
    lab.lane.doRead()
    assert [[b"x"] * MANY] == answers
    assert [MANY, MANY] == lab.joint
    assert [b"yz", *[b"z"] * (MANY - 1)] == [exactly(far, 1 + (far is lab.fars[0])) for far in lab.fars]


def test_who_sends_more_than_a_row_is_read_further_in_the_same_round(lab: Lab) -> None:
    lab.begin()
    content = random.Random(1).randbytes(ROW_BYTES + 4000)
    lab.fars[0].sendall(content)
    for far in lab.fars[1:]:
        far.sendall(b"x")
    lab.lane.doRead()
    assert [MANY] == lab.joint
    assert content == exactly(lab.fars[0], len(content))
    assert SIZE + len(content) == lab.counters(0).bytes


def test_ends_and_resets_among_them_are_told_apart_and_the_others_go_on(lab: Lab) -> None:
    lab.begin()
    lab.fars[0].shutdown(socket.SHUT_WR)
    lab.fars[1].sendall(b"y" * 25)
    reset(lab.fars[1])
    lab.fars[2].sendall(b"z" * 25)
    lab.fars[2].shutdown(socket.SHUT_WR)
    for far in lab.fars[3:]:
        far.sendall(b"x")
    for row in range(MANY):
        lab.arrives(row, {0: select.POLLRDHUP, 1: 0, 2: select.POLLRDHUP}.get(row, select.POLLIN))
    lab.lane.doRead()
    assert b"" == lab.fars[0].recv(10)
    assert b"z" * 25 == exactly(lab.fars[2], 25)
    assert [b"x"] * (MANY - 3) == [far.recv(10) for far in lab.fars[3:]]
    closed = {record.stream: record for record in lab.open_streams.terms.book.streams() if record.state == "closed"}
    assert {1: ("eof", 1, 0), 2: ("reset", 3, 5), 3: ("eof", 3, 5)} == {
        number: (record.reason, record.packets, record.incomplete_bytes) for number, record in closed.items()
    }


def test_a_peer_that_does_not_read_is_owed_and_holds_nobody_up(lab: Lab) -> None:
    lab.begin(sndbuf=4096)
    slow, sent = lab.fars[0], 0
    while lab.stream(0) not in lab.open_streams.waiting:
        with contextlib.suppress(BlockingIOError):
            slow.setblocking(False)
            sent += slow.send(b"s" * 3000)
        for far in lab.fars[1:]:
            far.sendall(b"x")
        lab.lane.doRead()
        assert [b"x"] * (MANY - 1) == [far.recv(10) for far in lab.fars[1:]]
    slow.setblocking(True)
    slow.shutdown(socket.SHUT_WR)
    got = 0
    while lab.counters(0).state == "open":
        lab.lane.doRead()
        with contextlib.suppress(BlockingIOError):
            got += len(slow.recv(1 << 16, socket.MSG_DONTWAIT))
    while more := len(slow.recv(1 << 16)):
        got += more
    assert SIZE + sent == lab.counters(0).bytes
    assert sent == got
    assert 0 == lab.counters(0).unanswered
    assert MANY == max(lab.joint)


def test_a_peer_that_is_gone_before_its_echo_has_its_packets_counted(lab: Lab) -> None:
    """Its socket takes no more, but what it had sent before is still there to be read."""
    lab.begin()
    lab.links[0]._socket.shutdown(socket.SHUT_WR)
    for far in lab.fars:
        far.sendall(b"x" * 2 * SIZE)
    lab.lane.doRead()
    assert not lab.stream(0).plain
    assert [b"x" * 2 * SIZE] * (MANY - 1) == [far.recv(100) for far in lab.fars[1:]]
    for far in lab.fars:
        far.sendall(b"y" * 3 * SIZE)
    lab.lane.doRead()
    assert [MANY, MANY - 1] == lab.joint
    assert (6, 5) == (lab.counters(0).whole(), lab.counters(0).unanswered)
    lab.fars[0].close()
    lab.lane.doRead()
    assert ("closed", "reset") == (lab.counters(0).state, lab.counters(0).reason)


def test_one_that_raises_is_its_own_loss(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.begin()
    monkeypatch.setattr(EchoStream, "ended", fails)
    lab.fars[0].shutdown(socket.SHUT_WR)
    for far in lab.fars[1:]:
        far.sendall(b"x")
    lab.lane.doRead()
    assert [b"x"] * (MANY - 1) == [far.recv(10) for far in lab.fars[1:]]
    assert ("closed", "fault") == (lab.counters(0).state, lab.counters(0).reason)


def test_when_the_table_fails_the_lane_goes_on_without_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.begin()
    monkeypatch.setattr(Echoes, "serve", fails)
    for far in lab.fars:
        far.sendall(b"x")
    lab.lane.doRead()
    assert [b"x"] * MANY == [far.recv(10) for far in lab.fars]


def test_one_that_raises_when_it_is_off_the_lane_already_is_no_loss_to_others(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.begin()
    end = EchoStream.ended

    def ends_and_fails(self: EchoStream, now: float) -> None:
        end(self, now)
        fails()

    monkeypatch.setattr(EchoStream, "ended", ends_and_fails)
    for far in lab.fars[:2]:
        far.shutdown(socket.SHUT_WR)
    for far in lab.fars[2:]:
        far.sendall(b"x")
    lab.lane.doRead()
    assert [b"x"] * (MANY - 2) == [far.recv(10) for far in lab.fars[2:]]
    assert ["eof", "eof", None] == [lab.counters(row).reason for row in range(3)]


def test_where_nothing_is_taken_up_their_owners_serve_them(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.begin()
    monkeypatch.setattr(Transfers, "_run", lambda *arguments: [-errno.EAGAIN] * arguments[-1])
    for far in lab.fars:
        far.sendall(b"x")
    lab.lane.doRead()
    assert [MANY] == lab.joint
    assert [b"x"] * MANY == [far.recv(10) for far in lab.fars]


def test_streams_whose_data_is_lost_with_the_table_end_and_the_others_go_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read cannot be had again, so none of them may go on with a gap."""
    lab.begin()
    lab.connect(1)
    monkeypatch.setattr(Transfers, "send", fails)
    for far in lab.fars:
        far.sendall(b"x" * SIZE)
    lab.lane.doRead()
    assert ["fault"] * MANY == [lab.counters(row).reason for row in range(MANY)]
    assert [b""] * MANY == [far.recv(100) for far in lab.fars[:-1]]
    assert b"x" * SIZE == lab.fars[-1].recv(100)
    lab.begin()
    for far in lab.fars[-MANY:]:
        far.sendall(b"y")
    lab.lane.doRead()
    assert [b"y"] * MANY == [far.recv(10) for far in lab.fars[-MANY:]]


def test_without_aio_they_are_served_one_by_one_and_the_log_says_so_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.lane.stop()
    lab.lane.start()
    monkeypatch.setattr(echoes, "transfers", lambda *_: None)
    with capturedLogs() as lines:
        serve_together(lab.lane)
        lab.begin()
    assert 1 == sum("echoes are served one by one" in line["log_format"] for line in lines)
    for far in lab.fars:
        far.sendall(b"x")
    lab.lane.doRead()
    assert [] == lab.joint
    assert [b"x"] * MANY == [far.recv(10) for far in lab.fars]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_peers_do_every_byte_comes_back_and_is_counted_once(lab: Lab, seed: int) -> None:
    dice = random.Random(seed)
    lab.begin(2 * MANY, sndbuf=8192)
    sent = [bytearray() for _ in lab.fars]
    got = [bytearray() for _ in lab.fars]
    for far in lab.fars:
        far.setblocking(False)
    for _ in range(60):
        for row, far in enumerate(lab.fars):
            if dice.random() < 0.6:
                content = dice.randbytes(dice.choice((1, 9, 10, 1000, ROW_BYTES, 3 * ROW_BYTES)))
                with contextlib.suppress(BlockingIOError):
                    sent[row] += content[: far.send(content)]
        lab.lane.doRead()
        for row, far in enumerate(lab.fars):
            if dice.random() < 0.5:
                with contextlib.suppress(BlockingIOError):
                    got[row] += far.recv(dice.choice((10, 5000, 1 << 20)))
    lab.take_the_rest(got)
    assert sent == got
    assert [SIZE + len(content) for content in sent] == [lab.counters(row).bytes for row in range(len(sent))]
    assert {"eof"} == {lab.counters(row).reason for row in range(len(sent))}
    assert max(lab.joint) > FEWEST
