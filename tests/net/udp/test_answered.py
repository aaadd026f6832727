"""A UDP port whose listener has rules: which datagram gets which answer, by each way in, on real sockets."""

from __future__ import annotations

import socket
import time

import pytest_twisted
from twisted.internet.task import Clock

from ctrlserver.inject.places import Place
from ctrlserver.inject.rules import Rule, Rules
from ctrlserver.lane.due import Due
from ctrlserver.net.injected.datagrams import PORTION, Later
from ctrlserver.net.replies import CannedReply
from ctrlserver.net.terms import DatagramTerms, Terms
from ctrlserver.net.udp.answering import Answering
from ctrlserver.net.udp.reading import StruckReader
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.wire.datagram import DATAGRAM
from tests.net.conftest import in_thread
from tests.net.udp.conftest import Serve, arrivals, check, check_sums, linux, send_batch
from tests.runs import reached


@pytest_twisted.ensureDeferred
async def test_each_datagram_is_answered_by_the_first_rule_that_holds_or_else_as_ever(serve: Serve) -> None:
    served = serve("reply", reply=b"?")
    old, new = served.connect(), served.connect()
    old.send(b"PING")
    await served.until(lambda totals: totals.packets == 1)
    rules = [served.answer("PING", "PONG", 3), served.answer("/^A/", "a"), served.answer("none", "")]
    for client in (old, new):
        for datagram in (b"PING", b"ABC", b"none", b"PING", b"", b"PINGS"):
            client.send(datagram)
    await served.until(lambda totals: totals.packets == 13)
    assert [b"?", b"PONG", b"a", b"PONG", b"?", b"?"] == arrivals(old)
    assert [b"PONG", b"a", b"?", b"?", b"?"] == arrivals(new)
    assert [3, 2, 2] == [each.hits for each in rules]
    check(served.book.stats(0.0), replies_total=11, swallowed_total=2)
    check_sums(served)
    served.rules.end()
    assert not isinstance(served.port.reader, StruckReader)
    old.send(b"PING")
    await served.until(lambda totals: totals.packets == 14)
    assert [b"?"] == arrivals(old)


@pytest_twisted.ensureDeferred
async def test_an_answer_waits_and_injections_change_what_rules_decide(serve: Serve) -> None:
    served = serve("reply", reply=b"?")
    late = served.answer("late", "LATE", None, 0.05)
    served.answer("now", "NOW")
    served.inject("3rd*duplicate")
    client = served.connect()
    began = time.monotonic()
    for datagram in (b"late", b"now", b"now"):
        client.send(datagram)
    got = [await in_thread(client.recv, 100) for _ in range(4)]
    assert [b"NOW", b"NOW", b"NOW", b"LATE"] == got
    assert time.monotonic() - began >= 0.05
    served.rules.end(late.number)
    client.send(b"late")
    assert b"?" == await in_thread(client.recv, 100)
    check_sums(served)


@pytest_twisted.ensureDeferred
async def test_what_waits_when_the_last_rule_ends_leaves_at_once(serve: Serve) -> None:
    served = serve("reply", reply=b"?")
    served.answer("late", "LATE", None, 3600.0)
    client = served.connect()
    client.send(b"late")
    await served.until(lambda totals: totals.packets == 1)
    served.rules.end()
    assert b"LATE" == await in_thread(client.recv, 100)
    await reached(lambda: not served.book.memory.held)
    served.answer("x", "y")
    client.send(b"x")
    assert b"y" == await in_thread(client.recv, 100)


@linux
@pytest_twisted.ensureDeferred
async def test_orders_strike_the_answers_of_rules_and_each_ends_by_itself(serve: Serve) -> None:
    served = serve("reply", reply=b"?")
    client = served.connect()
    order = served.inject("2nd*duplicate->swallow")
    served.answer("/x/", "rule")
    send_batch(client, 4, 3)
    await served.until(lambda totals: totals.packets == 4)
    assert [b"rule"] * 4 == arrivals(client)
    assert (4, 2, 2, 4) == (
        served.records()[0].injected,
        served.book.stats(0.0).swallowed_total,
        served.book.stats(0.0).duplicated_total,
        served.rules.all()[0].hits,
    )
    served.ordering.end(order.number)
    client.send(b"x")
    await served.until(lambda totals: totals.packets == 5)
    served.inject("swallow", everybody=True)
    served.rules.end()
    client.send(b"x")
    await served.until(lambda totals: totals.packets == 6)
    assert [b"rule"] == arrivals(client)
    served.ordering.end(None)
    client.send(b"x")
    await served.until(lambda totals: totals.packets == 7)
    assert [b"?"] == arrivals(client)
    check_sums(served)


@linux
@pytest_twisted.ensureDeferred
async def test_a_batch_that_waits_as_the_first_rule_comes_is_answered_datagram_by_datagram(serve: Serve) -> None:
    served = serve("reply", reply=b"?")
    client = served.connect()
    send_batch(client, 50, 100)
    served.answer("/x$/", "y")
    await served.until(lambda totals: totals.packets == 50)
    assert [b"y"] * 50 == arrivals(client)
    send_batch(client, 50, 100)
    served.rules.end()
    await served.until(lambda totals: totals.packets == 100)
    assert [b"?"] * 50 == arrivals(client)
    check_sums(served)


def test_with_rules_a_part_of_a_batch_is_as_much_as_they_bear(ours: socket.socket) -> None:
    rules = Rules()
    terms = Terms(
        Book(version="test", now=0.0, wall=0.0),
        Origin("data", "udp", "datagram", "reply"),
        DATAGRAM,
        canned=CannedReply(b"?"),
        answers=rules.of("data"),
    )
    answering = Answering(DatagramTerms(terms), ours, Later(Due(None, Clock())))
    assert PORTION == answering.most(0) == answering.most(1400)
    for number in range(40):
        rules.add(Rule(f"/{number}$/", "x"), Place("data", "reply", frozenset({"udp"}), reply=b"?"), 0)
    assert [25, 4, 1] == [answering.most(size) for size in (1, 100, 65507)]
