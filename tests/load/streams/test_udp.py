from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.client.target import parse_target
from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.pattern import parse_sizes
from ctrlserver.load.streams.making import make_streams
from ctrlserver.load.streams.outgoing import UNLIMITED, Line
from ctrlserver.load.streams.request import RequestStream
from ctrlserver.load.streams.send import PacedSendStream, PacketStream
from ctrlserver.load.streams.sender import WRITE_BYTES, Sender
from ctrlserver.load.streams.udp import (
    DatagramStream,
    UdpKind,
    batch_of,
)
from ctrlserver.load.streams.wire import COMPLETE, ENDED, REFUSED, RESET, STALLED, Opened
from ctrlserver.stats.probing import Probing
from ctrlserver.wire.probe import decode_each
from tests.lanes import TURNS, Told
from tests.load.asking import options_for


class UdpBench:
    """One pair of UDP sockets over loopback; the test plays the target."""

    def __init__(self) -> None:
        reactor: Any = MemoryReactorClock()
        self.lane = Lane(reactor)
        self.lane.start()
        self.told = Told()
        self.theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.theirs.bind(("127.0.0.1", 0))
        self.theirs.setblocking(False)
        self.ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.ours.connect(self.theirs.getsockname())
        self.ours.setblocking(False)
        self.got: list[bytes] = []

    def stream(self, **flags: Any) -> Sender:
        options = self.options(**flags)
        opened = Opened(self.ours, self.lane, "a", "b")
        (made,) = make_streams(options, [opened], self.told, Timing(), session=7)
        assert isinstance(made, Sender)
        made.reason = COMPLETE
        return made

    def options(self, **flags: Any) -> Options:
        return options_for(parse_target("udp:127.0.0.1:1"), **flags)

    def turn(self, *, echo: bool = False) -> None:
        """Turn the lane once, and take what has come."""
        self.lane.doRead()
        while select.select([self.theirs], [], [], 0)[0]:
            datagram, address = self.theirs.recvfrom(1 << 16)
            self.got.append(datagram)
            if echo:
                self.theirs.sendto(datagram, address)

    def turn_until_done(self, *, echo: bool = False) -> None:
        for _ in range(TURNS):
            self.turn(echo=echo)
            if self.told.done or self.told.failures:
                return
        raise AssertionError("nothing came of it")

    def close(self) -> None:
        self.lane.stop()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def bench() -> Iterator[UdpBench]:
    made = UdpBench()
    yield made
    made.close()


@pytest.mark.parametrize("combine", [True, False])
@pytest.mark.parametrize("size", ["100", "1400", "10..300"])
def test_each_packet_arrives_as_one_datagram(bench: UdpBench, combine: bool, size: str) -> None:
    stream = bench.stream(size=parse_sizes(size), write_combine=combine)
    pattern = bench.options(size=parse_sizes(size)).pattern
    stream.start(pattern.bytes_of(50))
    bench.turn_until_done()
    bench.turn()
    assert [len(datagram) for datagram in bench.got] == [
        pattern.bytes_of(number + 1) - pattern.bytes_of(number) for number in range(50)
    ]
    assert pattern.block.startswith(b"".join(bench.got)[: len(pattern.block)])
    assert (50, 0) == (stream.packets, stream.incomplete_bytes)


def test_equal_packets_go_in_batches_of_64_at_most(bench: UdpBench) -> None:
    stream = bench.stream(payload=b"x" * 10)
    stream.start(10 * 130)
    bench.turn_until_done()
    bench.turn()
    assert (130, 3) == (len(bench.got), stream.writes)


def test_a_batch_is_one_datagram_at_most_in_all(bench: UdpBench) -> None:
    assert 46 == batch_of(bench.ours, bench.options(payload=b"x" * 1400).pattern, combine=True)
    assert 1 == batch_of(bench.ours, bench.options(payload=b"x" * 65507).pattern, combine=True)


def test_without_combining_each_packet_is_a_call(bench: UdpBench) -> None:
    stream = bench.stream(payload=b"x" * 10, write_combine=False)
    assert isinstance(stream, PacketStream)
    stream.start(10 * 20)
    bench.turn_until_done()
    assert 20 == stream.writes


def test_a_route_that_takes_no_batches_gets_the_packets_one_by_one(bench: UdpBench) -> None:
    """A second datagram of 40 000 bytes does not fit behind the first; the kernel says so to such a batch."""
    options = bench.options(payload=b"x" * 40_000, packets=5)
    sendable, over = options.pattern.sendable(WRITE_BYTES), UdpKind(bench.ours, 2)
    line = Line(1, bench.ours, bench.lane, bench.told, options.pattern, sendable, "a", "b", over)
    stream = DatagramStream(line, batch=2)
    stream.start(5 * 40_000)
    bench.turn_until_done()
    bench.turn()
    assert ([], [40_000] * 5, 5) == (bench.told.failures, [len(datagram) for datagram in bench.got], stream.writes)


