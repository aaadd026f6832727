"""Rows of the load generator: how well it keeps to a schedule, and how it times replies beside a C client.

Rules: as for the rows: counts are checked before a figure is given. Both clients of a pair ask one and the same C
server, the same number of requests on the same number of connections, by the same schedule.

Beware: slip and response time are the machine's as much as the program's: on processors that are shared a wake-up may
wait for milliseconds. A pair's other half has waited for them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from benchmarks.figures import FigureRow, Figures
from benchmarks.pairs import Asked
from benchmarks.programs import BIN, c_peer, ctrlserver, json_of, server
from benchmarks.rows import CONNECTIONS, PACKET, Row, Sides, asked, same

RATES = (1_000, 10_000, 100_000)
REQUEST_RATE = 20_000


def requests(port: int, *flags: str) -> dict[str, Any]:
    """The result document of request mode, once its counts were found equal."""
    target = f"127.0.0.1:{port}"
    words = ("-m", "request", "-P", str(CONNECTIONS), "-l", str(PACKET), "-J", *flags)
    result = json_of(str(BIN / "ctrlload"), "run", target, *words)
    same(result["sent"]["packets"], result["replies"]["packets"], "requests and replies of ctrlload")
    same(result["sent"]["packets"], result["latency"]["service"]["count"], "requests and replies timed")
    return result


@contextmanager
def requests_of_c(seconds: float) -> Iterator[Sides]:
    """Replies per second in closed loop, each timed by ours."""
    client = c_peer("echo_client")
    with server(c_peer("echo_server")) as listening:
        port = listening.port()

        def peer() -> float:
            answers = asked(client, port, seconds)
            return float(answers["replies"] / answers["seconds"])

        yield lambda: float(requests(port, "-t", f"{seconds:g}s")["sent"]["packets_per_second"]), peer


def median_times(kind: str, *flags: str) -> Callable[[float], AbstractContextManager[Sides]]:
    """One by the median response or service time, so that more is better as in the other rows.

    ``flags`` are ctrlload's beside those of the schedule.
    """

    @contextmanager
    def sides(seconds: float) -> Iterator[Sides]:
        client = c_peer("echo_client")
        with server(c_peer("echo_server")) as listening:
            port = listening.port()

            def ours() -> float:
                result = requests(port, "-r", str(REQUEST_RATE), "-t", f"{seconds:g}s", *flags)
                return 1.0 / float(result["latency"][kind]["p50"])

            def peer() -> float:
                options = {"--port": port, "--connections": CONNECTIONS, "--size": PACKET, "--rate": REQUEST_RATE}
                words = [str(word) for option in options.items() for word in option]
                answers = json_of(client, *words, "--seconds", f"{seconds:g}")
                same(answers["requests"], answers["replies"], "requests and replies")
                return 1.0 / float(answers[f"{kind}_p50"])

            yield ours, peer

    return sides


def kept(rate: int) -> Callable[[float], AbstractContextManager[Figures]]:
    """How far the achieved rate is from the target, in percent, and the slip at p99, in milliseconds."""

    @contextmanager
    def figures(seconds: float) -> Iterator[Figures]:
        with ctrlserver("sink") as (data_port, admin_port):
            target, admin = f"127.0.0.1:{data_port}", f"127.0.0.1:{admin_port}"

            def measure() -> tuple[float, ...]:
                words = ("-r", str(rate), "-t", f"{seconds:g}s", "-l", str(PACKET), "--admin", admin, "-J")
                result = json_of(str(BIN / "ctrlload"), "run", target, *words)
                same(result["sent"]["packets"], result["received"]["packets"], "packets sent and received")
                plan = result["schedule"]
                off = abs(plan["achieved_packets_per_second"] / plan["target_packets_per_second"] - 1)
                return 100 * off, 1000 * plan["slip"]["p99"]

            yield measure

    return figures


PAIRS = (
    Row("load", "ctrlload, 50 streams, one request in flight, timed / C client", "replies/s", 0.6, requests_of_c),
    Row(
        "load",
        "20 k requests/s: 1 / response p50, ctrlload / C client",
        "1/s",
        round(1 / 1.3, 2),
        median_times("response"),
    ),
    Row("load", "20 k requests/s: 1 / service p50, ctrlload / C client", "1/s", None, median_times("service")),
    Row(
        "load",
        "20 k requests/s: 1 / response p50, ctrlload --busy-poll / C client",
        "1/s",
        0.95,
        median_times("response", "--busy-poll"),
    ),
)

FIGURES = tuple(
    FigureRow(
        "load",
        (
            Asked(f"{rate} packets/s: achieved off the target by", "%", 0.1),
            Asked(f"{rate} packets/s: slip p99", "ms", 1.0 if rate == 10_000 else None),
        ),
        kept(rate),
    )
    for rate in RATES
)
