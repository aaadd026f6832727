"""A worker's plane: real sockets, which this test accepts or binds in the place of the parent."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.addresses import peer_name
from ctrlserver.config import ListenerConfig
from ctrlserver.lane import lane as lane_module
from ctrlserver.lane.lane import Lane
from ctrlserver.linux.arrivals import charged_and_drops
from ctrlserver.net.listeners import CannotBind
from ctrlserver.stats.book import Book
from ctrlserver.workers.ports.gathering import TIMES
from ctrlserver.workers.ports.given import Given, GivenPlane
from tests.certificates import certificate
from tests.clients import connected
from tests.net.conftest import in_thread, reactor_now, read_to_end
from tests.runs import reached
from tests.servers import PATIENCE
from tests.workers.ports.conftest import Tls, asked

pytestmark = [
    pytest.mark.skipif(not Lane.supported(MemoryReactorClock()), reason="workers need a lane"),
    pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning"),  # as Twisted passes them
]

ECHO = ListenerConfig(name="one", endpoint="tcp:7", mode="echo", framing="line")
"""At a port that nobody but root may bind, and no worker does."""


class Worker:
    """A plane, and what the parent does for it: ``connect`` gives a client whose connection the plane has."""

    def __init__(self, *listeners: ListenerConfig, given: dict[str, Given] | None = None) -> None:
        self.book = Book(version="test", now=time.monotonic(), wall=time.time())
        self.plane = GivenPlane(listeners, self.book, reactor_now(), time.monotonic, given or {})
        self.plane.bind()

    def connect(
        self, listener: int = 0, strike: str = "", *, generation: int | None = None, family: int = socket.AF_INET
    ) -> socket.socket:
        where: Any = "" if family == socket.AF_UNIX else ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0)
        with socket.socket(family) as listening:
            listening.bind(where)
            listening.listen()
            client = socket.socket(family)
            client.settimeout(20)
            client.connect(listening.getsockname())
            sock, address = listening.accept()
        known = self.plane.generation if generation is None else generation
        self.plane.take(sock.detach(), known, listener, peer_name(address), strike)
        return client

    def figure(self, name: str) -> Any:
        return getattr(self.book.stats(time.monotonic()), name)

    def close(self) -> None:
        pytest_twisted.blockon(self.plane.stop_listening())
        self.plane.drain()
        self.plane.stop()


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    """Those that are in it are closed at the end."""
    up: list[Worker] = []
    yield up
    for each in up:
        each.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_handed_over_is_a_stream_as_any_other(workers: list[Worker], family: int) -> None:
    endpoint = "unix:/nowhere/x" if family == socket.AF_UNIX else "tcp:7"
    workers.append(worker := Worker(evolve(ECHO, endpoint=endpoint)))
    client = worker.connect(family=family)
    name = "unix" if family == socket.AF_UNIX else peer_name(client.getsockname())
    assert b"a\n" == await in_thread(asked, client)
    await reached(lambda: not worker.book.counters.open)
    (record,) = worker.book.streams()
    assert (name, 1, 2, "eof") == (record.peer, record.packets, record.bytes, record.reason)
    assert worker.plane.listeners[0].on_lane


@pytest.mark.parametrize("endpoint", ["haproxy:tcp:7", "haproxy:unix:/nowhere/x"])
@pytest_twisted.ensureDeferred
async def test_a_proxys_header_names_the_client_in_a_worker_too(workers: list[Worker], endpoint: str) -> None:
    workers.append(worker := Worker(evolve(ECHO, endpoint=endpoint, allow=("203.0.113.0/24",))))
    family = socket.AF_UNIX if "unix" in endpoint else socket.AF_INET
    for host, answer in ((b"203.0.113.7", b"a\n"), (b"198.51.100.7", b"")):
        line = b"PROXY TCP4 %s 198.51.100.1 56324 443\r\na\n" % host
        client = worker.connect(family=family)
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        assert answer == await in_thread(read_to_end, client)
    assert ["203.0.113.7:56324"] == [record.peer for record in worker.book.streams()]
    assert 1 == worker.figure("rejected_not_allowed_total")


@pytest_twisted.ensureDeferred
async def test_whom_the_parent_has_admitted_is_admitted(workers: list[Worker]) -> None:
    workers.append(worker := Worker(evolve(ECHO, allow=("203.0.113.0/24",), max_streams_per_peer=1)))
    worker.plane.seats.limit = 1
    with worker.connect() as one, worker.connect() as other:
        await reached(lambda: len(worker.book.counters.open) == 2)
        assert (2, 0) == (worker.plane.seats.taken, worker.figure("rejected_total"))
        await worker.plane.leave()
        assert b"a\n" == await in_thread(asked, worker.connect()), "it was on its way when the drain began"
        del one, other
    await reached(lambda: worker.plane.seats.taken == 0)


@pytest_twisted.ensureDeferred
async def test_a_connection_belongs_to_the_listeners_of_its_generation(workers: list[Worker]) -> None:
    workers.append(worker := Worker(ECHO, evolve(ECHO, name="two", mode="reply", reply="b")))
    early = worker.connect(0, generation=1)
    assert 0 == len(worker.book.counters.open), "it waits for listeners that are not here yet"
    worker.plane.prepare([evolve(ECHO, name="two", mode="reply", reply="c")]).put()
    assert b"c" == await in_thread(asked, early)
    assert b"c" == await in_thread(asked, worker.connect(0))
    assert b"a\n" == await in_thread(asked, worker.connect(0, generation=0))
    assert b"b" == await in_thread(asked, worker.connect(1, generation=0))


@pytest_twisted.ensureDeferred
async def test_a_worker_accepts_from_a_socket_of_its_own_and_goes_on_after_reloads(workers: list[Worker]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        given = {"one": Given(exact=False, stream=listening)}
        workers.append(worker := Worker(ECHO, given=given))
        assert b"a\n" == await in_thread(asked, connected(address))
        worker.plane.prepare([evolve(ECHO, mode="reply", reply="b")], {"one": Given(exact=False)}).put()
        assert b"b" == await in_thread(asked, connected(address))
        worker.plane.seats.draining = True
        assert b"" == await in_thread(read_to_end, connected(address))
        assert 1 == worker.figure("rejected_draining_total")


@pytest_twisted.ensureDeferred
async def test_datagrams_are_read_from_the_given_socket_and_by_the_next_worker_after_it(workers: list[Worker]) -> None:
    config = evolve(ECHO, udp=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound, socket.socket(type=socket.SOCK_DGRAM) as client:
        bound.bind(("127.0.0.1", 0))
        client.connect(bound.getsockname())
        client.settimeout(20)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        given = {"one": Given(datagrams=bound)}
        workers.append(first := Worker(evolve(config, receive_buffer=4096), given=given))
        for _ in range(1000):
            client.send(b"x" * 100)
        dropped = first.figure("dropped_total")
        await reached(lambda: first.figure("packets_total") + dropped == 1000)
        await first.plane.stop_listening()
        client.send(b"waits\n")
        given = {"one": Given(datagrams=bound, drops=charged_and_drops(bound)[1])}
        workers.append(second := Worker(config, given=given))
        await reached(lambda: second.figure("packets_total"))
        assert dropped > 0
        assert (1, 0) == (second.figure("packets_total"), second.figure("dropped_total"))
        read = 1000 - dropped
        answers = [await in_thread(client.recv, 200) for _ in range(read + 1)]
        assert b"waits\n" == answers[-1]


@pytest_twisted.ensureDeferred
async def test_what_was_dropped_before_the_worker_reads_is_counted(workers: list[Worker]) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as bound, socket.socket(type=socket.SOCK_DGRAM) as client:
        bound.bind(("127.0.0.1", 0))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(bound.getsockname())
        for _ in range(1000):
            client.send(b"x" * 100)
        workers.append(worker := Worker(evolve(ECHO, udp=True), given={"one": Given(datagrams=bound)}))
        await reached(lambda: worker.figure("packets_total") + worker.figure("dropped_total") == 1000)
        assert worker.figure("dropped_total") > 0


@pytest_twisted.ensureDeferred
async def test_a_reload_adds_datagrams_to_a_listener_that_had_none(workers: list[Worker]) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as bound, socket.socket(type=socket.SOCK_DGRAM) as client:
        bound.bind(("127.0.0.1", 0))
        workers.append(worker := Worker(ECHO))
        worker.plane.prepare([evolve(ECHO, udp=True)], {"one": Given(datagrams=bound)}).put()
        client.sendto(b"a", bound.getsockname())
        await reached(lambda: worker.figure("packets_total"))
        worker.plane.prepare([evolve(ECHO, udp=True, framing="fixed:10")], {"one": Given()}).put()
        client.sendto(b"a", bound.getsockname())
        await reached(lambda: worker.figure("packets_total") == 2)


@pytest_twisted.ensureDeferred
async def test_a_worker_carries_out_what_strikes_a_handshake(workers: list[Worker], tls: Tls) -> None:
    workers.append(worker := Worker(tls.config))
    assert b"a\n" == await in_thread(tls.asked, worker.connect())
    assert b"self-signed" in await in_thread(tls.asked, worker.connect(strike="3 self-signed"))
    hanging = in_thread(tls.asked, worker.connect(strike="4 handshake-hang"))
    await reached(lambda: len(worker.book.counters.open) == 1)
    worker.plane.order_over(3)
    assert not hanging.called
    worker.plane.order_over(4)
    assert b"a\n" == await hanging
    assert b"a\n" == await in_thread(tls.asked, worker.connect())
    assert [0, 1, 1, 0] == [record.injected for record in reversed(worker.book.streams())]


@pytest_twisted.ensureDeferred
async def test_a_reload_shows_another_certificate(workers: list[Worker], tls: Tls, tmp_path: Path) -> None:
    workers.append(worker := Worker(tls.config))
    assert b"a\n" == await in_thread(tls.asked, worker.connect())
    (tmp_path / "pem").write_bytes(certificate("elsewhere"))
    worker.plane.prepare([tls.config]).put()
    assert b"self-signed" in await in_thread(tls.asked, worker.connect())


def test_a_worker_whose_certificate_cannot_be_read_says_so(tls: Tls, tmp_path: Path) -> None:
    (tmp_path / "pem").unlink()
    with pytest.raises(CannotBind, match="cannot listen for one on ssl:7"):
        Worker(tls.config)


@pytest.mark.parametrize("which", [0, 1])
def test_a_rest_ends_with_a_question_or_a_connection_and_echoes_give_way(workers: list[Worker], which: int) -> None:
    workers.append(worker := Worker(ECHO))
    lane = worker.plane._lane
    assert lane is not None
    pairs = [socket.socketpair(), socket.socketpair()]
    worker.plane.gather(*(there.fileno() for _, there in pairs))
    began = time.monotonic()
    assert not lane.rest(0.001)
    assert time.monotonic() - began >= TIMES * 0.001
    assert TIMES * lane_module.RESTING_SECONDS == lane.resting
    pairs[which][0].send(b"?")
    assert lane.rest(PATIENCE)
    for each in [*pairs[0], *pairs[1]]:
        each.close()
    assert lane.rest(PATIENCE)
    assert lane.pause > lane_module.PAUSE_SECONDS
    assert os.sched_yield is lane.give_way
    assert 0 < lane.repeating < lane_module.TURN_SECONDS


def test_the_parent_is_told_of_connections_of_a_listener_that_is_unknown_here(workers: list[Worker]) -> None:
    workers.append(worker := Worker(ECHO))
    with worker.connect(generation=-9) as closed:
        assert b"" == closed.recv(1)
    worker.plane.not_taken(-9, 0, "10.0.0.1:5")
    told = worker.plane.released(2)
    assert (2, 0, [""], "10.0.0.1:5") == (told.taken, told.seats, [*told.over], told.over[""][-1])
    assert 2 == len(told.over[""])
