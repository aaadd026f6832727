"""Good traffic beside hostile peers: its rate and its counts, how long a question waits, what memory the server takes.

Rules: those who ask and compare counts use a unix socket, for an attack may hold all seats that the network has. Each
attack is a process of its own, at a low priority, for the server is judged and not the machine. The good traffic is
ctrlload's, which compares its counts with the server's; a difference has no figure. ``python -m benchmarks.siege
SECONDS`` has all attacks go on at once for so long, and prints how the resident memory went.

Beware: two processors are shared by server, sender, attack and question: the attack takes from the sender too.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import select
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from attrs import frozen

from benchmarks.figures import FigureRow, Figures, resident_bytes
from benchmarks.pairs import Asked, CountsDifferError
from benchmarks.programs import BIN, Server, json_of, server
from ctrlserver.wire.probe import encode

#: The daemon under siege: a listener for the good traffic, and one for each kind of costly packets.
CONFIG = """
history = "off"
[[listener]]
name = "good"
endpoint = "tcp:0:interface=127.0.0.1"
[[listener]]
name = "netstring"
endpoint = "tcp:0:interface=127.0.0.1"
framing = "netstring"
[[listener]]
name = "line"
endpoint = "tcp:0:interface=127.0.0.1"
framing = "line"
mode = "echo"
keep = 100
[[listener]]
name = "probe"
endpoint = "tcp:0:interface=127.0.0.1"
framing = "fixed:24"
probe = true
[[admin]]
endpoint = "tcp:0:interface=127.0.0.1"
[[admin]]
endpoint = "unix:%s"
"""

ASK_SECONDS = 0.01
NICE = 10
Ports = Mapping[str, int]


@frozen
class Siege:
    """The daemon: its ports by the names of its listeners, the admin socket that no attack reaches, its process."""

    ports: Ports
    admin: str
    process_id: int


@contextmanager
def besieged() -> Iterator[Siege]:
    """A daemon for the length of the block."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "siege.toml")
        admin = f"{folder}/admin.sock"
        config.write_text(CONFIG % admin)
        with server(str(BIN / "twistd"), "-n", "--pidfile=", "ctrlserver", "--config", str(config)) as running:
            names = ("good", "netstring", "line", "probe", "admin")
            yield Siege({name: _port(running, name) for name in names}, admin, running.process_id)


def _port(running: Server, name: str) -> int:
    return running.port(rf"listening {name} tcp \S+:(\d+)")


def _connected(port: int, number: int) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", port), 10) for _ in range(number)]


def pour(streams: list[socket.socket], block: bytes, *, reads: bool = False) -> None:
    """Send ``block`` again and again on each stream, as fast as it is read, for ever."""
    poll = select.poll()
    by_number = {stream.fileno(): stream for stream in streams}
    rest = dict.fromkeys(by_number, memoryview(block))
    for number, stream in by_number.items():
        stream.setblocking(False)
        poll.register(number, select.POLLOUT | (select.POLLIN if reads else 0))
    while by_number:
        for number, events in poll.poll(1000):
            stream = by_number[number]
            try:
                if events & select.POLLIN and not stream.recv(1 << 18):
                    raise ConnectionResetError
                if events & select.POLLOUT:
                    sent = stream.send(rest[number])
                    rest[number] = rest[number][sent:] or memoryview(block)
            except BlockingIOError:
                continue
            except OSError:  # the server has had enough of it
                poll.unregister(number)
                del by_number[number]


def newlines(ports: Ports) -> None:
    """One admin connection that sends empty lines."""
    pour(_connected(ports["admin"], 1), b"\n" * 65536)


def endless_lines(ports: Ports) -> None:
    """Admin connections that send lines without end, and come again."""
    while True:
        pour(_connected(ports["admin"], 8), b"x" * 65536)


def empty_netstrings(ports: Ports) -> None:
    """Streams of the shortest netstrings."""
    pour(_connected(ports["netstring"], 40), b"0:,1:a," * 9000)


def echoed_lines(ports: Ports) -> None:
    """Streams of the shortest lines, kept and echoed; the echoes are read."""
    pour(_connected(ports["line"], 40), b"\na\n" * 20000, reads=True)


