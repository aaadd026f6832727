"""What scrapes, slow clients, readers of the live page and a history cost one long load, in its rate.

    python -m benchmarks.beside KIND [--seconds 160] [--streams 1] [--add FILE]
    python -m benchmarks.beside --pool FILE...

Model: one server and one load of C senders. KIND is on and off in turn beside it, in blocks of four slots: off on on
off, or on off off on, by chance, so that a drift of the machine falls on both. A slot's rate is by the server's own
count of bytes and its own clock. A block gives one ratio, on through off; what is told of all blocks is their trimmed
mean, with the interval of a bootstrap.

Rules: what the senders sent is what the server counted, and whatever is beside them counts its answers; a difference is
no figure. Switching is no part of a slot. KIND ``nothing`` is the control: it has to come out as 1. ``--add`` appends
the blocks of a run to a file, and ``--pool`` tells of all blocks of some files: each is a pair of its own, so they may
be of several runs.

Beware: server, senders and KIND share the processors; KIND's own share is told, and is in what it costs.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import random
import select
import socket
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from math import exp, log
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import mean
from typing import Any

from attrs import field, frozen

from benchmarks.pairs import CountsDifferError
from benchmarks.programs import BIN, LISTENING, ProgramFailedError, Server, c_peer, server
from benchmarks.rows import PACKET, same

SLOW_CLIENTS = 1000
READERS = 16
RESAMPLES = 4000
TRIMMED = 0.2
WRITE = 1 << 19

Step = Callable[[], None]


@frozen
class Kind:
    """Something beside the load: ``at_work`` lasts as long as it is on, and gives what is done ``every`` so often.

    ``slot`` is long enough for a few of these, and as short as can be, for the machine's rate drifts. What a switch has
    begun or ended is over after ``settle``.
    """

    at_work: Callable[[Ours], AbstractContextManager[Step]]
    every: float = 0.1
    slot: float = 0.2
    settle: float = 0.05


@frozen
class Ours:
    """The server: where it listens, and its process."""

    data_port: int
    http_port: int
    admin: str
    process_id: int


@contextmanager
def serving() -> Iterator[Ours]:
    """A server with a sink, a history and a port by HTTP."""
    local = "tcp:0:interface=127.0.0.1"
    with tempfile.TemporaryDirectory() as folder:
        admin = f"{folder}/admin.sock"
        options = ("--data", local, "--http", local, "--admin", f"unix:{admin}", "--history", f"{folder}/history")
        with server(str(BIN / "twistd"), "-n", "--pidfile=", "ctrlserver", *options) as running:
            ports = [running.port(rf"listening {name} tcp \S+:(\d+)") for name in ("data", "http")]
            running.line("listening admin")
            yield Ours(*ports, admin, running.process_id)


class Asking:
    """One connection to the admin port."""

    def __init__(self, admin: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(admin)
        self._replies = self._socket.makefile("rb")

    def ask(self, command: str) -> dict[str, Any]:
        """What a command tells."""
        self._socket.sendall(f"{command} json\n".encode())
        reply = json.loads(self._replies.readline())
        if not reply["ok"]:
            raise ProgramFailedError(f"{command}: {reply['error']}")
        found: dict[str, Any] = reply["data"]
        return found

    def close(self) -> None:
        """No more questions."""
        self._replies.close()
        self._socket.close()


# What is beside the load


@contextmanager
def nothing(_ours: Ours) -> Iterator[Step]:
    """The control."""
    yield lambda: None


@contextmanager
def scrapes(ours: Ours) -> Iterator[Step]:
    """`/metrics` on one connection that stays."""
    connection = http.client.HTTPConnection("127.0.0.1", ours.http_port, timeout=30)

    def scrape() -> None:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        if answer.status != 200 or not answer.read().endswith(b"\n"):
            raise ProgramFailedError(f"/metrics: {answer.status}")

    scrape()
    yield scrape
    connection.close()


@contextmanager
def runs(ours: Ours) -> Iterator[Step]:
    """Runs, each of which ends the one before."""
    asking = Asking(ours.admin)
    yield lambda: same("siege", asking.ask("run start siege")["name"], "the name of a run")
    asking.ask("run stop")
    asking.close()


@contextmanager
def slow_clients(ours: Ours) -> Iterator[Step]:
    """Clients that send a byte of a request each second, and come again where they are sent away."""
    head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"x" * 8192
    clients: dict[socket.socket, int] = {}
    order = iter(())

    def connect() -> None:
        client = socket.create_connection(("127.0.0.1", ours.http_port), 30)
        client.setblocking(False)
        clients[client] = client.send(head[:20])

    def trickle() -> None:
        nonlocal order
        for _ in range(SLOW_CLIENTS // 10):
            if (client := next(order, None)) is None:
                order = iter([*clients])
                client = next(order)
            at = clients.pop(client)
            try:
                clients[client] = at + client.send(head[at : at + 1])
            except OSError:
                client.close()
                connect()

    for _ in range(SLOW_CLIENTS):
        connect()
    yield trickle
    for client in clients:
        client.close()
    while _queued(ours.http_port):
        time.sleep(0.02)


def _queued(port: int) -> int:
    """Connections that wait to be accepted."""
    rows = map(str.split, Path("/proc/net/tcp").read_text().splitlines())
    listening = (row[4] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == LISTENING)
    return sum(int(queues.partition(":")[2], 16) for queues in listening)


@contextmanager
def readers(ours: Ours) -> Iterator[Step]:
    """Live pages that read nothing."""
    clients = [socket.create_connection(("127.0.0.1", ours.http_port), 30) for _ in range(READERS)]
    for client in clients:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        select.select([client], [], [], 30)
    yield lambda: None
    for client in clients:
        client.close()


KINDS: Mapping[str, Kind] = {
    "nothing": Kind(nothing),
    "scrapes": Kind(scrapes),
    "runs": Kind(runs, every=0.06),
    "slow-clients": Kind(slow_clients, slot=0.4, settle=0.2),
    "readers": Kind(readers, slot=0.5, settle=0.3),
}


def _beside(kind: Kind, ours: Ours, switch: Connection) -> None:
    """In a process of its own: on, off, on ... as told; tells the processor time of its own and its steps each time."""
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            switch.recv()
            with kind.at_work(ours) as step:
                switch.send(None)
                began, steps, first = time.process_time(), 0, time.monotonic()
                due = first
                while not switch.poll(max(0.0, due - time.monotonic())):
                    step()
                    steps, due = steps + 1, due + kind.every
                switch.recv()
                told = steps, time.process_time() - began, time.monotonic() - first
            switch.send(told)


@frozen
class Switch:
    """Of what is beside the load; ``told``: its steps, their seconds of processor time, and how long it was on."""

    pipe: Connection
    settle: float
    told: Counter[str] = field(factory=Counter)

    def turn(self, *, on: bool) -> None:
        """The other way; it is so once this returns."""
        self.pipe.send(None)
        if not self.pipe.poll(60):
            raise ProgramFailedError("what is beside the load has hung")
        if not on:
            for name, value in zip(("steps", "processor", "seconds"), self.pipe.recv(), strict=True):
                self.told[name] += value
        else:
            self.pipe.recv()
        time.sleep(self.settle)


@contextmanager
def switched(kind: Kind, ours: Ours) -> Iterator[Switch]:
    """A switch; off."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_beside, args=(kind, ours, there), daemon=True)
    process.start()
    there.close()
    try:
        yield Switch(here, kind.settle)
    finally:
        process.terminate()
        process.join()


