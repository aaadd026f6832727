"""A UDP port while orders strike its answers, by each way in, on real sockets."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_network

import pytest
import pytest_twisted

from ctrlserver.lane.lane import Lane
from ctrlserver.net.injected.datagrams import OVERHEAD
from ctrlserver.net.udp.port import DatagramPort
from ctrlserver.net.udp.reading import StruckReader
from tests.net.conftest import in_thread
from tests.net.udp.conftest import READERS, Serve, arrivals, check, check_sums, linux, send_batch
from tests.runs import reached


def numbered(count: int, size: int = 4) -> list[bytes]:
    return [f"{number:0{size}}".encode() for number in range(1, count + 1)]


@pytest_twisted.ensureDeferred
async def test_each_peer_has_a_course_of_its_own_however_their_datagrams_mix(serve: Serve) -> None:
    served = serve("echo")
    order = served.inject("2*swallow->5th*duplicate")
    clients = [served.connect() for _ in range(3)]
    for datagram in numbered(20):
        for client in clients:
            client.send(datagram)
    await served.until(lambda totals: totals.packets == 60)
    expected = numbered(20)[2:]
    for at in (15, 10, 5):  # the fifth, tenth and fifteenth of those that were not swallowed
        expected.insert(at, expected[at - 1])
    for client in clients:
        assert expected == arrivals(client)
    assert [5, 5, 5] == [record.injected for record in served.records()]
    check(served.book.stats(0.0), injected_total=15, swallowed_total=6, duplicated_total=9, replies_total=54)
    assert 15 == order.injection.hits.total
    check_sums(served)


@linux
@pytest_twisted.ensureDeferred
async def test_a_batch_is_struck_datagram_by_datagram(serve: Serve) -> None:
    served = serve("reply", reply=b"OK")
    served.inject("7th*swallow->10th*corrupt")
    client = served.connect()
    for _ in range(4):
        send_batch(client, 50, 100)
    await served.until(lambda totals: totals.packets == 200)
    got = arrivals(client)
    assert (200 - 28, 17) == (len(got), sum(answer != b"OK" for answer in got))
    check(served.book.stats(0.0), injected_total=45, swallowed_total=28, replies_total=172)
    check_sums(served)


@pytest_twisted.ensureDeferred
async def test_a_delayed_answer_leaves_when_it_is_due_and_not_before(serve: Serve) -> None:
    served = serve("echo")
    served.inject("1*delay(60ms)->delay(20ms)")
    client = served.connect()

    def script() -> list[tuple[bytes, float]]:
        began = time.monotonic()
        for datagram in (b"late", b"soon", b"then"):
            client.send(datagram)
        return [(client.recv(100), time.monotonic() - began) for _ in range(3)]

    answers = await in_thread(script)
    assert [b"soon", b"then", b"late"] == [answer for answer, _ in answers]
    assert all(seconds >= 0.02 for _, seconds in answers[:2])
    assert answers[2][1] >= 0.06
    (stream,) = served.port.peers.by_address.values()
    check(served.book.stats(0.0), injected_total=3, replies_total=3, memory_bytes=0)
    assert 0 == stream.held


@pytest_twisted.ensureDeferred
async def test_reordered_answers_change_places(serve: Serve) -> None:
    served = serve("echo")
    served.inject("4th*reorder")
    client = served.connect()
    for datagram in numbered(10):
        client.send(datagram)
    await served.until(lambda totals: totals.packets == 10)
    one, two, three, four, five, six, seven, eight, nine, ten = numbered(10)
    assert [one, two, three, five, four, six, seven, nine, eight, ten] == arrivals(client)
    assert 2 == served.records()[0].injected


@pytest_twisted.ensureDeferred
async def test_open_streams_are_struck_if_all_are_meant_and_else_only_those_that_open_later(serve: Serve) -> None:
    served = serve("echo")
    old, new = served.connect(), served.connect()
    old.send(b"first")
    await served.until(lambda totals: totals.packets == 1)
    served.inject("swallow")
    for client in (old, new):
        client.send(b"second")
    await served.until(lambda totals: totals.packets == 3)
    assert [b"first", b"second"] == arrivals(old)
    served.inject("swallow", everybody=True)
    for client in (old, new):
        client.send(b"third")
    await served.until(lambda totals: totals.packets == 5)
    assert [[], []] == [arrivals(old), arrivals(new)]
    assert [3, 1] == [record.injected for record in served.records()]
    served.ordering.end(None)
    for client in (old, new):
        client.send(b"fourth")
    await served.until(lambda totals: totals.packets == 7)
    assert [[b"fourth"]] * 2 == [arrivals(old), arrivals(new)]
    check(served.book.stats(0.0), injected_total=4, swallowed_total=3, replies_total=4, injections_active=0)
    assert all(each.struck is None for each in served.port.peers.by_address.values())


@pytest_twisted.ensureDeferred
async def test_a_port_reads_by_the_reader_for_orders_only_while_one_is_in_force(serve: Serve, way: str) -> None:
    if way == "twisted":
        pytest.skip("Twisted reads for all")
    served = serve("echo")
    client = served.connect()
    changes: list[tuple[str | int, type]] = [("swallow", StruckReader), ("duplicate", StruckReader)]
    changes += [(1, StruckReader), (2, READERS[way]), ("delay(1ms)", StruckReader)]
    for number, (change, reader) in enumerate(changes, 1):
        if isinstance(change, str):
            served.inject(change)
        else:
            served.ordering.end(change)
        assert reader is type(served.port.reader)
        client.send(b"x")
        await served.until(lambda totals, packets=number: totals.packets == packets)  # type: ignore[misc]
    check(served.book.stats(0.0), packets_total=5, dropped_total=0, injected_total=2)


@pytest_twisted.ensureDeferred
async def test_an_order_for_a_network_concerns_its_peers_alone(serve: Serve) -> None:
    served = serve("echo", max_streams=1)
    served.inject("swallow", networks=[ip_network("10.0.0.0/8")])
    served.inject("2nd*swallow", networks=[ip_network("127.0.0.0/8")])
    client, other = served.connect(), served.connect()
    for _ in range(4):
        client.send(b"x")
        other.send(b"y")
    await served.until(lambda totals: totals.packets == 8)
    assert [2, 4] == [len(arrivals(client)), len(arrivals(other))]  # the second one is among the others, of no network
    assert [0, 2] == [record.injected for record in served.records()]


@pytest_twisted.ensureDeferred
async def test_as_the_order_ends_what_waits_leaves_at_once(serve: Serve) -> None:
    served = serve("echo")
    order = served.inject("delay(1h)")
    client = served.connect()
    for datagram in numbered(100):
        client.send(datagram)
    await served.until(lambda totals: totals.packets == 100)
    assert [] == arrivals(client)
    (stream,) = served.port.peers.by_address.values()
    assert 100 * (4 + OVERHEAD) == stream.held == served.book.stats(0.0).memory_bytes
    served.ordering.end(order.number)
    await reached(lambda: not stream.held)
    assert numbered(100) == arrivals(client)
    check(served.book.stats(0.0), injected_total=100, replies_total=100, memory_bytes=0)
    assert stream.struck is None


@pytest.mark.parametrize("how", ["kicked", "the port is closed"])
@pytest_twisted.ensureDeferred
async def test_what_waits_of_a_stream_that_ends_is_unanswered(serve: Serve, how: str) -> None:
    served = serve("echo", keep=3)
    served.inject("2nd*ok->delay(1h)")
    clients = [served.connect(), served.connect()]
    for datagram in numbered(4):
        for client in clients:
            client.send(datagram)
    await served.until(lambda totals: totals.packets == 8)
    check(served.book.stats(0.0), replies_total=8, injected_total=4)
    streams = list(served.port.peers.by_address.values())
    if how == "kicked":
        streams[0].abort("kicked", served.time())
        check(served.book.stats(0.0), replies_total=6)
        assert 2 * (4 + OVERHEAD) == streams[1].held
        clients[0].send(b"new")
        await served.until(lambda totals: totals.packets == 9)
        assert 1 * (3 + OVERHEAD) == served.port.peers.by_address[clients[0].getsockname()].held
    else:
        await served.port.stop_listening()  # type: ignore[misc]
        assert [0, 0] == [each.held for each in streams]
        assert [2, 2] == [each.counters.unanswered for each in streams]
        check(served.book.stats(0.0), replies_total=4)
    for client in clients:
        assert [b"0002", b"0004"] == arrivals(client)
    check_sums(served)


@pytest_twisted.ensureDeferred
async def test_a_stream_is_not_idle_while_an_answer_of_it_waits(serve: Serve) -> None:
    served = serve("echo", idle_timeout=10.0)
    order = served.inject("1*delay(1h)")
    client, other = served.connect(), served.connect()
    client.send(b"one")
    other.send(b"one")
    other.send(b"two")
    await served.until(lambda totals: totals.packets == 3)
    served.port.peers.by_address[other.getsockname()].struck.give_up()  # type: ignore[union-attr]
    served.time.ahead = 11.0
    served.port.peers.sweep(served.time())
    assert ["closed", "open"] == [record.state for record in served.records()]
    served.ordering.end(order.number)
    (stream,) = served.port.peers.by_address.values()
    await reached(lambda: not stream.held)
    served.time.ahead = 12.0
    served.port.peers.sweep(served.time())
    assert ["idle", "idle"] == [record.reason for record in served.records()]
    assert [b"one"] == arrivals(client)


@pytest_twisted.ensureDeferred
async def test_peers_that_share_a_stream_share_its_course_and_each_gets_its_own_answers(serve: Serve) -> None:
    served = serve("echo", max_streams=1)
    order = served.inject("4th*swallow->delay(1h)")
    clients = [served.connect() for _ in range(3)]
    for datagram in numbered(4):
        for client in clients:
            client.send(datagram)
    await served.until(lambda totals: totals.packets == 12)
    others, first = served.records()
    assert ["*", 8, 8, 4, 4] == [others.peer, others.packets, others.injected, first.packets, first.injected]
    served.ordering.end(order.number)
    streams = list(served.port.peers.by_address.values())
    await reached(lambda: not any(each.held for each in streams))
    one, two, three, four = numbered(4)
    assert [one, two, three] == arrivals(clients[0])
    assert [[one, two, three, four], [one, three]] == [arrivals(client) for client in clients[1:]]
    check_sums(served)


@linux
@pytest_twisted.ensureDeferred
async def test_a_port_of_two_families_strikes_the_peers_of_both(serve: Serve) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        served = serve("echo", taken=both)
    served.inject("2nd*swallow->3rd*delay(30ms)")
    four = served.connect()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
        six.settimeout(20)
        six.connect(("::1", served.number))
        for datagram in numbered(6):
            for client in (four, six):
                client.send(datagram)
        await served.until(lambda totals: totals.packets == 12)
        await reached(lambda: not any(each.held for each in served.port.peers.by_address.values()))
        one, _, three, _, five, _ = numbered(6)
        assert [[one, three, five]] * 2 == [arrivals(client) for client in (four, six)]
    assert [4, 4] == [record.injected for record in served.records()]


@pytest_twisted.ensureDeferred
async def test_a_port_that_takes_over_keeps_orders_courses_and_what_waits(serve: Serve) -> None:
    from twisted.internet import reactor

    served = serve("echo")
    order = served.inject("2*ok->delay(1h)")
    client, other = served.connect(), served.connect()
    for datagram in numbered(3):
        client.send(datagram)
    await served.until(lambda totals: totals.packets == 3)
    old = served.port
    new = DatagramPort(old.peers.options, old._lane, reactor, served.time, served.due)
    new.take_over(old)
    served.port = new
    client.send(b"0004")
    other.send(b"0001")
    await served.until(lambda totals: totals.packets == 5)
    assert [0, 2] == [record.injected for record in served.records()]
    assert numbered(2) == arrivals(client)
    served.ordering.end(order.number)
    await reached(lambda: not any(each.held for each in new.peers.by_address.values()))
    assert numbered(4)[2:] == arrivals(client)
    assert (0, 0) == (old._later.held, len(old.peers.by_address))


@linux
@pytest.mark.parametrize("max_streams", [100, 0], ids=["a stream of its own", "one of the others"])
@pytest_twisted.ensureDeferred
async def test_a_peer_that_would_answer_the_answer_gets_none_by_order_either(serve: Serve, max_streams: int) -> None:
    served = serve("echo", max_streams=max_streams)
    looping = served.connect()
    served.port.peers.options.answering.add(looping.getsockname()[1])
    for spec in ("duplicate", "delay(1ms)"):
        order = served.inject(spec, everybody=True)
        before = served.book.counters.totals().packets
        looping.send(b"loop")
        await served.until(lambda totals, before=before: totals.packets > before)  # type: ignore[misc]
        await reached(lambda: not any(each.held for each in served.port.peers.by_address.values()))
        served.ordering.end(order.number)
    assert [] == arrivals(looping)
    check(served.book.stats(0.0), replies_total=0, duplicated_total=0, unanswered_loops_total=2)


@linux
@pytest.mark.parametrize("max_streams", [100, 0], ids=["a stream of its own", "one of the others"])
@pytest.mark.parametrize(("first_client_port", "copies"), [(1, 300), (65_536, 100)])
@pytest_twisted.ensureDeferred
async def test_a_peer_on_a_port_that_no_client_is_given_gets_few_duplicates_so_that_no_loop_grows(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, first_client_port: int, copies: int, max_streams: int
) -> None:
    monkeypatch.setattr("ctrlserver.net.udp.answering.first_client_port", lambda: first_client_port)
    served = serve("echo", max_streams=max_streams)
    order = served.inject("duplicate", everybody=True)
    client = served.connect()
    got: list[bytes] = []
    for number, datagram in enumerate(numbered(300), start=1):
        client.send(datagram)
        if number % 20 == 0:
            await served.until(lambda totals, number=number: totals.packets == number)  # type: ignore[misc]
            got += arrivals(client)
    assert (300 + copies, 300) == (len(got), order.injection.hits.total)
    check(
        served.book.stats(0.0),
        injected_total=300,
        replies_total=300,
        duplicated_total=copies,
        unanswered_loops_total=300 - copies,
    )


@linux
@pytest_twisted.ensureDeferred
async def test_over_the_memory_limit_the_stream_that_holds_most_ends(serve: Serve) -> None:
    served = serve("echo", memory_limit=20 * OVERHEAD)
    book = served.book
    served.inject("delay(1h)")
    greedy, modest = served.connect(), served.connect()
    modest.send(b"x")
    await served.until(lambda totals: totals.packets == 1)
    for _ in range(30):
        greedy.send(b"y")
    await served.until(lambda totals: totals.packets == 31)
    assert book.memory.due
    book.relieve_memory(served.time())
    assert [("limit", "closed"), (None, "open")] == [(record.reason, record.state) for record in served.records()]
    check(book.stats(0.0), replies_total=1, memory_bytes=OVERHEAD + 1)
    check_sums(served)


@linux
@pytest_twisted.ensureDeferred
async def test_while_an_order_is_in_force_and_nothing_waits_the_lane_may_rest(serve: Serve, way: str) -> None:
    if way == "twisted":
        pytest.skip("no lane")
    served = serve("echo")
    served.inject("1*delay(1ms)")
    client = served.connect()
    client.send(b"x")
    await served.until(lambda totals: totals.packets == 1)
    assert b"x" == await in_thread(lambda: client.recv(100))
    lane = served.port._lane
    assert isinstance(lane, Lane)
    assert {served.socket.fileno()} == lane._eager


@linux
@pytest_twisted.ensureDeferred
async def test_what_a_turn_leaves_of_a_batch_is_answered_in_a_later_one_or_before_another_reader_reads(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctrlserver.net.udp.reading.STRUCK_SECONDS", -1.0)
    served = serve("echo")
    order = served.inject("10th*swallow")
    client = served.connect()
    got = 0
    for round_ in (1, 2):
        send_batch(client, 60, 10)
        send_batch(client, 61, 10)
        await served.until(lambda totals, packets=121 * round_: totals.packets == packets)  # type: ignore[misc]
        got += len(arrivals(client))
    send_batch(client, 64, 10)
    await served.until(lambda totals: totals.packets > 242)
    served.ordering.end(order.number)  # what was read by then is struck
    totals = await served.until(lambda totals: totals.packets >= 306)
    check(totals, packets=306, dropped=0)
    assert (30, 276) == (order.injection.hits.total, got + len(arrivals(client)))
    check_sums(served)
