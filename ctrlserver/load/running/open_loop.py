"""The open loop of a run: its plans, the pacer that keeps to them, and what is said of that afterwards.

Rules: the warm-up has a plan of its own, at the rate with which the measured part begins; that part's plan begins anew.
What of the warm-up was due and not sent when it ended is not forgotten in send mode: it is sent, and counts as planned.
What is told (``scheduled``) is of the measured part alone.

Beware: ``busy`` is taken from the time the process had on a core, so it is of all that ctrlload does, reading the
replies included.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.measure.verdict import Scheduled, scheduled
from ctrlserver.load.plan.schedule import SECOND, Curve, schedule
from ctrlserver.load.running.pacing import REQUEST_TICK, SEND_TICK, Paced, Pacer


class PacedStream(Paced, Protocol):
    """A stream of an open loop."""

    @property
    def packets(self) -> int:
        """Whole packets sent."""

    @property
    def due(self) -> int:
        """Packets that were due so far, sent or not."""

    @property
    def dropped(self) -> int:
        """Of those, packets that will not be sent: the sending, or its warm-up, ended first."""


class OpenLoop:
    """Paces the streams of one run. ``ended``: the plan is over; ``broken``: by an error of our own."""

    def __init__(
        self,
        lane: Lane,
        reactor: IReactorTime,
        curve: Curve,
        arrival: str,
        seed: int,
        timing: Timing,
        *,
        replies: bool,
        ended: Callable[[], None],
        broken: Callable[[], None],
    ) -> None:
        self._curve = curve
        self._arrival = arrival
        self._seed = seed
        self._timing = timing
        self._pacer = Pacer(lane, reactor, timing, REQUEST_TICK if replies else SEND_TICK, ended, broken)
        self._streams: Sequence[PacedStream] = ()
        self._before = 0
        self._wall = self._core = self._busy = 0.0

    def warm_up(self, streams: Sequence[PacedStream]) -> None:
        """Begin the warm-up; it has no end of its own."""
        self._start(self._curve.opening, streams, None)

    def measure(self, streams: Sequence[PacedStream], seconds: float | None, packets: int | None) -> None:
        """Begin the measured part: ``seconds`` long and ``packets`` many at most."""
        self._before = sum(stream.packets + stream.dropped for stream in streams)
        self._start(self._curve.until(seconds), streams, packets)

    def _start(self, curve: Curve, streams: Sequence[PacedStream], packets: int | None) -> None:
        self._streams = streams
        self._wall, self._core = time.monotonic(), time.process_time()
        self._busy = 0.0
        self._pacer.start(schedule(curve, self._arrival, self._seed), streams, packets)

    def stop(self) -> None:
        """The sending is over. May be called again."""
        self._pacer.stop()
        wall = time.monotonic() - self._wall
        if not self._busy and wall > 0:
            self._busy = (time.process_time() - self._core) / wall

    def target(self, start: float, end: float) -> float:
        """The plan's packets per second between two moments of the lane's clock."""
        return round(self._pacer.target(round(start * SECOND), round(end * SECOND)), 3)

    def target_now(self) -> float:
        """The plan's packets per second."""
        return self._pacer.target_now()

    def scheduled(self, sent: int, seconds: float) -> Scheduled:
        """What is said of a measured part in which ``sent`` packets went in ``seconds``."""
        return scheduled(
            target=self._pacer.mean_target(),
            planned=sum(stream.due for stream in self._streams) - self._before,
            sent=sent,
            plan_seconds=self._pacer.plan_seconds(),
            seconds=seconds,
            busy=self._busy,
            slip=self._timing.slip,
            delay=self._timing.delay,
            dropped_ticks=self._pacer.dropped_ticks,
        )