@pytest.mark.parametrize("combine", [True, False])
def test_probe_packets_are_numbered_from_0_without_a_gap(bench: UdpBench, combine: bool) -> None:
    stream = bench.stream(payload=None, probe=True, write_combine=combine)
    stream.start(1024 * 70)
    bench.turn_until_done()
    stream.start(1024 * 100)
    bench.told.done.clear()
    bench.turn_until_done()
    bench.turn()
    probing = Probing()
    for session, sequences, sent in decode_each(bench.got):
        assert 7 == session
        probing.take_all(session, sequences, sent, max(sent))
    assert (100, 0, 0) == (len(bench.got), probing.lost, probing.out_of_order)
    assert all(1024 == len(datagram) for datagram in bench.got)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_each_datagram_back_is_a_reply(bench: UdpBench, in_flight: int) -> None:
    stream = bench.stream(payload=b"x" * 100, mode="request", in_flight=in_flight)
    stream.start(100 * 50)
    bench.turn_until_done(echo=True)
    assert (50, 5000, []) == (stream.replies, stream.reply_bytes, bench.told.failures)


def test_an_empty_datagram_is_a_reply_and_no_end(bench: UdpBench) -> None:
    stream = bench.stream(payload=b"x" * 100, mode="request")
    stream.start(100 * 2)
    for replies in (1, 2):
        bench.turn()
        bench.theirs.sendto(b"", bench.ours.getsockname())
        select.select([bench.ours], [], [], 5)
        bench.turn()
        assert replies == stream.replies
    assert [stream] == bench.told.done


def test_a_reply_that_does_not_come_is_one_line(bench: UdpBench) -> None:
    stream = bench.stream(payload=b"x" * 100, mode="request", in_flight=2)
    stream.start(100 * 5)
    bench.turn()
    stream.stall(3.0)
    assert "2 requests have no reply: lost on the way, or not answered" in bench.told.failures[0]
    assert STALLED == stream.reason


def test_what_the_target_says_in_send_mode_is_dropped(bench: UdpBench) -> None:
    stream = bench.stream(payload=b"x" * 100)
    stream.start(UNLIMITED)
    bench.turn(echo=True)
    bench.theirs.sendto(b"", bench.ours.getsockname())
    bench.turn()
    bench.turn()
    assert stream.active
    stream.end_at_packet(ENDED)
    assert ([stream], []) == (bench.told.done, bench.told.failures)


@pytest.mark.parametrize("mode", ["send", "request"])
def test_a_port_where_nobody_listens_is_one_line(bench: UdpBench, mode: str) -> None:
    bench.theirs.close()
    stream = bench.stream(payload=b"x" * 100, mode=mode)
    stream.start(100 * 10)
    for _ in range(5):
        bench.lane.doRead()
    assert REFUSED == stream.reason
    assert ["stream 1 (b): connection refused: nothing listens on that UDP port"] == [
        failure.partition(";")[0] for failure in bench.told.failures
    ]


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EMSGSIZE, "take a smaller --size"), (errno.ENETDOWN, "Network is down")]
)
def test_why_a_datagram_was_not_sent_is_told(bench: UdpBench, number: int, words: str) -> None:
    stream = bench.stream(payload=b"x" * 100, write_combine=False)
    stream._lost(OSError(number, "Network is down"))
    assert RESET == stream.reason
    assert words in bench.told.failures[0]


@pytest.mark.parametrize("mode", ["send", "request"])
def test_a_full_queue_of_the_device_is_waited_for(bench: UdpBench, mode: str) -> None:
    stream = bench.stream(payload=b"x" * 100, mode=mode)
    stream.start(100 * 10)
    stream._lost(OSError(errno.ENOBUFS, "No buffer space available"))
    assert [] == bench.told.failures
    bench.turn_until_done(echo=mode == "request")
    assert 10 == stream.packets


def test_a_stream_that_is_done_waits_for_no_room_whatever_becomes_of_its_datagrams(bench: UdpBench) -> None:
    stream = bench.stream(payload=b"x" * 100)
    stream.start(100 * 10)
    bench.turn_until_done()
    stream._lost(OSError(errno.EMSGSIZE, "Message too long"))  # of one on its way: the route takes no batches
    assert [] == bench.told.failures
    assert ([], [], []) == select.select([bench.lane], [], [], 0), "the lane has nothing to do"


def test_nobody_waits_for_the_close_of_a_target_that_has_none(bench: UdpBench) -> None:
    stream = bench.stream(payload=b"x" * 100)
    stream.half_close()
    assert not stream.kind.closes
    assert [] == bench.told.failures


@pytest.mark.parametrize("combine", [True, False])
def test_by_a_schedule_what_is_released_goes_and_probes_say_when_it_was_due(bench: UdpBench, combine: bool) -> None:
    now = time.monotonic_ns()
    stream = bench.stream(rate=1000.0, probe=True, write_combine=combine)
    assert isinstance(stream, PacedSendStream)
    stream.start(UNLIMITED)
    stream.release(50, now - 49_000, now)
    bench.turn()
    stream.release(1, now + 7_000, now + 7_000)
    bench.turn()
    ((session, sequences, sent),) = decode_each(bench.got)
    assert (7, list(range(51))) == (session, [int(number) for number in sequences])
    gaps = [int(after) - int(before) for before, after in pairwise(sent)]
    assert [1000] * 49 + [7000] == gaps
    assert abs(time.time_ns() - int(sent[0])) < 60_000_000_000
    assert (2 if combine else 51) == stream.writes


def test_by_a_schedule_each_datagram_back_is_a_reply(bench: UdpBench) -> None:
    stream = bench.stream(rate=1000.0, mode="request", in_flight=2, payload=b"x" * 100)
    assert isinstance(stream, RequestStream)
    stream.start(100 * 20)
    stream.release(20, 0, 0)
    bench.turn_until_done(echo=True)
    assert (20, []) == (stream.replies, bench.told.failures)
