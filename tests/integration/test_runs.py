"""A run is a test, not a connection: by every transport, with what else connects to a server that is always up."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integration.conftest import PATIENCE, Daemon, Start

GAP_SECONDS = 0.25
HEADER = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"

needs_tls = pytest.mark.skipif(find_spec("OpenSSL") is None, reason="pyOpenSSL is not installed: ctrlserver[tls]")
TRANSPORTS = ["tcp", "unix", "proxied", pytest.param("tls", marks=needs_tls)]


def serve(start: Start, folder: Path, endpoint: str, keys: str = "", **options: int) -> Daemon:
    (folder / "x.toml").write_text(
        f'run_gap = {GAP_SECONDS}\n[[listener]]\nendpoint = "{endpoint}"\nframing = "fixed:10"\n{keys}'
        '[[admin]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
    )
    return start("--config", "x.toml", **options)


@pytest.fixture
def daemon(start: Start, tmp_path: Path, transport: str, request: pytest.FixtureRequest) -> Daemon:
    """A server with one listener, by the transport that the test names."""
    if transport == "tls":
        endpoint = f"ssl:0:privateKey={request.getfixturevalue('certificate')}:interface=127.0.0.1"
    else:
        endpoint = {
            "tcp": "tcp:0:interface=127.0.0.1",
            "unix": f"unix:{tmp_path}/data.sock",
            "proxied": "haproxy:tcp:0:interface=127.0.0.1",
        }[transport]
    return serve(start, tmp_path, endpoint)


def connect(daemon: Daemon, transport: str) -> socket.socket:
    """A connection that may send packets at once."""
    client = daemon.connect()
    if transport == "proxied":
        client.sendall(HEADER)
    if transport == "tls":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(client)
    return client


def send(daemon: Daemon, transport: str, packets: int) -> None:
    """A whole test, counted by the server when this returns."""
    before = daemon.ask_json("stats")["packets_total"]
    with connect(daemon, transport) as client:
        client.sendall(b"x" * 10 * packets)
    daemon.await_stats(packets_total=before + packets)


@contextmanager
def repeating(check: Callable[[], None]) -> Iterator[None]:
    """Repeat ``check`` a few times in a gap, before the block and to its end."""
    once, over = threading.Event(), threading.Event()

    def run() -> None:
        while not over.wait(GAP_SECONDS / 5):
            check()
            once.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert once.wait(PATIENCE)
        yield
    finally:
        over.set()
        thread.join(PATIENCE)


def packets_of_runs(daemon: Daemon) -> list[int]:
    return [run["packets"] for run in reversed(daemon.ask_json("runs"))]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_health_checks_and_kept_connections_neither_begin_a_run_nor_keep_one_open(
    daemon: Daemon, transport: str
) -> None:
    def check() -> None:
        daemon.connect().close()
        with daemon.connect() if transport == "proxied" else connect(daemon, transport) as client:
            if transport == "proxied":
                client.sendall(LOCAL)

    with connect(daemon, transport), repeating(check):
        for run in (1, 2):
            send(daemon, transport, 100 * run)
            daemon.log.wait(rf"run {run} ended: .* number of packets {100 * run},")
    assert [100, 200] == packets_of_runs(daemon)


def test_tests_by_udp_are_runs_of_their_own_with_a_gap_after_their_peers_have_fallen_silent(
    start: Start, tmp_path: Path
) -> None:
    daemon = serve(start, tmp_path, "udp:0:interface=127.0.0.1", 'udp_idle_timeout = "100ms"\n', listeners=0)
    port = int(daemon.log.wait(r"listening data udp 127\.0\.0\.1:(\d+)$")[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for run in (1, 2):
            client.sendto(b"x" * run, ("127.0.0.1", port))
            daemon.log.wait(rf"run {run} ended: .* number of packets 1,")
    assert [1, 1] == packets_of_runs(daemon)
