"""The open loop: a pacer that wakes when packets are due and releases them to the streams, whatever the target does.

A packet of an open loop passes four moments, and the times between them say who was slow:

    due               released            sent                answered
    by the Schedule   by the Pacer        by its stream       by the target
     |------ delay ------|                   |
     |---------------- slip -----------------|----- service -----|
     |------------------------- response ------------------------|

The delay is ctrlload's own fault. The rest of the slip is the target's: its kernel took no more bytes, or ``in_flight``
packets still awaited their answer. Response time counts from when the packet was due. Service time, which counts from
when it was sent, hides a stall of the target: fewer packets are sent while it lasts, and their waiting is not measured.

Who calls whom:

    Sending -> OpenLoop.warm_up, measure, stop       a plan for the warm-up, then one for the measured part
    OpenLoop -> Pacer.start(plan, streams, began)    time 0 of the plan: when its part of the run began
    Pacer -> Schedule.due(now), time_of(next)        how many are due; when to wake next
    Pacer -> Spinner.at(moment), or Ticker.at        of a lane that spins, or a timer on the lane: calls Pacer._wake
    Pacer -> stream.release(count, first, last)      so many packets may be sent, and their intended times
    Pacer -> ended                                   once, when all of the plan has been released
    Spinner, Ticker -> broken                        the lane dropped it after an error of our own

At a wake-up the pacer releases everything that is due by now. It deals the packets in turn: packet k goes to stream k
modulo the number of streams. (A shard's plan numbers its own packets, so that each goes on the stream that it has in
the whole: load/plan/shard.py.) It then sleeps until the next packet is due, but at least for a tick. So at low rates it
wakes for each packet, and at high rates one wake-up releases several, which go in one write a stream. Where replies are
timed, a lane that spins keeps the moment (lane/spinning.py): it does not sleep for less than a sleep takes.

Nothing drifts: every moment is computed from the beginning of the plan, never from the wake-up before. A late wake-up
releases what has become due meanwhile, each packet with its own intended time, and the next one is on time again.

What must never happen:

- The pacer asks a stream whether it can send. What is due is released; what cannot be sent yet waits in the stream.
- A packet is released twice, or skipped. ``released`` is the plan's count of packets due, and only rises.
- A timer is set after ``stop``, or for a plan that another one has replaced. A stream may fail, or be the last to end,
  while it is given a packet, and by that stop the pacer or start the next plan: ``_wake`` checks for both afterwards.
- The warm-up's plan mixes with the measured part's. In send mode, packets of the warm-up that are due and unsent at its
  end are sent in the measured part, and count there as planned.

Beware: all moments are nanoseconds of the monotonic clock; the schedule's count from the beginning of its plan. The
time that the process was busy is its time on a core, whatever it did there, without what its lane spun for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ctrlserver.lane.lane import Lane
from ctrlserver.lane.spinning import Spinner, SpinningLane
from ctrlserver.lane.ticker import Ticker
from ctrlserver.load.measure.due import Releases
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.measure.verdict import LATE, Scheduled, scheduled
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.schedule import NEVER, SECOND, Curve, Schedule
from ctrlserver.load.plan.shard import Dealt

#: Least nanoseconds between two wake-ups if packets are sent one way: at 100 k/s a wake-up releases 25 packets.
SEND_TICK = 250_000

#: The same if replies are timed, because a tick adds to a response time what is not the target's. At 20 k/s the median
#: response took 93 us with this, 132 us with a tick of 50 us, and 76 us with a C client.
REQUEST_TICK = 10_000


class Paced(Protocol):
    """A stream of an open loop: it sends what is released, as soon as it can."""

    releases: Releases

    def release(self, count: int, first: int, last: int) -> None:
        """``count`` more packets are due, the first since ``first``, the last since ``last``, the rest between."""

    @property
    def packets(self) -> int:
        """Whole packets sent."""


class Pacer:
    """Releases the packets of one plan after another. ``released``: of this plan, so far.

    ``ended`` is called when a plan is over, ``broken`` when the timer is, by an error of our own.
    """

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
        self._ticker = (
            Spinner(lane, self._wake, broken)
            if isinstance(lane, SpinningLane)
            else Ticker(lane, reactor, self._wake, broken)
        )
        self._streams: Sequence[Paced] = ()
        self._plan: Schedule | Dealt | None = None
        self._planned = 0  # the moment of the next wake-up
        self._upcoming = 0  # when the next packet is due, by the plan
        self._most: int | None = None
        self._running = False

    def start(self, plan: Schedule | Dealt, streams: Sequence[Paced], began: int, most: int | None = None) -> None:
        """Follow ``plan``, which ``began`` a while ago, in place of the one before, up to ``most`` packets."""
        if not self._running:
            self._running = True
            self._ticker.start()
        self._plan, self._streams, self._most = plan, streams, most
        self.released = self.dropped_ticks = 0
        self._upcoming = plan.time_of(0)
        self.began, self._planned = began, self._clock()
        self._wake()

    @property
    def spun(self) -> int:
        """Nanoseconds that its lane has spun for nothing."""
        return self._ticker.spun

    def stop(self) -> None:
        """Release nothing any more; ``target`` still answers. May be called again."""
        self._ticker.stop()
        self._running = False

    def target(self, start: int, end: int) -> float:
        """The plan's mean rate between two moments, in packets per second; it is 0 before the plan and after it."""
        return 0.0 if self._plan is None else self._plan.curve.mean(start - self.began, end - self.began)

    def target_now(self) -> float:
        """The plan's mean rate over the last second, as rates are shown, in packets per second."""
        if self._plan is None:
            return 0.0
        curve, seen = self._plan.curve, self._clock() - self.began
        return curve.mean(max(0, seen - SECOND), seen) if seen > 0 else curve.rate(0)

    def plan_seconds(self) -> float:
        """How long the plan takes for what was released: up to the next packet, or to its end."""
        if self._plan is None or not self.released:
            return 0.0
        return min(self._plan.time_of(self.released), self._plan.curve.end) / SECOND

    def mean_target(self) -> float:
        """The plan's mean rate over ``plan_seconds``, in packets per second."""
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
            self._streams[released % len(self._streams)].release(1, moment, moment)
            self._delays.record(now - moment)
        elif due > released:
            self._release(plan, released, due, now)
        plan.forget(released)
        if self._plan is not plan or not self._running:
            return  # a release has ended the run, or this part of it
        upcoming = self._upcoming = NEVER if due == self._most else plan.time_of(due)
        if upcoming < NEVER:
            self._planned = max(self.began + upcoming, now + self._tick)
            self._ticker.at(self._planned)
        elif now - self.began < plan.curve.end < NEVER:
            self._planned = self.began + plan.curve.end
            self._ticker.at(self._planned)
        elif due == self._most and plan.curve.end >= NEVER:
            self._ticker.rest()
        else:
            self._plan_ended()

    def _plan_ended(self) -> None:
        self._running = False
        self._ticker.stop()
        self._ended()

    def _release(self, plan: Schedule | Dealt, since: int, until: int, now: int) -> None:
        """Deal the packets from number ``since`` to ``until`` - 1 to the streams, in one call a stream."""
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
    """The open loop of one run, whose rate over time is ``curve``."""

    def __init__(self, pacer: Pacer, curve: Curve, options: Options, timing: Timing) -> None:
        self._pacer = pacer
        self._curve = curve
        self._options = options
        self._timing = timing
        self._streams: Sequence[Paced] = ()
        self._before = 0
        self._wall = self._core = self._busy = 0.0

    def warm_up(self, streams: Sequence[Paced], began: float) -> None:
        """Follow the plan of the warm-up: the rate at which the measured part begins, without an end."""
        self._start(self._curve.opening, streams, began, None)

    def measure(self, streams: Sequence[Paced], began: float, packets: int | None) -> None:
        """Follow that of the measured part, up to the end of the curve or of the time: ``packets`` packets at most."""
        self._before = sum(stream.packets + stream.releases.dropped for stream in streams)
        self._start(self._curve.until(self._options.most), streams, began, packets)

    def _start(self, curve: Curve, streams: Sequence[Paced], began: float, packets: int | None) -> None:
        self._streams = streams
        self._wall, self._core = time.monotonic(), self._core_seconds()
        self._busy = 0.0
        self._pacer.start(self._options.plan(curve), streams, round(began * SECOND), packets)

    def stop(self) -> None:
        """Release nothing any more. May be called again."""
        self._pacer.stop()
        wall = time.monotonic() - self._wall
        if not self._busy and wall > 0:
            self._busy = (self._core_seconds() - self._core) / wall

    def _core_seconds(self) -> float:
        """Seconds that the process has been at work on a core."""
        return time.process_time() - self._pacer.spun / SECOND

    def target(self, start: float, end: float) -> float:
        """The plan's mean rate between two moments of the lane's clock, in packets per second."""
        return round(self._pacer.target(round(start * SECOND), round(end * SECOND)), 3)

    def target_now(self) -> float:
        """The plan's mean rate over the last second, in packets per second."""
        return self._pacer.target_now()

    def plan_seconds(self) -> float:
        """The time that the plan under way gives the packets released so far."""
        return self._pacer.plan_seconds()

    def plan_ends(self) -> float:
        """The moment of the lane's clock up to which it gives them time."""
        return self._pacer.began / SECOND + self.plan_seconds()

    def scheduled(self, sent: int, seconds: float) -> Scheduled:
        """The result's record of the measured part, in which ``sent`` packets were sent in ``seconds``."""
        return scheduled(
            target=self._pacer.mean_target(),
            planned=sum(stream.releases.due for stream in self._streams) - self._before,
            sent=sent,
            plan_seconds=self.plan_seconds(),
            seconds=seconds,
            busy=self._busy,
            slip=self._timing.slip,
            delay=self._timing.delay,
            dropped_ticks=self._pacer.dropped_ticks,
        )
