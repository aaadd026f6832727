"""Rows of several workers: what they cost beside one process, how evenly they share, how soon they start and answer.

Rules: as for the other rows: counts are checked before a figure is given. A pair is one daemon with workers and one
without, measured in turn. The processor time is that of the parent and all workers together, in nanoseconds of the
scheduler (/proc/PID/schedstat).

Beware: server and load share the processors. Where more processes want one than there are, what a worker waits for is
the machine's as much as its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.figures import SENDERS, FigureRow, Figures, answers_beside_a_load
from benchmarks.pairs import Asked, CountsDifferError, Measure
from benchmarks.programs import (
    END_SECONDS,
    START_SECONDS,
    Daemon,
    ProgramFailedError,
    asked_for,
    c_peer,
    daemon,
    json_of,
    stats,
)
from benchmarks.rows import PACKET, Row, Sides, asked, load, ours_from_c, same

WORKERS = 4
MANY = 8

#: How often as long as other rows a row of costs lasts: what a load costs at its start is no part of a GB.
COSTS_LONGER = 4

#: Of a row of shares: packets a second, over all streams.
SHARED_RATE = 40_000


@contextmanager
def sharing(mode: str, workers: int, balance: str = "exact", framing: str = f"fixed:{PACKET}") -> Iterator[Daemon]:
    """A daemon of so many workers, all of which run; 0: without the flag."""
    flags = ("--workers", str(workers), "--balance", balance) if workers else ()
    with daemon(mode, *flags, framing=framing) as ours:
        wait_for_workers(ours.admin_port, max(1, workers))
        yield ours


def wait_for_workers(admin_port: int, workers: int) -> None:
    """Until all of them run."""
    end = time.monotonic() + START_SECONDS
    while (states := [each["state"] for each in asked_for(admin_port, "workers")]) != ["running"] * workers:
        if time.monotonic() > end:
            raise ProgramFailedError(f"not all of {workers} workers run: {', '.join(states)}")
        time.sleep(0.01)


def processor_nanoseconds(process_id: int) -> int:
    """What a daemon has used, with its workers."""
    tasks = list(Path(f"/proc/{process_id}/task").iterdir())
    own = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return own + sum(map(processor_nanoseconds, children))


def used_by(ours: Daemon, work: Callable[[], float]) -> float:
    """Processor seconds of the daemon for each unit of the work, which returns how many it did."""
    before = processor_nanoseconds(ours.process_id)
    done = work()
    used = processor_nanoseconds(ours.process_id) - before
    if not done or used <= 0:
        raise ProgramFailedError(f"{used} ns of processor time for {done:g} units of work")
    return used / 1e9 / done


def gigabytes(ours: Daemon, seconds: float) -> float:
    """Received of eight streams that send all they can."""
    return float(load(*ours.ports, seconds, SENDERS)["bytes"]) / 1e9


def million_echoes(ours: Daemon, seconds: float) -> float:
    """Echoed on 50 streams with one in flight on each."""
    before = stats(ours.admin_port)
    answers = asked(c_peer("echo_client"), ours.data_port, seconds)
    after = stats(ours.admin_port)
    same(answers["requests"], after["packets_total"] - before["packets_total"], "requests and packets counted")
    same(answers["replies"], after["replies_total"] - before["replies_total"], "replies and replies counted")
    return float(answers["replies"]) / 1e6


def costs(mode: str, work: Callable[[Daemon, float], float]) -> Callable[[float], AbstractContextManager[Figures]]:
    """Processor seconds a unit of work: with workers through without, and both."""

    @contextmanager
    def figures(seconds: float) -> Iterator[Figures]:
        with sharing(mode, WORKERS) as many, sharing(mode, 0) as one:

            def figure() -> tuple[float, float, float]:
                shared = used_by(many, lambda: work(many, COSTS_LONGER * seconds))
                alone = used_by(one, lambda: work(one, COSTS_LONGER * seconds))
                return shared / alone, shared, alone

            yield figure

    return figures


def shares(streams: int) -> Callable[[float], AbstractContextManager[Figures]]:
    """What the busiest worker counted through its fair share, of streams that last: exact, and by the kernel.

    A stream is whole, so a fair share of ten over four is three tenths.
    """

    @contextmanager
    def figures(seconds: float) -> Iterator[Figures]:
        with sharing("sink", WORKERS) as exact, sharing("sink", WORKERS, "kernel") as kernel:
            yield lambda: (busiest(exact, streams, seconds), busiest(kernel, streams, seconds))

    return figures


def busiest(ours: Daemon, streams: int, seconds: float) -> float:
    """The busiest worker's part of the packets, through the fair one."""
    time.sleep(1.1)  # what was before is no load any more
    before = [each["packets_total"] for each in asked_for(ours.admin_port, "workers")]
    received = load(*ours.ports, seconds, streams, "-r", str(SHARED_RATE))
    after = [each["packets_total"] for each in asked_for(ours.admin_port, "workers")]
    counted = [now - then for now, then in zip(after, before, strict=True)]
    same(received["packets"], sum(counted), "packets received, and counted by the workers")
    return float(max(counted) / sum(counted) / (-(-streams // WORKERS) / streams))


def connections(ours: Daemon, seconds: float) -> float:
    """Accepted a second, each with one packet that is echoed, and a reset."""
    before = stats(ours.admin_port)
    done = json_of(c_peer("connector"), "--port", str(ours.data_port), "--size", "64", "--seconds", f"{seconds:g}")
    end = time.monotonic() + END_SECONDS
    while (after := stats(ours.admin_port))["streams_open"] and time.monotonic() < end:
        pass
    for name, expected in (
        ("streams_total", "connections"),
        ("packets_total", "packets"),
        ("replies_total", "packets"),
    ):
        same(done[expected], after[name] - before[name], f"{expected} and {name}")
    return float(done["connections"] / done["seconds"])


def accepts(balance: str) -> Callable[[float], AbstractContextManager[Sides]]:
    """Connections a second with two workers, and in one process."""

    @contextmanager
    def sides(seconds: float) -> Iterator[Sides]:
        with sharing("echo", 2, balance, "fixed:64") as two, sharing("echo", 0, framing="fixed:64") as one:
            yield lambda: connections(two, seconds), lambda: connections(one, seconds)

    return sides


def echoes_a_second(ours: Daemon, seconds: float) -> float:
    """Of a second of the clock."""
    began = time.monotonic()
    return 1e6 * million_echoes(ours, seconds) / (time.monotonic() - began)


def flag_alone(mode: str, speed: Callable[[Daemon, float], float]) -> Callable[[float], AbstractContextManager[Sides]]:
    """The speed with `--workers 1`, and without the flag."""

    @contextmanager
    def sides(seconds: float) -> Iterator[Sides]:
        with sharing(mode, 1) as flagged, sharing(mode, 0) as plain:

            def measure(ours: Daemon) -> Measure:
                return lambda: speed(ours, seconds)

            yield measure(flagged), measure(plain)

    return sides


@contextmanager
def answers(seconds: float) -> Iterator[Figures]:
    """Those of eight workers."""
    with sharing("sink", MANY) as ours:
        yield partial(answers_beside_a_load, ours, seconds)


@contextmanager
def starts(_seconds: float) -> Iterator[Figures]:
    """From the start of the program to eight workers that all serve, and from SIGTERM to its end."""

    def times() -> tuple[float, float]:
        with ExitStack() as stack:
            began = time.monotonic()
            ours = stack.enter_context(sharing("echo", MANY, framing="fixed:64"))
            started = time.monotonic() - began
            done = json_of(c_peer("echo_client"), "--port", str(ours.data_port), "--size", "64", "--count", "5000")
            same(done["requests"], stats(ours.admin_port)["packets_total"], "requests and packets counted")
            served = [each["streams_total"] for each in asked_for(ours.admin_port, "workers")]
            if not all(served):
                raise CountsDifferError(f"a worker has served nobody: {served}")
            began = time.monotonic()
        return started, time.monotonic() - began

    yield times


PAIRS = (
    Row("workers", "connections with a packet each: 2 workers, exact / one process", "1/s", 0.8, accepts("exact")),
    Row("workers", "connections with a packet each: 2 workers, kernel / one process", "1/s", 1.0, accepts("kernel")),
    Row(
        "workers",
        "bulk, 1 stream, C sender: --workers 1 / without the flag",
        "bit/s",
        0.99,
        flag_alone("sink", lambda ours, seconds: ours_from_c(*ours.ports, seconds)),
    ),
    Row(
        "workers",
        "echo, 50 connections, 1 KiB: --workers 1 / without the flag",
        "replies/s",
        0.99,
        flag_alone("echo", echoes_a_second),
    ),
)

FIGURES = (
    FigureRow(
        "workers",
        (
            Asked(f"bulk, {SENDERS} streams: processor time a GB, 4 workers / one process", "", 1.15),
            Asked("bulk: processor seconds a GB with 4 workers", "s"),
            Asked("bulk: processor seconds a GB in one process", "s"),
        ),
        costs("sink", gigabytes),
    ),
    FigureRow(
        "workers",
        (
            Asked("echo, 50 connections: processor time an echo, 4 workers / one process", "", 1.15),
            Asked("echo: processor seconds a million with 4 workers", "s"),
            Asked("echo: processor seconds a million in one process", "s"),
        ),
        costs("echo", million_echoes),
    ),
    *(
        FigureRow(
            "workers",
            (
                Asked(f"{streams} long streams over 4 workers: busiest / fair share, exact", "", 1.15),
                Asked(f"{streams} long streams over 4 workers: busiest / fair share, kernel", ""),
            ),
            shares(streams),
        )
        for streams in (2, 4, 10, 100)
    ),
    FigureRow(
        "workers",
        (
            Asked("stats of 8 workers beside 8 saturating streams, median", "ms"),
            Asked("stats of 8 workers beside 8 saturating streams, p99", "ms", 10.0),
        ),
        answers,
    ),
    FigureRow(
        "workers",
        (
            Asked("8 workers: from the start until all serve", "s", 3.0),
            Asked("8 workers: from SIGTERM to the end", "s", 5.0),
        ),
        starts,
    ),
)
