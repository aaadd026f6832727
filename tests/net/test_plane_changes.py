"""A data plane goes to other listeners while its streams are open: real sockets on loopback."""

from __future__ import annotations

import shutil
import socket
import ssl
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from attrs import evolve

from ctrlserver.config import ListenerConfig
from ctrlserver.net.listeners import CannotBind
from ctrlserver.net.plane import DataPlane
from ctrlserver.stats.book import Book
from ctrlserver.stats.records import ListenerRecord
from tests.certificates import certificate
from tests.net.conftest import PATIENCE, in_thread, read_to_end
from tests.ports import free_port
from tests.runs import reached

LOOPBACK = "tcp:0:interface=127.0.0.1"
ONE = ListenerConfig(name="one", endpoint=LOOPBACK, framing="line")


class Served:
    """A plane that can be changed."""

    def __init__(self, *configs: ListenerConfig) -> None:
        from twisted.internet import reactor

        self.book = Book(version="test", now=time.monotonic(), wall=time.time())
        self.plane = DataPlane(configs, self.book, cast(Any, reactor), time.monotonic)
        self.plane.bind()

    def change(self, *configs: ListenerConfig) -> Any:
        return self.plane.prepare(configs).put()

    def number(self, name: str) -> int:
        (port,) = [each.port for each in self.plane.listeners if each.terms.origin.listener == name]
        assert port is not None
        return int(cast(Any, port.getHost()).port)

    def connect(self, name: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.number(name)), PATIENCE)

    async def streams(self, number: int) -> None:
        await reached(lambda: len(list(self.plane.streams())) == number)

    def close(self) -> None:
        pytest_twisted.blockon(self.plane.stop_listening())
        self.plane.drain()
        self.plane.stop()

    @property
    def records(self) -> Sequence[tuple[str, str, str, int]]:
        """Of each stream, oldest first: listener, mode, state, packets."""
        return [(each.listener, each.mode, each.state, each.packets) for each in reversed(self.book.streams())]


@pytest.fixture
def up() -> Iterator[list[Served]]:
    served: list[Served] = []
    yield served
    for each in served:
        each.close()


def begun(up: list[Served], *configs: ListenerConfig) -> Served:
    up.append(Served(*configs))
    return up[-1]


@pytest_twisted.ensureDeferred
async def test_a_changed_listener_keeps_its_port_and_open_streams_their_terms(up: list[Served]) -> None:
    served = begun(up, ONE)
    number, old = served.number("one"), served.connect("one")
    await served.streams(1)
    served.change(evolve(ONE, mode="echo"))
    assert number == served.number("one")
    with served.connect("one") as new:
        new.sendall(b"new\n")
        assert b"new\n" == await in_thread(new.recv, 100)
    old.sendall(b"a\nb\n")
    old.shutdown(socket.SHUT_WR)
    assert b"" == await in_thread(read_to_end, old)
    await served.streams(0)
    assert [("one", "sink", "closed", 2), ("one", "echo", "closed", 1)] == served.records
    served.plane.sweep()
    assert [] == served.plane.retired


@pytest_twisted.ensureDeferred
async def test_a_listener_that_stays_is_the_same_object_and_a_removed_one_refuses(up: list[Served]) -> None:
    two = evolve(ONE, name="two")
    served = begun(up, ONE, two)
    kept, gone = served.plane.listeners[0], ("127.0.0.1", served.number("two"))
    with served.connect("two") as old:
        await served.streams(1)
        closed = served.change(ONE)
        assert kept is served.plane.listeners[0]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(gone, PATIENCE)  # at once, before the port is closed
        await closed
        old.sendall(b"a\n")
        await reached(lambda: served.records == [("two", "sink", "open", 1)])
        assert served.plane.kick(1)


@pytest_twisted.ensureDeferred
async def test_two_listeners_exchange_their_ports_without_binding_anew(up: list[Served]) -> None:
    one = evolve(ONE, endpoint=f"tcp:{free_port()}:interface=127.0.0.1")
    two = evolve(ONE, name="two", mode="echo", endpoint=f"tcp:{free_port()}:interface=127.0.0.1")
    served = begun(up, one, two)
    ports = [each.port for each in served.plane.listeners]
    served.change(evolve(one, endpoint=two.endpoint), evolve(two, endpoint=one.endpoint))
    assert ports == [each.port for each in reversed(served.plane.listeners)]
    with served.connect("two") as client:
        client.sendall(b"a\n")
        assert b"a\n" == await in_thread(client.recv, 100)


@pytest_twisted.ensureDeferred
async def test_connections_that_wait_to_be_accepted_are_not_lost_by_a_change(up: list[Served]) -> None:
    served = begun(up, ONE)
    waiting = [served.connect("one") for _ in range(20)]  # the reactor has had no turn since
    for mode in ("echo", "sink", "echo"):
        served.change(evolve(ONE, mode=mode))
    for client in waiting:
        client.sendall(b"a\n")
        assert b"a\n" == await in_thread(client.recv, 100)
        client.close()


