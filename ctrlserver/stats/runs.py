"""When a run begins, when it ends, and what it reports.

Rules: a run is the difference of two totals, so a stream may span runs and no packet counts twice. An automatic run
begins with data. It ends when for ``run_gap`` no data has arrived and no stream that began to send in it has been open.
Connections that send nothing neither begin a run nor keep one open. A silent stream keeps its run open, until data
arrives on a connection made ``run_gap`` after the last data: that is another test, and begins the next run. An
operator's run begins at its start and ends only by a stop, another start or the server's end; after a stop with streams
still sending, no run begins by itself until those are closed, or another test begins. A run's time goes from its first
data to its last, so it includes neither the gap nor an operator's typing. If all its data came in one read, or in one
round of reads, nobody knows how long that took: its time is 0, and it has no rate.

Beware: ``first_data`` is called once a stream, often; it must not walk the streams once a run's first data is known.
If streams from before the run send its first data, no call reports it: the run then starts at the tick before that data
(a quarter of a second), not at the exact time. Where no run is active,
such data begins none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any

from attrs import define, field

from ctrlserver.stats.counters import Counters, Label, Origin, StreamCounters, Totals
from ctrlserver.stats.records import RunRecord, rate_figure, seconds_figure
from ctrlserver.units import format_bits
from ctrlserver.words import quoted

ENDED_KEPT = 1000
"""Ended runs kept for queries: about half a MiB; the history file has the older ones."""

LATE_SECONDS = 0.1
"""A tick later than this means that the process was paused."""


@define(eq=False)
class _Active:
    """A run under way; ``first`` is -1.0 before any data. ``at_once``: the time after the reads of its first round.

    ``inherited`` holds the open streams that were sending before the run, and the bytes of each by then. ``origins``
    are those of the streams that sent in it, and when the first of each did.
    """

    number: int
    name: str | None
    automatic: bool
    expected_packets: int | None
    began: float
    base: Totals
    inherited: dict[StreamCounters, int]
    first: float = -1.0
    at_once: float = -1.0
    streams: int = 0
    origins: dict[Origin, float] = field(factory=dict)

    def sent(self, origin: Origin, when: float, streams: int = 1) -> None:
        """Streams of this origin have sent in the run, the first of them then."""
        self.streams += streams
        if when < self.origins.get(origin, inf):
            self.origins[origin] = when


@define(eq=False)
class Runs:
    """The runs of one server. ``timestamp`` formats a monotonic time; ``on_end`` takes each ended record.

    ``number`` gives each run that begins its number, by those in use so far; ``on_begin`` is called then.
    ``expected_packets`` applies to every run for which the operator gives no other number. ``known``: until then we
    know what happened, so silence is judged up to there; where other processes count, it is when they told last.
    """

    _counters: Counters
    _timestamp: Callable[[float], str] = field(kw_only=True)
    _on_end: Callable[[RunRecord], object] = field(kw_only=True)
    run_gap: float = 1.0
    expected_packets: int | None = None
    number: Callable[[int], int] = field(default=lambda newest: newest + 1, init=False)
    on_begin: Callable[[], object] = field(default=lambda: None, init=False)
    known: float = field(default=inf, init=False)
    total: int = field(default=0, init=False)
    newest: int = field(default=0, init=False)
    """The number of the run that began last."""
    ended: deque[RunRecord] = field(factory=lambda: deque(maxlen=ENDED_KEPT), init=False)
    _active: _Active | None = field(default=None, init=False)
    _held: bool = field(default=False, init=False)
    _senders: set[int] = field(factory=set, init=False)
    """The open streams that keep the active run open or, after a stop, keep the next from beginning."""
    _idle_since: float = field(default=0.0, init=False)
    _quiet: bool = field(default=False, init=False)
    _last_tick: float = field(default=0.0, init=False)

    def opened(self, now: float) -> None:
        """A stream is about to open."""
        self._end_if_idle(now)

    def first_data(self, stream: StreamCounters, since: float, now: float) -> None:
        """A stream's first chunk, seen at ``since`` and read by ``now``, is not counted yet; sets ``stream.run``."""
        self._end_if_idle(since)
        if self._quiet:
            self._end_if_another(stream)
        active = self._active
        if active is None and not self._held:
            totals = self._counters.totals()
            active = self._begin(None, self.expected_packets, since, totals, automatic=True)
            active.first = since
        self._senders.add(stream.stream)
        if active is None:
            return
        if active.first < 0:
            self._find_first(active, self._counters.totals())
            if active.first < 0:
                active.first = since = max(active.began, since)
        self.read_at_once(since, now)
        active.sent(stream.origin, now)
        stream.run = active.number

    def read_at_once(self, since: float, now: float) -> None:
        """What was seen at ``since`` was read by ``now``; it matters if it is the first data of the active run."""
        active = self._active
        if active is not None and active.first == since:
            active.at_once = now

    def closed(self, stream: StreamCounters, now: float) -> None:
        """A stream has closed and its counters are in the sums."""
        active = self._active
        if active is not None and stream.bytes > active.inherited.pop(stream, stream.bytes):
            active.sent(stream.origin, now)
        if stream.stream in self._senders:
            self._senders.remove(stream.stream)
            self._idle_since = max(self._idle_since, now)  # a close may be told late
            if not self._senders:
                self._held = False

    def over(self, origin: Origin, sent: Sequence[tuple[float, float, float]]) -> int | None:
        """Streams have opened, sent and closed while this run ``goes_on``; return its number.

        ``sent``: of each its ``first`` and ``first_read``, and when it closed.
        """
        active = self._active
        if active is None or not sent:
            return None
        firsts, reads, closed = zip(*sent, strict=True)
        if active.first in firsts:
            active.at_once = max(read for first, read, _ in sent if first == active.first)
        active.sent(origin, min(reads), len(sent))
        self._idle_since = max(self._idle_since, *closed)
        return active.number

    def goes_on(self, closes: int, since: float, until: float) -> bool:
        """Whether no run can begin or end with what streams do from ``since`` to ``until``.

        ``closes``: of the streams that are open now, so many close meanwhile, if not fewer.
        """
        active = self._active
        if active is None or active.first < 0 or self._quiet:
            return False
        if not active.automatic or len(self._senders) > closes:
            return True
        return until - (since if self._senders else self._idle_since) < self.run_gap

    def tick(self, now: float, totals: Totals, lag_seconds: float = 0.0) -> None:
        """Follow the data since the last tick, and end an idle run; ``totals`` are those of ``now``.

        ``lag_seconds``: how late the tick is. After a pause of the process the gap begins anew, since data may wait.
        """
        if self._active is not None:
            self._find_first(self._active, totals)
        paused = lag_seconds > LATE_SECONDS
        self._quiet = not paused and min(now, self.known) - self._counters.last_data() >= self.run_gap
        if paused:
            self._idle_since = now
        self._last_tick = now
        self._end_if_idle(now)

    def start(self, name: str, expect: int | None, now: float) -> RunRecord:
        """Begin an operator's run; the active one ends. Return the record of the new one."""
        self._end_if_idle(now)
        totals = self._counters.totals()
        self._end(totals)
        self._held = False
        expected = self.expected_packets if expect is None else expect
        active = self._begin(name, expected, now, totals, automatic=False)
        return self._record(active, active.base, "active")

    def stop(self, now: float) -> RunRecord | None:
        """End the active run, automatic or not; ``None`` without one."""
        self._end_if_idle(now)
        record = None if self._active is None else self._end(self._counters.totals())
        if record is not None:
            self._senders = {stream.stream for stream in self._counters.open.values() if stream.bytes}
            self._held = bool(self._senders)
        return record

    def active(self) -> RunRecord | None:
        """The active run, as it is now."""
        return None if self._active is None else self._record(self._active, self._counters.totals(), "active")

    def records(self, now: float, totals: Totals | None = None) -> list[RunRecord]:
        """The active run and those ended last, newest first; the active one as of ``totals``, or as it is now."""
        self._end_if_idle(now)
        if self._active is None:
            return list(self.ended)
        return [self._record(self._active, totals or self._counters.totals(), "active"), *self.ended]

    def record(self, number: int, now: float) -> RunRecord | None:
        """The active or a kept ended run of this number."""
        self._end_if_idle(now)
        if self._active is not None and self._active.number == number:
            return self._record(self._active, self._counters.totals(), "active")
        return next((record for record in self.ended if record.run == number), None)

    def _begin(
        self, name: str | None, expected_packets: int | None, now: float, base: Totals, *, automatic: bool
    ) -> _Active:
        self.total += 1
        self.newest = self.number(self.newest)
        inherited = {stream: stream.bytes for stream in self._counters.open.values() if stream.bytes}
        self._active = active = _Active(self.newest, name, automatic, expected_packets, now, base, inherited)
        self._senders.clear()
        self._idle_since = now
        self.on_begin()
        return active

    def _end_if_idle(self, now: float) -> None:
        active = self._active
        if active is None or not active.automatic or self._senders:
            return
        now = min(now, self.known)
        if now - self._idle_since < self.run_gap:
            return
        self._idle_since = max(self._idle_since, self._counters.last_data())
        if now - self._idle_since >= self.run_gap:
            self._end(self._counters.totals())

    def _end_if_another(self, stream: StreamCounters) -> None:
        """End the active run, or a hold, if ``stream`` was opened ``run_gap`` after the last data."""
        self._quiet = False
        if stream.opened - self._counters.last_data() < self.run_gap:
            return
        self._held = False
        if self._active is not None and self._active.automatic:
            self._end(self._counters.totals())

    def _end(self, totals: Totals) -> RunRecord | None:
        active = self._active
        if active is None:
            return None
        record = self._record(active, totals, "ended")
        self._active = None
        self.ended.appendleft(record)
        self._on_end(record)
        return record

    def _find_first(self, active: _Active, totals: Totals) -> None:
        """Notice data of inherited streams: it arrived after the tick before."""
        if active.first < 0 and totals.bytes > active.base.bytes:
            active.first = max(active.began, self._last_tick)

    def _record(self, active: _Active, totals: Totals, state: str) -> RunRecord:
        self._find_first(active, totals)
        base = active.base
        last = self._counters.last_data() if active.first >= 0 else active.at_once
        seconds = 0.0 if last == active.at_once else max(0.0, last - active.first)
        packets = totals.packets - base.packets
        octets = totals.bytes - base.bytes
        inherited = [stream.origin for stream, before in active.inherited.items() if stream.bytes > before]
        in_order = sorted(active.origins, key=active.origins.__getitem__)
        origins = dict.fromkeys([*in_order, *inherited])
        return RunRecord(
            run=active.number,
            name=active.name,
            state=state,
            started=self._timestamp(active.began),
            seconds=seconds_figure(seconds),
            streams=active.streams + len(inherited),
            packets=packets,
            bytes=octets,
            packets_per_second=rate_figure(packets, seconds),
            bits_per_second=rate_figure(octets * 8, seconds),
            incomplete_bytes=totals.incomplete_bytes - base.incomplete_bytes,
            faults=totals.faults - base.faults,
            expected_packets=active.expected_packets,
            complete=None if active.expected_packets is None else packets == active.expected_packets,
            listeners=",".join(dict.fromkeys(origin.listener for origin in origins)) or None,
            labels=_labels(origins),
        )


def _labels(origins: Iterable[Origin]) -> dict[str, list[Label]]:
    """Each label of these, with its values, each once."""
    found: dict[str, dict[Any, Label]] = {}
    for origin in origins:
        for name, value in origin.labels.items():
            found.setdefault(name, {})[type(value), value] = value
    return {name: list(values.values()) for name, values in found.items()}


def summary_line(record: RunRecord) -> str:
    """An ended run on one line for a person: total time, number of packets, rate."""
    name = "" if record.name is None else f" {quoted(record.name)}"
    if record.packets_per_second is None or record.bits_per_second is None:
        rate = "rate unknown"
    else:
        rate = f"rate {record.packets_per_second:.1f} packets/s ({format_bits(record.bits_per_second)})"
    time = f"total time {record.seconds:.6f} s"
    line = f"run {record.run}{name} ended: {time}, number of packets {record.packets}, {rate}"
    if record.expected_packets is None:
        return line
    missing = record.expected_packets - record.packets
    if missing == 0:
        return f"{line}, complete: {record.expected_packets} expected"
    difference = f"{missing} missing" if missing > 0 else f"{-missing} too many"
    return f"{line}, not complete: {record.expected_packets} expected, {difference}"
