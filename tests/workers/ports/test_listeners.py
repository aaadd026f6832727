"""The parent's ports with the planes of workers behind them, all in this process: the hand-over is a call."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path
from select import EPOLLIN

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs

from ctrlserver.config import ListenerConfig
from ctrlserver.errors import InjectionError
from ctrlserver.lane.lane import Lane
from ctrlserver.net.listeners import CannotBind
from ctrlserver.workers.ports.listeners import SharedAcceptor, SharedListener
from tests.clients import connected
from tests.net.conftest import in_thread, read_to_end
from tests.runs import reached
from tests.workers.ports.conftest import ECHO, LOOPBACK, Open, Tls, asked

pytestmark = [
    pytest.mark.skipif(not Lane.supported(MemoryReactorClock()), reason="workers need a lane"),
    pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning"),  # as Twisted passes them
]


@pytest.mark.parametrize("kind", ["tcp", "tcp6", "unix", "ssl", "haproxy"])
@pytest_twisted.ensureDeferred
async def test_what_the_parent_accepts_is_served_by_the_workers(
    shop: Open, kind: str, tls: Tls, tmp_path: Path
) -> None:
    endpoint = {
        "tcp": LOOPBACK,
        "tcp6": r"tcp6:0:interface=\:\:1",
        "unix": f"unix:{tmp_path / 'x'}",
        "ssl": tls.config.endpoint.replace("ssl:7:", "ssl:0:interface=127.0.0.1:"),
        "haproxy": f"haproxy:{LOOPBACK}",
    }[kind]
    served = shop(evolve(ECHO, endpoint=endpoint))
    with socket.socket(socket.AF_INET6 if kind == "tcp6" else socket.AF_INET) as client:
        if kind == "unix":
            client = connected(tmp_path / "x")
        else:
            client.connect(served.address())
        client.settimeout(20)
        line = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\na\n" if kind == "haproxy" else b"a\n"
        assert b"a\n" == await in_thread(tls.asked if kind == "ssl" else lambda sock: asked(sock, line), client)
    assert 1 == len(served.handed)
    assert 0 == served.figure("streams_total"), "the parent has no streams"
    assert [1, 1] == [served.total("streams_total"), served.total("packets_total")]


def test_all_or_nothing_is_bound_and_the_error_is_that_of_one_process(shop: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        number = taken.getsockname()[1]
        where = f"tcp:{number}:interface=127.0.0.1"
        with pytest.raises(CannotBind) as told:
            shop(evolve(ECHO, endpoint=where), balance="kernel")
        assert f"cannot listen for one on {where}: address already in use" == str(told.value)


def test_a_udp_port_that_another_server_shares_is_taken(shop: Open) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        where = f"udp:{taken.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(CannotBind) as told:
            shop(ListenerConfig(name="one", endpoint=where))
        assert f"cannot listen for one on {where}: address already in use" == str(told.value)


@pytest_twisted.ensureDeferred
async def test_the_ports_are_announced_and_recorded_once_with_their_real_addresses(shop: Open) -> None:
    with capturedLogs() as lines:
        served = shop(evolve(ECHO, udp=True))
    host, number = served.address()
    listening = [(line["transport"], line["address"]) for line in lines if line.get("event") == "listening"]
    assert [("tcp", f"{host}:{number}"), ("udp", f"{host}:{number}")] == listening
    (record,) = served.plane.records()
    assert f"{host}:{number}" == record.address == record.udp_address


@pytest_twisted.ensureDeferred
async def test_the_limit_of_streams_is_that_of_all_workers_together(shop: Open) -> None:
    served = shop(evolve(ECHO, max_streams_per_peer=3))
    address = served.address()
    for _ in range(3):
        clients = [connected(address) for _ in range(3)]
        await reached(lambda: sum(served.open()) == 3)
        assert b"" == await in_thread(read_to_end, connected(address))
        for each in clients:
            each.close()
        await reached(lambda: not sum(served.open()))
    assert 3 == served.figure("rejected_max_streams_per_peer_total"), (
        "those whose streams are over have left their seats"
    )
    served.plane.seats.limit = 2
    clients = [connected(address) for _ in range(2)]
    await reached(lambda: sum(served.open()) == 2)
    assert b"" == await in_thread(read_to_end, connected(address))
    assert 1 == served.figure("rejected_max_streams_total")
    served.plane.seating.lost(1)
    assert 1 == served.plane.seats.taken, "a worker that is gone has no seats"
    for each in clients:
        each.close()
    await reached(lambda: not sum(served.open()))
    served.refresh()
    assert 0 == served.plane.seats.taken


@pytest_twisted.ensureDeferred
async def test_connections_through_a_proxy_have_seats_from_the_accept_on(shop: Open) -> None:
    served = shop(evolve(ECHO, endpoint=f"haproxy:{LOOPBACK}"))
    served.plane.seats.limit = 2
    silent, other = connected(served.address()), connected(served.address())
    await reached(lambda: len(served.handed) == 2)
    assert b"" == await in_thread(read_to_end, connected(served.address()))
    assert 1 == served.figure("rejected_max_streams_total")
    silent.close()
    other.sendall(b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\na\n")
    await reached(lambda: served.total("rejected_proxy_header_total") and served.total("packets_total"))
    served.refresh()
    assert 1 == served.plane.seats.taken
    other.close()
    await reached(lambda: not sum(served.open()))
    served.refresh()
    assert 0 == served.plane.seats.taken


@pytest_twisted.ensureDeferred
async def test_the_networks_are_asked_before_anything_is_handed_over(shop: Open) -> None:
    served = shop(evolve(ECHO, allow=("203.0.113.0/24",)))
    assert b"" == await in_thread(read_to_end, connected(served.address()))
    assert (1, []) == (served.figure("rejected_not_allowed_total"), served.handed)


@pytest_twisted.ensureDeferred
async def test_while_no_worker_has_room_connections_wait_and_none_is_refused(shop: Open) -> None:
    served = shop()
    served.has_room = False
    waits = in_thread(asked, connected(served.address()))
    await in_thread(time.sleep, 0.05)
    assert [] == served.handed
    served.has_room = True
    assert b"a\n" == await waits


@pytest_twisted.ensureDeferred
async def test_as_soon_as_there_is_room_what_waited_for_it_is_accepted(shop: Open) -> None:
    served = shop()
    served.has_room = False
    waits = in_thread(asked, connected(served.address()))
    (listener,) = served.plane.listeners
    assert isinstance(listener, SharedListener)
    await reached(lambda: listener._acceptor is not None and listener._acceptor._paused is not None)
    served.has_room = True
    listener.room_again()
    assert 1 == len(served.handed)
    assert b"a\n" == await waits


@pytest_twisted.ensureDeferred
async def test_orders_of_connections_are_carried_out_and_counted_in_the_parent(shop: Open) -> None:
    served = shop()
    address = served.address()
    order = served.plane.inject("one", "2*close-at-once->off")
    assert b"" == await in_thread(read_to_end, connected(address))
    assert b"" == await in_thread(read_to_end, connected(address))
    assert b"a\n" == await in_thread(asked, connected(address))
    assert (2, 2, 1) == (order.injection.hits.total, served.figure("closed_injected_total"), len(served.handed))
    served.plane.inject("one", "refuse")
    with pytest.raises(ConnectionRefusedError):
        connected(address)
    served.plane.end_orders()
    served.plane.inject("one", "hang")
    waits = in_thread(asked, connected(address))
    await in_thread(time.sleep, 0.05)
    assert not waits.called
    served.plane.end_orders()
    assert b"a\n" == await waits


@pytest_twisted.ensureDeferred
async def test_a_strike_of_a_handshake_is_counted_in_the_parent_and_carried_out_by_the_worker(
    shop: Open, tls: Tls
) -> None:
    served = shop(evolve(tls.config, endpoint=tls.config.endpoint.replace("ssl:7:", "ssl:0:interface=127.0.0.1:")))
    order = served.plane.inject("one", "1*self-signed->off")
    assert b"self-signed" in await in_thread(tls.asked, connected(served.address()))
    assert b"a\n" == await in_thread(tls.asked, connected(served.address()))
    assert (1, ["1 self-signed", ""]) == (order.injection.hits.total, [strike for _, _, strike in served.handed])


@pytest.mark.parametrize("strike", ["close-at-once", "self-signed"])
@pytest_twisted.ensureDeferred
async def test_who_is_admitted_once_the_workers_were_asked_meets_the_orders_as_others_do(
    shop: Open, tls: Tls, strike: str
) -> None:
    endpoint = tls.config.endpoint.replace("ssl:7:", "ssl:0:interface=127.0.0.1:")
    served = shop(evolve(tls.config, endpoint=endpoint, max_streams_per_peer=1))
    assert b"a\n" == await in_thread(tls.asked, connected(served.address()))
    await reached(lambda: not sum(served.open()))
    order = served.plane.inject("one", f"1*{strike}->off")
    if strike == "self-signed":
        assert b"self-signed" in await in_thread(tls.asked, connected(served.address()))
    else:
        assert b"" == await in_thread(read_to_end, connected(served.address()))
    await reached(lambda: not sum(served.open()))
    assert b"a\n" == await in_thread(tls.asked, connected(served.address()))
    assert (1, 0) == (order.injection.hits.total, served.figure("rejected_max_streams_per_peer_total"))


@pytest_twisted.ensureDeferred
async def test_the_kernel_balances_among_sockets_of_the_workers(shop: Open) -> None:
    served = shop(evolve(ECHO, udp=True), balance="kernel")
    clients = [connected(served.address()) for _ in range(40)]
    await reached(lambda: sum(served.open()) == 40)
    assert all(served.open()), served.open()
    assert [] == served.handed
    for each in clients:
        each.close()
    with pytest.raises(InjectionError, match='"refuse" needs balance = "exact"'):
        served.plane.inject("one", "refuse")


@pytest_twisted.ensureDeferred
async def test_datagrams_of_a_peer_go_to_one_worker_and_those_of_many_to_all(shop: Open) -> None:
    served = shop(ListenerConfig(name="one", endpoint="udp:0:interface=127.0.0.1"))
    address, clients = served.address(), [socket.socket(type=socket.SOCK_DGRAM) for _ in range(40)]
    for each in clients * 5:
        each.sendto(b"x", address)
    await reached(lambda: served.total("packets_total") == 200)
    for each in clients:
        each.close()
    assert 40 == sum(served.open())
    assert all(served.open()), served.open()


@pytest_twisted.ensureDeferred
async def test_what_a_worker_that_is_gone_would_have_accepted_and_read_waits_for_the_next_one(shop: Open) -> None:
    served = shop(evolve(ECHO, udp=True), balance="kernel", workers=1)
    gone = served.workers.pop(1)
    await gone.stop_listening()
    waits = in_thread(asked, connected(served.address()))
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"x", served.address())
    served.begin(1, [evolve(ECHO, udp=True)])
    assert b"a\n" == await waits
    await reached(lambda: served.total("packets_total") == 2)
    gone.stop()


@pytest.mark.parametrize("balance", ["exact", "kernel"])
@pytest_twisted.ensureDeferred
async def test_a_reload_reaches_all_and_refuses_nobody(shop: Open, balance: str) -> None:
    served = shop(balance=balance)
    address = served.address()
    old = connected(address)
    await reached(lambda: sum(served.open()) == 1)
    served.reload(
        evolve(ECHO, name="two", endpoint=LOOPBACK, udp=True), evolve(ECHO, mode="reply", reply="b", udp=True)
    )
    assert b"b" == await in_thread(asked, connected(address))
    assert b"a\n" == await in_thread(asked, connected(served.address("two")))
    assert b"a\n" == await in_thread(asked, old)
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.sendto(b"x", address)
        assert b"b" == await in_thread(client.recv, 10)
    served.reload(evolve(ECHO, mode="reply", reply="b"))
    assert b"b" == await in_thread(asked, connected(address))


@pytest_twisted.ensureDeferred
async def test_a_parent_that_leaves_hands_over_who_waits_and_closes_its_ports(shop: Open) -> None:
    served = shop()
    address = served.address()
    waiting = connected(address)
    await served.plane.leave()
    for worker in served.workers.values():
        worker.leave()
    assert b"a\n" == await in_thread(asked, waiting)
    with pytest.raises(ConnectionRefusedError):
        connected(address)


def test_what_another_worker_gets_after_a_reload_has_its_seat_with_the_listener_that_accepted_it(shop: Open) -> None:
    before, after = evolve(ECHO, max_streams_per_peer=1), evolve(ECHO, max_streams_per_peer=1, keep=3)
    made = shop(before)
    (accepted,) = made.plane.listeners
    made.reload(after)
    for generation in (0, -9):
        made.plane.seat(1, "10.0.0.1:5", generation, 0)
    (now,) = made.plane.listeners
    gates = accepted.terms.gate, now.terms.gate
    assert (2, ["max-streams-per-peer", None]) == (
        made.plane.seats.taken,
        [gate.refuses("10.0.0.1:6") for gate in gates],
    )
    made.plane.seating.lost(1)
    assert (0, None) == (made.plane.seats.taken, gates[0].refuses("10.0.0.1:6"))


@pytest_twisted.ensureDeferred
async def test_a_worker_that_begins_after_a_reload_serves_what_a_listener_still_in_force_accepted_before(
    shop: Open,
) -> None:
    other = evolve(ECHO, name="other")
    made = shop(other, ECHO)
    made.reload(ECHO, evolve(other, keep=3))
    made.begin(1, [ECHO, evolve(other, keep=3)])
    told = [made.plane.in_force((*place, "10.0.0.1:5", "", 1.0)) for place in ((0, 1), (0, 0), (-9, 1))]
    assert [(1, 0), (0, 0), (-9, 1)] == [said[:2] for said in told]  # the other has changed, and nobody knows the third
    generation, listener, peer, strike, _ = told[0]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = connected(listening.getsockname())
        made.workers[1].take(listening.accept()[0].detach(), generation, listener, peer, strike)
    assert b"a\n" == await in_thread(asked, client)


def test_a_parent_that_has_accepted_several_gives_way_before_more_and_one_that_has_accepted_few_does_not(
    shop: Open,
) -> None:
    made = shop()
    (listener,) = made.plane.listeners
    acceptor, lane = listener._acceptor, made.plane._lane
    assert isinstance(acceptor, SharedAcceptor)
    assert lane is not None
    gave: list[int] = []
    lane.give_way = lambda: gave.append(len(made.handed))
    with ExitStack() as connections:
        for many in (3, 4, 1, 2):
            for _ in range(many):
                connections.enter_context(socket.create_connection(made.address()))
            acceptor.ready(EPOLLIN)
    assert ([3 + 4], 10) == (gave, len(made.handed))
