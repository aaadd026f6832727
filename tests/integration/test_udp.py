"""UDP into a real daemon: beside TCP, alone, and faster than it is read."""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ctrlserver.linux.arrivals import arrivals
from ctrlserver.linux.udp import SOL_UDP, UDP_SEGMENT
from tests.integration.conftest import BIN, PATIENCE, Daemon, Start, run

LOOPBACK = "tcp:0:interface=127.0.0.1"
ADMIN = f'[[admin]]\nendpoint = "{LOOPBACK}"\n'


def udp_port(daemon: Daemon, name: str = "data") -> int:
    """The port of the listener's own log line."""
    return int(daemon.log.wait(rf"listening {name} udp 127\.0\.0\.1:(\d+)$")[1])


def skip_where_arrivals_are_not_counted() -> None:
    """Drops of whole batches are exact with the privilege for bpf only, which the daemon has where we have it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if (counts := arrivals(sock)) is None:
            pytest.skip("bpf is refused here")
        counts.close()


def send(port: int, *datagrams: bytes, host: str = "127.0.0.1") -> None:
    """From one socket."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((host, port))
        for datagram in datagrams:
            client.send(datagram)


@pytest.mark.workers_too
def test_udp_stands_beside_tcp_on_the_same_number(start: Start) -> None:
    daemon = start("--udp")
    port = daemon.ports["data"]
    assert port == udp_port(daemon)
    send(port, b"x" * 64, b"x" * 1400)
    with daemon.connect() as client:
        client.sendall(b"x" * 2048)
    stats = daemon.await_stats(packets_total=4, bytes_total=64 + 1400 + 2048, streams_total=2)
    assert 0 == stats["dropped_total"]
    streams = {stream["protocol"]: stream for stream in daemon.ask_json("streams")}
    assert ("datagram", 2, 732.0) == tuple(streams["udp"][name] for name in ("framing", "packets", "size"))
    assert ("fixed:1024", 2, 1024) == tuple(streams["tcp"][name] for name in ("framing", "packets", "size"))


