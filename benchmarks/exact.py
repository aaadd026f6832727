"""Whether several workers count exactly: over many streams that are reset, and when workers are killed under load.

    python -m benchmarks.exact [--packets 100000000] [--kills 50] [--seed N]

Rules: who sends waits until the server's kernel has acknowledged all (SIOCOUTQ is 0) before it resets a stream, so
every byte must be counted. A kill may cost what came after the last snapshot, LATEST_SECONDS before it at most, and no
connect. Exit 0 if that holds, 1 otherwise; the seed is printed.
"""

from __future__ import annotations

import argparse
import fcntl
import multiprocessing
import os
import random
import signal
import socket
import struct
import sys
import termios
import threading
import time
from contextlib import suppress

from attrs import define

from benchmarks.pairs import CountsDifferError
from benchmarks.programs import Daemon, ProgramFailedError, asked_for, stats
from benchmarks.rows import same
from benchmarks.workers import WORKERS, sharing, wait_for_workers

PACKET = 64
STREAMS = 200
SENDERS = 2
BLOCK_PACKETS = 8192
LATEST_SECONDS = 1.5

#: Seconds that a worker has lived before it is killed.
LEAST_SECONDS = 1.2
END_SECONDS = 60.0
RESET = struct.pack("ii", 1, 0)


def unsent(stream: socket.socket) -> int:
    """Bytes that the peer's kernel has not acknowledged."""
    return int(struct.unpack("i", fcntl.ioctl(stream, termios.TIOCOUTQ, b"\0\0\0\0"))[0])


def end(stream: socket.socket, *, reset: bool) -> None:
    """Close it once all has arrived, by a reset or a FIN."""
    if reset:
        while unsent(stream):
            time.sleep(0.0005)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    stream.close()


def send(port: int, packets: int, streams: int, seed: int) -> tuple[int, int]:
    """Send so many packets over so many streams at a time, and end one now and then: packets, and streams in all."""
    chance = random.Random(seed)
    block = memoryview(bytes(PACKET * BLOCK_PACKETS))
    open_ones = [socket.create_connection(("127.0.0.1", port)) for _ in range(streams)]
    sent, opened = 0, streams
    while sent < packets:
        number = chance.randrange(streams)
        count = min(chance.randint(1, BLOCK_PACKETS), packets - sent)
        open_ones[number].sendall(block[: count * PACKET])
        sent += count
        if chance.random() < 0.05:
            end(open_ones[number], reset=chance.random() < 0.7)
            open_ones[number] = socket.create_connection(("127.0.0.1", port))
            opened += 1
    for stream in open_ones:
        end(stream, reset=chance.random() < 0.7)
    return sent, opened


def settled(admin_port: int) -> dict[str, int]:
    """The figures once no stream is open."""
    until = time.monotonic() + END_SECONDS
    while (record := stats(admin_port))["streams_open"]:
        if time.monotonic() > until:
            raise CountsDifferError(f"{record['streams_open']} streams are still open")
        time.sleep(0.05)
    return record


