"""The intervals of several shards on one grid of time. PURE.

Rules: warm-up and measured part have a grid each, from when the first shard began it. A shard's interval belongs,
whole, to the cell that its beginning is nearest to, so shards that begin within half an interval of each other have the
same cells. Cells join without a gap, and their counts sum to those of the shards.

Beware: percentiles of a cell need the histograms that the intervals of shards have (``response_hdr``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from attrs import define, field

from ctrlserver.load.measure.counts import per_second
from ctrlserver.load.measure.intervals import Interval
from ctrlserver.stats.latency import decoded

if TYPE_CHECKING:
    from ctrlserver.load.results.merging import Timed

#: Of an interval: a last cell that is shorter is added to the one before it.
_SHORTEST = 0.05

KINDS = ("response", "service")


@define
class Cell:
    """What several shards did in one slice of time."""

    packets: int = 0
    bytes: int = 0
    targets: dict[int, list[float]] = field(factory=lambda: defaultdict(list))
    texts: dict[str, list[str]] = field(factory=lambda: {kind: [] for kind in KINDS})  # histograms, encoded
    untold: set[str] = field(factory=set)
    shards: set[int] = field(factory=set)

    def add(self, shard: int, one: Interval) -> None:
        """The interval of a shard."""
        self.packets += one.packets
        self.bytes += one.bytes
        self.shards.add(shard)
        if one.target_packets_per_second is not None:
            self.targets[shard].append(one.target_packets_per_second)
        for kind in KINDS:
            hdr = getattr(one, f"{kind}_hdr")
            if hdr is not None:
                self.texts[kind].append(hdr)
            elif getattr(one, f"{kind}_p50") is not None:
                self.untold.add(kind)

    def join(self, other: Cell) -> None:
        """The next slice becomes a part of this one."""
        self.packets += other.packets
        self.bytes += other.bytes
        self.shards |= other.shards
        self.untold |= other.untold
        for shard, targets in other.targets.items():
            self.targets[shard] += targets
        for kind in KINDS:
            self.texts[kind] += other.texts[kind]


def merged_intervals(shards: Sequence[Timed], length: float, marked: float) -> tuple[list[Interval], list[str]]:
    """The cells, and what is not known of them. ``marked``: when the measured part began, after the first packet."""
    if length <= 0:
        return [], []
    made: list[Interval] = []
    untold: set[str] = set()
    partial = 0
    for warm_up in (True, False):
        start = 0.0 if warm_up else marked
        cells: dict[int, Cell] = defaultdict(Cell)
        ends = start
        for number, shard in enumerate(shards):
            for one in shard.result.intervals:
                if one.warm_up is warm_up:
                    since = shard.began + one.start_seconds - start
                    cells[max(0, round(since / length))].add(number, one)
                    ends = max(ends, start + since + one.seconds)
        if not cells:
            continue
        ends = marked if warm_up and marked else ends
        _join_short(cells, (ends - start) / length)
        last = max(cells)
        for at in range(last + 1):
            until = ends if at == last else start + (at + 1) * length
            made.append(interval_of(cells[at], start + at * length, until, warm_up))
            untold |= cells[at].untold
            partial += len(cells[at].shards) < len(shards)
    words = [f"intervals.*.{kind}: not all have their histogram" for kind in sorted(untold)]
    if partial:
        words.append(f"intervals: {partial} of {len(made)} have packets of a part of the shards alone")
    return made, words


def _join_short(cells: dict[int, Cell], whole: float) -> None:
    """Cells that would begin after the end, or just before it, are a part of the one before."""
    while (last := max(cells)) and whole - last < _SHORTEST:
        cell = cells.pop(last)
        cells[last - 1].join(cell)


def interval_of(cell: Cell, start: float, end: float, warm_up: bool) -> Interval:
    """The interval that it is, from ``start`` to ``end``."""
    start, seconds = round(start, 6), round(end, 6) - round(start, 6)
    found: dict[str, float | str | None] = {}
    for kind in KINDS:
        times = decoded(*cell.texts[kind])
        told = bool(times.counts) and kind not in cell.untold
        p50, p99 = times.at((50, 99)) if told else (None, None)
        found |= {f"{kind}_p50": p50, f"{kind}_p99": p99}
    targets = [fmean(each) for each in cell.targets.values()]
    return Interval(
        start_seconds=start,
        seconds=round(seconds, 6),
        packets=cell.packets,
        bytes=cell.bytes,
        packets_per_second=per_second(cell.packets, seconds),
        bits_per_second=per_second(cell.bytes * 8, seconds),
        warm_up=warm_up,
        target_packets_per_second=round(sum(targets), 3) if targets else None,
        **found,  # type: ignore[arg-type]
    )
