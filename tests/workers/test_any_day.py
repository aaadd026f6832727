"""Whatever happens to several workers, the parent's book comes out as that of one process that had it all."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

from attrs import asdict, define, evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import REASONS, REJECTIONS, Origin, StreamCounters
from ctrlserver.stats.probing import Probing
from ctrlserver.stats.records import StatsRecord
from ctrlserver.workers.merging import Mirror, enter_seen
from ctrlserver.workers.snapshots import RecordingBook, Snapshot
from tests.stats.books import LINES, ORIGIN, WALL, a_book
from tests.workers.paths import Path

WORKERS = (1, 2, 3)
FIXED = Origin("fixed", "tcp", "fixed:100", "sink", 100, by_size=True)
DATAGRAMS = Origin("data", "udp", "datagram", "reply", labels={"site": "lab"})
ORIGINS = (ORIGIN, LINES, FIXED, DATAGRAMS)
TICK = 0.25
MOMENT = 2**-10


def a_worker(now: float) -> RecordingBook:
    return RecordingBook(version="1.2.3", now=now, wall=WALL, closed_kept=1000)


@define(eq=False)
class Pair:
    """A stream in one process, and the same in a worker."""

    worker: int
    alone: StreamCounters
    shared: StreamCounters

    def both(self) -> tuple[StreamCounters, StreamCounters]:
        return self.alone, self.shared


class AnyDay(RuleBasedStateMachine):
    """``alone`` is the book of one process, ``parent`` that of the parent of ``workers``."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.ticked = 500.0
        self.lag = 0.001
        self.pairs: list[Pair] = []
        self.drops = {number: [0, 0] for number in WORKERS}
        self.send_on = False  # a stream from before a run sends on in it

    @initialize(gap=st.sampled_from([1.0, 0.01]))
    def begin(self, gap: float) -> None:
        self.alone, self.parent = a_book(run_gap=gap), a_book(run_gap=gap)
        self.mirror = Mirror(self.parent)
        self.workers: dict[int, RecordingBook] = {}
        for number in WORKERS:
            self.start_worker(number)

    def start_worker(self, number: int) -> None:
        self.workers[number] = worker = a_worker(self.now)
        dropped = self.drops[number] = [0, 0]
        for counters in (worker.counters, self.alone.counters):
            counters.drops.append(lambda: (dropped[0], dropped[1]))

    def pass_time(self, seconds: float) -> None:
        """All refreshes and ticks come as they are due."""
        until = self.now + seconds
        while self.ticked + TICK <= until:
            self.now = self.ticked = self.ticked + TICK
            wall = WALL + self.now - 500
            for worker in self.workers.values():
                worker.tick(self.now, self.lag, wall)
            self.refresh()
            self.alone.tick(self.now, self.lag, wall)
            self.parent.tick(self.now, self.mirror.take_lag(), wall)
            self.lag = 0.001
        self.now = until

    def refresh(self) -> None:
        snapshots: dict[int, Snapshot] = {
            number: pickle.loads(pickle.dumps(worker.take(self.now))) for number, worker in self.workers.items()
        }
        self.mirror.apply(snapshots)

    def refresh_and_look(self) -> None:
        self.refresh()
        for number, worker in self.workers.items():
            mine = {each.local: each for each in self.parent.counters.open.values() if each.worker == number}
            enter_seen(worker.look_at(mine), mine)

    def chosen(self, which: int) -> Pair | None:
        self.pass_time(MOMENT)
        still_open = [pair for pair in self.pairs if pair.alone.state == "open"]
        return still_open[which % len(still_open)] if still_open else None

    @rule(moments=st.integers(1, 60))
    def wait_a_little(self, moments: int) -> None:
        self.pass_time(moments * MOMENT)

    @rule(eighths=st.integers(1, 16))
    def wait(self, eighths: int) -> None:
        self.pass_time(eighths / 8)

    @rule()
    def be_late(self) -> None:
        self.lag = 0.5

    @rule(
        worker=st.sampled_from(WORKERS),
        origin=st.sampled_from(ORIGINS),
        host=st.integers(1, 2),
        probes=st.booleans(),
        connected=st.booleans(),
    )
    def open(self, worker: int, origin: Origin, host: int, probes: bool, connected: bool) -> None:
        self.pass_time(MOMENT)
        peer = f"10.0.0.{host}:{len(self.pairs)}"
        pair = Pair(
            worker,
            self.alone.stream_opened(origin, peer, self.now),
            self.workers[worker].stream_opened(origin, peer, self.now),
        )
        for stream in pair.both():
            stream.probing = Probing() if probes else None
            stream.path = Path() if connected else None
        self.pairs.append(pair)
        if origin is DATAGRAMS:
            self.send_by(pair, 1, 0)

    @rule(which=st.integers(0, 5), packets=st.integers(0, 20), rest=st.integers(1, 99))
    def send(self, which: int, packets: int, rest: int) -> None:
        if (pair := self.chosen(which)) is not None:
            self.send_by(pair, packets, rest)

    def send_by(self, pair: Pair, packets: int, rest: int) -> None:
        seen = self.now - MOMENT / 2
        if pair.alone.first < 0:
            self.alone.first_data(pair.alone, seen, self.now)
            self.workers[pair.worker].first_data(pair.shared, seen, self.now)
        elif pair.alone.run is None or pair.alone.run != self.alone.runs.total or self.is_between_runs():
            self.send_on = True
        for stream in pair.both():
            stream.packets += 0 if stream.origin.by_size else packets
            stream.bytes += packets * 100 + rest
            stream.last = self.now
            if stream.probing is not None:
                for each in range(packets):
                    stream.probing.take(1, each * 2, 0, int(self.now * 1e9))

    def is_between_runs(self) -> bool:
        return all("ended" == record.state for record in self.alone.runs.records(self.now))

    @rule(which=st.integers(0, 5))
    def send_a_first_turn(self, which: int) -> None:
        pair = self.chosen(which)
        if pair is not None and pair.alone.first < 0:
            self.send_by(pair, 1, 0)
            for stream in pair.both():
                stream.last += MOMENT / 4
            self.alone.first_turn_sent(pair.alone)
            self.workers[pair.worker].first_turn_sent(pair.shared)

    @rule(which=st.integers(0, 5), unanswered=st.integers(0, 3), hits=st.integers(0, 3))
    def strike(self, which: int, unanswered: int, hits: int) -> None:
        if (pair := self.chosen(which)) is not None:
            self.alone.counters.struck = self.workers[pair.worker].counters.struck = True
            for stream in pair.both():
                stream.unanswered += unanswered
                stream.injected += 2 * hits
                stream.swallowed += hits
                stream.duplicated += hits

    @rule(
        which=st.integers(0, 5),
        reason=st.sampled_from(REASONS),
        incomplete_bytes=st.integers(0, 99),
    )
    def close(self, which: int, reason: str, incomplete_bytes: int) -> None:
        if (pair := self.chosen(which)) is not None:
            self.alone.stream_closed(pair.alone, reason, incomplete_bytes, self.now)
            self.workers[pair.worker].stream_closed(pair.shared, reason, incomplete_bytes, self.now)

    @rule(worker=st.sampled_from(WORKERS), reason=st.sampled_from(REJECTIONS), number=st.integers(1, 9))
    def reject(self, worker: int, reason: str, number: int) -> None:
        for book in (self.alone, self.workers[worker]):
            book.counters.rejected(reason, number)
            book.counters.loops += number

    @rule(worker=st.sampled_from(WORKERS), number=st.integers(1, 9))
    def drop(self, worker: int, number: int) -> None:
        self.drops[worker][0] += number
        self.drops[worker][1] += number // 2

    @rule(worker=st.sampled_from(WORKERS), nbytes=st.integers(-500, 999))
    def hold(self, worker: int, nbytes: int) -> None:
        for book in (self.alone, self.workers[worker]):
            book.memory.add(nbytes)
            book.memory.given_up += 1

    @rule(expect=st.none() | st.integers(0, 30))
    def start_run(self, expect: int | None) -> None:
        self.pass_time(MOMENT)
        self.refresh()
        for book in (self.alone, self.parent):
            book.runs.start("by order", expect, self.now)

    @rule()
    def stop_run(self) -> None:
        self.pass_time(MOMENT)
        self.refresh()
        for book in (self.alone, self.parent):
            book.runs.stop(self.now)

    @rule()
    def reset(self) -> None:
        self.refresh()
        self.same(self.alone.reset(self.now), self.parent.reset(self.now))

    @rule(worker=st.sampled_from(WORKERS))
    def lose_one_that_has_told_all(self, worker: int) -> None:
        self.pass_time(MOMENT)
        self.refresh_and_look()
        mine = [pair for pair in self.pairs if pair.worker == worker and pair.alone.state == "open"]
        for pair in mine:
            origin = pair.alone.origin
            left = pair.alone.bytes % origin.size if origin.by_size and origin.size else 0
            self.alone.stream_closed(pair.alone, "worker", left, self.now)
        self.alone.memory.add(-self.workers[worker].memory.held)
        assert len(mine) == self.mirror.lost(worker, self.now)
        self.start_worker(worker)

    @rule()
    def compare(self) -> None:
        self.pass_time(MOMENT)
        self.refresh_and_look()
        alone, parent, now = self.alone, self.parent, self.now
        self.same(alone.stats(now), parent.stats(now))
        streams = [streams_of(book, with_runs=not self.send_on) for book in (alone, parent)]
        assert streams[0] == streams[1]
        assert hosts_of(alone) == hosts_of(parent)
        assert alone.counters.totals().listeners == parent.counters.totals().listeners
        if not self.send_on:
            assert alone.runs.records(now) == parent.runs.records(now)

    def same(self, ours: StatsRecord, theirs: StatsRecord) -> None:
        assert ours == (evolve(theirs, runs_total=ours.runs_total) if self.send_on else theirs)

    @invariant()
    def a_mirror_leads_to_its_worker(self) -> None:
        for stream in self.parent.counters.open.values():
            assert (stream.worker, stream.local) == self.mirror.local(stream.stream)


def streams_of(book: Book, *, with_runs: bool) -> Counter[str]:
    """The records of all streams but for their numbers and those of their workers."""
    records = [asdict(record) for record in book.streams()]
    left_out = {"stream", "worker"} if with_runs else {"stream", "worker", "run"}
    return Counter(repr({name: value for name, value in record.items() if name not in left_out}) for record in records)


def hosts_of(book: Book) -> Any:
    sums = sorted((each.host, each.listener, each.streams, each.packets, each.bytes) for each in book.hosts.sums())
    return sums, [len(book.hosts.open_of(host)) for host in ("10.0.0.1", "10.0.0.2")]


TestAnyDay = AnyDay.TestCase
TestAnyDay.settings = settings(max_examples=30, stateful_step_count=50, deadline=None)