def test_udp_alone_echoes_and_its_silent_peers_end_as_idle_and_the_run_with_them(start: Start, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        'run_gap = "100ms"\n[[listener]]\nendpoint = "udp:0:interface=127.0.0.1"\nmode = "echo"\n'
        f'udp_idle_timeout = "100ms"\nlabels = {{ site = "lab" }}\n{ADMIN}'
    )
    daemon = start("--config", "x.toml", listeners=0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", udp_port(daemon)))
        for datagram in (b"one", b"", b"three"):
            client.send(datagram)
            assert datagram == client.recv(100)
    daemon.await_stats(packets_total=3, replies_total=3, streams_open=0, closed_idle_total=1)
    daemon.log.wait("run 1 ended: .*number of packets 3,")
    (stream,) = daemon.ask_json("streams")
    assert ("udp", "idle", "lab") == (stream["protocol"], stream["reason"], stream["site"])


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_udp_over_ipv6(start: Start) -> None:
    daemon = start("--udp", "--data", r"tcp:0:interface=\:\:1")
    port = int(daemon.log.wait(r"listening data udp \[::1\]:(\d+)$")[1])
    send(port, b"x" * 10, host="::1")
    daemon.await_stats(packets_total=1, bytes_total=10)
    (stream,) = daemon.ask_json("streams")
    assert stream["peer"].startswith("[::1]:")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's drops are read on Linux")
@pytest.mark.one_process("who is stopped is the one that receives")
def test_received_and_dropped_are_what_was_sent_to_a_server_that_stood_still(start: Start, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        f'[[listener]]\nendpoint = "{LOOPBACK}"\nudp = true\nreceive_buffer = "64KiB"\n{ADMIN}'
    )
    daemon = start("--config", "x.toml")
    sent = 20_000
    for _ in range(2):
        daemon.process.send_signal(signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(daemon.process.pid, os.WUNTRACED)[1])
        send(udp_port(daemon), *[b"x" * 64] * (sent // 2))
        daemon.process.send_signal(signal.SIGCONT)
    end = time.monotonic() + PATIENCE
    while (stats := daemon.ask_json("stats"))["packets_total"] + stats["dropped_total"] != sent:
        assert time.monotonic() < end, stats
    assert stats["dropped_total"] > 0
    assert stats["packets_total"] > 0
    assert stats["bytes_total"] == 64 * stats["packets_total"]
    assert [] == [field for field in daemon.ask_json("describe dropped_total") if field["kind"] != "counter"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's drops are read on Linux")
@pytest.mark.one_process("who is stopped is the one that receives")
def test_counts_asked_for_while_batches_rain_never_go_down_and_are_exact_when_it_stops(
    start: Start, tmp_path: Path
) -> None:
    skip_where_arrivals_are_not_counted()
    (tmp_path / "x.toml").write_text(
        f'[[listener]]\nendpoint = "{LOOPBACK}"\nudp = true\nreceive_buffer = "32KiB"\n{ADMIN}'
    )
    daemon = start("--config", "x.toml")
    senders, names = 2, ("packets_total", "dropped_total", "dropped_in_batches_total")

    def rain(sender: int) -> int:
        packets = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", udp_port(daemon)))
            for each in range(4000):
                many = (each * 7 + sender) % 60 + 1
                client.sendmsg([b"x" * (many * 100 - 3)], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", 100))])
                packets += many
        return packets

    daemon.process.send_signal(signal.SIGSTOP)
    assert os.WIFSTOPPED(os.waitpid(daemon.process.pid, os.WUNTRACED)[1])
    first = rain(0)  # so that something is dropped however fast the daemon is
    daemon.process.send_signal(signal.SIGCONT)
    with ThreadPoolExecutor(senders) as pool:
        raining = [pool.submit(rain, sender) for sender in range(senders)]
        last = dict.fromkeys(names, 0)
        while not all(each.done() for each in raining):
            stats = daemon.ask_json("stats")
            assert all(last[name] <= stats[name] for name in names), (last, stats)
            last = stats
        sent = first + sum(each.result() for each in raining)
    assert last["packets_total"] + last["dropped_total"] <= sent
    end = time.monotonic() + PATIENCE
    while (stats := daemon.ask_json("stats"))["packets_total"] + stats["dropped_total"] != sent:
        assert time.monotonic() < end, (sent, stats)
    assert all(last[name] <= stats[name] for name in names), (last, stats)
    assert 0 == stats["dropped_in_batches_total"]
    assert stats == {**stats, **{name: daemon.ask_json("stats")[name] for name in names}}, "and it stays so"


@contextmanager
def port_taken_for_udp_alone() -> Iterator[int]:
    """A port that TCP can listen on, and nobody else takes for TCP meanwhile, while its UDP side is taken."""
    while True:
        with socket.socket() as kept, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # bound, not listening: the daemon still may
            kept.bind(("127.0.0.1", 0))
            port = kept.getsockname()[1]
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                continue  # some other program has this one for UDP
            yield port
            return


def test_a_udp_port_in_use_is_one_line_and_nothing_stays_bound(tmp_path: Path) -> None:
    with port_taken_for_udp_alone() as port:
        command = (BIN / "twistd", "-n", "--pidfile=", "ctrlserver", "--udp", "--admin", LOOPBACK)
        done = run(*command, "--data", f"tcp:{port}:interface=127.0.0.1", cwd=tmp_path)
    assert 1 == done.returncode
    message = f"ctrlserver: cannot listen for data on tcp:{port}:interface=127.0.0.1, by udp: address already in use"
    assert [message] == [line for line in done.stderr.decode().splitlines() if line.startswith("ctrlserver:")]


@pytest.mark.parametrize(
    ("expected", "flags"),
    [
        ('--udp: "unix:/x.sock" has no port number for UDP to share', ("--udp", "--data", "unix:/x.sock")),
        ('--admin: endpoint "udp:5": questions come in by a stream: expected "tcp:5"', ("--admin", "udp:5")),
    ],
)
def test_what_cannot_go_with_udp_is_told(expected: str, flags: tuple[str, ...]) -> None:
    done = run(BIN / "twistd", "-n", "--pidfile=", "ctrlserver", *flags, "--check")
    assert 1 == done.returncode
    assert expected in done.stderr.decode()


FORGER = """
import socket, struct, sys
lo = socket.inet_aton("127.0.0.1")
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
    for number in range(int(sys.argv[1])):
        words = b"loop %d" % number
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(words), 1, 0, 64, 17, 0, lo, lo)
        raw.sendto(head + struct.pack("!HHHH", 7002, 7001, 8 + len(words), 0) + words, ("127.0.0.1", 0))
"""


@pytest.mark.parametrize(("mode", "forged"), [("echo", 5), ("reply", 1)])
def test_two_servers_that_answer_do_not_answer_each_other_for_ever(
    start: Start, inside: list[str], tmp_path: Path, mode: str, forged: int
) -> None:
    first, second = (
        start(
            *("--data", f"udp:{port}:interface=127.0.0.1", "--mode", mode),
            *("--admin", f"unix:{tmp_path}/{port}.sock"),
            launcher=inside,
            listeners=0,
        )
        for port in (7001, 7002)
    )
    assert 0 == run(*inside, sys.executable, "-c", FORGER, str(forged)).returncode

    def withheld() -> int:
        return sum(int(each.ask_json("stats")["unanswered_loops_total"]) for each in (first, second))

    end = time.monotonic() + PATIENCE
    while (gone := withheld()) < forged:
        assert time.monotonic() < end, gone
    ended = [each.ask_json("stats")["packets_total"] for each in (first, second)]
    assert 1000 <= max(ended)
    assert [*ended, forged] == [*(each.ask_json("stats")["packets_total"] for each in (first, second)), withheld()]
