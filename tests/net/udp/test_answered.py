"""A UDP port whose listener has rules: which datagram gets which answer, by each way in, on real sockets."""

from __future__ import annotations

import time

import pytest
import pytest_twisted

from ctrlserver.net.udp.reading import StruckReader
from tests.net.conftest import in_thread
from tests.net.udp.conftest import Serve, check, linux, send_batch
from tests.net.udp.test_struck import arrivals, check_sums
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
async def test_while_there_are_rules_the_kernel_hands_over_no_batches(serve: Serve, way: str) -> None:
    if way == "twisted":
        pytest.skip("Twisted hands over one datagram at a time")
    served = serve("reply", reply=b"?")
    served.answer("/x$/", "y")
    client = served.connect()
    send_batch(client, 50, 100)
    await served.until(lambda totals: totals.packets == 50)
    assert [b"y"] * 50 == arrivals(client)
    assert served.port.drops is not None
    assert (50, 0) == (served.port.drops.messages_read, served.port.drops.beyond_read)
    served.rules.end()
    send_batch(client, 50, 100)
    await served.until(lambda totals: totals.packets == 100)
    assert (51, 49) == (served.port.drops.messages_read, served.port.drops.beyond_read)
