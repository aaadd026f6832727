"""The pacer of an open loop: wakes when packets are due and lets the streams send them.

Rules: packet k of the plan is stream k's, over and over; its intended moment goes with it. The pacer asks no stream
whether it can send: what is due is released, and what a stream cannot send yet waits there. So a slow target makes
packets late and never makes them fewer. Between two wake-ups there is at least a tick, so that at high rates a wake-up
releases several packets, which go in one write a stream; at rates below a packet a tick it wakes for each packet.

Beware: all moments are nanoseconds of the monotonic clock; those of the plan count from its beginning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ctrlserver.lane.lane import Lane
from ctrlserver.lane.ticker import Ticker
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.measure.verdict import LATE, Scheduled, scheduled
from ctrlserver.load.plan.schedule import NEVER, SECOND, Curve, Schedule, schedule

#: Least nanoseconds between two wake-ups where packets are sent one way: at 100 k/s 25 packets a wake-up.
SEND_TICK = 250_000

#: The same where replies are timed: what a tick adds to a response is no time of the target's. At 20 k/s a response
#: took 93 us at the median with this, 132 us with 50 us, and the C client 76 us.
REQUEST_TICK = 10_000


class Paced(Protocol):
    """A stream of an open loop: it sends what is released, as soon as it can."""

    def release(self, count: int, first: int, last: int) -> None:
        """So many packets more are due, the first since ``first``, the last since ``last``, the others between."""

    @property
    def packets(self) -> int:
        """Whole packets sent."""

    @property
    def due(self) -> int:
        """Packets that were due so far, sent or not."""

    @property
    def dropped(self) -> int:
        """Of those, packets that will not be sent: the sending, or its warm-up, ended first."""


class Pacer:
    """Paces ``streams`` by one plan after another. ``ended`` is called when all of a plan has been released."""

    def __init__(
        self,
        lane: Lane,
        reactor: IReactorTime,
        timing: Timing,
        tick: int,
        ended: Callable[[], None],
        broken: Callable[[], None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.released = 0
        self.dropped_ticks = 0  # wake-ups that came more than LATE too late
        self.began = 0
        self._clock = clock
        self._delays = timing.delay
        self._tick = tick
        self._ended = ended
        self._ticker = Ticker(lane, reactor, self._wake, broken)
        self._streams: Sequence[Paced] = ()
        self._plan: Schedule | None = None
        self._planned = 0  # the moment of the next wake-up
        self._upcoming = 0  # when the next packet is due, by the plan
        self._most: int | None = None
        self._running = False

    def start(self, plan: Schedule, streams: Sequence[Paced], most: int | None = None) -> None:
        """Begin with ``plan`` now, in place of what went on; release no more than ``most`` packets."""
        if not self._running:
            self._running = True
            self._ticker.start()
        self._plan, self._streams, self._most = plan, streams, most
        self.released = self.dropped_ticks = 0
        self._upcoming = plan.time_of(0)
        self.began = self._planned = self._clock()
        self._wake()

    def stop(self) -> None:
        """Release nothing any more; ``target`` goes on to answer. May be called again."""
        self._ticker.stop()
        self._running = False

    def target(self, start: int, end: int) -> float:
        """Packets per second that the plan has between two moments; those before it or past its end count as none."""
        return 0.0 if self._plan is None else self._plan.curve.mean(start - self.began, end - self.began)

    def target_now(self) -> float:
        """Packets per second at this moment."""
        return 0.0 if self._plan is None else self._plan.curve.rate(self._clock() - self.began)

    def plan_seconds(self) -> float:
        """The time that the plan has for what was released: until the next packet, or its own end."""
        if self._plan is None or not self.released:
            return 0.0
        return min(self._plan.time_of(self.released), self._plan.curve.end) / SECOND

    def mean_target(self) -> float:
        """Packets per second of the plan over that time."""
        if self._plan is None:
            return 0.0
        return self._plan.curve.mean(0, round(self.plan_seconds() * SECOND)) or self._plan.curve.rate(0)

    def _wake(self) -> None:
        plan = self._plan
        if plan is None or not self._running:
            return
        now = self._clock()
        if now - self._planned > LATE:
            self.dropped_ticks += 1
        due = plan.due(now - self.began)
        if self._most is not None and due > self._most:
            due = self._most
        released, self.released = self.released, due
        if due == released + 1:
            moment = self.began + self._upcoming
            self._delays.record(now - moment)
            self._streams[released % len(self._streams)].release(1, moment, moment)
        elif due > released:
            self._release(plan, released, due, now)
        plan.forget(released)
        if self._plan is not plan or not self._running:
            return  # a stream failed by it, or was the last to end
        if due == self._most:
            self._ticker.rest()
            return
        upcoming = self._upcoming = plan.time_of(due)
        if upcoming < NEVER:
            self._planned = max(self.began + upcoming, now + self._tick)
            self._ticker.at(self._planned)
        elif now - self.began < plan.curve.end < NEVER:
            self._planned = self.began + plan.curve.end
            self._ticker.at(self._planned)
        else:
            self._plan_ended()

    def _plan_ended(self) -> None:
        self._running = False
        self._ticker.stop()
        self._ended()

    def _release(self, plan: Schedule, since: int, until: int, now: int) -> None:
        """Deal the packets from number ``since`` up to ``until`` to the streams."""
        streams, began = self._streams, self.began
        number = len(streams)
        self._delays.record_run(now, until - since, began + plan.time_of(since), began + plan.time_of(until - 1))
        if until - since <= number:
            for packet in range(since, until):
                moment = began + plan.time_of(packet)
                streams[packet % number].release(1, moment, moment)
            return
        for first in range(since, since + number):
            count = (until - first + number - 1) // number
            last = first + (count - 1) * number
            streams[first % number].release(count, began + plan.time_of(first), began + plan.time_of(last))


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
        tick: int,
        ended: Callable[[], None],
        broken: Callable[[], None],
    ) -> None:
        self._curve = curve
        self._arrival = arrival
        self._seed = seed
        self._timing = timing
        self._pacer = Pacer(lane, reactor, timing, tick, ended, broken)
        self._streams: Sequence[Paced] = ()
        self._before = 0
        self._wall = self._core = self._busy = 0.0

    def warm_up(self, streams: Sequence[Paced]) -> None:
        """Begin the warm-up; it has no end of its own."""
        self._start(self._curve.opening, streams, None)

    def measure(self, streams: Sequence[Paced], seconds: float | None, packets: int | None) -> None:
        """Begin the measured part: ``seconds`` long and ``packets`` many at most."""
        self._before = sum(stream.packets + stream.dropped for stream in streams)
        self._start(self._curve.until(seconds), streams, packets)

    def _start(self, curve: Curve, streams: Sequence[Paced], packets: int | None) -> None:
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
