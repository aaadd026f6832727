"""Received and dropped add up to what was sent, whichever way in the port has.

Rules: overload needs no race: the reactor does not run while the test does, so nothing is read meanwhile.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import maybeDeferred

from ctrlserver.linux.arrivals import charged_and_drops
from tests.net.udp.conftest import Serve, check, linux, send_batch


@linux
@pytest_twisted.ensureDeferred
async def test_received_and_dropped_add_up_to_what_was_sent(serve: Serve) -> None:
    served = serve(receive_buffer=8192)
    client = served.connect()
    for _ in range(3):
        before = served.book.counters.totals()
        for _ in range(1000):
            client.send(b"x" * 64)
        totals = served.book.counters.totals()
        assert totals.dropped > before.dropped, "drops are reported before another datagram arrives"
        sent = before.packets + before.dropped + 1000
        await served.until(lambda totals, sent=sent: totals.packets + totals.dropped == sent)  # type: ignore[misc]
    assert served.book.stats(served.time()).dropped_total == totals.dropped
    await maybeDeferred(served.port.stop_listening)
    assert served.book.counters.totals().dropped == totals.dropped
    assert 0 == totals.dropped_in_batches, "no batch was sent, so none was dropped"


@linux
@pytest.mark.parametrize(
    "options", [{}, {"mode": "echo"}, {"mode": "reply"}, {"keep": 5}, {"probe": True}, {"gro": False}], ids=repr
)
@pytest_twisted.ensureDeferred
async def test_dropped_batches_are_reported_in_datagrams(serve: Serve, way: str, options: dict[str, Any]) -> None:
    served = serve(receive_buffer=16384, **options)
    counted = way != "twisted" and options != {"gro": False}
    if counted and not served.counts_arrivals:
        pytest.skip("bpf is refused here")
    clients, sent, told = [served.connect(), served.connect()], 0, 0
    for rounds in range(3):
        for each in range(100):
            packets = each * 7 % 60 + 1
            send_batch(clients[each % 2], packets, 64)
            clients[0].send(b"x" * 64 * (each % 3))
            sent += packets + 1
        totals = served.book.counters.totals()
        assert told < totals.dropped < sent, rounds
        totals = await served.until(lambda totals, sent=sent: totals.packets + totals.dropped == sent)  # type: ignore[misc]
        told = totals.dropped
    for _ in range(3):
        totals = served.book.counters.totals()
        assert sent == totals.packets + totals.dropped
        assert 0 == totals.dropped_in_batches
    assert counted == (totals.dropped > charged_and_drops(served.socket)[1]), "else no batch was dropped"
    await maybeDeferred(served.port.stop_listening)
    assert told == served.book.counters.totals().dropped


@linux
@pytest_twisted.ensureDeferred
async def test_without_a_count_of_arrivals_drops_after_a_batch_may_be_batches(serve: Serve, way: str) -> None:
    served = serve(receive_buffer=8192, count_arrivals=False)
    client = served.connect()
    client.send(b"x")
    send_batch(client, 2, 64)
    await served.until(lambda totals: totals.packets == 3)
    for _ in range(300):
        client.send(b"x" * 64)
    totals = served.book.counters.totals()
    assert totals.dropped > 0
    assert totals.dropped_in_batches == (0 if way == "twisted" else totals.dropped)  # Twisted reads no batches
    assert served.book.stats(served.time()).dropped_in_batches_total == totals.dropped_in_batches


@linux
@pytest_twisted.ensureDeferred
async def test_without_gro_drops_are_exact_though_the_sender_batches(serve: Serve) -> None:
    served = serve(receive_buffer=8192, gro=False)
    client = served.connect()
    for _ in range(20):
        send_batch(client, 50, 64)
    assert served.book.counters.totals().dropped > 0
    totals = await served.until(lambda totals: totals.packets + totals.dropped == 1000)
    check(totals, streams_total=1, dropped_in_batches=0)


@linux
@pytest_twisted.ensureDeferred
async def test_a_socket_taken_over_gives_what_waits_in_it_and_its_earlier_drops_are_not_counted(
    serve: Serve, way: str
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        bound.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as early:
            early.connect(bound.getsockname())
            for _ in range(100):
                early.send(b"x" * 64)
        waiting = 100 - charged_and_drops(bound)[1]
        assert 0 < waiting < 100
        served = serve(taken=bound, receive_buffer=0)
    if way != "twisted" and not served.counts_arrivals:
        pytest.skip("bpf is refused here")
    client = served.connect()
    sent = waiting
    for each in range(100):
        packets = each * 7 % 60 + 1
        send_batch(client, packets, 64)
        sent += packets
    totals = await served.until(lambda totals: totals.packets + totals.dropped == sent)
    assert totals.dropped > 0
    assert 0 == served.book.counters.totals().dropped_in_batches
