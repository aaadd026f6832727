"""The data port, fed by foreign senders and by peers that behave badly."""

from __future__ import annotations

import re
import resource
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.conftest import BIN, PATIENCE, Daemon, Start, needs, needs_openbsd_netcat, run
from tests.servers import reset_at_close

LOOPBACK = "tcp:0:interface=127.0.0.1"


@needs_openbsd_netcat()
def test_a_million_lines_by_yes_and_netcat(start: Start) -> None:
    daemon = start("--framing", "line")
    assert 0 == run("bash", "-c", f"yes | head -1000000 | nc -N 127.0.0.1 {daemon.ports['data']}").returncode
    daemon.await_stats(packets_total=1_000_000, bytes_total=2_000_000, streams_open=0, closed_eof_total=1)


@needs_openbsd_netcat()
def test_ten_mebibytes_and_a_hundred_bytes_by_dd(start: Start) -> None:
    daemon = start("--framing", "fixed:1024")
    dd = "dd if=/dev/zero bs=1M count=10; dd if=/dev/zero bs=100 count=1"
    assert 0 == run("bash", "-c", f"({dd}) 2>&- | nc -N 127.0.0.1 {daemon.ports['data']}").returncode
    daemon.await_stats(packets_total=10_240, incomplete_bytes_total=100, streams_open=0)


def sockperf_sent(daemon: Daemon, *flags: str) -> int:
    """What ``sockperf throughput`` says it has sent in a second."""
    command = ("sockperf", "tp", *flags, "-i", "127.0.0.1", "-p", str(daemon.ports["data"]), "-m", "64", "-t", "1")
    done = run(*command)
    assert 0 == done.returncode, done
    match = re.search(rb"Total of (\d+) messages sent", done.stdout)
    assert match, done
    return int(match[1])


@needs("sockperf")
def test_sockperf_s_own_count_is_ours_by_tcp_and_by_udp(start: Start) -> None:
    daemon = start("--framing", "fixed:64", "--udp")
    with ThreadPoolExecutor() as senders:
        tcp, udp = (senders.submit(sockperf_sent, daemon, *flags) for flags in (("--tcp",), ()))
        by_tcp, by_udp = tcp.result(), udp.result()
    daemon.await_stats(closed_eof_total=1)
    end = time.monotonic() + PATIENCE
    while (stats := daemon.ask_json("stats"))["packets_total"] + stats["dropped_total"] != by_tcp + by_udp:
        assert time.monotonic() < end, (by_tcp, by_udp, stats)
    packets = {stream["protocol"]: stream["packets"] for stream in daemon.ask_json("streams")}
    assert {"tcp": by_tcp, "udp": by_udp - stats["dropped_total"]} == packets


@needs("iperf")
def test_iperf_s_own_count_is_ours(start: Start) -> None:
    """Version 2, whose client only sends and waits for nobody."""
    daemon = start("--framing", "raw")
    done = run("iperf", "-c", "127.0.0.1", "-p", str(daemon.ports["data"]), "-n", "100M", "-P", "3", "-f", "b")
    assert 0 == done.returncode, done
    match = re.search(rb"\[SUM\].* (\d+) Bytes", done.stdout)
    assert match, done
    daemon.await_stats(bytes_total=int(match[1]), packets_total=0, streams_total=3, streams_open=0)


TWISTED_SENDER = """
import sys
from twisted.internet import protocol, reactor
from twisted.protocols import basic

class Sender({receiver}):
    def connectionMade(self):
        for size in range(1000):
            self.sendString(b"x" * size)
        self.transport.loseConnection()

    def connectionLost(self, reason):
        reactor.stop()

factory = protocol.ClientFactory.forProtocol(Sender)
factory.noisy = False
reactor.connectTCP("127.0.0.1", int(sys.argv[1]), factory)
reactor.run()
"""


@pytest.mark.parametrize(
    ("framing", "receiver"),
    [
        ("int32", "basic.Int32StringReceiver"),
        ("int16", "basic.Int16StringReceiver"),
        ("netstring", "basic.NetstringReceiver"),
    ],
)
def test_twisted_s_own_senders_are_understood(start: Start, framing: str, receiver: str) -> None:
    daemon = start("--framing", framing)
    done = run(BIN / "python", "-c", TWISTED_SENDER.format(receiver=receiver), str(daemon.ports["data"]))
    assert 0 == done.returncode, done
    stats = daemon.await_stats(streams_open=0, streams_total=1)
    assert (1000, 0, 0) == (stats["packets_total"], stats["faults_total"], stats["incomplete_bytes_total"])


