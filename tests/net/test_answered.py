"""Conditional answers at work, by both ways in: which packet gets which answer, and the greeting."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted

from ctrlserver.inject.places import Place
from ctrlserver.inject.rules import MOST_RULES, Answers, Rule, Rules
from ctrlserver.net.modes import ReplyStream
from tests.net.conftest import Serve, Served, exchange, in_thread, read_to_end
from tests.net.injected.conftest import Begin, order

__all__ = ["order"]  # a fixture

PLACE = Place("data", mode="reply", reply=b"500\r\n")
SMTP = (
    Rule("connect", r"220 ready\r\n"),
    Rule("/(?i)^(ehlo|helo) /", r"250 hello\r\n"),
    Rule("QUIT", r"221 bye\r\n"),
    Rule("noise", ""),
)


@pytest.fixture
def rules() -> Rules:
    return Rules()


def having(rules: Rules, *ordered: Rule) -> Answers:
    for rule in ordered:
        rules.add(rule, PLACE, 0)
    return rules.of("data")


@pytest_twisted.ensureDeferred
async def test_a_peer_is_greeted_and_each_packet_is_answered_by_its_rule_or_else_by_the_reply(
    serve: Serve, rules: Rules
) -> None:
    served = await serve("line", "reply", reply=b"500\r\n", answers=having(rules, *SMTP))
    got = await exchange(served, b"EHLO me\r\nno", b"ise\nnoise\r\nwhat\nQUIT\n")
    assert b"220 ready\r\n250 hello\r\n500\r\n221 bye\r\n" == got
    assert [1, 1, 1, 2] == [each.hits for each in rules.all()]
    totals = served.book.counters.totals()
    assert (5, 3, 2) == (totals.packets, totals.replies, totals.swallowed)


@pytest.mark.parametrize("framing", ["fixed:4", "line", "int16", "netstring", "delimited:0d0a"])
@pytest_twisted.ensureDeferred
async def test_each_of_many_packets_gets_its_own_answer_and_all_are_counted(
    serve: Serve, rules: Rules, framing: str
) -> None:
    answers = having(rules, Rule("PING", "+PONG"), Rule("/^A/", "a" * 1000), Rule("none", ""))
    served = await serve(framing, "reply", reply=b"?", answers=answers)
    packets = [b"PING", b"A123", b"none", b"what"] * 1_000
    encode = served.listener.terms.spec.new().encode
    stream = b"".join(map(encode, packets))
    got = await exchange(served, stream[:5], stream[5:9_001], stream[9_001:])
    assert (b"+PONG" + b"a" * 1000 + b"?") * 1_000 == got
    totals = served.book.counters.totals()
    assert (4_000, 3_000, 1_000) == (totals.packets, totals.replies, totals.swallowed)
    assert [1_000, 1_000, 1_000] == [each.hits for each in rules.all()]


def talk(client: socket.socket, sent: bytes, expected: bytes) -> bytes:
    client.sendall(sent)
    with client.makefile("rb") as got:
        return got.read(len(expected))


async def counted(served: Served, nbytes: int) -> None:
    """Until the server has read so many bytes."""
    while served.book.counters.totals().bytes < nbytes:
        await in_thread(lambda: None)


@pytest.mark.parametrize("options", [{}, {"keep": 10}, {"probe": True}])
@pytest.mark.parametrize("framing", ["fixed:32", "line", "int8", "netstring"])
@pytest_twisted.ensureDeferred
async def test_an_open_stream_goes_over_at_its_next_packet_and_back_when_no_rule_is_left(
    serve: Serve, rules: Rules, framing: str, options: dict[str, object]
) -> None:
    served = await serve(framing, "reply", reply=b"?", answers=having(rules), **options)
    packet = served.listener.terms.spec.new().encode(b"PING".ljust(32))
    client = await in_thread(served.connect)
    assert b"??" == await in_thread(talk, client, packet * 2 + packet[:9], b"??")
    (stream,) = served.listener.open_streams.all.values()
    for round in range(1, 3):
        await counted(served, served.book.counters.totals().packets * len(packet) + 9)
        rules.add(Rule("/^PING/", "+"), PLACE, 0)
        assert "AnsweringStruck" == type(stream).__name__
        is_held = "keep" in options or ("probe" in options and framing != "fixed:32")  # the packet that has begun
        is_held = is_held or (round == 2 and not served.listener.terms.uncut)
        expected = b"+++" if is_held else b"?++"
        assert expected == await in_thread(talk, client, packet[9:] + packet * 2 + packet[:9], expected)
        await counted(served, served.book.counters.totals().packets * len(packet) + 9)
        rules.end()
        while type(stream).__name__ != "ReplyStream":
            await in_thread(lambda: None)
        assert b"??" == await in_thread(talk, client, packet[9:] + packet + packet[:9], b"??")
    client.shutdown(socket.SHUT_WR)
    assert b"" == await in_thread(read_to_end, client)
    (record,) = served.records()
    assert (2 + 2 * 5, 9) == (record.packets, record.incomplete_bytes)
    assert 0 == served.book.memory.held or "keep" in options


@pytest_twisted.ensureDeferred
async def test_a_stream_that_has_no_room_while_it_has_more_to_look_into_goes_on_once_it_has(
    serve: Serve, rules: Rules
) -> None:
    answers = having(rules, Rule("PING", "+"))
    served = await serve("fixed:4", "reply", reply=b"?", answers=answers)
    if served.lane is not None:
        return  # it reads no more than it looks into
    client = await in_thread(served.connect)
    await served.book.opened.get()
    stream: Any
    (stream,) = served.listener.open_streams.all.values()
    link = stream._link
    packets = 2 * answers.packets_a_call
    link.dataReceived(b"PING" * packets)
    assert link._soon is not None
    link.pauseProducing()  # as the transport does once its buffer is full
    stream.struck.waiting.add(b"!", 0, 0)
    stream.due(time.monotonic())
    while link._soon is not None:
        await in_thread(lambda: None)
    link.resumeProducing()
    expected = b"+" * answers.packets_a_call + b"!" + b"+" * answers.packets_a_call
    with client.makefile("rb") as got:
        assert expected == await in_thread(got.read, len(expected))
    client.close()


@pytest_twisted.ensureDeferred
async def test_where_only_greetings_are_ruled_packets_are_not_looked_into(serve: Serve, rules: Rules) -> None:
    answers = having(rules, Rule("connect", "1", times=1), Rule("connect", "", times=1), Rule("connect", "3"))
    served = await serve("line", "reply", reply=b"?", answers=answers)
    assert [b"1?", b"?", b"3?"] == [await exchange(served, b"a\n") for _ in range(3)]
    assert [1, 1, 1] == [each.hits for each in rules.all()]
    client = await in_thread(served.connect)
    await served.book.opened.get()
    while [ReplyStream] != [type(each) for each in served.listener.open_streams.all.values()]:
        await in_thread(lambda: None)
    client.close()


@pytest_twisted.ensureDeferred
async def test_answers_that_a_peer_does_not_read_hold_it_up_and_no_copy_of_them_is_held(
    serve: Serve, rules: Rules
) -> None:
    answers = having(rules, Rule("x", "y" * 65536))
    served = await serve("line", "reply", reply=b"?", answers=answers, reply_buffer=1 << 16)
    client = await in_thread(lambda: served.connect(receive_buffer=4096))
    sending = in_thread(client.sendall, b"x\n" * 20_000)
    while not served.listener.open_streams.waiting:
        await in_thread(lambda: None)
    (stream,) = served.listener.open_streams.all.values()
    assert stream.counters.packets <= answers.packets_a_call
    assert served.book.memory.held < 1 << 18
    stream.abort("kicked", 0.0)
    (record,) = served.records()
    assert 0 < record.packets - served.book.counters.totals().replies <= answers.packets_a_call
    with suppress(ConnectionError):
        await sending
    client.close()


@pytest.mark.parametrize("when", ["/aaaaaaaaaaaaab/", "/(a+)+b$/", "aa"])
@pytest_twisted.ensureDeferred
async def test_however_dense_or_large_packets_are_one_turn_tries_a_bounded_number_of_rules(
    serve: Serve, rules: Rules, when: str
) -> None:
    answers = having(rules, *[Rule(when, "y")] * MOST_RULES)
    served = await serve("line", "reply", reply=b"?", answers=answers)
    client = await in_thread(served.connect)
    await served.book.opened.get()
    while not served.listener.open_streams.all:
        await in_thread(lambda: None)
    (stream,) = served.listener.open_streams.all.values()
    for packet in (b"\n", b"a" * 99 + b"\n", b"a" * 60_000 + b"\n"):
        chunk = memoryview(packet * max(1, 2048 // len(packet)))
        while chunk:
            before = stream.counters.packets
            left = stream.received(chunk, 0.0)
            assert stream.counters.packets - before <= answers.packets_a_call <= 64
            assert len(chunk) - left <= answers.bytes_a_call
            chunk = chunk[len(chunk) - left :]
    client.close()


@pytest.mark.parametrize("step", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("framing", ["line", "int16", "netstring", "fixed:5"])
@pytest_twisted.ensureDeferred
async def test_which_answer_a_packet_gets_does_not_depend_on_cuts_and_injections_change_it(
    serve: Serve, rules: Rules, order: Begin, framing: str, step: int
) -> None:
    answers = having(rules, Rule("AAAAA", "a", times=20), Rule("/^B+$/", "bb"), Rule("CCCCC", ""))
    served = await serve(framing, "reply", reply=b"?", answers=answers)
    order(served, "10th*wrong('WRONG')")
    client = await in_thread(served.connect)
    await served.book.opened.get()
    while not served.listener.open_streams.all:
        await in_thread(lambda: None)
    (stream,) = served.listener.open_streams.all.values()
    packets = [b"AAAAA", b"BBBBB", b"CCCCC", b"DDDDD"] * 10
    octets = b"".join(map(served.listener.terms.spec.new().encode, packets))
    for at in range(0, len(octets), step):
        part = memoryview(octets)[at : at + step]
        while part:
            part = part[len(part) - stream.received(part, served.listener.open_streams.clock()) :]
    expected = [b"a", b"bb", b"", b"?"] * 10
    expected = [b"WRONG" if place % 10 == 0 and answer else answer for place, answer in enumerate(expected, 1)]
    client.shutdown(socket.SHUT_WR)
    assert b"".join(expected) == await in_thread(read_to_end, client)
    assert (40, 10) == (stream.counters.packets or stream.counters.bytes // 5, stream.counters.swallowed)
