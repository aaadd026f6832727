"""The sending of a run by the clock: the warm-up, the measured part, the schedule, the intervals, the end of the time.

Rules: the ``Work`` decides what is sent and how it ends; this module decides when. The limits of the measured part
count from its beginning: what the warm-up sent is on top. With a schedule the time ends with the schedule, and what was
due by then is still sent, within the grace.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall

from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.counts import Counts
from ctrlserver.load.measure.intervals import Gauge, Intervals, Progress, Watcher
from ctrlserver.load.plan.options import Options
from ctrlserver.load.running.pacing import REQUEST_TICK, OpenLoop, Pacer
from ctrlserver.load.running.starting import LATE_SECONDS
from ctrlserver.load.running.until import Goals
from ctrlserver.load.running.work import GRACE_SECONDS, Work
from ctrlserver.looks import Looks, deadlines

#: Seconds between two looks of the watchdog, which also paces the progress shown.
WATCH_SECONDS = 0.25

#: A last interval of the warm-up or the run that is shorter than this part of an interval is added to the one before
#: it: its rate would mean nothing. So an interval is shown once the next one is longer.
LAST_INTERVAL = 0.05


class Sending:
    """The sending of ``work``, from its first packet to its last. ``began`` and the like are by the lane's clock.

    ``mark`` are the counts at the end of the warm-up, ``marked_at`` its time: where the measured part begins.
    """

    def __init__(self, reactor: IReactorTime, lane: Lane, options: Options, watcher: Watcher, work: Work) -> None:
        self.ended_early = False  # by the clock, the schedule or an interrupt
        self.warming = options.warm_up > 0
        self.began = self.marked_at = self._due = 0.0
        self.mark = Counts()
        self.open_loop: OpenLoop | None = None
        self._reactor = reactor
        self._clock = lane.clock
        self._options = options
        self._watcher = watcher
        self._work = work
        self._timers: list[IDelayedCall] = []
        self.cuts = Intervals(0.0, self._gauge)
        self._unshown = 0  # intervals, the latest
        self._showing: IDelayedCall | None = None
        self._packets, self._bytes = options.part(options.packets), options.part(options.total_bytes)
        self._shortest = LAST_INTERVAL * options.interval
        if options.curve is not None:
            tick = REQUEST_TICK if options.busy_poll else work.tick
            pacer = Pacer(lane, reactor, work.timing, tick, self._plan_ended, self._pacer_broken)
            self.open_loop = OpenLoop(pacer, options.curve, options, work.timing)
        self.goals = Goals(options, work.timing) if options.until else None
        self._looks = Looks(WATCH_SECONDS)
        self._watching = self._looping(self._watch)
        self._cutting = self._looping(self._cut_interval)
        self._slicing = self._looping(self._cut_slice)

    # What the run orders and asks

    async def run(self, late: float = 0.0) -> None:
        """From the first byte to the last; the work's ``error`` says afterwards whether it failed.

        A schedule began ``late`` seconds ago.
        """
        self.began = self.marked_at = self._clock()
        self._due = self.began - late
        self.cuts = Intervals(self.began, self._gauge)
        try:
            self._looks.begin(self.began)
            self._watching.start(WATCH_SECONDS, now=False)
            if self._options.interval > 0:  # 0 means no intervals
                self._cutting.start(self._options.interval, now=False)
            if self.warming:
                await self._warm_up()
                if self.warming and not self.ended_early and self._work.error is None:
                    self._begin_measuring()
                    await self._measure()
            else:
                self._limit_time()
                await self._measure()
        finally:
            self._end_slices()
            self._stop()
            self._end_interval()

    def interrupt(self) -> None:
        """Send nothing new, and wait only for the grace."""
        self._end_early(at_once=True)

    @property
    def warmed_up(self) -> tuple[Counts, float]:
        """What the warm-up did, and in how many seconds."""
        if self.warming:
            return self._work.counts(), self._last - self.began
        return self.mark, self.marked_at - self.began

    @property
    def measured(self) -> tuple[Counts, float]:
        """What the measured part did, and in how many seconds; nothing where it did not begin."""
        if self.warming:
            return Counts(), 0.0
        return self._work.counts().since(self.mark), self._last - self.marked_at

    @property
    def plan_ends(self) -> float:
        """The moment up to which the schedule gives time for the packets sent; 0 where there is none."""
        return 0.0 if self.open_loop is None else self.open_loop.plan_ends()

    @property
    def _last(self) -> float:
        return max(self._work.last, self.marked_at)

    # Beginnings and ends

    def _warm_up(self) -> Deferred[None]:
        self._later(self._options.warm_up, self._end_warm_up)
        all_done = self._work.start(warm_up=True)
        if self.open_loop is not None and not all_done.called:
            self.open_loop.warm_up(self._work.paced(), self._due)
        return all_done

    def _end_warm_up(self) -> None:
        if not self.ended_early and self._work.end_warm_up(self._begin_measuring):
            self._pace()

    def _begin_measuring(self) -> None:
        self.mark = self._work.counts(whole=True)
        self._last_interval(self.mark)
        self._work.timing.mark()
        self.warming = False
        self.marked_at = self._clock()
        self._due = self._next_due(self.marked_at)
        if self._cutting.running:
            self._cutting.reset()
        self._limit_time()

    def _next_due(self, now: float) -> float:
        """When the schedule of the measured part begins: now, but that of shards together, unless they are late."""
        planned = self._due + self._options.warm_up
        common = self._options.start_at is not None and 0 <= now - planned < LATE_SECONDS
        return planned if common else now

    def _limit_time(self) -> None:
        if self._options.most is not None and self.open_loop is None:
            self._later(self._options.most, self._end_early)
        if self.goals is not None:
            self.goals.begin(self._clock(), self.mark)
            self._slicing.start(self.goals.seconds, now=False)

    def _measure(self) -> Deferred[None]:
        all_done = self._work.start(warm_up=False)
        if not all_done.called:
            self._pace()
        return all_done

    def _pace(self) -> None:
        """Have the schedule of the measured part begin, where there is one."""
        if self.open_loop is not None:
            self.open_loop.measure(self._work.paced(), self._due, self._work.planned)

    def _plan_ended(self) -> None:
        """All that was planned is released: what is due may still be sent, within the grace."""
        self._end_slices()
        self.ended_early = True
        if self._work.end_plan():
            self._timers.append(deadlines(self._reactor).callLater(GRACE_SECONDS, self._end_early))

    def _cut_slice(self) -> None:
        """Cut a slice; if all figures are sure now, the time is up, or the schedule is over."""
        if self.goals is None or not self.goals.cut(self._clock(), self._work.counts()):
            return
        self._slicing.stop()
        if self.open_loop is None:
            self._end_early()
        else:
            self.open_loop.stop()
            self._plan_ended()

    def _end_slices(self) -> None:
        """Packets are not sent any more as they were: what comes now makes no figure surer."""
        if self.goals is not None and self._slicing.running:
            self._slicing.stop()
            self.goals.end(self._clock())

    def _pacer_broken(self) -> None:
        """By an error of our own. Nothing more would be sent."""
        self._work.fail("an error of ctrlload's own: the pacer failed")

    def _end_early(self, *, at_once: bool = False) -> None:
        self._end_slices()
        self.ended_early = True
        if self.open_loop is not None:
            self.open_loop.stop()
        self._work.stop_new(at_once=at_once)

    # Time

    def _watch(self) -> None:
        """Called every ``WATCH_SECONDS``."""
        now = self._clock()
        if self._looks.may_judge(now):
            self._work.watch(now)
        self._watcher.progress(self._progress(now))

    def _progress(self, now: float) -> Progress:
        options = self._options
        news = self._work.counts().since(self.mark)
        seconds = now - self.marked_at
        limits: tuple[tuple[float, float | None], ...]
        limits = (news.packets, self._packets), (news.bytes, self._bytes), (seconds, options.longest)
        if self.warming:
            limits = ((seconds, options.warm_up),)
        fraction = min(1.0, max((done / limit for done, limit in limits if limit), default=0.0))
        target = None if self.open_loop is None else self.open_loop.target_now()
        gauge = self._work.timing.live(target)
        until = () if self.goals is None else self.goals.told
        return Progress(fraction, seconds, news.packets, news.bytes, self._work.in_flight, gauge, self.warming, until)

    def _gauge(self, start: float, end: float, join: bool) -> Gauge:
        """What is measured of an interval besides its counts."""
        target = None if self.open_loop is None else self.open_loop.target(start, end)
        return self._work.timing.cut(target, join=join)

    def _cut_interval(self) -> None:
        if self._options.interval > 0:
            self._show_intervals()
            self.cuts.cut(self._clock(), self._work.counts(whole=self.warming), warm_up=self.warming)
            self._unshown = 1
            self._showing = self._reactor.callLater(self._shortest, self._show_intervals)

    def _last_interval(self, counts: Counts, plan_ends: float = 0.0) -> None:
        """The last of the warm-up, or of the run."""
        if self._options.interval > 0:
            last = self.cuts.end(
                self._clock(), counts, warm_up=self.warming, shortest=self._shortest, plan_ends=plan_ends
            )
            self._unshown += last is not None
            self._show_intervals()

    def _show_intervals(self) -> None:
        """Show those that nothing is added to any more."""
        if self._showing is not None and self._showing.active():
            self._showing.cancel()
        for back in range(self._unshown, 0, -1):
            self._watcher.interval(self.cuts.kept[-back])
        self._unshown = 0

    def _end_interval(self) -> None:
        self._last_interval(self._work.counts(), 0.0 if self.warming else self.plan_ends)
        self._work.timing.cut()

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._timers.append(self._reactor.callLater(seconds, call))

    def _looping(self, call: Callable[[], None]) -> LoopingCall:
        loop = LoopingCall(call)
        loop.clock = self._reactor
        return loop

    def _stop(self) -> None:
        if self.open_loop is not None:
            self.open_loop.stop()
        for loop in (self._watching, self._cutting):
            if loop.running:
                loop.stop()
        for timer in self._timers:
            if timer.active():
                timer.cancel()
