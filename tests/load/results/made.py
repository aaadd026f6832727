"""Good result documents of every mode, made of the parts that a run makes them of."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import evolve

from ctrlserver.client.target import Target
from ctrlserver.load.measure.confidence import Precision, Until
from ctrlserver.load.measure.counts import Connected, Counts, Received, Replies, StreamCount, Volume, per_second
from ctrlserver.load.measure.injections import Injections, Struck, TermHits
from ctrlserver.load.measure.intervals import Gauge, Intervals
from ctrlserver.load.measure.reconciling import Delivery
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.measure.verdict import scheduled
from ctrlserver.load.results.goals import parse_goal
from ctrlserver.load.results.result import Environment, Result, as_document
from ctrlserver.load.results.shards import ShardOf
from ctrlserver.load.results.thresholds import judge, parse_threshold
from ctrlserver.load.streams.wire import COMPLETE, INJECTED
from tests.load.asking import options_for

SIZE = 100
BEGAN = "2024-02-03T04:05:06.000000Z"


def result(
    mode: str = "request",
    *,
    intervals: int = 4,
    streams: int = 3,
    most: int = 40,
    warm: int = 0,
    rate: float | None = None,
    shard: ShardOf | None = None,
    seed: int = 1,
    began: str | None = BEGAN,
    target: str = "127.0.0.1:5",
    udp: bool = False,
    struck: bool = False,
    fail_if: tuple[str, ...] = (),
    until: tuple[Precision, ...] = (),
    **changes: Any,
) -> Result:
    """A good run of whole seconds, of them ``warm`` of warm-up; 1 to ``most`` packets a second on each stream."""
    chance = Random(f"{seed} {shard}")
    mine = shard or ShardOf(1, 1)
    numbers = list(range(mine.index, streams + 1, mine.of))
    target = f"udp:{target}" if udp else target
    options = options_for(
        Target(target),
        mode=mode,
        streams=streams,
        duration=float(intervals - warm),
        size=str(SIZE) if mode != "connect" else None,
        warm_up=float(warm),
        rate=None if rate is None else f"{rate}/s",
        interval=1.0,
        admin=(Target("127.0.0.1:6"),) if mode != "connect" else (),
        inject="2*duplicate->off" if struck else None,
        until=tuple(parse_goal(each.asked) for each in until),
    )
    timing = Timing(whole_gauges=shard is not None)

    def gauge(_: float, __: float, join: bool) -> Gauge:
        return timing.cut(None if rate is None else rate / mine.of, join=join)

    cuts = Intervals(0.0, gauge)
    sums, marked = dict.fromkeys(numbers, 0), dict.fromkeys(numbers, 0)
    for second in range(intervals):
        if second == warm:
            timing.mark()
            marked = dict(sums)
        for number in numbers:
            packets = chance.randint(1, most)
            sums[number] += packets
            for _ in range(packets if mode in ("request", "connect") else 0):
                time = chance.randint(1_000, 9_000_000)
                timing.service.now.record(time)
                if rate is not None:
                    timing.response.now.record(time + chance.randint(0, 2_000_000))
            for _ in range(packets if rate is not None else 0):
                timing.slip.record(chance.randint(0, 1_100_000))
        cuts.cut(float(second + 1), totals(sums, mode), warm_up=second < warm)
    measured, warmed = totals(sums, mode).since(totals(marked, mode)), totals(marked, mode)
    seconds = intervals - warm - 0.0125
    plan = 0.0 if rate is None else (measured.packets + 2) * mine.of / rate
    shown = [
        StreamCount(
            stream=number,
            local=f"127.0.0.1:{1000 + number}",
            target=target,
            packets=packets,
            bytes=packets * SIZE,
            seconds=intervals - 0.02,
            incomplete_bytes=0,
            writes=packets if mode != "receive" else 0,
            replies=packets if mode == "request" else None,
            received_packets=packets,
            received_bytes=packets * SIZE,
            reason=INJECTED if struck else COMPLETE,
            injected=Struck(2, 2, 0, 0, 0, 0, None, packets, packets, 0, False) if struck else None,
        )
        for number, packets in sums.items()
        if mode != "connect"
    ]
    whole = sum(sums.values())
    took = intervals - 0.005
    volume = Volume.of(measured, seconds, plan)
    schedule = None
    if rate is not None:
        schedule = scheduled(
            target=rate / mine.of,
            planned=measured.packets + 2,
            sent=measured.packets,
            plan_seconds=plan,
            seconds=seconds,
            busy=0.1,
            slip=timing.slip,
            delay=timing.delay,
            dropped_ticks=3,
        )
    made = Result(
        started=BEGAN,
        began=began,
        shard=shard,
        target=target,
        options=options.as_options(),
        labels={"site": "lab"},
        environment=Environment("0.1.0"),
        intervals=list(cuts.kept),
        sent=volume if mode in ("send", "request") else Volume.of(Counts(), 0.0),
        warm_up=Volume.of(warmed, float(warm)) if warm else None,
        replies=Replies(measured.replies, measured.reply_bytes) if mode == "request" else None,
        downloaded=volume if mode == "receive" else None,
        connections=Connected.of(measured.packets, {"connection refused": 3}, seconds, plan)
        if mode == "connect"
        else None,
        received=Received(whole, whole * SIZE, took, per_second(whole, took), per_second(whole * SIZE * 8, took))
        if mode != "connect"
        else None,
        reconciled=True if mode != "connect" else None,
        difference=None,
        delivery=Delivery(0, 0, 2, 0.001, 0) if udp else None,
        injections=struck_sums(len(shown)) if struck else None,
        latency=timing.latencies(),
        schedule=schedule,
        streams=shown,
        until=Until.of(until) if until else None,
        interrupted=False,
        error=None,
    )
    made = evolve(made, **changes)
    return evolve(made, thresholds=judge([parse_threshold(each) for each in fail_if], as_document(made)))


def document(mode: str = "request", **how: Any) -> dict[str, Any]:
    """The same as a document."""
    return as_document(result(mode, **how))


def totals(sums: dict[int, int], mode: str) -> Counts:
    packets = sum(sums.values())
    if mode == "connect":
        return Counts(packets)
    replies = packets if mode == "request" else 0
    return Counts(packets, packets * SIZE, 0 if mode == "receive" else packets, replies, replies * SIZE)


def struck_sums(streams: int) -> Injections:
    terms = [TermHits("2*duplicate", 2 * streams), TermHits("off", 0)]
    return Injections("2*duplicate->off", 1, 2 * streams, terms, 2 * streams, 0, 0, 0, 0, 0, 0, 0, 0, 0)