@pytest_twisted.ensureDeferred
async def test_connections_that_wait_at_a_listener_that_goes_are_streams_yet(up: list[Served]) -> None:
    two = evolve(ONE, name="two", mode="echo")
    served = begun(up, ONE, two)
    waiting = [served.connect("two") for _ in range(20)]
    served.change(ONE)
    for client in waiting:
        client.sendall(b"a\n")
        assert b"a\n" == await in_thread(client.recv, 100)
        client.close()


@pytest.mark.parametrize("then", [ListenerConfig(name="late", endpoint=LOOPBACK), evolve(ONE, udp=True, mode="echo")])
@pytest_twisted.ensureDeferred
async def test_a_port_that_cannot_be_bound_leaves_all_as_it_was(up: list[Served], then: ListenerConfig) -> None:
    served = begun(up, ONE)
    before, added = served.plane.listeners, len(served.book.counters.drops)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = ListenerConfig(name="busy", endpoint=f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1")
        with pytest.raises(CannotBind, match=r"^cannot listen for busy on .*: address already in use$"):
            served.change(then, busy)
    assert before is served.plane.listeners
    assert added == len(served.book.counters.drops)
    with served.connect("one") as client:
        client.sendall(b"a\n")
        await reached(lambda: served.records == [("one", "sink", "open", 1)])


@pytest_twisted.ensureDeferred
async def test_udp_peers_go_on_as_they_were_counted_and_answered_beside_new_ones(up: list[Served]) -> None:
    udp = evolve(ONE, udp=True, mode="echo", keep=3)
    served = begun(up, udp)
    old, new = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with old, new:
        for client in (old, new):
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", served.number("one")))
        old.send(b"a")
        assert b"a" == await in_thread(old.recv, 100)
        served.change(evolve(udp, mode="sink", keep=0))
        new.send(b"n")
        old.send(b"b")
        assert b"b" == await in_thread(old.recv, 100)
        await reached(lambda: len(served.records) == 2)
        assert [("one", "echo", "open", 2), ("one", "sink", "open", 1)] == served.records
        kept = served.book.counters.open[1].kept
        assert kept is not None
        assert 2 == len(kept)
        served.change(evolve(udp, udp=False))
        assert ["drain", "drain"] == [record.reason for record in served.book.streams()]
    assert [] == served.book.counters.drops


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted's own call
@pytest_twisted.ensureDeferred
async def test_certificates_are_read_anew_and_open_streams_keep_theirs(up: list[Served], tmp_path: Path) -> None:
    path = tmp_path / "tls.pem"
    path.write_bytes(certificate())
    tls = evolve(ONE, endpoint=f"ssl:0:interface=127.0.0.1:privateKey={path}")
    served = begun(up, tls)

    def shaken() -> ssl.SSLSocket:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(served.connect("one"))

    with await in_thread(shaken) as old:
        path.write_bytes(certificate())
        for _ in range(2):
            served.change(tls)
        with await in_thread(shaken) as new:
            assert path.read_text().endswith(ssl.DER_cert_to_PEM_cert(new.getpeercert(True) or b""))
            assert new.getpeercert(True) != old.getpeercert(True)
            for client in (old, new):
                client.sendall(b"a\n")
            await reached(lambda: served.records == [("one", "sink", "open", 1)] * 2)


@pytest_twisted.ensureDeferred
async def test_the_record_of_a_listener_has_its_addresses_and_the_counts_of_all_its_streams(up: list[Served]) -> None:
    udp = ListenerConfig(name="datagrams", endpoint="udp:0:interface=127.0.0.1")
    served = begun(up, evolve(ONE, udp=True), udp)
    port = served.plane.listeners[1].datagrams
    assert port is not None
    assert port.port is not None
    with served.connect("one") as old, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        old.sendall(b"a\nb\n")
        client.sendto(b"xyz", ("127.0.0.1", int(cast(Any, port.port.getHost()).port)))
        await reached(lambda: sum(each.packets for each in served.book.streams()) == 3)
        served.plane.kick(1)
        served.change(evolve(ONE, udp=True, mode="echo"), udp)
        with served.connect("one"):
            await reached(lambda: len(served.book.counters.open) == 2)
            one, datagrams = served.plane.records()
    number = served.number("one")
    assert ListenerRecord(
        name="one", endpoint=LOOPBACK, address=f"127.0.0.1:{number}", udp_address=f"127.0.0.1:{number}", framing="line",
        mode="echo", streams_open=1, streams_total=2, packets_total=2, bytes_total=4, draining=False,
    ) == one  # fmt: skip
    assert ("datagram", datagrams.address) == (datagrams.framing, datagrams.udp_address)
    assert (1, 1, 3) == (datagrams.streams_open, datagrams.packets_total, datagrams.bytes_total)
    served.plane.leave()
    closed = [(each.draining, each.address != "", each.framing) for each in served.plane.records()]
    assert [(True, False, "line"), (True, True, "datagram")] == closed


@pytest_twisted.ensureDeferred
async def test_udp_may_come_beside_a_port_that_stays(up: list[Served]) -> None:
    served = begun(up, ONE)
    served.change(evolve(ONE, udp=True))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", served.number("one")))
        await reached(lambda: served.records == [("one", "sink", "open", 1)])


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_gets_its_new_permissions_and_stays(up: list[Served], tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    unix = evolve(ONE, endpoint=f"unix:{path}:mode=600")
    served = begun(up, unix)
    inode = path.stat().st_ino
    served.change(evolve(unix, endpoint=f"unix:{path}:mode=660"))
    assert (inode, 0o660) == (path.stat().st_ino, stat.S_IMODE(path.stat().st_mode))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        await served.streams(1)
    await served.change(ONE)
    assert not path.exists()


@pytest_twisted.ensureDeferred
async def test_a_port_that_gets_a_proxy_before_it_asks_for_headers_from_then_on(up: list[Served]) -> None:
    endpoint = f"tcp:{free_port()}:interface=127.0.0.1"
    served = begun(up, evolve(ONE, endpoint=endpoint))
    with served.connect("one") as plain:
        await served.streams(1)
        served.change(evolve(ONE, endpoint=f"haproxy:{endpoint}"))
        with served.connect("one") as proxied:
            proxied.sendall(b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\na\n")
            await reached(lambda: [each.peer for each in served.book.streams()][:1] == ["203.0.113.7:56324"])
        served.change(evolve(ONE, endpoint=endpoint))
        with served.connect("one") as again:
            again.sendall(b"a\n")
            await reached(lambda: len(served.records) == 3 and served.records[2][3] == 1)
        plain.sendall(b"a\n")
        await reached(lambda: served.records[0] == ("one", "sink", "open", 1))


@pytest.mark.parametrize("proxy", ["", "haproxy:"])
@pytest.mark.parametrize("gone", [("x.sock",), ("x.sock", "x.sock.lock")])
@pytest_twisted.ensureDeferred
async def test_a_unix_port_whose_file_is_gone_closes_and_its_path_is_free_again(
    up: list[Served], tmp_path: Path, proxy: str, gone: Sequence[str]
) -> None:
    unix = evolve(ONE, endpoint=f"{proxy}unix:{tmp_path}/x.sock")
    served = begun(up, unix)
    listening = cast(Any, served.plane.listeners[0].port).socket
    for name in gone:
        (tmp_path / name).unlink()
    closed = await served.change()
    assert [True, -1, []] == [closed[0][0], listening.fileno(), list(tmp_path.iterdir())]
    served.change(unix)
    assert (tmp_path / "x.sock").exists()


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_that_cannot_have_its_file_again_is_one_line_and_all_is_as_it_was(
    up: list[Served], tmp_path: Path
) -> None:
    path = tmp_path / "folder" / "x.sock"
    path.parent.mkdir()
    unix = evolve(ONE, name="unix", endpoint=f"unix:{path}")
    served = begun(up, ONE, unix)
    before = served.plane.listeners
    shutil.rmtree(path.parent)
    with pytest.raises(CannotBind, match=rf"^cannot listen for unix on unix:{path}: no such file or directory$"):
        served.change(evolve(ONE, mode="echo"), unix)
    assert before is served.plane.listeners
    path.parent.mkdir()
    served.change(evolve(ONE, mode="echo"), unix)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        await served.streams(1)


@pytest.mark.filterwarnings("ignore:X509:DeprecationWarning")  # Twisted's own call
@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted's own call
@pytest_twisted.ensureDeferred
async def test_a_port_goes_from_plain_to_a_folder_of_certificates_and_back_without_binding_anew(
    up: list[Served], tmp_path: Path
) -> None:
    (tmp_path / "localhost.pem").write_bytes(certificate("localhost"))
    plain = evolve(ONE, endpoint=f"tcp:{free_port()}:interface=127.0.0.1")
    served = begun(up, plain)
    listening = cast(Any, served.plane.listeners[0].port).socket

    def shaken() -> ssl.SSLSocket:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(served.connect("one"), server_hostname="localhost")

    served.change(evolve(plain, endpoint=plain.endpoint.replace("tcp:", f"tls:{tmp_path}:")))
    with await in_thread(shaken) as client:
        client.sendall(b"a\n")
        await reached(lambda: served.records == [("one", "sink", "open", 1)])
    served.change(plain)
    with served.connect("one") as again:
        again.sendall(b"a\n")
        await reached(lambda: len(served.records) == 2 and served.records[1] == ("one", "sink", "open", 1))
    assert listening is cast(Any, served.plane.listeners[0].port).socket
