"""Figures without a peer: processor time, answers beside a load, idle streams.

Rules: as for the rows: counts are checked before a figure is given. Processor time, resident memory and the number of
descriptors are the system's own words (/proc, getrlimit). One measurement may give several figures.

Beware: processor time comes in ticks of 10 ms, so a measurement of a second is good to a hundredth. The client that
asks the admin port shares the processors with server and load, and its own waits for one of them are in what it
measures.
"""

from __future__ import annotations

import os
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from attrs import frozen

from benchmarks.pairs import Asked, CountsDifferError
from benchmarks.programs import END_SECONDS, Daemon, ProgramFailedError, c_peer, daemon, stats
from benchmarks.rows import Row, Sides, asked, load, ours_from_c, same

STREAMS = 10_000
SPARE_DESCRIPTORS = 100
SENDERS = 8
ECHOES = 200
ASK_SECONDS = 0.002
SETTLE_SECONDS = 0.2

Figures = Callable[[], tuple[float, ...]]


@frozen
class FigureRow:
    """Figures of one measurement; `figures` takes its seconds and gives what takes the samples, in `asked`'s order."""

    group: str
    asked: tuple[Asked, ...]
    figures: Callable[[float], AbstractContextManager[Figures]]


def processor_seconds(process_id: int) -> tuple[float, float]:
    """User and system time of a process so far."""
    words = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return int(words[11]) / ticks, int(words[12]) / ticks


def resident_bytes(process_id: int) -> int:
    """What a process holds in memory."""
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def processor_share(seconds: float) -> Iterator[Figures]:
    """The server's own time while one C sender sends all it can: of the time that passed, and of its processor time."""
    with daemon("sink") as ours:

        def shares() -> tuple[float, float]:
            user, system = processor_seconds(ours.process_id)
            began = time.monotonic()
            ours_from_c(*ours.ports, seconds)
            passed = time.monotonic() - began
            user_after, system_after = processor_seconds(ours.process_id)
            user, system = user_after - user, system_after - system
            if not user + system:
                raise ProgramFailedError("the server's processor time did not grow")
            return 100 * user / passed, 100 * user / (user + system)

        yield shares