def alternating_probes(ports: Ports) -> None:
    """Streams of probe packets whose sessions alternate."""
    packets = (encode(number // 2, number, session=number % 2) for number in range(4000))
    pour(_connected(ports["probe"], 4), b"".join(packets))


def pipelined_questions(ports: Ports) -> None:
    """Admin connections that pipeline questions and read the answers."""
    pour(_connected(ports["admin"], 60), b"help\nstats\ndescribe\nruns\n" * 100, reads=True)


def questions_for_a_peer(ports: Ports) -> None:
    """Questions for one peer's streams while 9 000 are open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    streams = _connected(ports["netstring"], min(9000, hard - 100))
    pour(_connected(ports["admin"], 8), b"streams peer=127.0.0.1:1\n" * 1000, reads=True)
    for stream in streams:
        stream.close()


def garbage(ports: Ports) -> None:
    """Connections to each port that say something of another protocol, and are reset."""
    words = (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\xff" * 100, b"9999999999:", b"")
    for name, word in itertools.cycle(itertools.product(("admin", "netstring", "line", "probe"), words)):
        with suppress(OSError), socket.create_connection(("127.0.0.1", ports[name]), 10) as stream:
            stream.sendall(word)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        time.sleep(0.002)


ATTACKS: dict[str, Callable[[Ports], None]] = {
    "one admin peer's newlines": newlines,
    "8 endless admin lines": endless_lines,
    "40 streams of empty netstrings": empty_netstrings,
    "40 streams of echoed empty lines": echoed_lines,
    "probes of alternating sessions": alternating_probes,
    "60 admin peers that pipeline": pipelined_questions,
    "8 peers that ask for a peer of 9 000 streams": questions_for_a_peer,
}


def _attack(attack: Callable[[Ports], None], ports: Ports) -> None:
    os.nice(NICE)
    with suppress(KeyboardInterrupt, ConnectionError):
        attack(ports)


@contextmanager
def under(attack: Callable[[Ports], None], ports: Ports) -> Iterator[None]:
    """The attack goes on during the block."""
    process = multiprocessing.get_context("fork").Process(target=_attack, args=(attack, ports), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def load(siege: Siege, *flags: str) -> float:
    """Bits per second of a load whose counts reconcile."""
    target = f"127.0.0.1:{siege.ports['good']}"
    result = json_of(str(BIN / "ctrlload"), "run", target, "--admin", f"unix:{siege.admin}", "-J", "-i", "0", *flags)
    if result["reconciled"] is not True:
        raise CountsDifferError(f"the counts do not reconcile: {result['difference']}")
    rate: float = result["sent"]["bits_per_second"]
    return rate


class Asking(threading.Thread):
    """Asks the admin port now and then; ``times`` are the seconds that the answers took."""

    def __init__(self, siege: Siege) -> None:
        super().__init__(daemon=True)
        self.times: list[float] = []
        self._over = threading.Event()
        self._admin = siege.admin

    def run(self) -> None:
        with suppress(PermissionError):  # the server is judged, and not how soon this thread has a processor
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -NICE)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(self._admin)
            while not self._over.wait(ASK_SECONDS):
                began = time.perf_counter()
                connection.sendall(b"ping\n")
                if not connection.recv(100).startswith(b"OK"):
                    raise ConnectionError("the admin port did not answer a ping")
                self.times.append(time.perf_counter() - began)

    def end(self) -> list[float]:
        """Stop; the times, shortest first."""
        self._over.set()
        self.join()
        return sorted(self.times)


def beside(attack: Callable[[Ports], None]) -> Callable[[float], Any]:
    """A row's figures: p99 of a question beside the attack, in ms, and the rate beside it through the rate alone."""

    @contextmanager
    def figures(seconds: float) -> Iterator[Figures]:
        def figure() -> tuple[float, float]:
            with besieged() as siege:
                alone = load(siege, "-t", f"{seconds:g}s")
                with under(attack, siege.ports):
                    time.sleep(max(0.5, seconds / 2))
                    asking = Asking(siege)
                    asking.start()
                    time.sleep(seconds)
                    times = asking.end()
                    rate = load(siege, "-t", f"{seconds:g}s")
            return 1000 * times[int(len(times) * 0.99)], rate / alone

        yield figure

    return figures


FIGURES = tuple(
    FigureRow(
        "siege",
        (
            Asked(f"a question beside {what}, p99", "ms", 20.0),
            Asked(f"bulk, 1 stream: beside {what} / alone", "", 0.6, at_most=False),
        ),
        beside(attack),
    )
    for what, attack in ATTACKS.items()
)


def main(seconds: float) -> int:
    """All attacks at once, with good traffic of three kinds, for so long."""
    with besieged() as siege:
        ports, runs = siege.ports, 0
        ours = multiprocessing.get_context("fork")
        attackers = [
            ours.Process(target=_attack, args=(each, ports), daemon=True) for each in (*ATTACKS.values(), garbage)
        ]
        for attacker in attackers:
            attacker.start()
        asking = Asking(siege)
        asking.start()
        memory: list[int] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for flags in (("-t", "2s", "-P", "4"), ("-n", "20k", "-P", "100"), ("-r", "5k/s", "-t", "1s")):
                load(siege, *flags)
                runs += 1
            memory.append(resident_bytes(siege.process_id))
            print(f"{len(memory):4}  {memory[-1] >> 20} MiB, {runs} runs reconciled", flush=True)
        times = asking.end()
        for attacker in attackers:
            attacker.terminate()
            attacker.join()
        thirds = len(memory) // 3 or 1
        first, last = (median(part) / 2**20 for part in (memory[:thirds], memory[-thirds:]))
        middle, late = (1000 * times[int(len(times) * part)] for part in (0.5, 0.99))
        print(f"{runs} runs, all reconciled; resident, first third and last: {first:.0f} MiB, {last:.0f} MiB")
        print(f"{len(times)} questions: p50 {middle:.1f} ms, p99 {late:.1f} ms, longest {1000 * times[-1]:.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))
