"""Sockets that systemd made and passed on; here the test is systemd, and starts the server again and again."""

from __future__ import annotations

import re
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.clients import connected
from tests.integration.conftest import PATIENCE, Daemon, Start

#: Starts anew of the server under load. More of them take long, and show no more.
RESTARTS = 3

#: Passes on descriptors as systemd does: its first arguments are their numbers, joined by ",", and their names by ":".
PASS_ON = """
import os, sys
numbers = [os.dup(int(each)) for each in sys.argv.pop(1).split(",")]
names = sys.argv.pop(1)
for to, number in enumerate(numbers, 50):
    os.dup2(number, to)
for to in range(len(numbers)):
    os.dup2(50 + to, 3 + to)
os.closerange(3 + len(numbers), 100)
os.environ.update(LISTEN_FDS=str(len(numbers)), LISTEN_FDNAMES=names, LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
"""


class Systemd:
    """Holds the sockets of the units; ``start`` runs a server with them."""

    def __init__(self, start: Start) -> None:
        self.sockets: dict[str, socket.socket] = {}
        self._start = start

    def listen(self, name: str, path: Path | None = None) -> socket.socket:
        """A socket for streams, called ``name`` as by ``FileDescriptorName=``."""
        if path is None:
            made = socket.create_server(("127.0.0.1", 0), backlog=4096)
        else:
            made = socket.socket(socket.AF_UNIX)
            made.bind(str(path))
            path.chmod(0o600)
            made.listen(4096)
        self.sockets[name] = made
        return made

    def take_datagrams(self, name: str) -> socket.socket:
        """A socket for datagrams, as by ``ListenDatagram=``."""
        made = self.sockets[name] = socket.socket(type=socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", 0))
        return made

    def start(self, *arguments: str, **options: Any) -> Daemon:
        numbers = [each.fileno() for each in self.sockets.values()]
        launcher = (sys.executable, "-c", PASS_ON, ",".join(map(str, numbers)), ":".join(self.sockets))
        return self._start(*arguments, launcher=launcher, pass_fds=numbers, **options)


@pytest.fixture
def systemd(start: Start) -> Iterator[Systemd]:
    with ExitStack() as stack:
        end = Systemd(start)
        yield end
        for each in end.sockets.values():
            stack.enter_context(each)


def asked(to: socket.socket, line: bytes) -> bytes:
    """One line, and all that is said to it."""
    with connected(to.getsockname()) as client:
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65_536), b""))


def test_each_port_finds_its_socket_by_its_name(systemd: Systemd) -> None:
    admin, data, http = (systemd.listen(name) for name in ("admin", "data", "http"))
    flags = [word for name in systemd.sockets for word in (f"--{name}", f"systemd:domain=INET:name={name}")]
    daemon = systemd.start(*flags)
    assert {name: sock.getsockname()[1] for name, sock in systemd.sockets.items()} == daemon.ports
    assert data.getsockname()[1] == daemon.ports["data"]
    assert b"OK pong\r\n" == asked(admin, b"ping\n")
    assert asked(http, b"GET /livez HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nlive\n")


def test_a_unix_socket_keeps_its_file_its_permissions_and_its_queue(systemd: Systemd, tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("admin", "data")}
    sockets = {name: systemd.listen(name, path) for name, path in paths.items()}
    flags = [word for name in paths for word in (f"--{name}", f"systemd:domain=UNIX:name={name}")]
    for _ in range(2):
        daemon = systemd.start("--mode=echo", *flags)
        assert {name: str(path) for name, path in paths.items()} == daemon.paths
        assert [0o600, 0o600] == [stat.S_IMODE(path.stat().st_mode) for path in paths.values()]
        assert b"x" * 1024 == asked(sockets["data"], b"x" * 1024)
        assert b"OK pong\r\n" == asked(sockets["admin"], b"ping\n")
        assert "others can" not in daemon.stop()
    with connected(paths["admin"]) as waiting:
        waiting.sendall(b"ping\n")
        systemd.start("--mode=echo", *flags)
        assert b"OK pong\r\n" == waiting.recv(100)


def echoed(to: socket.socket) -> bytes:
    """What comes back of a datagram from a socket of its own."""
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.sendto(b"x\n", to.getsockname())
        return client.recv(100)


@contextmanager
def knocking(knocks: Callable[[], bytes]) -> Iterator[list[int]]:
    """Each time one packet and its echo, by four at once; the number of those that were served."""
    served, over = [0], threading.Event()
    failed: list[Exception] = []

    def knock() -> None:
        try:
            while not over.is_set():
                assert b"x\n" == knocks()
                served[0] += 1
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=knock) for _ in range(4)]
    for each in threads:
        each.start()
    try:
        yield served
    finally:
        over.set()
        for each in threads:
            each.join(PATIENCE)
    assert [] == failed


@pytest.mark.parametrize("datagrams", [False, True], ids=["connections", "datagrams"])
def test_a_server_that_is_started_anew_under_load_refuses_and_loses_nothing(
    systemd: Systemd, *, datagrams: bool
) -> None:
    data = systemd.take_datagrams("data") if datagrams else systemd.listen("data")
    admin = systemd.listen("admin")
    packets = 0
    with knocking(partial(echoed, data) if datagrams else partial(asked, data, b"x\n")) as served:
        for number in range(RESTARTS + 1):
            daemon = systemd.start(
                "--mode=echo", "--framing=line", "--data", "systemd:domain=INET:name=data",
                "--admin", "systemd:domain=INET:name=admin", listeners=0 if datagrams else 1,
            )  # fmt: skip
            before, patient_until = served[0], time.monotonic() + PATIENCE
            while served[0] < before + 20:
                assert time.monotonic() < patient_until
                assert b"OK pong\r\n" == asked(admin, b"ping\n")
            if number < RESTARTS:
                log = daemon.stop()
                packets += sum(map(int, re.findall(r"run \d+ ended: .*number of packets (\d+)", log)))
    stats = daemon.ask_json("stats")
    assert served[0] == packets + stats["packets_total"]
    assert (0, 0) == (stats["rejected_total"], stats["dropped_total"])