def counts(packets: int, seed: int) -> None:
    """All packets of all streams are counted, whatever ended them."""
    with sharing("sink", WORKERS, framing=f"fixed:{PACKET}") as ours:
        with multiprocessing.get_context("fork").Pool(SENDERS) as pool:
            share = (ours.data_port, packets // SENDERS, STREAMS // SENDERS)
            done = pool.starmap(send, [(*share, seed + each) for each in range(SENDERS)])
        record = settled(ours.admin_port)
    sent, opened = sum(each[0] for each in done), sum(each[1] for each in done)
    same(sent, record["packets_total"], "packets")
    same(sent * PACKET, record["bytes_total"], "bytes")
    same(opened, record["streams_total"], "streams")
    same(0, record["incomplete_bytes_total"], "incomplete bytes")
    print(f"counts: {sent} packets over {opened} streams, {STREAMS} at a time, all counted", flush=True)


@define(eq=False)
class Sent:
    """What has been echoed to a client, what it could not connect, and how many of its streams were cut off."""

    packets: int = 0
    failed_connects: int = 0
    cut_off: int = 0
    late: int = 0
    """Packets that were echoed to a stream that was cut off, in the last seconds of it."""


def ask_for_echoes(port: int, over: threading.Event, sent: Sent, chance: random.Random) -> None:
    """Streams one after another, each with packets one after another."""
    packet = bytes(PACKET)
    while not over.is_set():
        try:
            stream = socket.create_connection(("127.0.0.1", port), 30)
        except OSError:
            sent.failed_connects += 1
            continue
        times: list[float] = []
        try:
            for _ in range(chance.randint(1, 400)):
                stream.sendall(packet)
                if len(stream.recv(PACKET, socket.MSG_WAITALL)) < PACKET:
                    raise ConnectionResetError
                times.append(time.monotonic())
                time.sleep(0.002)
        except OSError:
            sent.cut_off += 1
            sent.late += sum(each > time.monotonic() - LATEST_SECONDS for each in times)
        with suppress(OSError):
            stream.close()
        sent.packets += len(times)


def kill_one(ours: Daemon, chance: random.Random, begun: dict[int, float]) -> None:
    """Kill a worker, and wait for the next one. Five that end as soon as they have begun would end the daemon."""
    workers = asked_for(ours.admin_port, "workers")
    for each in workers:
        begun.setdefault(each["pid"], time.monotonic())
    oldest = sorted(begun[each["pid"]] for each in workers)
    time.sleep(max(0.0, oldest[1] + LEAST_SECONDS - time.monotonic()))
    old = [each["pid"] for each in workers if time.monotonic() - begun[each["pid"]] > LEAST_SECONDS]
    os.kill(chance.choice(old), signal.SIGKILL)
    time.sleep(chance.random() * 0.3)
    wait_for_workers(ours.admin_port, WORKERS)


def deaths(kills: int, seed: int) -> None:
    """Workers are killed under load: nobody is refused, and only the newest packets are missing."""
    chance, over = random.Random(seed), threading.Event()
    with sharing("echo", WORKERS, framing=f"fixed:{PACKET}") as ours:
        all_sent = [Sent() for _ in range(20)]
        clients = [
            threading.Thread(target=ask_for_echoes, args=(ours.data_port, over, sent, random.Random(seed + number)))
            for number, sent in enumerate(all_sent)
        ]
        for client in clients:
            client.start()
        try:
            begun: dict[int, float] = {}
            for _ in range(kills):
                kill_one(ours, chance, begun)
        finally:
            over.set()
            for client in clients:
                client.join()
        record = settled(ours.admin_port)
    packets, late = (sum(getattr(each, name) for each in all_sent) for name in ("packets", "late"))
    cut_off, failed = (sum(getattr(each, name) for each in all_sent) for name in ("cut_off", "failed_connects"))
    missing = packets - record["packets_total"]
    same(0, failed, "failed connects")
    same(kills, record["worker_restarts_total"], "worker_restarts_total")
    if missing > late:
        raise CountsDifferError(f"{missing} packets are missing, and {late} came after the last snapshots")
    print(
        f"kills: {kills}, failed connects 0, {cut_off} streams cut off,"
        f" {record['closed_worker_total']} closed as a worker's,"
        f" {packets} packets echoed, {missing} missing of the {late} newest",
        flush=True,
    )


def main() -> int:
    """Both; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exact", description="do several workers count exactly")
    parser.add_argument("--packets", type=int, default=100_000_000, help="packets over 200 streams (100000000)")
    parser.add_argument("--kills", type=int, default=50, help="workers that are killed (50)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    try:
        if asked.packets:
            counts(asked.packets, asked.seed)
        if asked.kills:
            deaths(asked.kills, asked.seed)
    except (CountsDifferError, ProgramFailedError) as error:
        what = "counts differ" if isinstance(error, CountsDifferError) else "failed"
        print(f"{what}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
