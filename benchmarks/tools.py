"""Rows with programs that people know, where they are installed: redis, nuttcp, sockperf.

Rules: each is compared in what it can fairly be compared in: redis-benchmark asks ours and redis-server the same
question; nuttcp sends to itself as iperf3 does; `sockperf tp` sends one packet a call into ours and into its own
server. A tool that is missing is named.

Beware: sockperf's ping-pong needs a server that marks its replies, so an echo is no answer to it. redis-benchmark asks
for the server's configuration first, on a connection of its own, which is not counted. What sockperf's own server
counts it does not tell, and the packets of its warm-up it does not count.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.pairs import CountsDifferError
from benchmarks.programs import (
    ProgramFailedError,
    asked_for,
    ctrlserver,
    daemon,
    free_port,
    output_of,
    server,
    stats,
    tool,
    wait_for_port,
)
from benchmarks.rows import CONNECTIONS, PACKET, Row, Sides, load, same

REQUESTS_A_SECOND = 50_000


@contextmanager
def pings_to_redis(seconds: float) -> Iterator[Sides]:
    """Replies per second to `PING`, a line, on 50 connections; redis-benchmark asks both."""
    redis, benchmark = tool("redis-server", "redis-server"), tool("redis-benchmark", "redis-tools")
    requests = max(1000, round(REQUESTS_A_SECOND * seconds))

    def asked_at(port: int) -> float:
        words = ("-h", "127.0.0.1", "-p", str(port), "-t", "ping_inline", "-c", str(CONNECTIONS))
        rows = list(csv.DictReader(output_of(benchmark, *words, "-n", str(requests), "--csv").splitlines()))
        if len(rows) != 1:
            raise ProgramFailedError(f"redis-benchmark: {len(rows)} results")
        return float(rows[0]["rps"])

    def ours_at(data_port: int, admin_port: int) -> float:
        before = stats(admin_port)
        speed = asked_at(data_port)
        after = stats(admin_port)
        answered = after["replies_total"] - before["replies_total"]
        same(after["packets_total"] - before["packets_total"], answered, "requests and replies")
        first = before["streams_total"] + 1
        streams = asked_for(admin_port, f"streams limit={CONNECTIONS + 1}")
        same(requests, sum(each["packets"] for each in streams if each["stream"] > first), "requests counted")
        return speed

    flags = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    port = free_port()
    with (
        daemon("reply", "--reply", r"+PONG\r\n", framing="line") as ours,
        server(redis, "--port", str(port), *flags) as listening,
    ):
        listening.line("Ready to accept connections")
        yield lambda: ours_at(*ours.ports), lambda: asked_at(port)


@contextmanager
def bulk_to_nuttcp(seconds: float) -> Iterator[Sides]:
    """Bits per second that the receiver saw; nuttcp with its defaults but for the length of the test."""
    nuttcp = tool("nuttcp", "nuttcp")
    control, data = str(free_port()), str(free_port())

    def peer() -> float:
        words = ("-t", "-fparse", "-P", control, "-p", data, "-T", str(max(1, round(seconds))), "127.0.0.1")
        said = re.search(r"megabytes=([0-9.]+) .*rate_Mbps=([0-9.]+)", output_of(nuttcp, *words))
        if said is None or not float(said[1]):
            raise CountsDifferError("nuttcp received nothing")
        return float(said[2]) * 1e6

    with ctrlserver("sink") as ports, server(nuttcp, "-S", "--nofork", "-P", control):
        wait_for_port(int(control))
        yield lambda: float(load(*ports, seconds)["bits_per_second"]), peer


@contextmanager
def packets_of_sockperf(seconds: float) -> Iterator[Sides]:
    """Packets per second of one sender that makes a call for each, into ours and into its own server."""
    sockperf = tool("sockperf", "sockperf")
    port = str(free_port())

    def sent_to(port: str) -> tuple[int, float]:
        words = ("tp", "--tcp", "-i", "127.0.0.1", "-p", port, "-m", str(PACKET), "-t", str(max(1, round(seconds))))
        said = re.search(r"Total of (\d+) messages sent in ([0-9.]+) sec", output_of(sockperf, *words))
        if said is None:
            raise ProgramFailedError("sockperf said nothing of what it sent")
        return int(said[1]), float(said[2])

    def ours_at(data_port: int, admin_port: int) -> float:
        before = stats(admin_port)
        sent, took = sent_to(str(data_port))
        after = stats(admin_port)
        got = after["packets_total"] - before["packets_total"]
        same(got * PACKET, after["bytes_total"] - before["bytes_total"], "bytes and packets")
        if got < sent:
            raise CountsDifferError(f"packets of sockperf: expected {sent} and those of its warm-up, got {got}")
        return sent / took

    def peer() -> float:
        sent, took = sent_to(port)
        return sent / took

    with ctrlserver("sink") as ports, server(sockperf, "server", "--tcp", "-i", "127.0.0.1", "-p", port) as listening:
        listening.line("block on socket")
        yield lambda: ours_at(*ports), peer


PAIRS = (
    Row("tools", "bulk, 1 stream, 1 KiB: ctrlload into ctrlserver / nuttcp", "bit/s", None, bulk_to_nuttcp),
    Row(
        "tools",
        "bulk, 1 KiB a call: sockperf tp --tcp into ctrlserver / into its server",
        "packets/s",
        None,
        packets_of_sockperf,
    ),
    Row("tools", "PING, 50 connections: redis-benchmark to ctrlserver / to redis", "replies/s", None, pings_to_redis),
)
