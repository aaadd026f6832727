"""Several shards of one load made one result, as if one ctrlload had sent all of it. PURE.

    counts                  added
    latencies, slip         histograms added; every percentile is read from them as a run reads it
    intervals               by the time since the first shard began (merged_intervals.py)
    streams                 all, by their numbers, each with its shard
    times, rates            from the first shard's first packet to the last one's last, by their machines' clocks
    thresholds              judged once more
    reconciled              if all are
    errors                  kept, with the shard's number

Rules: the order of the shards does not matter. What does not belong together is refused: UsageError in one line that
names the files and both values. What the shards do not tell of the whole is null, and ``merged.unknown`` says why.

Beware: a server counts what it saw meanwhile, of all its peers: of shards that asked the same server these counts
overlap and are never added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from attrs import asdict, evolve, fields, frozen

from ctrlserver.errors import UsageError
from ctrlserver.load.measure.counts import Connected, Counts, Received, Replies, Volume, per_second
from ctrlserver.load.measure.injections import Injections, ServerInjections, TermHits
from ctrlserver.load.measure.reconciling import Delivery
from ctrlserver.load.measure.timing import Latencies
from ctrlserver.load.measure.verdict import TOLERATED, Bottleneck, Scheduled, Slip, too_many_late
from ctrlserver.load.results.belonging import in_order
from ctrlserver.load.results.judging import judged
from ctrlserver.load.results.merged_intervals import merged_intervals
from ctrlserver.load.results.result import Result
from ctrlserver.load.results.shards import Merged, Part, Start
from ctrlserver.load.results.thresholds import parse_threshold
from ctrlserver.stats.latency import decoded

#: Of several verdicts the one that says most against the figures.
_GRAVEST = (Bottleneck.GENERATOR, Bottleneck.INJECTION, Bottleneck.TARGET, Bottleneck.NONE)

T = TypeVar("T")


@frozen
class Timed:
    """A shard's result and when its sending and its measured part began, in seconds after the first shard's sending.

    ``seconds`` of the measured part, 0 if nothing was.
    """

    result: Result
    began: float
    marked: float
    seconds: float

    @property
    def ends(self) -> float:
        """When its last packet went."""
        return self.marked + self.seconds


def merged(shards: Mapping[str, Result], *, lacking: Mapping[int, str] | None = None) -> Result:
    """The whole of ``shards``, by the names of their files.

    ``lacking``: shards may be missing, and what the error of the whole says of each by its number.
    """
    names = in_order(shards)
    results = [shards[name] for name in names]
    first = results[0]
    whole = first.shard
    assert whole is not None
    there = {each.shard.index for each in results if each.shard is not None}
    missing = [number for number in range(1, whole.of + 1) if number not in there]
    if missing and lacking is None:
        raise UsageError(f"shard {missing[0]} of {whole.of} is missing: expected the results of all {whole.of} shards")
    return _Whole(results, whole.of, {number: (lacking or {}).get(number, "no result") for number in missing}).result()


def _volume(result: Result) -> Volume:
    """What the mode measures."""
    return result.sent if result.downloaded is None else result.downloaded


def _acted(result: Result) -> bool:
    """Whether it has done anything: of a few packets a shard may have none."""
    volume, warmed, connected = _volume(result), result.warm_up, result.connections
    done = volume.packets or volume.bytes or (warmed is not None and (warmed.packets or warmed.bytes))
    return bool(done or (connected is not None and (connected.opened or connected.failed)))


class _Whole:
    """The whole of ``results``, in the order of their shards."""

    def __init__(self, results: Sequence[Result], of: int, missing: dict[int, str]) -> None:
        self.results, self.of, self.missing = results, of, missing
        self.unknown: list[str] = []
        begun = [_moment(each.began) for each in results if each.began is not None]
        self.spread = round(max(begun) - min(begun), 6) if len(begun) == len(results) else None
        if self.spread is None:
            lacking = [str(self._index(each)) for each in results if each.began is None]
            self.unknown.append(f"start_spread_seconds: shard {', '.join(lacking)} did not begin to send")
        began = [each.began for each in list(filter(_acted, results)) or results if each.began is not None]
        self.began = min(began, default=None)  # a shard that had nothing to send begins nothing
        self.zero = 0.0 if self.began is None else _moment(self.began)
        self.shards = [self._timed(each) for each in results]
        acted = [each for each in self.shards if _acted(each.result)] or self.shards
        active = [each for each in acted if each.seconds or _volume(each.result).packets]
        marks = [each.marked for each in active or acted]
        self.marked = min(marks) if active else max(marks)
        self.seconds = round(max((each.ends for each in active), default=self.marked) - self.marked, 6)

    @staticmethod
    def _index(result: Result) -> int:
        return 1 if result.shard is None else result.shard.index

    def _timed(self, result: Result) -> Timed:
        began = 0.0 if result.began is None else _moment(result.began) - self.zero
        warm = 0.0 if result.warm_up is None else result.warm_up.seconds
        seconds = _volume(result).seconds if result.connections is None else result.connections.seconds
        return Timed(result, began, began + warm, seconds)

    def result(self) -> Result:
        """The document of the whole."""
        results, first = self.results, self.results[0]
        slices, partial = merged_intervals(self.shards, float(str(first.options["interval_seconds"])), self.marked)
        self.unknown += partial
        schedule = self._schedule()
        plan = 0.0 if schedule is None else schedule.plan_seconds or 0.0
        errors = {self._index(each): each.error for each in results if each.error is not None} | self.missing
        told = [f"shard {self._index(each)}: {each.difference}" for each in self._telling()]
        whole = evolve(
            first,
            started=min(each.started for each in results),
            began=self.began,
            start=self._start(),
            shard=None,
            target=", ".join(sorted({each.target for each in results})),
            options={key: None if key in ("shard", "start_at") else value for key, value in first.options.items()},
            environment=evolve(first.environment, server=_first(each.environment.server for each in results)),
            intervals=slices,
            sent=self._volume(lambda each: each.sent, self.seconds, 0.0 if first.connections else plan) or first.sent,
            warm_up=self._volume(lambda each: each.warm_up, self.marked, 0.0),
            downloaded=self._volume(lambda each: each.downloaded, self.seconds, plan),
            replies=self._replies(),
            connections=self._connections(plan),
            received=self._received(),
            reconciled=self._reconciled(),
            difference="; ".join(told) or None,
            delivery=self._delivery(),
            injections=self._injections(),
            server_injections=self._server_injections(),
            latency=self._latency(),
            schedule=schedule,
            streams=sorted(
                (evolve(one, shard=self._index(each)) for each in results for one in each.streams),
                key=lambda stream: stream.stream,
            ),
            thresholds=[],
            interrupted=any(each.interrupted for each in results),
            error=_by_words(errors) or None,
        )
        expressions = [str(each) for each in _listed(first.options.get("fail_if"))]
        return judged(evolve(whole, merged=self._merged()), [parse_threshold(each) for each in expressions])

    def _merged(self) -> Merged:
        parts = []
        for each in self.shards:
            one, volume = each.result, _volume(each.result)
            parts.append(
                Part(
                    shard=self._index(one),
                    target=one.target,
                    started=one.started,
                    began=one.began,
                    start=one.start,
                    environment=asdict(one.environment),
                    worker=None,
                    packets=volume.packets if one.connections is None else one.connections.opened,
                    bytes=volume.bytes,
                    seconds=each.seconds,
                    bottleneck=None if one.schedule is None else one.schedule.bottleneck,
                    reconciled=one.reconciled,
                    interrupted=one.interrupted,
                    error=one.error,
                )
            )
        return Merged(self.of, list(self.missing), self.spread, self.unknown, parts)

    def _start(self) -> Start | None:
        starts = [each.start for each in self.results if each.start is not None]
        if len(starts) < len(self.results) or len({start.asked for start in starts}) > 1:
            return None
        return Start(starts[0].asked, max(_known(start.late_seconds for start in starts), default=None))

    # Counts

    def _volume(self, part: Callable[[Result], Volume | None], seconds: float, plan: float) -> Volume | None:
        found = _known(map(part, self.results))
        if not found:
            return None
        counts = Counts(*(sum(getattr(each, key) for each in found) for key in ("packets", "bytes", "writes")))
        return Volume.of(counts, seconds if counts.packets or counts.bytes else 0.0, plan)

    def _replies(self) -> Replies | None:
        found = _known(each.replies for each in self.results)
        return Replies(sum(each.packets for each in found), sum(each.bytes for each in found)) if found else None

    def _connections(self, plan: float) -> Connected | None:
        found = _known(each.connections for each in self.results)
        if not found:
            return None
        failures: dict[str, int] = {}
        for each in found:
            for reason, number in each.failures.items():
                failures[reason] = failures.get(reason, 0) + number
        return Connected.of(sum(each.opened for each in found), dict(sorted(failures.items())), self.seconds, plan)

    # What the server said

    def _all(self, name: str, part: Callable[[Result], T | None]) -> list[T]:
        """Those that are known, if they are of all shards that have sent; else none, and the reason is told."""
        known = _known(map(part, self.results))
        lacking = [str(self._index(each)) for each in self.results if part(each) is None and _acted(each)]
        if known and lacking:
            self.unknown.append(f"{name}: shard {', '.join(lacking)} does not know")
            return []
        return known

    def _received(self) -> Received | None:
        found = self._all("received", lambda each: each.received)
        if not found:
            return None
        packets, nbytes = sum(each.packets for each in found), sum(each.bytes for each in found)
        ends = [each.began + one.seconds for each in self.shards if (one := each.result.received) is not None]
        seconds = round(max(*ends, self.seconds), 6)
        single = packets == 1
        return Received(
            packets,
            nbytes,
            seconds,
            None if single else per_second(packets, seconds),
            None if single else per_second(nbytes * 8, seconds),
        )

    def _reconciled(self) -> bool | None:
        told = {each.reconciled for each in self.results}
        return False if False in told else None if None in told or self.missing else True

    def _telling(self) -> list[Result]:
        """Those whose difference is that of the whole."""
        reconciled = self._reconciled()
        return [each for each in self.results if each.reconciled is reconciled and each.difference is not None]

    def _delivery(self) -> Delivery | None:
        found = self._all("delivery", lambda each: each.delivery)
        if not found:
            return None
        dropped = {each.dropped_by_receiver for each in found}
        if dropped not in ({0}, {None}):
            self.unknown.append(
                "delivery.dropped_by_receiver: the receiver's kernel counts those of all senders, each shard saw some"
            )
        jitters = [each.jitter_seconds for each in found]
        return Delivery(
            lost=sum(each.lost for each in found),
            duplicate=_sum(each.duplicate for each in found),
            out_of_order=_sum(each.out_of_order for each in found),
            jitter_seconds=None if None in jitters else max(_known(jitters)),
            dropped_by_receiver=0 if dropped == {0} else None,
        )

    def _injections(self) -> Injections | None:
        found = _known(each.injections for each in self.results)
        if not found:
            return None
        counts = {
            field.name: sum(getattr(each, field.name) for each in found)
            for field in fields(Injections)
            if field.name not in ("spec", "seed", "terms")
        }
        terms = [
            TermHits(same[0].term, sum(one.hits for one in same))
            for same in zip(*(e.terms for e in found), strict=True)
        ]
        return Injections(spec=found[0].spec, seed=found[0].seed, terms=terms, **counts)

    def _server_injections(self) -> ServerInjections | None:
        """Of each server what the shard saw that saw most of everything; nothing if there is none such."""
        found = [(_servers_of(each), each.server_injections) for each in self.results]
        servers = {admin for admin, each in found if each is not None}
        if not servers:
            return None
        together = [each for admin in servers for each in admin]
        if twice := next((each for each in sorted(together) if together.count(each) > 1), None):
            self.unknown.append(f"server_injections: not all shards asked {twice} together with the same other servers")
            return None
        seen = []
        for server in sorted(servers):
            ours = [each for admin, each in found if admin == server and each is not None]
            most = next((each for each in ours if all(_covers(each, other) for other in ours)), None)
            if most is None:
                words = f"the shards asked {', '.join(server)} at different times, and none saw all that the others saw"
                self.unknown.append(f"server_injections: {words}")
                return None
            if len(ours) > 1:
                words = f"hits of {', '.join(server)} are those that the shard saw that saw most; they overlap"
                self.unknown.append(f"server_injections: {words}")
            own = {key: sum(getattr(each, key) for each in ours) for key in _OF_OURS}
            seen.append(evolve(most, orders=list(dict.fromkeys(o for each in ours for o in each.orders)), **own))
        sums = {key: sum(getattr(each, key) for each in seen) for key in (*_OF_SERVER, "active", *_OF_OURS)}
        return ServerInjections(orders=list(dict.fromkeys(order for each in seen for order in each.orders)), **sums)

    # Times

    def _latency(self) -> Latencies | None:
        found = _known(each.latency for each in self.results)
        response = decoded(*(each.response.hdr for each in found if each.response is not None)).latency()
        service = decoded(*(each.service.hdr for each in found if each.service is not None)).latency()
        return None if response is None and service is None else Latencies(response, service)

    def _schedule(self) -> Scheduled | None:
        timed = [(each, each.result.schedule) for each in self.shards if each.result.schedule is not None]
        found = [schedule for _, schedule in timed]
        if not found:
            return None
        planned = [each.planned_packets for each in found]
        ends = [each.marked - self.marked + schedule.planned_seconds for each, schedule in timed]
        target = sum(each.target_packets_per_second for each in found)
        given = sum(planned) / target if target else max(ends)
        plan = round(min(max(ends), max(min(ends), given)), 6)
        texts = [each.slip.hdr for each in found if each.slip.hdr is not None]
        times = decoded(*texts) if len(texts) == len(found) else None  # documents of earlier versions have none
        if times is None:
            self.unknown.append("schedule.slip: not all have its histogram")
        sent, span = sum(each.sent_packets for each in found), max(plan, self.seconds)
        in_time = times is not None and not too_many_late(times)
        kept = in_time and sum(planned) - sent <= TOLERATED * sum(planned)
        verdicts = {each.bottleneck for each in found}
        return Scheduled(
            target_packets_per_second=round(target, 3),
            achieved_packets_per_second=round(sent / span, 3) if sent > 1 and span > 0 else None,
            planned_packets=sum(planned),
            sent_packets=sent,
            late_packets=sum(each.late_packets for each in found),
            dropped_ticks=sum(each.dropped_ticks for each in found),
            slip=Slip() if times is None else Slip.of(times),
            bottleneck=Bottleneck.NONE if kept else next(each for each in _GRAVEST if each in verdicts),
            plan_seconds=plan,
        )


#: What of ``ServerInjections`` a server counts of all its peers, and what is of our own streams alone.
_OF_SERVER = ("hits", "received", "answered", "swallowed", "duplicated", "closed_streams")
_OF_OURS = ("unreceived_packets", "unreceived_bytes", "ended_streams", "stalled_streams")


def _servers_of(result: Result) -> tuple[str, ...]:
    """The admin ports that the shard asked."""
    admin = result.options.get("admin")
    return tuple(sorted(str(each) for each in (_listed(admin) or [admin])))


def _covers(one: ServerInjections, other: ServerInjections) -> bool:
    return all(getattr(one, key) >= getattr(other, key) for key in _OF_SERVER)


def _by_words(errors: Mapping[int, str]) -> str:
    """``"shards 1, 3: connection refused; shard 2: timed out"``."""
    numbers: dict[str, list[str]] = {}
    for number, words in sorted(errors.items()):
        numbers.setdefault(words, []).append(str(number))
    return "; ".join(f"shard{'s' * (len(each) > 1)} {', '.join(each)}: {words}" for words, each in numbers.items())


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _known(parts: Iterable[T | None]) -> list[T]:
    return [part for part in parts if part is not None]


def _first(parts: Iterable[T | None]) -> T | None:
    return next(iter(_known(parts)), None)


def _sum(numbers: Iterable[int | None]) -> int | None:
    found = list(numbers)
    return None if None in found else sum(_known(found))


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []
