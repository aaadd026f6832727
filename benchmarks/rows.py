"""The rows of the table: for each, what runs on our side, what on the peer's, and which counts must agree.

Rules: a row is a context manager that starts its servers and gives the two measures, both in the row's unit; a measure
checks its counts before it returns a speed. Bulk is sent by `ctrlload` with `--admin`, so sent and received are
reconciled by it and compared here once more; echoes are asked for by one C client for all servers.

Beware: iperf3 counts no packets and its sender does not wait for what is still under way when the time is over, so its
row is compared by the bits its receiver saw, and has no count to check on the peer's side.
"""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from attrs import frozen

from benchmarks.pairs import CountsDifferError, Measure, MissingError
from benchmarks.programs import (
    BIN,
    END_SECONDS,
    Server,
    c_peer,
    ctrlserver,
    free_port,
    json_of,
    output_of,
    python_peer,
    server,
    stats,
    tool,
)

PACKET = 1024
SCRIPT_PACKETS = 10_000
SCRIPT_RUNS = 5
CONNECTIONS = 50

#: Where nothing has been measured yet: about what a Redis answers.
PINGS_A_SECOND = 50_000

Sides = tuple[Measure, Measure]


@frozen
class Row:
    """A row to be measured; `sides` takes the seconds of one measurement."""

    group: str
    what: str
    unit: str
    reach: float | None
    sides: Callable[[float], AbstractContextManager[Sides]]


def same(expected: object, got: object, what: str) -> None:
    """Raises CountsDifferError, with both numbers, unless they are equal."""
    if expected != got:
        raise CountsDifferError(f"{what}: expected {expected}, got {got}")


def load(data_port: int, admin_port: int, seconds: float, streams: int = 1, *flags: str) -> dict[str, Any]:
    """What the server received of a bulk load, after its counts were found equal to what was sent.

    ``writes`` is how many it was sent in.
    """
    target, admin = f"127.0.0.1:{data_port}", f"127.0.0.1:{admin_port}"
    result = json_of(
        *(str(BIN / "ctrlload"), "run", target, "-t", f"{seconds:g}s", "-l", str(PACKET)),
        *("-P", str(streams), "--admin", admin, "-J", *flags),
    )
    received: dict[str, Any] | None = result["received"]
    if received is None:
        raise CountsDifferError("ctrlload has no counts of the server")
    same(result["sent"]["packets"], received["packets"], "packets sent and received")
    same(result["sent"]["packets"] * PACKET, received["bytes"], "bytes sent and received")
    same(True, result["reconciled"], "reconciled")
    return received | {"writes": result["sent"]["writes"]}


def iperf3_bits_per_second(seconds: float, streams: int, *flags: str) -> float:
    """What iperf3's receiver saw; its defaults but for these flags, the time and the number of streams."""
    iperf3, port = tool("iperf3", "iperf3"), str(free_port())
    with server(iperf3, "--server", "--one-off", "--forceflush", "--port", port) as listening:
        listening.line("Server listening")
        words = ("--time", str(max(1, round(seconds))), "--parallel", str(streams), "-J", *flags)
        received = json_of(iperf3, "--client", "127.0.0.1", "--port", port, *words)["end"]["sum_received"]
    if not received["bytes"]:
        raise CountsDifferError("iperf3 received nothing")
    return float(received["bits_per_second"])


def bulk_to_iperf3(streams: int) -> Callable[[float], AbstractContextManager[Sides]]:
    """Bits per second that the receiver saw."""

    @contextmanager
    def sides(seconds: float) -> Iterator[Sides]:
        def ours(data_port: int, admin_port: int) -> float:
            return float(load(data_port, admin_port, seconds, streams)["bits_per_second"])

        with ctrlserver("sink") as ports:
            yield lambda: ours(*ports), lambda: iperf3_bits_per_second(seconds, streams)

    return sides


def packets_to_iperf3(streams: int, *more: str) -> Callable[[float], AbstractContextManager[Sides]]:
    """Packets of 1 KiB received a second, each a write of its own; iperf3's are the bytes its receiver saw.

    ``more`` are flags of ours.
    """

    @contextmanager
    def sides(seconds: float) -> Iterator[Sides]:
        def ours(data_port: int, admin_port: int) -> float:
            received = load(data_port, admin_port, seconds, streams, "--no-write-combine", *more)
            same(received["packets"], received["writes"], "packets received and writes")
            return float(received["packets_per_second"])

        def peer() -> float:
            return iperf3_bits_per_second(seconds, streams, "--length", str(PACKET)) / 8 / PACKET

        with ctrlserver("sink") as ports:
            yield lambda: ours(*ports), peer

    return sides


@contextmanager
def pings_to_redis(seconds: float) -> Iterator[Sides]:
    """Pings answered a second, 50 streams with one in flight on each, asked by us and by redis-benchmark.

    What Redis itself counted must be what was asked. redis-benchmark takes a number and no time, so one of ours comes
    first; it makes no warm-up, and no more than the number it is told.
    """
    redis, benchmark = tool("redis-server", "redis-server"), tool("redis-benchmark", "redis-tools")
    client = tool("redis-cli", "redis-tools")
    port = free_port()

    def counted() -> int:
        text = output_of(client, "-p", str(port), "info", "commandstats")
        found = re.search(r"cmdstat_ping:calls=(\d+)", text)
        return int(found[1]) if found else 0

    def ours() -> float:
        before = counted()
        flags = ("-m", "request", "--payload", r"PING\r\n", "--framing", "raw", "--reply-framing", "line")
        words = ("-P", str(CONNECTIONS), "-t", f"{seconds:g}s", "-J")
        result = json_of(str(BIN / "ctrlload"), "run", f"127.0.0.1:{port}", *flags, *words)
        same(result["sent"]["packets"], result["replies"]["packets"], "pings and replies")
        same(result["sent"]["packets"], counted() - before, "pings and what Redis counted")
        asked_for[:] = [int(result["sent"]["packets"])]
        return float(result["sent"]["packets_per_second"])

    def peer() -> float:
        number, before = (asked_for or [int(PINGS_A_SECOND * seconds)])[0], counted()
        words = ("-p", str(port), "-t", "ping_inline", "-c", str(CONNECTIONS), "-n", str(number), "--csv")
        text = output_of(benchmark, *words)
        same(number, counted() - before, "pings of redis-benchmark and what Redis counted")
        return float(text.splitlines()[-1].split(",")[1].strip('"'))

    asked_for: list[int] = []
    with server(redis, "--port", str(port), "--bind", "127.0.0.1", "--save", "") as listening:
        listening.line("Ready to accept connections")
        yield ours, peer


@contextmanager
def bulk_to_scripts(seconds: float) -> Iterator[Sides]:
    """Packets of 1 KiB a second. The scripts send 10 000, as in 2013, which is over in some 20 ms, so one
    measurement is five of their runs; a read that brings less than a packet is not counted for more than it brings."""

    def seconds_of_scripts() -> float:
        with server(*python_peer("scripts2013", "server.py"), str(SCRIPT_PACKETS)) as listening:
            output_of(*python_peer("scripts2013", "client.py"), str(listening.port()), str(SCRIPT_PACKETS))
            took = float(listening.line(r"^total time ([0-9.]+) s").group(1))
            total = int(listening.line(r"^number of bytes (\d+)").group(1))
        same(SCRIPT_PACKETS * PACKET, total, "bytes sent and received by the scripts")
        return took

    def peer() -> float:
        return SCRIPT_PACKETS * SCRIPT_RUNS / sum(seconds_of_scripts() for _ in range(SCRIPT_RUNS))

    with ctrlserver("sink") as (data_port, admin_port):
        yield lambda: float(load(data_port, admin_port, seconds)["packets_per_second"]), peer


def sent_by_c(port: int, seconds: float) -> dict[str, Any]:
    """What one C sender has sent on one stream, and the seconds until all of it was read."""
    return json_of(c_peer("bulk_sender"), "--port", str(port), "--packet", str(PACKET), "--seconds", f"{seconds:g}")


def ours_from_c(data_port: int, admin_port: int, seconds: float) -> float:
    """Bits per second of the C sender into ours, after its counts were found equal to what was sent."""
    before = stats(admin_port)
    sent = sent_by_c(data_port, seconds)
    after = stats(admin_port)
    same(sent["bytes"], after["bytes_total"] - before["bytes_total"], "bytes into ctrlserver")
    same(sent["bytes"] // PACKET, after["packets_total"] - before["packets_total"], "packets into ctrlserver")
    return float(sent["bytes"] * 8 / sent["seconds"])


def bulk_from_c(*reads: str) -> Callable[[float], AbstractContextManager[Sides]]:
    """Bits per second of one C sender, into ours and into a C sink that reads as its options say."""

    @contextmanager
    def sides(seconds: float) -> Iterator[Sides]:
        def peer_at(listening: Server) -> float:
            known = len(listening.lines)
            sent = sent_by_c(listening.port(), seconds)
            same(sent["bytes"], int(listening.line(r'"bytes": (\d+)', since=known).group(1)), "bytes into the C sink")
            return float(sent["bytes"] * 8 / sent["seconds"])

        with ctrlserver("sink") as ports, server(c_peer("sink_server"), *reads) as listening:
            yield lambda: ours_from_c(*ports, seconds), lambda: peer_at(listening)

    return sides


def asked(client: str, port: int, seconds: float, connections: int = CONNECTIONS) -> dict[str, Any]:
    """The counts of the echo client, each reply compared by it with its request."""
    options = {"--port": port, "--connections": connections, "--size": PACKET, "--seconds": f"{seconds:g}"}
    answers = json_of(client, *(str(word) for option in options.items() for word in option))
    same(answers["requests"], answers["replies"], "requests and replies")
    return answers


def echoes(*peer_command: str) -> Callable[[float], AbstractContextManager[Sides]]:
    """Replies per second on 50 connections with one packet of 1 KiB in flight on each; ours against the command's."""

    @contextmanager
    def sides(seconds: float) -> Iterator[Sides]:
        client = c_peer("echo_client")
        command = (c_peer(peer_command[0]),) if len(peer_command) == 1 else python_peer(*peer_command)

        def ours_at(data_port: int, admin_port: int) -> float:
            before = stats(admin_port)
            answers = asked(client, data_port, seconds)
            after = stats(admin_port)
            same(answers["requests"], after["packets_total"] - before["packets_total"], "requests and packets counted")
            same(answers["replies"], after["replies_total"] - before["replies_total"], "replies and replies counted")
            return float(answers["replies"] / answers["seconds"])

        def peer_at(port: int) -> float:
            answers = asked(client, port, seconds)
            return float(answers["replies"] / answers["seconds"])

        with ctrlserver("echo") as ports, server(*command) as listening:
            port = listening.port()
            yield lambda: ours_at(*ports), lambda: peer_at(port)

    return sides


@contextmanager
def echo_to_uvloop(seconds: float) -> Iterator[Sides]:
    """As `echoes`, where uvloop is installed."""
    if importlib.util.find_spec("uvloop") is None:
        raise MissingError("uvloop (extra dev)")
    with echoes("peers", "uvloop_echo.py")(seconds) as sides:
        yield sides


def datagrams(size: int, batch: int) -> Callable[[float], AbstractContextManager[Sides]]:
    """Datagrams received a second: one C sender, `batch` a call, into ours; iperf3's own sender into iperf3."""

    @contextmanager
    def sides(seconds: float) -> Iterator[Sides]:
        sender, iperf3 = c_peer("udp_sender"), tool("iperf3", "iperf3")
        options = ("--size", str(size), "--batch", str(batch), "--seconds", f"{seconds:g}")

        def ours_at(data_port: int, admin_port: int) -> float:
            before = stats(admin_port)
            sent = json_of(sender, "--port", str(data_port), *options)
            received = all_of(sent["packets"], before, admin_port)
            return float(received / sent["seconds"])

        def all_of(sent: int, before: dict[str, Any], admin_port: int) -> int:
            """What was received, once it and what the kernel dropped add up to what was sent.

            Without the privilege for bpf a batch is one drop; those are told apart, and each is a whole batch here.
            """
            end = time.monotonic() + END_SECONDS
            while True:
                after = stats(admin_port)
                received = after["packets_total"] - before["packets_total"]
                dropped, in_batches = (
                    after[name] - before[name] for name in ("dropped_total", "dropped_in_batches_total")
                )
                dropped += in_batches * (per_call - 1)
                if received + dropped == sent or time.monotonic() > end:
                    break
            same(sent, received + dropped, "datagrams sent, and received or dropped")
            same(received * size, after["bytes_total"] - before["bytes_total"], "bytes received")
            return int(received)

        def peer() -> float:
            port = str(free_port())
            with server(iperf3, "--server", "--one-off", "--forceflush", "--port", port) as listening:
                listening.line("Server listening")
                flags = ("-u", "-b", "0", "-l", str(size), "--time", str(max(1, round(seconds))), "-J")
                total = json_of(iperf3, "--client", "127.0.0.1", "--port", port, *flags)["end"]["sum"]
            same(total["packets"] * size, total["bytes"], "bytes sent by iperf3")
            return float((total["packets"] - total["lost_packets"]) / total["seconds"])

        per_call = min(batch, 65507 // size)
        with ctrlserver("sink", "--udp") as ports:
            yield lambda: ours_at(*ports), peer

    return sides


@contextmanager
def datagrams_sent(seconds: float) -> Iterator[Sides]:
    """Datagrams of 1 400 bytes sent a second, whatever of them is received: `ctrlload` into ctrlserver, iperf3 into
    iperf3. Of ours the server counts no more than were sent; of iperf3's sender there is only its own word."""
    iperf3, size = tool("iperf3", "iperf3"), 1400

    def ours_at(data_port: int, admin_port: int) -> float:
        target, admin = f"udp:127.0.0.1:{data_port}", f"127.0.0.1:{admin_port}"
        flags = ("-t", f"{seconds:g}s", "-l", str(size), "--admin", admin, "-J")
        result = json_of(str(BIN / "ctrlload"), "run", target, *flags)
        same(result["sent"]["packets"] * size, result["sent"]["bytes"], "bytes sent")
        same(None, result["difference"], "the difference from what the server counted")
        return float(result["sent"]["packets_per_second"])

    def peer() -> float:
        port = str(free_port())
        with server(iperf3, "--server", "--one-off", "--forceflush", "--port", port) as listening:
            listening.line("Server listening")
            flags = ("-u", "-b", "0", "-l", str(size), "--time", str(max(1, round(seconds))), "-J")
            total = json_of(iperf3, "--client", "127.0.0.1", "--port", port, *flags)["end"]["sum"]
        same(total["packets"] * size, total["bytes"], "bytes sent by iperf3")
        return float(total["packets"] / total["seconds"])

    with ctrlserver("sink", "--udp") as ports:
        yield lambda: ours_at(*ports), peer


ROWS = (
    Row("bulk", "bulk, 1 stream, 1 KiB: ctrlload into ctrlserver / iperf3", "bit/s", 1.5, bulk_to_iperf3(1)),
    Row("bulk", "bulk, 2 streams, 1 KiB: ctrlload -P 2 into ctrlserver / iperf3 -P 2", "bit/s", 1.1, bulk_to_iperf3(2)),
    Row("bulk", "bulk, 1 stream, 1 KiB: ctrlload into ctrlserver / 2013 scripts", "packets/s", 10.0, bulk_to_scripts),
    Row(
        "bulk",
        "bulk, 1 stream: C sender into ctrlserver / into C epoll sink, same reads",
        "bit/s",
        0.95,
        bulk_from_c("--read", "1048576", "--truncate"),
    ),
    Row(
        "bulk",
        "bulk, 1 stream: C sender into ctrlserver / into C epoll sink that copies",
        "bit/s",
        None,
        bulk_from_c("--read", "65536"),
    ),
    Row(
        "writes",
        "one write a packet, 1 stream, 1 KiB: ctrlload into ctrlserver / iperf3 -l 1K",
        "packets/s",
        0.7,
        packets_to_iperf3(1),
    ),
    Row(
        "writes",
        "one write a packet, 2 streams, 1 KiB: ctrlload --processes 2 into ctrlserver / iperf3 -l 1K -P 2",
        "packets/s",
        1.0,
        packets_to_iperf3(2, "--processes", "2"),
    ),
    Row("redis", "Redis PING, 50 connections: ctrlload / redis-benchmark", "replies/s", 0.9, pings_to_redis),
    Row(
        "echo",
        "echo, 50 connections, 1 KiB: ctrlserver / stock Twisted",
        "replies/s",
        2.2,
        echoes("peers", "twisted_echo.py"),
    ),
    Row("echo", "echo, 50 connections, 1 KiB: ctrlserver / C epoll echo", "replies/s", 0.88, echoes("echo_server")),
    Row("echo", "echo, 50 connections, 1 KiB: ctrlserver / uvloop asyncio", "replies/s", 1.0, echo_to_uvloop),
    Row("udp", "UDP, 1400 B, sent: ctrlload / iperf3 -u -b 0", "packets/s", 8.0, datagrams_sent),
    *(
        Row(
            "udp",
            f"UDP, {size} B: C sender, {how}, into ctrlserver / iperf3 -u -b 0",
            "packets/s",
            reach,
            datagrams(size, batch),
        )
        for how, batch, reach in (("batches", 128, 8.0), ("one by one", 1, None))
        for size in (64, 1400)
    ),
)