def test_a_thousand_streams_at_once_half_of_them_reset_in_mid_packet(start: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2_200
    if hard < wanted:
        pytest.skip(f"needs {wanted} descriptors, has {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    daemon = start()
    clients = [daemon.connect() for _ in range(1000)]
    for number, client in enumerate(clients):
        client.sendall(b"x" * (number % 50 * 1024 + 512))
    for number, client in enumerate(clients):
        if number % 2:
            reset_at_close(client)
        client.close()
    packets = sum(number % 50 for number in range(1000))
    stats = daemon.await_stats(streams_open=0, streams_total=1000)
    assert stats["packets_total"] == packets
    assert 1000 * 512 == stats["incomplete_bytes_total"]
    assert (500, 500) == (stats["closed_eof_total"], stats["closed_reset_total"])


def test_a_frame_longer_than_max_packet_is_a_fault_and_the_packets_before_it_count(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(
        '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nframing = "int32"\nmax_packet = "1KiB"\n'
        '[[admin]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
    )
    daemon = start("--config", "x.toml")
    with daemon.connect() as client:
        client.sendall(struct.pack("!I", 1024) + b"x" * 1024 + struct.pack("!I", 1025))
        assert b"" == client.recv(1)
    daemon.await_stats(packets_total=1, faults_total=1, streams_open=0, closed_fault_total=1)


def test_several_listeners_count_each_in_its_own_framing_and_mode(start: Start, tmp_path: Path) -> None:
    listeners = (("sink", "fixed:4", "sink"), ("echo", "line", "echo"), ("reply", "line", "reply"))
    tables = "".join(
        f'[[listener]]\nname = "{name}"\nframing = "{framing}"\nmode = "{mode}"\nendpoint = "{LOOPBACK}"\n'
        for name, framing, mode in listeners
    )
    (tmp_path / "x.toml").write_text(tables + '[[admin]]\nendpoint = "tcp:0:interface=127.0.0.1"\n')
    daemon = start("--config", "x.toml", listeners=3)
    for name, answer in (("sink", b""), ("echo", b"1234\n"), ("reply", b"\x06")):
        with daemon.connect(name) as client:
            client.sendall(b"1234" if name == "sink" else b"1234\n")
            client.shutdown(socket.SHUT_WR)
            assert b"".join(iter(lambda client=client: client.recv(100), b"")) == answer  # type: ignore[misc]
    stats = daemon.await_stats(streams_open=0, packets_total=3)
    assert 2 == stats["replies_total"]
    assert ["reply", "echo", "sink"] == [stream["listener"] for stream in daemon.ask_json("streams")]


def test_streams_come_by_a_unix_socket_too(start: Start, tmp_path: Path) -> None:
    daemon = start("--data", f"unix:{tmp_path / 'data.sock'}", "--framing", "line")
    with daemon.connect() as client:
        client.sendall(b"one\ntwo\n")
    daemon.await_stats(packets_total=2, streams_open=0)
    (stream,) = daemon.ask_json("streams")
    assert ("unix", "unix") == (stream["protocol"], stream["peer"])
    assert "rtt_seconds" not in stream


@needs_openbsd_netcat()
def test_a_source_sends_what_netcat_asks_for_and_counts_what_it_sent(start: Start) -> None:
    daemon = start("--mode", "source")
    done = run("bash", "-c", f"echo 10000 | nc -N 127.0.0.1 {daemon.ports['data']} | wc -c")
    assert [b"10240000"] == done.stdout.split()
    stats = daemon.await_stats(streams_open=0, packets_total=10_000, bytes_total=10_240_000)
    assert (1, 0, 0) == (stats["closed_eof_total"], stats["incomplete_bytes_total"], stats["replies_total"])
    (record,) = daemon.ask_json("runs")
    assert (10_000, 1) == (record["packets"], record["streams"])


def test_the_last_packets_of_a_stream_are_shown(start: Start, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nframing = "line"\nkeep = 2\n'
        '[[admin]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
    )
    daemon = start("--config", "x.toml")
    with daemon.connect() as client:
        client.sendall(b"one\ntwo\nthree\n")
    daemon.await_stats(packets_total=3, streams_open=0)
    answer = daemon.ask("packets 1")
    assert "74 68 72 65 65" in answer
    assert "|three|" in answer
    assert answer.endswith("OK 2\r\n")
