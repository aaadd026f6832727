"""The sending of a run: from the first byte of all streams to the last, the warm-up, the limits and the intervals.

Rules: all streams start together. The first that fails ends the sending of all. A stream without progress for the
stall timeout fails; after the end of the time, or after Ctrl-C, it is given a grace and then cut, its rest reported.

Beware: the warm-up ends between two packets. In send mode the packet under way belongs to the measured part; in request
mode the streams first wait until every packet of the warm-up is answered, and then start together once more. By a
schedule the time ends with the schedule: what was due is still sent, for as long as the grace.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall

from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.counts import Counts
from ctrlserver.load.measure.intervals import Gauge, Interval, Intervals, Progress, Watcher
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.plan.modes import REQUEST
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.pattern import shares
from ctrlserver.load.running.pacing import OpenLoop
from ctrlserver.load.streams import outgoing as sender
from ctrlserver.load.streams.outgoing import UNLIMITED, Outgoing
from ctrlserver.load.streams.paced import PacedRequestStream, PacedSendStream

#: Seconds after the end of the time in which a packet that was begun may be ended.
GRACE_SECONDS = 2.0

#: Seconds between two looks of the watchdog, which also paces the progress shown.
WATCH_SECONDS = 0.25

#: Part of an interval below which the last one is added to the one before it: its rate would mean nothing.
LAST_INTERVAL = 0.05


class Sending:
    """The run of the streams while they send. ``began`` and the like are by the lane's clock.

    ``mark`` are the counts at the end of the warm-up, ``marked_at`` its time: where the measured part begins.
    """

    def __init__(self, reactor: IReactorTime, lane: Lane, options: Options, watcher: Watcher) -> None:
        self.streams: list[Outgoing] = []
        self.error: str | None = None
        self.ended_early = False  # by the clock or by somebody
        self.warming = options.warm_up > 0
        self.began = self.marked_at = 0.0
        self.mark = Counts()
        self.intervals: list[Interval] = []
        #: Called once when the clock or somebody ends the sending, before the streams are told.
        self.ending_early: Callable[[], None] | None = None
        self.timing = Timing()
        self.open_loop: OpenLoop | None = None
        self._reactor = reactor
        self._clock = lane.clock
        self._options = options
        self._watcher = watcher
        self._going: set[Outgoing] = set()
        self._all_done: Deferred[None] | None = None
        self._interrupted = False
        self._timers: list[IDelayedCall] = []
        self._cuts = Intervals(0.0)
        if options.curve is not None:
            self.open_loop = OpenLoop(
                lane,
                reactor,
                options.curve,
                options.arrival,
                options.seed,
                self.timing,
                replies=options.mode == REQUEST,
                ended=self._plan_ended,
                broken=self._pacer_broken,
            )
        self._watching = self._looping(self._watch)
        self._cutting = self._looping(self._cut_interval)

    # What the run orders

    async def run(self) -> None:
        """From the first byte to the last; ``error`` says afterwards whether it failed."""
        self.began = self.marked_at = self._clock()
        self._cuts = Intervals(self.began, self._gauge)
        try:
            self._watching.start(WATCH_SECONDS, now=False)
            self._restart_intervals()
            if self.warming:
                self._later(self._options.warm_up, self._end_warm_up)
                all_done = self._start([UNLIMITED] * len(self.streams))
                if not all_done.called:
                    self._pace_warm_up()
                await all_done
                if self.warming and not self.ended_early and self.error is None:
                    self._begin_measuring()
                    await self._measure()
            else:
                self._limit_time()
                await self._measure()
        finally:
            self._stop()
            self._end_interval()
            self.intervals = list(self._cuts.kept)

    def interrupt(self) -> None:
        """Somebody has had enough: no new packets, and no long waiting for the old ones."""
        self._interrupted = True
        self._end_early()

    def counts(self, *, whole: bool = False) -> Counts:
        """Over all streams, now; ``whole``: only the bytes of whole packets."""
        packets = nbytes = writes = replies = reply_bytes = 0
        for stream in self.streams:
            packets += stream.packets
            nbytes += stream.sent - stream.incomplete_bytes if whole else stream.sent
            writes += stream.writes
            replies += stream.replies
            reply_bytes += stream.reply_bytes
        return Counts(packets, nbytes, writes, replies, reply_bytes)

    def last_moved(self) -> float:
        """When the last data went or came; the beginning of the measured part where none did."""
        return max((stream.last for stream in self.streams if stream.sent), default=self.marked_at)

    # What the streams tell

    def stream_done(self, stream: Outgoing) -> None:
        """All has been sent, and answered where answers are awaited."""
        self._going.discard(stream)
        self._look_done()

    def stream_ended(self, stream: Outgoing) -> None:
        """Not while sending: our side is still open."""

    def stream_failed(self, stream: Outgoing, message: str) -> None:
        """One failed: the others stop at once."""
        if self.error is None:
            self.error = message
        self._going.discard(stream)
        self._abort()

    def _abort(self) -> None:
        for other in self._going:
            other.cut(sender.ABORTED)
        self._going.clear()
        self._look_done()

    def _look_done(self) -> None:
        if not self._going and self._all_done is not None:
            all_done, self._all_done = self._all_done, None
            all_done.callback(None)

    # Beginnings and ends

    def _start(self, limits: list[int]) -> Deferred[None]:
        """Let every stream go up to its limit; fires when all are done or one has failed."""
        all_done: Deferred[None] = Deferred()
        self._all_done = all_done
        self._going = set(self.streams)
        for stream, limit in zip(self.streams, limits, strict=True):
            if self.error is None:
                stream.reason = sender.COMPLETE
                stream.start(limit)
        return all_done

    def _measure(self) -> Deferred[None]:
        """Begin the part that counts; fires when all streams are done or one has failed."""
        limits = self._limits()
        all_done = self._start(limits)
        if not all_done.called:
            self._pace(limits)
        return all_done

    def _pace_warm_up(self) -> None:
        """Have the schedule's warm-up begin, where there is one."""
        if self.open_loop is not None:
            self.open_loop.warm_up(self._paced())

    def _pace(self, limits: list[int]) -> None:
        """Have the schedule go on up to ``limits``, where there is one."""
        if self.open_loop is not None:
            whole, options = self._options.pattern.packets_in, self._options
            packets = None
            if max(limits) < UNLIMITED:
                packets = sum(whole(limit) - stream.packets for limit, stream in zip(limits, self.streams, strict=True))
            self.open_loop.measure(self._paced(), options.duration, packets)

    def _paced(self) -> list[PacedSendStream | PacedRequestStream]:
        return [stream for stream in self.streams if isinstance(stream, PacedSendStream | PacedRequestStream)]

    def _plan_ended(self) -> None:
        """All that was planned is released: what is due may still be sent, for a while."""
        self.ended_early = True
        for stream in self._paced():
            if stream in self._going:
                stream.end_released(sender.ENDED)
        if self._going:
            self._later(GRACE_SECONDS, self._end_early)

    def _pacer_broken(self) -> None:
        """By a fault of our own: nothing would be sent any more."""
        self.error = self.error or "an error of ctrlload's own: the pacer failed"
        self._abort()

    def _limits(self) -> list[int]:
        """The byte up to which each stream sends, counted from its first: the warm-up's packets are on top."""
        options, pattern = self._options, self._options.pattern
        number = len(self.streams)
        starts = [stream.packets for stream in self.streams]
        limits = [UNLIMITED] * number
        wanted: list[list[int]] = []
        if options.packets is not None:
            wanted.append(shares(options.packets, number))
        if options.total_bytes is not None and pattern.stride:
            wanted.append(shares(pattern.packets_to_cover(options.total_bytes), number))
        elif options.total_bytes is not None:
            each = zip(shares(options.total_bytes, number), starts, strict=True)
            wanted.append([pattern.packets_to_cover(nbytes, start) for nbytes, start in each])
        for packets in wanted:
            ends = [pattern.bytes_of(start + more) for start, more in zip(starts, packets, strict=True)]
            limits = [min(pair) for pair in zip(limits, ends, strict=True)]
        return limits

    def _limit_time(self) -> None:
        if self._options.duration is not None and self.open_loop is None:
            self._later(self._options.duration, self._end_early)

    def _end_early(self) -> None:
        if self.ending_early is not None and not self.ended_early:
            self.ending_early()
        self.ended_early = True
        if self.open_loop is not None:
            self.open_loop.stop()
        for stream in list(self._going):
            stream.end_at_packet(sender.ENDED)

    def _end_warm_up(self) -> None:
        if self.ended_early:
            return
        if self._options.mode == REQUEST:
            for stream in list(self._going):
                stream.end_at_packet(sender.COMPLETE)
            return
        self._begin_measuring()
        limits = self._limits()
        for stream, limit in zip(self.streams, limits, strict=True):
            stream.bound(limit)
        if self._going:
            self._pace(limits)

    def _begin_measuring(self) -> None:
        self._cut_interval()
        self.timing.mark()
        self.warming = False
        self.marked_at = self._clock()
        self.mark = self.counts(whole=True)
        self._restart_intervals()
        self._limit_time()

    # Time

    def _watch(self) -> None:
        """Several times a second: no stream may go without progress for too long."""
        now = self._clock()
        gentle = self._interrupted or (self.ended_early and self._options.mode != REQUEST)
        patience = GRACE_SECONDS if gentle else self._options.stall_timeout
        for stream in list(self._going):
            progress = stream.progress
            if progress != stream.seen or stream.idle:
                stream.seen, stream.seen_at = progress, now
            elif now - stream.seen_at >= patience:
                if gentle:
                    stream.cut(sender.CUT)
                    self.stream_done(stream)
                else:
                    stream.stall(patience)
            else:
                stream.quiet(now - stream.seen_at, patience)
        self._watcher.progress(self._progress(now))

    def _progress(self, now: float) -> Progress:
        options = self._options
        news = self.counts().since(self.mark)
        seconds = now - self.marked_at
        parts = [0.0]
        if options.packets:
            parts.append(news.packets / options.packets)
        if options.total_bytes:
            parts.append(news.bytes / options.total_bytes)
        duration = options.longest
        if duration:
            parts.append(seconds / duration)
        fraction = None if self.warming else min(1.0, max(parts))
        target = None if self.open_loop is None else self.open_loop.target_now()
        in_flight = sum(stream.in_flight for stream in self.streams)
        return Progress(fraction, seconds, news.packets, news.bytes, in_flight, self.timing.live(target))

    def _restart_intervals(self) -> None:
        """From now on a slice for each interval; none where the interval is 0."""
        if self._cutting.running:
            self._cutting.stop()
        if self._options.interval > 0:
            self._cutting.start(self._options.interval, now=False)

    def _gauge(self, start: float, end: float, join: bool) -> Gauge:
        """What there is to tell of an interval besides its counts."""
        target = None if self.open_loop is None else self.open_loop.target(start, end)
        return self.timing.cut(target, join=join)

    def _cut_interval(self) -> None:
        if self._options.interval > 0:
            self._watcher.interval(self._cuts.cut(self._clock(), self.counts(), warm_up=self.warming))

    def _end_interval(self) -> None:
        if self._options.interval > 0:
            shortest = LAST_INTERVAL * self._options.interval
            interval = self._cuts.end(self._clock(), self.counts(), warm_up=self.warming, shortest=shortest)
            if interval is not None:
                self._watcher.interval(interval)
        self.timing.cut()

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
