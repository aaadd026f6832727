"""What peers can make the server hold, together: never more than ``memory_limit`` when somebody looks."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import certificate
from tests.clients import connected
from tests.integration.conftest import PATIENCE, Daemon, Start

LIMIT = 1 << 20

CONFIG = """
memory_limit = "{limit}"
[[listener]]
endpoint = "{endpoint}"
framing = "{framing}"
{keys}
[[admin]]
endpoint = "tcp:0:interface=127.0.0.1"
"""


def memory_of(daemon: Daemon, kind: str = "VmRSS") -> int:
    """Bytes of memory that the process has; ``VmSize``: of addresses."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(kind)).split()[1]) << 10


def begin(
    start: Start, folder: Path, keys: str, endpoint: str = "tcp:0", limit: int = LIMIT, framing: str = "line"
) -> Daemon:
    endpoint += ":interface=127.0.0.1"
    (folder / "x.toml").write_text(CONFIG.format(keys=keys, endpoint=endpoint, limit=limit, framing=framing))
    return start("--config", "x.toml")


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    """Closes the sockets that a test enters."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    ("framing", "head", "good_packet"), [("line", b"", b"good\n"), ("netstring", b"1048576:", b"4:good,")]
)
def test_packets_that_are_never_whole_end_the_streams_that_hold_most(
    start: Start, tmp_path: Path, opened: contextlib.ExitStack, framing: str, head: bytes, good_packet: bytes
) -> None:
    daemon = begin(start, tmp_path, "keep = 1", framing=framing)
    before = memory_of(daemon)
    clients = [opened.enter_context(daemon.connect()) for _ in range(64)]
    for client in clients:
        with contextlib.suppress(OSError):
            client.sendall(head + b"x" * ((1 << 20) - len(head)))
    good = opened.enter_context(daemon.connect())
    good.sendall(good_packet * 10 + good_packet[:3])
    daemon.await_stats(packets_total=10, streams_open=1, closed_limit_total=64)
    assert "open" == daemon.ask_json("streams")[0]["state"], "who holds little stays"
    assert memory_of(daemon) - before < LIMIT + (64 << 20)
    daemon.log.wait(r"memory_limit is 1048576 bytes: \d+ kept packets given up, \d+ streams ended")


@pytest.mark.parametrize("way", ["tls", "unix"])
def test_packets_that_are_never_whole_are_within_the_limit_over_tls_and_unix_too(
    start: Start, tmp_path: Path, opened: contextlib.ExitStack, way: str
) -> None:
    pem, path = tmp_path / "server.pem", tmp_path / "x.sock"
    pem.write_bytes(certificate())
    endpoint = f"unix:{path}" if way == "unix" else f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"
    config = CONFIG.format(keys="keep = 1", endpoint=endpoint, limit=2 * LIMIT, framing="line")
    (tmp_path / "x.toml").write_text(config)
    daemon = start("--config", "x.toml")
    line = daemon.log.wait(r"listening data \S+ (\S+)")[1]
    where: str | tuple[str, int] = str(path) if way == "unix" else ("127.0.0.1", int(line.rpartition(":")[2]))
    for _ in range(12):
        client = opened.enter_context(connected(where))
        if way == "tls":
            client = opened.enter_context(anyhow().wrap_socket(client))
        with contextlib.suppress(OSError):
            client.sendall(b"x" * (LIMIT // 2))
    daemon.await_stats(streams_total=12)
    end = time.monotonic() + PATIENCE
    while (stats := daemon.ask_json("stats"))["closed_limit_total"] < 8:
        assert stats["memory_bytes"] <= 2 * LIMIT
        assert time.monotonic() < end
    assert 12 == stats["closed_limit_total"] + stats["streams_open"]


def test_kept_packets_of_many_udp_peers_go_the_oldest_first(
    start: Start, tmp_path: Path, opened: contextlib.ExitStack
) -> None:
    daemon = begin(start, tmp_path, 'keep = 10\nudp = true\nudp_idle_timeout = "60s"')
    port = int(daemon.log.wait(r"listening data udp \S+:(\d+)")[1])
    sockets = [opened.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(100)]
    for number, each in enumerate(sockets, 1):
        for _ in range(10):
            each.sendto(b"x" * 3000, ("127.0.0.1", port))
        daemon.await_stats(streams_total=number, packets_total=10 * number)
    stats = daemon.ask_json("stats")
    assert 0 == stats["closed_limit_total"]
    assert stats["memory_bytes"] <= LIMIT
    assert stats["kept_given_up_total"] >= 1000 - LIMIT // 3000
    assert 0 == len(daemon.ask_json("packets 1"))
    assert 10 == len(daemon.ask_json("packets 100"))


def anyhow() -> ssl.SSLContext:
    """A TLS client that checks nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def unread(opened: contextlib.ExitStack, port: int, way: str) -> socket.socket:
    """A peer that never reads."""
    client = opened.enter_context(connected(("127.0.0.1", port), receive_buffer=4096))
    if way == "haproxy":
        client.sendall(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n")
    if way == "tls":
        client = opened.enter_context(anyhow().wrap_socket(client))
    client.setblocking(False)
    return client


@pytest.mark.parametrize("way", ["tcp", "haproxy", "tls"])
def test_replies_that_nobody_reads_are_within_the_limit_wherever_they_wait(
    start: Start, tmp_path: Path, opened: contextlib.ExitStack, way: str
) -> None:
    """The limit has room for those that the streams hold; Twisted and OpenSSL hold as many again and more."""
    pem = tmp_path / "server.pem"
    pem.write_bytes(certificate())
    endpoint = {"tcp": "tcp:0", "haproxy": "haproxy:tcp:0", "tls": f"ssl:0:privateKey={pem}:certKey={pem}"}[way]
    peers, limit = {"tcp": (80, LIMIT), "haproxy": (40, 40 * 80 << 10), "tls": (40, 40 * 180 << 10)}[way]
    daemon = begin(start, tmp_path, 'mode = "echo"', endpoint, limit)
    port = int(daemon.log.wait(r"listening data \S+ \S+:(\d+)")[1])
    clients = [unread(opened, port, way) for _ in range(peers)]
    before = memory_of(daemon)
    block = b"y" * 65535 + b"\n"
    end = time.monotonic() + PATIENCE
    while not (stats := daemon.ask_json("stats"))["closed_limit_total"]:
        assert time.monotonic() < end
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(block)
    assert stats["memory_bytes"] <= limit
    assert memory_of(daemon) - before < limit + (64 << 20)


@pytest.mark.one_process("whose memory is bounded is the one that receives")
def test_out_of_memory_ends_streams_in_a_line_a_second_that_does_not_blame_the_limit(
    start: Start, tmp_path: Path, opened: contextlib.ExitStack
) -> None:
    """memory_limit is far above what the system gives the process."""
    daemon = begin(start, tmp_path, "keep = 1", limit=1 << 30)
    most = memory_of(daemon, "VmSize") + (32 << 20)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_AS, (most, most))
    began = time.monotonic()
    for _ in range(64):
        with contextlib.suppress(OSError):
            opened.enter_context(daemon.connect()).sendall(b"x" * ((1 << 20) - 1))
    daemon.log.wait(r"out of memory at \w+\.py:\d+: socket \d+ could not be served")
    opened.close()
    with daemon.connect() as good:
        good.sendall(b"good\n" * 10)
    stats = daemon.await_stats(packets_total=10, streams_open=0)
    assert stats["closed_limit_total"] > 0
    assert 0 == stats["faults_total"]
    log = daemon.stop()
    assert log.count("out of memory") <= 2 + 2 * (time.monotonic() - began)
    assert "memory_limit" not in log
