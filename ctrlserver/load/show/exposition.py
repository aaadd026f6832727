"""A run's figures as metrics, for Prometheus and its like.

Rules: counters only grow, over the end of the warm-up too. Times and rates are those of the interval that ended last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ctrlserver import __version__
from ctrlserver.load.measure.intervals import Interval, Progress, Waiting, Watcher
from ctrlserver.render.openmetrics import Family, Sample

_TIMES: Final = {
    "ctrlload_response_time_seconds": ("response", "from the intended send to the answer, in the last interval"),
    "ctrlload_service_time_seconds": ("service", "from the actual send to the answer, in the last interval"),
}


class Exposed:
    """A watcher that passes on to ``people``, and has the run's figures of now."""

    def __init__(self, people: Watcher) -> None:
        self._people = people
        self._before = (0, 0)  # packets and bytes of the parts that are over
        self._progress = Progress(None, 0.0, 0, 0)
        self._interval: Interval | None = None
        self._intervals = 0

    def interval(self, interval: Interval) -> None:
        """A slice has ended."""
        self._interval, self._intervals = interval, self._intervals + 1
        self._people.interval(interval)

    def progress(self, progress: Progress) -> None:
        """Four times a second."""
        last = self._progress
        if progress.packets < last.packets or progress.bytes < last.bytes:  # the warm-up is over
            self._before = (self._before[0] + last.packets, self._before[1] + last.bytes)
        self._progress = progress
        self._people.progress(progress)

    def starting(self, seconds: float | None) -> None:
        """It waits for its start."""
        self._people.starting(seconds)

    def waiting(self, waiting: Waiting) -> None:
        """It waits after its last byte."""
        self._people.waiting(waiting)

    def note(self, text: str) -> None:
        """A line that is no failure."""
        self._people.note(text)

    def families(self) -> list[Family]:
        """All there are."""
        progress, interval = self._progress, self._interval
        packets, octets = self._before[0] + progress.packets, self._before[1] + progress.bytes
        target = None if interval is None else interval.target_packets_per_second
        return [
            _one("ctrlload_build", "info", "the version that runs", 1, {"version": __version__}),
            _one("ctrlload_packets", "counter", "packets sent or asked for, or connections made", packets),
            _one("ctrlload_bytes", "counter", "bytes sent or asked for", octets),
            _one("ctrlload_intervals", "counter", "intervals that have ended", self._intervals),
            _one("ctrlload_in_flight_packets", "gauge", "packets that await their answer", progress.in_flight),
            _one("ctrlload_warm_up", "gauge", "1 during the warm-up", int(progress.warm_up)),
            _one("ctrlload_done_ratio", "gauge", "how much of the run is done, from 0 to 1", progress.fraction),
            _one("ctrlload_target_packets_per_second", "gauge", "what the schedule asked for, last interval", target),
            *(_times(name, *about, interval) for name, about in _TIMES.items()),
        ]


def _one(name: str, kind: str, help: str, value: float | None, labels: Mapping[str, str] | None = None) -> Family:
    return Family(name, kind, help, [] if value is None else [Sample(value, labels or {})])


def _times(name: str, kind: str, help: str, interval: Interval | None) -> Family:
    found = {} if interval is None else {"0.5": f"{kind}_p50", "0.99": f"{kind}_p99"}
    values = {quantile: getattr(interval, field) for quantile, field in found.items()}
    samples = [Sample(value, {"quantile": quantile}) for quantile, value in values.items() if value is not None]
    return Family(name, "gauge", help, samples)
