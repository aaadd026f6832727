"""Runs over real counters, on a clock set by hand."""

from __future__ import annotations

import pytest

from ctrlserver.stats.counters import Counters, Origin, StreamCounters
from ctrlserver.stats.records import RunRecord
from ctrlserver.stats.runs import Runs

ORIGIN = Origin("data", "tcp", "fixed:1024", "sink", 1024)


class Scene:
    """Runs over real counters, with a clock set by hand; timestamps are the plain time."""

    def __init__(self, expected_packets: int | None = None, counters: Counters | None = None) -> None:
        self.now = 100.0
        self.reported: list[RunRecord] = []
        self.counters = Counters() if counters is None else counters
        self.runs = Runs(
            self.counters,
            timestamp=str,
            on_end=self.reported.append,
            run_gap=1.0,
            expected_packets=expected_packets,
        )

    def open(self) -> StreamCounters:
        self.runs.opened(self.now)
        return self.counters.opened(ORIGIN, "10.0.0.1:5", self.now)

    def data(self, stream: StreamCounters, packets: int = 1) -> None:
        if stream.first < 0:
            stream.first = self.now
            self.runs.first_data(stream, self.now, self.now)
        stream.packets += packets
        stream.bytes += packets * 1024
        stream.last = self.now

    def close(self, stream: StreamCounters, reason: str = "eof", incomplete_bytes: int = 0) -> None:
        self.counters.closed(stream, reason, incomplete_bytes)
        self.runs.closed(stream, self.now)

    def wait(self, seconds: float) -> None:
        """In ticks of a quarter of a second."""
        for _ in range(int(seconds * 4)):
            self.now += 0.25
            self.runs.tick(self.now, self.counters.totals())

    def active(self) -> RunRecord | None:
        newest = next(iter(self.runs.records(self.now)), None)
        return newest if newest is not None and newest.state == "active" else None


@pytest.fixture
def scene() -> Scene:
    return Scene()
