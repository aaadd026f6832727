"""The book: the one object that the service writes to and the admin port reads from.

Rules: time comes in as an argument, monotonic seconds on the clock of ``now`` in the constructor; ``wall`` is the time
of day at that instant, and the book computes every published timestamp from the two. When somebody sets the machine's
clock, later timestamps follow it; earlier ones stay, and no duration changes. ``reset`` takes its record and its new
base from the same totals, so no packet is lost between the two.

Those who ask at the same time share one reading: whoever has the number of ``asked`` may have that of an instant
after it, made for somebody else or by a tick. So a flood of questions costs few walks over the open streams, and a
reading never lacks what was counted before its question arrived. ``changed`` ends the sharing. Whoever looks again and
again, and may see what was a quarter of a second ago, asks with the number 0.

Beware: the caller must call ``first_data`` before it counts a stream's first chunk, and must count nothing after
``stream_closed``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Any

from attrs import evolve, frozen

from ctrlserver.addresses import peer_test
from ctrlserver.stats.counters import CLOSED_KEPT, REASONS, REJECTIONS, Counters, Origin, StreamCounters, Totals
from ctrlserver.stats.hosts import Hosts
from ctrlserver.stats.kept import KeptPackets
from ctrlserver.stats.memory import Memory
from ctrlserver.stats.overs import Brief, Overs
from ctrlserver.stats.probing import ProbeFigures
from ctrlserver.stats.rates import Rates
from ctrlserver.stats.records import (
    IntervalRecord,
    RunRecord,
    StatsRecord,
    StreamRecord,
    Value,
    as_mapping,
    rate_figure,
    seconds_figure,
    timestamp,
)
from ctrlserver.stats.rename import Renames
from ctrlserver.stats.runs import Runs

KEPT_CLOSED_BYTES = 64 * 1024 * 1024
"""Most bytes of kept packets of all closed streams together: 64 streams with a full megabyte each."""

_CLOCK_SET_SECONDS = 0.1
"""If the time of day differs from the computed one by more than this, somebody has set the clock."""

_CLOCKS_KEPT = 1000

_LAG_SECONDS = 10.0
_LAGS_KEPT = 256
"""Six times the number of ticks in ten seconds."""

_NO_RENAMES = Renames()

FIGURES: Mapping[str, Callable[[StreamCounters], Value]] = {
    **{
        name: attrgetter(name)
        for name in ("stream", "peer", "state", "reason", "bytes", "incomplete_bytes", "run", "injected", "worker")
    },
    **{name: attrgetter(f"origin.{name}") for name in ("listener", "protocol", "framing", "mode")},
    "packets": StreamCounters.whole,
    "seconds": lambda stream: seconds_figure(stream.seconds()),
    "packets_per_second": lambda stream: rate_figure(stream.whole(), stream.seconds()),
    "bits_per_second": lambda stream: rate_figure(stream.bytes * 8, stream.seconds()),
}
"""Published fields of a stream that take no whole record."""


@frozen
class Reading:
    """All streams of one instant; ``stats`` is the record of the whole server then."""

    totals: Totals
    stats: StatsRecord


class Book:
    """All numbers of one server.

    ``renames``, which knows the listeners' labels, may be replaced at any time. ``on_run_end`` takes the record of each
    run as it ends. The book keeps the last ``closed_kept`` closed streams, and at most ``kept_closed_bytes`` of their
    packets.
    """

    def __init__(
        self,
        *,
        version: str,
        now: float,
        wall: float,
        run_gap: float = 1.0,
        expected_packets: int | None = None,
        closed_kept: int = CLOSED_KEPT,
        kept_closed_bytes: int = KEPT_CLOSED_BYTES,
        renames: Renames = _NO_RENAMES,
        on_run_end: Callable[[RunRecord], object] = lambda _: None,
    ) -> None:
        self.version = version
        self.renames = renames
        self.counters = Counters(closed_kept)
        self.hosts = Hosts()
        self.memory = Memory()
        self.runs = Runs(self.counters, run_gap, expected_packets, timestamp=self._timestamp, on_end=on_run_end)
        self.rates = Rates()
        self._start = now
        self._clocks = deque([(now, wall - now)], maxlen=_CLOCKS_KEPT)  # monotonic time, time of day minus monotonic
        self._base = self.counters.totals()
        self.config_reloads = 0
        self.config_reload_failures = 0
        self.admin_refused = 0
        self.history_lost = 0
        self.lifetime: Mapping[str, int] = {}  # what the counters had come to before the start
        self.workers: Callable[[], tuple[int, int, int]] = lambda: (1, 0, 0)  # their number, late ones, restarts
        self._asked = 0
        self._reading: tuple[int, Reading] | None = None  # how often somebody had asked by then
        self._resets = 0
        self._lags: deque[tuple[float, float]] = deque(maxlen=_LAGS_KEPT)
        self._kept_closed: deque[StreamCounters] = deque()
        self._kept_closed_bytes = kept_closed_bytes
        self._kept_bytes = 0
        self.rates.sample(now, self._base)

    # Written by the service

    def stream_opened(self, origin: Origin, peer: str, now: float) -> StreamCounters:
        """A stream begins; the caller writes the counters returned."""
        self.runs.opened(now)
        stream = self.counters.opened(origin, peer, now)
        self.hosts.opened(stream)
        return stream

    def first_data(self, stream: StreamCounters, since: float, now: float) -> None:
        """A stream's first chunk, seen at ``since``, was read by ``now``; call it once, before you count the chunk."""
        stream.first, stream.first_read = since, now
        self.runs.first_data(stream, since, now)

    def first_turn_sent(self, stream: StreamCounters) -> None:
        """A source has sent what it could at once: until it sends more, nobody knows how fast that goes."""
        stream.first_read = stream.last
        self.runs.read_at_once(stream.first, stream.last)

    def stream_closed(self, stream: StreamCounters, reason: str, incomplete_bytes: int, now: float) -> None:
        """A stream ends, for one of ``REASONS``; only the first call for a stream counts."""
        if stream.state == "closed":
            return
        self._count_closed(stream, reason, incomplete_bytes)
        self.hosts.closed(stream)
        self.runs.closed(stream, now)

    def over(self, overs: Overs) -> None:
        """Add the numbers of streams that have opened and closed while ``runs.goes_on``."""
        self.counters.over(overs.origin, overs.reason, overs.sums(), overs.last())
        overs.run = self.runs.over(overs.origin, overs.sent())

    def streams_over(self, briefs: Sequence[Brief], later: int) -> None:
        """They are entered one by one, between others; ``later`` more are going to close."""
        self.hosts.over(briefs)
        number, recent = self.counters.number(len(briefs)), self.counters.recent
        at = max(0, len(briefs) + later - (recent.maxlen or 0))
        recent.extend(brief[2].stream(brief[3], number + place) for place, brief in enumerate(briefs[at:], at + 1))

    def _count_closed(self, stream: StreamCounters, reason: str, incomplete_bytes: int) -> None:
        recent = self.counters.recent
        if self._kept_closed and len(recent) == recent.maxlen and self._kept_closed[0] is recent[0]:
            self._drop_oldest_kept()
        self.counters.closed(stream, reason, incomplete_bytes)
        if stream.kept is not None:
            self._keep_closed(stream, stream.kept)

    def tick(self, now: float, lag_seconds: float, wall: float) -> None:
        """Called every ``SAMPLE_SECONDS``; ``lag_seconds`` is how late the call is."""
        if abs(wall - now - self._clocks[-1][1]) > _CLOCK_SET_SECONDS:
            self._clocks.append((now, wall - now))
        totals = self.counters.totals()
        self.rates.sample(now, totals)
        self._lags.append((now, lag_seconds))
        self.runs.tick(now, totals, lag_seconds)
        self._read(now, totals)

    # Read by the admin port

    def asked(self) -> int:
        """Questions have arrived; their number."""
        self._asked += 1
        return self._asked

    def changed(self) -> None:
        """Somebody changes something now: whoever asks next is to see it."""
        self._reading = None

    def stats(self, now: float, asked: int | None = None) -> StatsRecord:
        """That of a reading."""
        return self.reading(now, asked).stats

    def reading(self, now: float, asked: int | None = None) -> Reading:
        """The whole server now; or, for a question of number ``asked``, at an instant since that arrived."""
        if asked is None or self._reading is None or self._reading[0] < asked:
            return self._read(now, self.counters.totals())
        return self._reading[1]

    def _read(self, now: float, totals: Totals) -> Reading:
        reading = Reading(totals, self._stats(now, totals))
        self._reading = self._asked, reading
        return reading

    def reset(self, now: float) -> StatsRecord:
        """Set the counts since the last reset to 0; return the record from before."""
        totals = self.counters.totals()
        record = self._stats(now, totals)
        self.changed()
        self._base = totals
        self._resets += 1
        return record

    def interval(self, before: StatsRecord, after: StatsRecord) -> IntervalRecord:
        """What came between two readings."""
        seconds = seconds_figure(after.uptime_seconds - before.uptime_seconds)
        packets, octets = after.packets_total - before.packets_total, after.bytes_total - before.bytes_total
        opened = after.streams_total - before.streams_total
        return IntervalRecord(
            time=self._timestamp(self._start + after.uptime_seconds),
            seconds=seconds,
            packets=packets,
            bytes=octets,
            packets_per_second=rate_figure(packets, seconds),
            bits_per_second=rate_figure(octets * 8, seconds),
            streams_open=after.streams_open,
            streams_opened=opened,
            streams_closed=opened - (after.streams_open - before.streams_open),
            rejected=after.rejected_total - before.rejected_total,
            replies=after.replies_total - before.replies_total,
            loop_lag_seconds=after.loop_lag_seconds,
        )

    def streams(
        self, state: str | None = None, peer: str | None = None, limit: int | None = None
    ) -> list[StreamRecord]:
        """Open and kept closed streams, newest first; ``state`` is ``open`` or ``closed``, ``peer`` host:port or host.

        A record costs about 10 microseconds: for thousands, call ``choose`` and make the records in portions.
        """
        return [self.record(stream) for stream in self.choose(state, peer, limit)[0]]

    def choose(
        self, state: str | None = None, peer: str | None = None, limit: int | None = None
    ) -> tuple[list[StreamCounters], int]:
        """The counters that ``streams`` makes records of, and their number without ``limit``.

        It costs as much as it gives, and a look at the closed streams.
        """
        shown: dict[int, StreamCounters] | list[StreamCounters] = []
        if state != "closed":
            shown = self.counters.open if peer is None else self.hosts.open_of(peer)
        newest_open = reversed(shown if isinstance(shown, list) else shown.values())
        closed = () if state == "open" else self.counters.recent
        is_of = None if peer is None else peer_test(peer)
        wanted = [stream for stream in closed if is_of is None or is_of(stream.peer)]
        by_number = attrgetter("stream")
        wanted.sort(key=by_number, reverse=True)
        newest = merge(newest_open, wanted, key=by_number, reverse=True)
        return list(islice(newest, limit)), len(shown) + len(wanted)

    def relieve_memory(self, now: float) -> None:
        """Come below the limit of ``memory``; to be called while it is ``due`` and no holder is at work."""
        self.memory.relieve(self._give_up_closed, now)

    def _give_up_closed(self) -> bool:
        if not self._kept_closed:
            return False
        kept = self._kept_closed[0].kept
        self.memory.given_up += 0 if kept is None else len(kept)
        self._drop_oldest_kept()
        return True

    def _timestamp(self, monotonic: float) -> str:
        at = bisect_right(self._clocks, monotonic, key=itemgetter(0)) - 1
        return timestamp(monotonic + self._clocks[max(0, at)][1])

    def _keep_closed(self, stream: StreamCounters, kept: KeptPackets) -> None:
        if not self.counters.recent.maxlen:
            stream.kept = None
            return
        self._kept_closed.append(stream)
        self._kept_bytes += kept.memory
        self.memory.add(kept.memory)
        while self._kept_bytes > self._kept_closed_bytes:
            self._drop_oldest_kept()

    def _drop_oldest_kept(self) -> None:
        stream = self._kept_closed.popleft()
        if stream.kept is not None:
            self._kept_bytes -= stream.kept.memory
            self.memory.add(-stream.kept.memory)
            stream.kept = None

    def record(self, stream: StreamCounters) -> StreamRecord:
        """The published form of a stream."""
        origin = stream.origin
        seconds = stream.seconds()
        packets = stream.whole()
        figures = stream.tcp_figures()
        size: float | None = origin.size
        if size is None and packets:
            size = round((stream.bytes - stream.incomplete_bytes) / packets, 1)
        probed = stream.probe_figures()
        return StreamRecord(
            stream=stream.stream,
            listener=origin.listener,
            peer=stream.peer,
            protocol=origin.protocol,
            framing=origin.framing,
            mode=origin.mode,
            size=size,
            state=stream.state,
            reason=stream.reason,
            packets=packets,
            bytes=stream.bytes,
            incomplete_bytes=stream.incomplete_bytes,
            seconds=seconds_figure(seconds),
            packets_per_second=rate_figure(packets, seconds),
            bits_per_second=rate_figure(stream.bytes * 8, seconds),
            opened=self._timestamp(stream.opened),
            run=stream.run,
            **({} if probed is None else _rounded(probed)),
            rtt_seconds=None if figures is None else seconds_figure(figures[0]),
            retransmits=None if figures is None else figures[1],
            injected=stream.injected,
            worker=stream.worker,
            labels=origin.labels,
        )

    def figure(self, name: str) -> Callable[[StreamCounters], Value]:
        """What gives one published field of a stream: thousands are sorted by it, and a record of each costs more."""
        return FIGURES.get(name, lambda stream: as_mapping(self.record(stream)).get(name))

    def _stats(self, now: float, totals: Totals) -> StatsRecord:
        record = self._since_the_start(now, totals)
        whole = {name: getattr(record, name) + count for name, count in self.lifetime.items()}
        return evolve(record, **whole) if whole else record

    def _since_the_start(self, now: float, totals: Totals) -> StatsRecord:
        injections, injected = self.counters.orders()
        workers, late, restarts = self.workers()
        return StatsRecord(
            version=self.version,
            started=self._timestamp(self._start),
            uptime_seconds=seconds_figure(now - self._start),
            streams_open=totals.streams_open,
            streams_total=totals.streams_total,
            packets_total=totals.packets,
            bytes_total=totals.bytes,
            packets=totals.packets - self._base.packets,
            bytes=totals.bytes - self._base.bytes,
            incomplete_bytes_total=totals.incomplete_bytes,
            faults_total=totals.faults,
            rejected_total=totals.rejected,
            replies_total=totals.replies,
            **{name: round(rate, 1) for name, rate in self.rates.figures(now, totals).items()},
            runs_total=self.runs.total,
            resets_total=self._resets,
            loop_lag_seconds=seconds_figure(max([0.0, *(lag for at, lag in self._lags if now - at <= _LAG_SECONDS)])),
            **_by_reason("closed", REASONS, self.counters.closed_by_reason),
            **_by_reason("rejected", REJECTIONS, self.counters.rejected_by_reason),
            dropped_total=totals.dropped,
            dropped_in_batches_total=totals.dropped_in_batches,
            unanswered_loops_total=self.counters.loops,
            memory_bytes=self.memory.held,
            kept_given_up_total=self.memory.given_up,
            config_reloads_total=self.config_reloads,
            config_reload_failures_total=self.config_reload_failures,
            admin_refused_total=self.admin_refused,
            injections_active=injections,
            injected_total=injected,
            swallowed_total=totals.swallowed,
            duplicated_total=totals.duplicated,
            workers=workers,
            workers_late=late,
            worker_restarts_total=restarts,
            history_lost_total=self.history_lost,
        )


def _by_reason(what: str, reasons: Iterable[str], counted: Mapping[str, int]) -> dict[str, int]:
    """One counter field for each reason of a close or a rejection."""
    return {f"{what}_{reason.replace('-', '_')}_total": counted[reason] for reason in reasons}


def _rounded(probed: ProbeFigures) -> dict[str, Any]:
    return {name: value if value is None else seconds_figure(value) for name, value in probed._asdict().items()}
