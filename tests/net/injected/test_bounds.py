"""What a stream that waits by order holds and how long it may, and what ends it."""

from __future__ import annotations

import sys

import pytest

from ctrlserver.net.injected.waiting import PART_BYTES, Part, Waiting
from ctrlserver.net.modes import EchoStream
from ctrlserver.net.stream import Stream
from tests.net.injected.played import Played


def test_a_delayed_answer_costs_at_most_a_kib_beside_its_bytes() -> None:
    part = Part(b"x" * 100, 100, 1 << 60, 100, None)
    cost = sys.getsizeof(part) + sys.getsizeof(part.content) + 4 * sys.getsizeof(1 << 60) + 16
    assert cost - 100 <= PART_BYTES <= 1024
    waiting = Waiting()
    for _ in range(10):
        waiting.add(b"x" * 100, 1 << 60, 100)
    assert (10 * (100 + PART_BYTES), 1000) == (waiting.held, waiting.bytes)
    assert 10 == waiting.packets(0)


def test_past_the_reply_buffer_reading_stops_until_answers_have_left() -> None:
    played = Played("fixed:10", "echo", reply_buffer=100)
    played.order("delay(1s)")
    link = played.opened()
    for _ in range(30):
        played.receive(link, b"0123456789")
    assert not played.reads(link)
    assert 10 == link.stream.counters.whole()
    played.advance(1.1)
    assert played.reads(link)
    played.read(link)
    assert 20 == link.stream.counters.whole()
    assert 100 == len(link.got)


@pytest.mark.parametrize("spec", ["delay(1h)", f"wrong('{'x' * 90}')", "duplicate"])
def test_what_waits_of_one_chunk_is_bounded_however_many_packets_it_holds(spec: str) -> None:
    played = Played("fixed:1", "reply", reply=b"y" * 50, reply_buffer=1000)
    played.order(spec)
    link = played.opened()
    link.takes = 0
    played.receive(link, b"x" * 10_000)
    assert link.stream.struck.waiting.bytes <= 1000 + 20 * 100
    assert not played.reads(link)
    assert link.left


def test_over_the_limit_of_memory_the_stream_whose_answers_hold_most_ends() -> None:
    played = Played("fixed:10000", "echo")
    played.book.memory.limit = 100_000
    played.order("delay(1h)")
    small, large = played.opened(), played.opened()
    played.receive(small, b"x" * 10_000)
    played.receive(large, b"x" * 95_000)
    assert played.book.memory.due
    played.book.relieve_memory(played.now)
    assert ("limit", None) == (large.stream.counters.reason, small.stream.counters.reason)
    assert 9 == large.stream.counters.unanswered


@pytest.mark.parametrize("mode", ["sink", "echo"])
@pytest.mark.parametrize("spec", ["stall", "1*ok->stall", "slow-read(1B/s)"])
def test_a_stream_that_does_not_read_by_order_is_among_those_that_silence_does_not_end(mode: str, spec: str) -> None:
    played = Played("fixed:4", mode, stall_timeout=1.0)
    order = played.order(spec)
    link = played.opened()
    played.receive(link, b"aaaabbbb")
    assert {link.stream} == played.streams.waiting
    played.advance(100)
    played.streams.look_after(played.now)
    assert "open" == link.stream.counters.state
    played.end(order)
    played.read(link)
    assert not played.streams.waiting
    assert 2 == link.stream.counters.whole()
    assert (Stream if mode == "sink" else EchoStream) is type(link.stream)


def test_the_stall_timeout_counts_from_when_an_answer_is_due_and_the_socket_takes_nothing() -> None:
    played = Played("fixed:4", "echo", stall_timeout=1.0)
    played.order("delay(10s)")
    link = played.opened()
    link.takes = 0
    played.receive(link, b"aaaa")
    played.advance(9.9)
    played.streams.look_after(played.now)
    assert "open" == link.stream.counters.state
    played.advance(0.2)
    assert "hold" == link.did[-1]
    played.advance(0.5)
    played.streams.look_after(played.now)
    assert "open" == link.stream.counters.state
    played.advance(0.6)
    played.streams.look_after(played.now)
    assert ("slow-reader", 1) == (link.stream.counters.reason, link.stream.counters.unanswered)


@pytest.mark.parametrize("end", ["abort", "lost", "gone"])
def test_answers_that_wait_when_the_stream_ends_are_unanswered(end: str) -> None:
    played = Played("fixed:4", "echo")
    played.order("2*swallow->1*duplicate->delay(1h)")
    link = played.opened()
    played.receive(link, b"aaaa" * 10)
    stream = link.stream
    if end == "abort":
        stream.abort("kicked", played.now)
    elif end == "lost":
        stream.lost(played.now)
    else:
        link.gone = True
        stream.gone()
        played.receive(link, b"bbbb")
        stream.ended(played.now)
    counters = stream.counters
    packets = 11 if end == "gone" else 10
    assert {"abort": "kicked"}.get(end, "reset") == counters.reason
    assert (packets, 1, 2, packets - 3, 1) == played.totals()
    assert 0 == played.book.memory.held
    assert not played.due._entries


def test_a_peer_that_half_closes_gets_what_waits_and_then_the_end() -> None:
    played = Played("fixed:4", "echo")
    played.order("delay(1s)")
    link = played.opened()
    played.receive(link, b"aaaabb")
    link.stream.ended(played.now)
    assert not played.reads(link)
    assert "open" == link.stream.counters.state
    played.advance(1.1)
    assert (b"aaaabb"[:4], "eof", 2) == (
        bytes(link.got),
        link.stream.counters.reason,
        link.stream.counters.incomplete_bytes,
    )


def test_a_reset_beside_answers_that_wait_gives_them_up() -> None:
    played = Played("fixed:4", "echo")
    played.order("1*ok->2*delay(1s)->reset")
    link = played.opened()
    played.receive(link, b"aaaabbbbccccddddeeee")
    assert "reset" == link.did[-1]
    assert b"aaaa" == bytes(link.got)
    assert (4, 1, 0, 3, 0) == played.totals()


def test_of_several_orders_each_strikes_in_the_order_of_their_numbers() -> None:
    played = Played("fixed:4", "echo")
    first, second = played.order("2nd*delay(1s)"), played.order("4th*wrong('no')")
    third = played.order("5*ok->reset")
    link = played.opened()
    played.receive(link, b"aaaabbbbccccddddeeeeffff")
    assert b"aaaa" == bytes(link.got)
    assert [2, 1, 1] == [order.injection.hits.total for order in (first, second, third)]
    assert ("injected", 4) == (link.stream.counters.reason, link.stream.counters.injected)


def test_a_packet_that_has_begun_before_the_order_is_not_struck() -> None:
    played = Played("netstring", "echo")
    link = played.opened()
    played.receive(link, b"5:he")
    played.order("1*swallow->1*duplicate->off", everybody=True)
    played.receive(link, b"llo,1:a,1:b,1:c,")
    assert b"5:hello,1:b,1:b,1:c," == bytes(link.got)


def test_raw_bytes_wait_and_are_swallowed_by_their_number() -> None:
    played = Played("raw", "echo")
    played.order("3B*swallow->4B*delay(1s)->off")
    link = played.opened()
    played.receive(link, b"12")
    played.receive(link, b"3456789")
    assert b"" == bytes(link.got)
    played.advance(1.1)
    assert b"456789" == bytes(link.got)
    assert (0, 0, 0, 0, 0) == played.totals()
    assert 9 == link.stream.counters.bytes