# Blocks


def _processor_seconds(process_id: int) -> float:
    """Of all threads."""
    tasks = Path(f"/proc/{process_id}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def slot(asking: Asking, ours: Ours, seconds: float) -> tuple[float, float]:
    """Bits a second, and the server's share of a processor, for so long."""

    def reading() -> tuple[float, int, float]:
        stats = asking.ask("stats")
        return stats["uptime_seconds"], stats["bytes_total"], _processor_seconds(ours.process_id)

    began, before, used = reading()
    time.sleep(seconds)
    ended, after, used_then = reading()
    if after == before:
        raise ProgramFailedError("nothing has come")
    passed = ended - began
    return 8 * (after - before) / passed, (used_then - used) / passed


def blocks(name: str, seconds: float, streams: int, chance: random.Random) -> list[dict[str, Any]]:
    """As many as fit into ``seconds``: a mapping for each, to be kept."""
    found: list[dict[str, Any]] = []
    kind = KINDS[name]
    sender = (c_peer("bulk_sender"), "--packet", str(PACKET), "--write", str(WRITE), "--seconds", f"{seconds:g}")
    with serving() as ours, ExitStack() as stack:
        asking, switch = Asking(ours.admin), stack.enter_context(switched(kind, ours))
        senders: list[Server] = [
            stack.enter_context(server(*sender, "--port", str(ours.data_port))) for _ in range(streams)
        ]
        end = time.monotonic() + seconds - 1
        time.sleep(1)
        is_on, longest = False, 0.0
        while time.monotonic() + longest < end:
            began = time.monotonic()
            turns = chance.choice(((False, True, True, False), (True, False, False, True)))
            slots = []
            for on in turns:
                if on != is_on:
                    switch.turn(on=on)
                    is_on = on
                slots.append((on, *slot(asking, ours, kind.slot)))
            found.append({"kind": name, "streams": streams, "slots": slots})
            longest = max(longest, time.monotonic() - began)
        if is_on:
            switch.turn(on=False)
        sent = sum(int(each.line(r'"bytes": (\d+)', seconds=seconds).group(1)) for each in senders)
        stats = asking.ask("stats")
        same(sent, stats["bytes_total"], "bytes sent and counted")
        same(sent // PACKET, stats["packets_total"], "packets sent and counted")
        same(0, stats["history_lost_total"], "runs lost")
        told = switch.told
        if name == "runs":
            same(told["steps"], asking.ask("stats runs_total")["runs_total"] - 1, "runs begun and counted")
        often, share = told["steps"] / told["seconds"], told["processor"] / told["seconds"]
        print(f"{name}: {often:.1f} times a second, {100 * share:.1f} % of a processor for it")
    return found


# What they say


def ratio(slots: Sequence[tuple[bool, float, float]]) -> float:
    """The logarithm of a block's rate with it through its rate without."""
    with_it, without = ([log(rate) for on, rate, _ in slots if on is which] for which in (True, False))
    return mean(with_it) - mean(without)


def trimmed(values: Sequence[float]) -> float:
    """The mean without the least and the greatest fifth."""
    cut = int(len(values) * TRIMMED)
    return mean(sorted(values)[cut : len(values) - cut])


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the trimmed mean lies, with 95 %."""
    chance = random.Random(1)
    means = sorted(trimmed(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[RESAMPLES // 40], means[-RESAMPLES // 40]


def line(name: str, kept: Sequence[Mapping[str, Any]]) -> str:
    """What some blocks of one kind say."""
    ratios = [ratio(each["slots"]) for each in kept]
    low, high = interval(ratios)
    rates = [[rate for each in kept for on, rate, _ in each["slots"] if on is which] for which in (False, True)]
    shares = [mean(share for each in kept for on, _, share in each["slots"] if on is which) for which in (False, True)]
    return (
        f"{name}: {exp(trimmed(ratios)):.4f} of the rate ({exp(low):.4f} to {exp(high):.4f}), {len(kept)} blocks;"
        f" {mean(rates[0]) / 1e9:.1f} and {mean(rates[1]) / 1e9:.1f} Gbit/s without and with it;"
        f" the server takes {100 * shares[0]:.1f} and {100 * shares[1]:.1f} % of a processor"
    )


def pooled(paths: Sequence[Path]) -> list[str]:
    """A line for each kind and number of streams in some files."""
    kept: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in paths:
        for text in path.read_text().splitlines():
            block = json.loads(text)
            kept[f"{block['kind']}, {block['streams']} streams"].append(block)
    return [line(name, kept[name]) for name in sorted(kept)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside", description="what others cost a load")
    parser.add_argument("kind", nargs="?", choices=KINDS)
    parser.add_argument("--seconds", type=float, default=160.0, help="of the load (160)")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--add", type=Path, metavar="FILE", help="append the blocks to it")
    parser.add_argument("--pool", type=Path, nargs="+", metavar="FILE", help="tell of the blocks in them")
    asked = parser.parse_args()
    if asked.pool:
        print("\n".join(pooled(asked.pool)))
        return 0
    if asked.kind is None:
        parser.error(f"KIND is one of {', '.join(KINDS)}")
    try:
        found = blocks(asked.kind, asked.seconds, asked.streams, random.Random(asked.seed))
    except (CountsDifferError, ProgramFailedError, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    if asked.add:
        with asked.add.open("a") as file:
            file.writelines(json.dumps(block) + "\n" for block in found)
    print(line(f"{asked.kind}, {asked.streams} streams, seed {asked.seed}", found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
