"""A daemon and ctrlload stopped (SIGSTOP) for longer than their limits: nobody who was on time is blamed."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import BIN, PATIENCE, Start

#: Seconds of the limits, and of a pause.
LIMIT = 0.6
PAUSE = 1.0


def stopped(process: subprocess.Popen[Any], meanwhile: Callable[[], object]) -> None:
    """Stop a process and those that it has started, do something, and have them go on after a pause."""
    started = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGSTOP)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    for each in started:
        os.kill(int(each), signal.SIGSTOP)
    meanwhile()
    time.sleep(PAUSE)
    for each in (*started, str(process.pid)):
        os.kill(int(each), signal.SIGCONT)


def nothing() -> None:
    """Meanwhile."""


@contextmanager
def loading(target: str, *flags: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A ctrlload whose limits are shorter than a pause; it ends well."""
    limits = ("--stall-timeout", f"{LIMIT}s", "--connect-timeout", f"{LIMIT}s")
    command = [BIN / "ctrlload", "run", target, *limits, "-J", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
        document, errors = process.communicate(timeout=PATIENCE)
        assert (0, None) == (process.returncode, json.loads(document)["error"]), errors
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(PATIENCE)
        yield made


def accepted(listening: socket.socket) -> socket.socket:
    client, _ = listening.accept()
    client.settimeout(PATIENCE)
    return client


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def rest_read(client: socket.socket) -> int:
    """All to the end, and how many bytes that was."""
    count = 0
    while more := client.recv(1 << 16):
        count += len(more)
    return count


def test_a_greeting_that_comes_while_ctrlload_is_stopped_is_in_time(listening: socket.socket) -> None:
    target = f"127.0.0.1:{port_of(listening)}"
    with loading(target, "-n", "1", "--greeting", "line") as process, accepted(listening) as client:
        stopped(process, lambda: client.sendall(b"220 ready\n"))
        assert 1024 == rest_read(client)


@pytest.mark.parametrize("flags", [("-n", "1"), ("-r", "1/s", "-t", "1s")])
def test_a_reply_that_comes_while_ctrlload_is_stopped_is_in_time(
    listening: socket.socket, flags: tuple[str, ...]
) -> None:
    target = f"127.0.0.1:{port_of(listening)}"
    with loading(target, "-m", "request", "-f", "line", *flags) as process, accepted(listening) as client:
        client.recv(1)
        stopped(process, lambda: client.sendall(b"+OK\n"))
        rest_read(client)


def test_what_is_read_while_ctrlload_is_stopped_is_read_in_time(listening: socket.socket) -> None:
    """The target had read nothing when we stopped, and had read all that we could give the kernel when we went on."""
    target = f"127.0.0.1:{port_of(listening)}"
    with loading(target, "-n", "20000") as process, accepted(listening) as client:
        client.recv(1)
        stopped(process, nothing)
        assert 20000 * 1024 - 1 == rest_read(client)


def test_a_download_that_goes_on_while_ctrlload_is_stopped_goes_on_after(listening: socket.socket) -> None:
    target = f"127.0.0.1:{port_of(listening)}"
    with loading(target, "-m", "receive", "-n", "2") as process, accepted(listening) as client:
        client.recv(1)
        client.sendall(bytes(1024))
        stopped(process, lambda: client.sendall(bytes(1024)))
        rest_read(client)


def test_a_greeting_in_connect_mode_is_in_time_as_well(listening: socket.socket) -> None:
    target = f"127.0.0.1:{port_of(listening)}"
    with loading(target, "-m", "connect", "-n", "2", "--greeting", "line") as process:
        for _ in range(2):
            with accepted(listening) as client:
                stopped(process, partial(client.sendall, b"220 ready\n"))


def test_a_reply_by_udp_is_in_time_as_well() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        target.settimeout(PATIENCE)
        with loading(f"udp:127.0.0.1:{port_of(target)}", "-m", "request", "-n", "2") as process:
            for _ in range(2):
                packet, peer = target.recvfrom(2000)
                stopped(process, partial(target.sendto, packet, peer))


@pytest.mark.skipif(find_spec("OpenSSL") is None, reason="pyOpenSSL is not installed: ctrlserver[tls]")
def test_a_tls_handshake_may_end_after_ctrlload_was_stopped(listening: socket.socket, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    target = f"ssl:localhost:{port_of(listening)}"
    with loading(target, "--insecure", "-n", "1") as process, accepted(listening) as client:
        client.recv(1, socket.MSG_PEEK)
        stopped(process, nothing)
        with context.wrap_socket(client, server_side=True) as wrapped:
            assert 1024 == rest_read(wrapped)
            wrapped.unwrap()


CONFIG = """
run_gap = "600ms"
[[listener]]
endpoint = "tcp:0:interface=127.0.0.1"
framing = "line"
mode = "echo"
udp = true
idle_timeout = "600ms"
udp_idle_timeout = "600ms"
stall_timeout = "600ms"
[[listener]]
name = "source"
endpoint = "tcp:0:interface=127.0.0.1"
mode = "source"
[[admin]]
endpoint = "tcp:0:interface=127.0.0.1"
"""


def test_what_comes_while_the_daemon_is_stopped_is_in_time(start: Start, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(CONFIG)
    daemon = start("--config", "x.toml", listeners=2)
    at = ("127.0.0.1", daemon.ports["data"])
    with (
        daemon.connect() as client,
        daemon.connect("source") as source,
        daemon.connect("admin") as question,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.settimeout(PATIENCE)
        datagrams.connect(at)
        datagrams.send(b"a")
        assert b"a" == datagrams.recv(10)
        client.sendall(b"a\n")
        assert b"a\n" == client.recv(10)
        question.sendall(b"ping\n")
        assert b"OK pong\r\n" == question.recv(100)

        def say() -> None:
            client.sendall(b"b\n")
            datagrams.send(b"b")
            source.sendall(b"3\n")
            question.sendall(b"ping\n")

        stopped(daemon.process, say)
        assert (b"b\n", b"b") == (client.recv(10), datagrams.recv(10))
        assert b"OK pong\r\n" == question.recv(100)
        assert 3 * 1024 == rest_read(source)
        stats = daemon.ask_json("stats")
        assert (0, 3, 1) == (stats["closed_idle_total"], stats["streams_total"], stats["runs_total"])
