"""Orders of connections at listeners of every kind: ``refuse``, ``hang`` and ``close-at-once`` on real sockets."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.logger import capturedLogs

from ctrlserver.config import ListenerConfig
from ctrlserver.errors import InjectionError
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.net.injected.entrance import prepared
from ctrlserver.net.injected.orders import Order
from tests.clients import connected
from tests.integration.conftest import needs, run
from tests.net.conftest import PATIENCE, in_thread, read_to_end
from tests.net.test_plane_changes import LOOPBACK, Served
from tests.runs import reached

HEADER = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n"


class Entered(Served):
    """A listener of one kind, in mode echo."""

    def __init__(self, kind: str, folder: Path, **keys: Any) -> None:
        self.kind = kind
        self.path = str(folder / "x.sock")
        endpoint = {"tcp": LOOPBACK, "unix": f"unix:{self.path}:mode=640", "haproxy": f"haproxy:{LOOPBACK}"}[kind]
        self.config = ListenerConfig(name="one", endpoint=endpoint, framing="line", mode="echo", **keys)
        super().__init__(self.config)

    @property
    def address(self) -> Any:
        return self.path if self.kind == "unix" else ("127.0.0.1", self.number("one"))

    def order(self, spec: str, **options: Any) -> Order:
        return self.plane.inject("one", spec, **options)

    def client(self) -> socket.socket:
        """Connected; behind a proxy, with its header."""
        client = connected(self.address)
        if self.kind == "haproxy":
            client.sendall(HEADER)
        return client

    def error(self, address: Any = None) -> str:
        """What a connect meets: the name of its error, or nothing."""
        with socket.socket(socket.AF_UNIX if self.kind == "unix" else socket.AF_INET) as client:
            return errno.errorcode.get(client.connect_ex(address or self.address), "")

    async def echoes(self, client: socket.socket) -> bool:
        """Whether the server serves ``client``, which is closed after that."""
        client.sendall(b"a\n")
        got = await in_thread(client.recv, 10)
        client.close()
        return got == b"a\n"

    async def total(self, number: int) -> None:
        await reached(lambda: self.figure("streams_total") == number)

    async def packets(self, order: Order, number: int) -> None:
        """Until the order was told of so many connections."""
        await reached(lambda: order.course.packets == number)

    def figure(self, name: str) -> int:
        return int(getattr(self.book.stats(0.0), name))

    def stand_in(self) -> bool:
        """Whether anything stands between the acceptor and the listening socket."""
        return not isinstance(self.plane.listeners[0].port.socket, socket.socket)  # type: ignore[union-attr]


@pytest.fixture(params=["tcp", "unix", "haproxy"])
def entered(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Entered]:
    served = Entered(request.param, tmp_path)
    yield served
    served.close()


@pytest.fixture
def tcp(tmp_path: Path) -> Iterator[Entered]:
    served = Entered("tcp", tmp_path)
    yield served
    served.close()


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[Entered]:
    served = Entered("unix", tmp_path)
    yield served
    served.close()


@pytest.fixture
def allowing(tmp_path: Path) -> Iterator[Entered]:
    """A listener for other networks than ours."""
    served = Entered("tcp", tmp_path, allow=("10.0.0.0/8",))
    yield served
    served.close()


@pytest_twisted.ensureDeferred
async def test_a_port_refuses_as_long_as_the_order_holds_and_is_the_same_port_again(entered: Entered) -> None:
    address = entered.address
    assert not entered.stand_in()
    for _ in range(3):
        order = entered.order("refuse")
        assert "ECONNREFUSED" == entered.error()
        assert address == entered.address
        entered.plane.end_orders(order.number)
        assert address == entered.address
        assert await entered.echoes(entered.client())
        assert not entered.stand_in()
    assert 0 == order.injection.hits.total


@pytest_twisted.ensureDeferred
async def test_a_port_listens_again_when_the_time_of_the_order_is_over(entered: Entered) -> None:
    entered.order("refuse", seconds=0.02)
    assert "ECONNREFUSED" == entered.error()
    await reached(lambda: not entered.plane.orders())
    assert await entered.echoes(entered.client())


@pytest_twisted.ensureDeferred
async def test_so_many_are_let_through_and_the_next_is_refused(entered: Entered) -> None:
    order = entered.order("3*ok->refuse")
    for number in (1, 2, 3):
        assert "" == entered.error()
        await entered.packets(order, number)
    assert "ECONNREFUSED" == entered.error()
    entered.plane.end_orders()
    assert await entered.echoes(entered.client())
    assert 0 == order.injection.hits.total


@pytest_twisted.ensureDeferred
async def test_open_streams_and_connections_from_before_the_order_go_on(entered: Entered) -> None:
    first, second = entered.client(), entered.client()
    entered.order("refuse", everybody=True)
    assert "ECONNREFUSED" == entered.error()
    assert await entered.echoes(first)
    assert await entered.echoes(second)


@pytest_twisted.ensureDeferred
async def test_connections_that_hang_wait_in_the_kernel_and_are_served_when_it_ends(entered: Entered) -> None:
    before = entered.client()
    order = entered.order("hang")
    waiting = [entered.client() for _ in range(3)]
    assert await entered.echoes(before)
    assert 1 == entered.figure("streams_total")
    entered.plane.end_orders(order.number)
    for client in waiting:
        assert await entered.echoes(client)
    assert 0 == order.injection.hits.total


@needs("ss")
@pytest_twisted.ensureDeferred
async def test_the_kernel_shows_who_waits_and_no_listening_socket_where_all_are_refused(tcp: Entered) -> None:
    asked = ("ss", "-Hltn", "sport", "=", f":{tcp.number('one')}")
    tcp.order("2*ok->hang")
    clients = [tcp.client() for _ in range(5)]
    await tcp.total(2)
    state, received, *_ = run(*asked).stdout.decode().split()
    assert ("LISTEN", "3") == (state, received)
    tcp.order("refuse")
    assert b"" == run(*asked).stdout
    for client in clients:
        client.close()


@pytest_twisted.ensureDeferred
async def test_so_many_connections_are_closed_at_once_as_streams_that_an_injection_ended(entered: Entered) -> None:
    order = entered.order("2*close-at-once->off")
    for _ in range(2):
        client = connected(entered.address)
        assert b"" == await in_thread(client.recv, 10)
        client.close()
    assert await entered.echoes(entered.client())
    assert (2, 2, 3) == tuple(
        entered.figure(name) for name in ("injected_total", "closed_injected_total", "streams_total")
    )
    assert 2 == order.injection.hits.total
    assert [0, 1, 1] == [stream.injected for stream in entered.book.streams()]
    assert 0 == entered.figure("rejected_total")


@pytest_twisted.ensureDeferred
async def test_who_is_closed_at_once_sees_an_end_and_no_reset_whatever_it_has_sent(tcp: Entered) -> None:
    tcp.order("close-at-once")
    client = tcp.client()
    client.sendall(b"a" * 10_000)
    assert b"" == await in_thread(client.recv, 10)
    client.close()


@pytest_twisted.ensureDeferred
async def test_every_second_connection_is_closed(entered: Entered) -> None:
    order = entered.order("2nd*close-at-once")
    for _ in range(3):
        assert await entered.echoes(entered.client())
        assert b"" == await in_thread(read_to_end, connected(entered.address))
    assert (6, 3) == (order.course.packets, order.injection.hits.total)


@pytest_twisted.ensureDeferred
async def test_of_several_orders_the_first_that_strikes_has_the_connection(tcp: Entered) -> None:
    first, second = tcp.order("2nd*close-at-once"), tcp.order("2*close-at-once->off")
    for number in range(1, 5):
        tcp.client().close()
        await tcp.packets(first, number)
    assert await tcp.echoes(tcp.client())
    assert (5, 2) == (first.course.packets, first.injection.hits.total)
    assert (3, 2) == (second.course.packets, second.injection.hits.total)


@pytest_twisted.ensureDeferred
async def test_chance_strikes_the_same_connections_for_the_same_seed(tcp: Entered) -> None:
    struck = []
    for _ in range(2):
        order = tcp.order("50%*close-at-once", seed=7)
        hits = []
        for number in range(20):
            tcp.client().close()
            await tcp.packets(order, number + 1)
            hits.append(order.injection.hits.total)
        struck.append(hits)
        tcp.plane.end_orders()
    assert struck[0] == struck[1]
    assert 0 < struck[0][-1] < 20


@pytest_twisted.ensureDeferred
async def test_an_order_of_some_networks_leaves_the_others(tcp: Entered) -> None:
    order = tcp.order("close-at-once", networks=[ip_network("127.0.0.2/32")])
    for source, expected in (("127.0.0.1", b"a\n"), ("127.0.0.2", b"")):
        with socket.create_connection(tcp.address, source_address=(source, 0)) as client:
            if expected:
                client.sendall(expected)
            assert expected == await in_thread(client.recv, 10)
    assert (1, 1) == (order.course.packets, order.injection.hits.total)


@pytest.mark.parametrize("spec", ["refuse", "3*ok->hang"])
def test_what_strikes_before_the_peer_is_known_takes_no_networks(tcp: Entered, spec: str) -> None:
    with pytest.raises(InjectionError, match="strikes before anybody knows the peer: expected no peer=") as refused:
        tcp.order(spec, networks=[ip_network("127.0.0.2/32")])
    assert 409 == refused.value.code
    assert [] == tcp.plane.orders()


@pytest_twisted.ensureDeferred
async def test_connections_that_the_listener_rejects_are_not_counted_as_struck(allowing: Entered) -> None:
    order = allowing.order("1*close-at-once->off")
    client = allowing.client()
    assert b"" == await in_thread(read_to_end, client)
    assert (1, 0) == (allowing.figure("rejected_not_allowed_total"), order.injection.hits.total)


@pytest_twisted.ensureDeferred
async def test_a_reload_leaves_refused_what_is_refused(entered: Entered) -> None:
    address = entered.address
    order = entered.order("2*ok->refuse")
    for number in (1, 2):
        entered.client().close()
        await entered.packets(order, number)
    for keep in (1, 2):
        await entered.change(evolve(entered.config, keep=keep))
        assert "ECONNREFUSED" == entered.error()
    entered.plane.end_orders()
    assert address == entered.address
    assert await entered.echoes(entered.client())
    assert not entered.stand_in()


@pytest_twisted.ensureDeferred
async def test_the_time_of_an_order_goes_on_over_reloads(entered: Entered) -> None:
    order = entered.order("refuse", seconds=PATIENCE)
    await entered.change(evolve(entered.config, keep=1))
    assert "ECONNREFUSED" == entered.error()
    entered.plane._ordering._timers[order.number].reset(0)
    await reached(lambda: not entered.plane.orders())
    assert await entered.echoes(entered.client())


@pytest_twisted.ensureDeferred
async def test_a_reload_leaves_hanging_what_hangs(entered: Entered) -> None:
    entered.order("hang")
    client = entered.client()
    await entered.change(evolve(entered.config, keep=1))
    second = entered.client()
    assert 0 == entered.figure("streams_total")
    entered.plane.end_orders()
    assert await entered.echoes(client)
    assert await entered.echoes(second)


@pytest_twisted.ensureDeferred
async def test_a_port_that_another_listener_goes_on_with_listens_by_the_orders_of_that(tcp: Entered) -> None:
    tcp.order("refuse")
    await tcp.change(evolve(tcp.config, name="two"))
    with tcp.connect("two") as client:
        client.sendall(b"a\n")
        assert b"a\n" == await in_thread(client.recv, 10)


@pytest_twisted.ensureDeferred
async def test_a_udp_port_beside_goes_on_while_connections_are_refused(tcp: Entered) -> None:
    await tcp.change(evolve(tcp.config, udp=True))
    tcp.order("refuse")
    assert "ECONNREFUSED" == tcp.error()
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.sendto(b"a\n", tcp.address)
        assert b"a\n" == await in_thread(client.recv, 10)
    tcp.plane.end_orders()
    assert await tcp.echoes(tcp.client())


@pytest.mark.parametrize("spec", ["refuse", "hang"])
@pytest_twisted.ensureDeferred
async def test_a_server_ends_while_it_refuses_or_hangs(entered: Entered, spec: str) -> None:
    address = entered.address
    entered.order(spec)
    client = connected(address) if spec == "hang" else None
    await entered.plane.leave()
    assert entered.error(address) in ("ECONNREFUSED", "ENOENT")
    assert not os.path.exists(entered.path)
    entered.plane.end_orders()
    if client is not None:
        assert b"" == await in_thread(read_to_end, client)
    assert 0 == entered.figure("streams_total")


@pytest_twisted.ensureDeferred
async def test_the_file_of_a_unix_socket_stays_with_its_permissions(unix: Entered) -> None:
    for spec in ("refuse", "hang", "close-at-once"):
        unix.order(spec)
        assert 0o640 == stat.S_IMODE(os.stat(unix.path).st_mode)
        unix.plane.end_orders()
    assert unix.path == unix.plane.records()[0].address
    assert await unix.echoes(unix.client())


@pytest_twisted.ensureDeferred
async def test_a_port_that_cannot_refuse_accepts_nobody_says_so_once_and_listens_when_the_order_ends(
    tcp: Entered, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def fails(*_: object) -> socket.socket:
        tries.append(1)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("ctrlserver.net.injected.entrance.withdraw", fails)
    with capturedLogs() as lines:
        tcp.order("refuse")
        client = tcp.client()
        await reached(lambda: len(tries) >= 3)
    stuck = [line for line in lines if line.get("event") == "port-stuck"]
    assert [("one", "refuse connections", "Too many open files")] == [
        (line["listener"], line["do"], line["error"]) for line in stuck
    ]
    assert 0 == tcp.figure("streams_total")
    tcp.plane.end_orders()
    assert await tcp.echoes(client)


def test_a_port_that_is_not_twisteds_own_is_refused_orders_of_connections() -> None:
    listener = ListenerConfig(name="one", endpoint="onion:80")
    with pytest.raises(InjectionError, match='listener "one" has an endpoint "onion"') as refused:
        prepared(listener, parse_spec("hang"))
    assert 409 == refused.value.code
    assert {} == prepared(listener, parse_spec("3*reset->off"))


def test_refuse_needs_the_folder_of_a_unix_socket(unix: Entered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctrlserver.net.injected.entrance.may_withdraw", lambda _: False)
    with pytest.raises(InjectionError, match='listener "one" may not write in its folder') as refused:
        unix.order("3*ok->refuse")
    assert 409 == refused.value.code
    unix.order("hang")