def answer_times(admin_port: int, until: threading.Event) -> list[float]:
    """Seconds from a question (`stats`) to the end of its answer, asked every 2 ms on one connection until told."""
    times = []
    with socket.create_connection(("127.0.0.1", admin_port), timeout=END_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        replies = connection.makefile("rb")
        while not until.wait(ASK_SECONDS):
            began = time.perf_counter()
            connection.sendall(b"stats\n")
            while not (line := replies.readline()).startswith(b"OK"):
                if not line:
                    raise ProgramFailedError("the admin port closed")
            times.append(time.perf_counter() - began)
    return times


def eight_senders(ours: Daemon, seconds: float) -> object:
    """Eight streams that send all they can."""
    return load(*ours.ports, seconds, SENDERS)


def many_echoes(ours: Daemon, seconds: float) -> object:
    """200 streams with an echo in flight on each."""
    return asked(c_peer("echo_client"), ours.data_port, seconds, ECHOES)


def answers_beside_a_load(
    ours: Daemon, seconds: float, work: Callable[[Daemon, float], object] = eight_senders
) -> tuple[float, float]:
    """Milliseconds of the median and the 99th percentile of answers beside a load, from its first packet on."""
    over = threading.Event()
    failures: list[Exception] = []

    def send() -> None:
        try:
            work(ours, seconds)
        except Exception as error:
            failures.append(error)
        finally:
            over.set()

    before = stats(ours.admin_port)["packets_total"]
    sending = threading.Thread(target=send)
    sending.start()
    try:
        while stats(ours.admin_port)["packets_total"] == before and not over.is_set():
            time.sleep(ASK_SECONDS)
        sent = threading.Timer(seconds * 0.9, over.set)
        sent.start()
        times = sorted(answer_times(ours.admin_port, over))
        sent.cancel()
    finally:
        sending.join()
    if failures:
        raise failures[0]
    if len(times) < 10:
        raise ProgramFailedError(f"{len(times)} answers only")
    return 1000 * times[len(times) // 2], 1000 * times[int(len(times) * 0.99)]


@contextmanager
def answers(seconds: float) -> Iterator[Figures]:
    """Those of one process."""
    with daemon("sink") as ours:
        yield partial(answers_beside_a_load, ours, seconds)


@contextmanager
def answers_beside_echoes(seconds: float) -> Iterator[Figures]:
    """Those of one process that echoes."""
    with daemon("echo") as ours:
        yield partial(answers_beside_a_load, ours, seconds, many_echoes)


@contextmanager
def rate_beside_questions(seconds: float) -> Iterator[Sides]:
    """Bits per second of the C sender into ours, with ten questions a second and without."""
    with daemon("sink") as ours:

        def beside_questions() -> float:
            over = threading.Event()

            def ask() -> None:
                while not over.wait(0.1):
                    stats(ours.admin_port)

            asking = threading.Thread(target=ask)
            asking.start()
            try:
                return ours_from_c(*ours.ports, seconds)
            finally:
                over.set()
                asking.join()

        yield beside_questions, lambda: ours_from_c(*ours.ports, seconds)


def streams_possible() -> int:
    """How many connections this process may hold, up to what is asked for, after raising its own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = STREAMS + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return STREAMS if soft == resource.RLIM_INFINITY else min(STREAMS, soft - SPARE_DESCRIPTORS)


@contextmanager
def idle_streams(_seconds: float) -> Iterator[Figures]:
    """Many connections that send nothing, to a server of their own each time: what they cost, how soon they were in."""

    def open_when(streams: int, admin_port: int) -> float:
        end = time.monotonic() + END_SECONDS
        while (record := stats(admin_port))["streams_open"] < streams:
            if time.monotonic() > end:
                raise CountsDifferError(f"streams open: expected {streams}, got {record['streams_open']}")
        return time.monotonic()

    def connected(port: int) -> socket.socket:
        client = socket.socket()
        client.connect(("127.0.0.1", port))
        return client

    def figures() -> tuple[float, float, float]:
        streams = streams_possible()
        clients: list[socket.socket] = []
        with daemon("sink") as ours:
            try:
                clients.append(connected(ours.data_port))  # so that what the first one loads is not charged to all
                open_when(1, ours.admin_port)
                time.sleep(SETTLE_SECONDS)
                before, began = resident_bytes(ours.process_id), time.monotonic()
                for _ in range(streams):
                    clients.append(connected(ours.data_port))
                took = open_when(streams + 1, ours.admin_port) - began
                time.sleep(SETTLE_SECONDS)
                grew = resident_bytes(ours.process_id) - before
                same(streams + 1, stats(ours.admin_port)["streams_open"], "streams open")
            finally:
                for client in clients:  # with a reset: thousands of ports need not wait
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
        return float(streams), grew / streams, streams / took

    yield figures


PAIRS = (Row("admin", "bulk, 1 stream: with 10 queries a second / without", "bit/s", 0.98, rate_beside_questions),)

FIGURES = (
    FigureRow(
        "bulk",
        (
            Asked("bulk, 1 stream, C sender: user time of the server / time passed", "%", 20.0),
            Asked("bulk, 1 stream, C sender: user time of the server / its user and system time", "%"),
        ),
        processor_share,
    ),
    FigureRow(
        "admin",
        (
            Asked("stats beside 8 saturating streams, median", "ms"),
            Asked("stats beside 8 saturating streams, p99", "ms", 5.0),
        ),
        answers,
    ),
    FigureRow(
        "admin",
        (
            Asked(f"stats beside {ECHOES} echo connections, median", "ms"),
            Asked(f"stats beside {ECHOES} echo connections, p99", "ms", 5.0),
        ),
        answers_beside_echoes,
    ),
    FigureRow(
        "idle",
        (
            Asked(
                "idle streams opened, of 10 000; the descriptors may allow fewer",
                "streams",
                STREAMS,
                at_most=False,
            ),
            Asked("idle streams: resident memory of the server each", "bytes", 1000.0),
            Asked("idle streams: accepted", "streams/s", 20_000.0, at_most=False),
        ),
        idle_streams,
    ),
)
