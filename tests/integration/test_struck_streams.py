"""Each action on streams as a peer and the kernel see it: segments, windows, errors of a plain socket, system calls."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import PATIENCE, Daemon, Start, needs, run, starting
from tests.integration.wire import FIN, RST, Wire

LOOPBACK = "interface=127.0.0.1"
PROXY = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Daemon]:
    """One server with a listener for each transport, in mode echo, and a sink."""
    folder = tmp_path_factory.mktemp("struck")
    listeners = {
        "tcp": f"tcp:0:{LOOPBACK}",
        "tls": f"ssl:0:{LOOPBACK}:privateKey={certificate}:certKey={certificate.parent / 'cert.pem'}",
        "proxy": f"haproxy:tcp:0:{LOOPBACK}",
        "unix": f"unix:{folder}/x.sock",
        "sink": f"tcp:0:{LOOPBACK}",
    }
    config = folder / "config.toml"
    config.write_text(
        f'[[admin]]\nendpoint = "tcp:0:{LOOPBACK}"\n'
        + "".join(
            f'[[listener]]\nname = "{name}"\nendpoint = "{endpoint}"\nframing = "fixed:4"\n'
            f'mode = "{"sink" if name == "sink" else "echo"}"\n'
            for name, endpoint in listeners.items()
        )
    )
    with starting(folder) as begin:
        yield begin("--config", str(config), listeners=len(listeners))


@pytest.fixture
def order(daemon: Daemon) -> Iterator[Callable[[str, str], None]]:
    """``order(listener, spec)``; all are over at the end of the test."""

    def begin(listener: str, spec: str) -> None:
        assert daemon.ask(f"inject {listener} {spec}").startswith("OK")

    yield begin
    daemon.ask("inject off")
    daemon.await_stats(streams_open=0)


@contextlib.contextmanager
def client_of(daemon: Daemon, name: str) -> Iterator[socket.socket]:
    """A client connected by the transport of that name."""
    with contextlib.ExitStack() as opened:
        client = opened.enter_context(daemon.connect(name))
        if name == "proxy":
            client.sendall(PROXY)
        if name == "tls":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            client = opened.enter_context(context.wrap_socket(client, suppress_ragged_eofs=False))
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(PATIENCE)
        yield client


def read(client: socket.socket, nbytes: int) -> bytes:
    got = b""
    while len(got) < nbytes and (more := client.recv(nbytes - len(got))):
        got += more
    return got


def newest(daemon: Daemon, name: str) -> dict[str, Any]:
    row: dict[str, Any] = next(row for row in daemon.ask_json("streams limit=20") if row["listener"] == name)
    return row


@pytest.mark.parametrize("name", ["tcp", "tls", "proxy", "sink"])
def test_a_reset_is_an_rst_on_the_wire_and_no_fin(daemon: Daemon, order: Callable[[str, str], None], name: str) -> None:
    order(name, "2*ok->reset")
    with Wire(daemon.ports[name]) as wire, client_of(daemon, name) as client:
        client.sendall(b"aaaabbbbccccdddd")
        assert (b"" if name == "sink" else b"aaaabbbb") == read(client, 0 if name == "sink" else 8)
        with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
            client.recv(1)
        wire.until(lambda segment: bool(segment.flags & RST))
        assert not wire.flags() & FIN
    row = newest(daemon, name)
    assert (3, "injected", 1) == (row["packets"], row["reason"], row["injected"])


def test_a_reset_in_every_state_is_an_rst(daemon: Daemon, order: Callable[[str, str], None]) -> None:
    """Beside answers that wait, to a peer that has half-closed, and to one that reads nothing."""
    order("tcp", "9*delay(1h)->reset")
    for half_closes in (False, True):
        with Wire(daemon.ports["tcp"]) as wire, client_of(daemon, "tcp") as client:
            client.send(b"aaaa" * 10, socket.MSG_MORE if half_closes else 0)
            if half_closes:  # with the data, in one segment: those alone would be answered by the reset
                client.shutdown(socket.SHUT_WR)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            wire.until(lambda segment: bool(segment.flags & RST))
            assert not wire.flags() & FIN
        row = newest(daemon, "tcp")
        assert (10, "injected", 10) == (row["packets"], row["reason"], row["injected"])


def test_a_reset_at_a_unix_socket_ends_the_peers_connection(daemon: Daemon, order: Callable[[str, str], None]) -> None:
    order("unix", "1*ok->reset")
    with client_of(daemon, "unix") as client:
        client.sendall(b"aaaabbbb")
        assert b"aaaa" == read(client, 4)
        with contextlib.suppress(ConnectionResetError):
            assert b"" == client.recv(1)
        with pytest.raises(BrokenPipeError):
            client.sendall(b"cccc")
    assert (2, "injected") == (newest(daemon, "unix")["packets"], newest(daemon, "unix")["reason"])


@pytest.mark.parametrize("name", ["tcp", "tls", "proxy", "sink"])
def test_a_close_is_a_fin_after_the_answers_before_it_and_no_rst(
    daemon: Daemon, order: Callable[[str, str], None], name: str
) -> None:
    order(name, "2*ok->close")
    with Wire(daemon.ports[name]) as wire, client_of(daemon, name) as client:
        client.sendall(b"aaaabbbbcccc")
        assert (b"" if name == "sink" else b"aaaabbbb") == read(client, 100)
        wire.until(lambda segment: bool(segment.flags & FIN))
        assert not wire.flags() & RST
    row = newest(daemon, name)
    assert (3, "injected") == (row["packets"], row["reason"])


@pytest.mark.parametrize("name", ["tcp", "proxy", "unix", "sink"])
def test_after_a_half_close_what_the_peer_sends_is_still_read(
    daemon: Daemon, order: Callable[[str, str], None], name: str
) -> None:
    order(name, "1*ok->half-close")
    with client_of(daemon, name) as client:
        client.sendall(b"aaaabbbb")
        assert (b"" if name == "sink" else b"aaaa") == read(client, 100)
        client.sendall(b"ccccdddd" * 1000)
        client.shutdown(socket.SHUT_WR)
        daemon.await_stats(streams_open=0)
    row = newest(daemon, name)
    assert (2002, "eof", 1) == (row["packets"], row["reason"], row["injected"])


def send_until_full(client: socket.socket) -> int:
    """Send until nothing has been taken for half a second; how many bytes were."""
    client.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError, ssl.SSLWantWriteError):
        while True:
            sent += client.send(b"xxxx" * 4096)
    client.settimeout(PATIENCE)
    return sent


@pytest.mark.parametrize("name", ["sink", "tls", "proxy"])
def test_while_a_stream_is_stalled_its_window_is_closed(
    daemon: Daemon, order: Callable[[str, str], None], name: str
) -> None:
    order(name, "3*ok->stall")
    with Wire(daemon.ports[name]) as wire, client_of(daemon, name) as client:
        client.sendall(b"aaaabbbbcccc")
        send_until_full(client)
        wire.until(lambda segment: segment.window == 0)
        row = newest(daemon, name)
        assert (3, 12, "open", 1) == (row["packets"], row["bytes"], row["state"], row["injected"])
        if name == "sink":
            ours = f"sport = :{client.getsockname()[1]} and dport = :{daemon.ports[name]}"
            shown = run("ss", "-tinO", ours).stdout.decode()
            assert "snd_wnd:0" in shown or "snd_wnd" not in shown, shown
        daemon.ask("inject off")
        wire.until(lambda segment: segment.window > 0)


def test_a_stalled_unix_stream_takes_no_more_than_the_kernel_holds(
    daemon: Daemon, order: Callable[[str, str], None]
) -> None:
    order("unix", "stall")
    with client_of(daemon, "unix") as client:
        assert send_until_full(client) < 4 << 20
        row = newest(daemon, "unix")
        assert (0, 0, "open") == (row["packets"], row["bytes"], row["state"])
        client.shutdown(socket.SHUT_RDWR)
    daemon.ask("inject off")
    daemon.await_stats(streams_open=0)
    assert newest(daemon, "unix")["packets"] > 1000


@needs("strace")
def test_a_stalled_stream_is_not_read(daemon: Daemon, order: Callable[[str, str], None], tmp_path: Path) -> None:
    order("sink", "stall")
    calls = tmp_path / "calls"
    with client_of(daemon, "sink") as client:
        tracing = subprocess.Popen(
            [
                "strace",
                "-f",
                "-qq",
                "-yy",
                "-e",
                "trace=recvfrom,recvmsg,read",
                "-o",
                calls,
                "-p",
                f"{daemon.process.pid}",
            ],
            stderr=subprocess.PIPE,
        )
        try:
            daemon.ask("ping")
            end = time.monotonic() + PATIENCE
            while not (calls.exists() and calls.read_text()):
                if tracing.poll() is not None:
                    pytest.skip("no process may be traced here")
                assert time.monotonic() < end
                daemon.ask("ping")
            client.sendall(b"aaaa" * 100)
            daemon.await_stats(streams_open=1)
            while not newest(daemon, "sink")["injected"]:
                assert time.monotonic() < end
        finally:
            tracing.terminate()
            tracing.communicate(timeout=PATIENCE)
        port = client.getsockname()[1]
        reads = [line for line in calls.read_text().splitlines() if f":{port}]" in line]
        assert all("MSG_PEEK" in line for line in reads), reads


def test_a_slow_reader_reads_no_faster_than_its_rate_and_steadily(
    daemon: Daemon, order: Callable[[str, str], None]
) -> None:
    order("sink", "slow-read(40KiB/s)")
    with client_of(daemon, "sink") as client:
        client.sendall(b"aaaa" * 10_000)
        began = time.monotonic()
        counts = [0]
        while counts[-1] < 30_000 and time.monotonic() < began + PATIENCE:
            nbytes = newest(daemon, "sink")["bytes"]
            assert nbytes <= (time.monotonic() - began + 0.1) * 40 * 1024
            if nbytes != counts[-1]:
                counts.append(nbytes)
        assert len(counts) > 5, counts
    daemon.ask("inject off")


@pytest.mark.parametrize("name", ["tls", "proxy"])
def test_a_slow_reader_reads_step_by_step_what_its_transport_has_read_ahead(
    daemon: Daemon, order: Callable[[str, str], None], name: str
) -> None:
    order(name, "slow-read(400KiB/s)")
    octets = bytes(range(256)) * 240
    with client_of(daemon, name) as client:
        client.sendall(octets)
        assert octets == read(client, len(octets))


def test_what_a_slow_reader_has_yet_to_take_counts_when_its_peer_closes_by_tls(
    daemon: Daemon, order: Callable[[str, str], None]
) -> None:
    order("tls", "slow-read(40KiB/s)")
    with client_of(daemon, "tls") as client:
        client.sendall(b"aaaa" * 10_000)
        with contextlib.suppress(OSError):  # an answer that was on its way
            client.unwrap()  # type: ignore[attr-defined]
        daemon.await_stats(streams_open=0)
    assert ("eof", 10_000) == tuple(newest(daemon, "tls")[field] for field in ("reason", "packets"))


def test_a_drip_comes_byte_by_byte_and_not_before_its_time(daemon: Daemon, order: Callable[[str, str], None]) -> None:
    order("tcp", "drip(1B/20ms)")
    with client_of(daemon, "tcp") as client:
        began = time.monotonic()
        client.sendall(b"abcdefgh")
        for place, octet in enumerate(b"abcdefgh"):
            assert octet == client.recv(1)[0]
            assert time.monotonic() - began >= 0.02 * place


def test_a_peer_that_resets_ends_a_stream_that_waits_by_order(
    daemon: Daemon, order: Callable[[str, str], None]
) -> None:
    order("tcp", "1*delay(1h)->stall")
    with client_of(daemon, "tcp") as client:
        client.sendall(b"aaaabbbb")
        while newest(daemon, "tcp")["injected"] < 2:
            pass
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    daemon.await_stats(streams_open=0)
    assert ("reset", 1) == (newest(daemon, "tcp")["reason"], newest(daemon, "tcp")["packets"])


@pytest.mark.parametrize("name", ["tcp", "tls", "proxy", "unix"])
def test_whatever_the_transport_answers_are_struck(
    daemon: Daemon, order: Callable[[str, str], None], name: str
) -> None:
    order(name, "1*swallow->1*duplicate->1*wrong('NO')->1*truncate(1)->1*drip(2B/5ms)->delay(50ms)")
    with client_of(daemon, name) as client:
        began = time.monotonic()
        client.sendall(b"aaaabbbbccccddddeeeeffff")
        assert b"bbbbbbbbNOdeeeeffff" == read(client, 19)
        assert time.monotonic() - began >= 0.05
    daemon.await_stats(streams_open=0)
    row = newest(daemon, name)
    assert (6, 6) == (row["packets"], row["injected"])


def test_a_kick_ends_a_stream_that_waits_by_order(daemon: Daemon, order: Callable[[str, str], None]) -> None:
    order("tcp", "delay(1h)")
    with client_of(daemon, "tcp") as client:
        client.sendall(b"aaaa")
        while not newest(daemon, "tcp")["injected"]:
            pass
        daemon.ask(f"kick {newest(daemon, 'tcp')['stream']}")
        assert b"" == client.recv(1)
    assert "kicked" == newest(daemon, "tcp")["reason"]


def test_a_server_that_ends_lets_go_what_waits_by_order(start: Start) -> None:
    daemon = start("--framing", "fixed:4", "--mode", "echo", "--inject", "1*delay(1h)->stall")
    with daemon.connect() as client:
        client.sendall(b"aaaabbbb")
        while newest(daemon, "data")["injected"] < 2:
            pass
        daemon.stop()
        assert b"aaaabbbb" == read(client, 100)
