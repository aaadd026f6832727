"""The goals of ``--until`` while a run goes on: cuts slices, and looks whether the figures are sure enough by now.

Rules: slices begin with the measured part. They are cut from the tables and counts that are there, so nothing is
recorded twice. A goal's figure is the one that ``--fail-if`` would mean. What is told of a goal is what the last look
found: the one that ended the run, or one at its end.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen

from ctrlserver.load.measure.confidence import FREEDOMS, Precision, Slices, Stopping, factor_of
from ctrlserver.load.measure.counts import Counts
from ctrlserver.load.measure.timing import News, Timing
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.rules import measured_path
from ctrlserver.load.results.goals import Goal
from ctrlserver.load.results.thresholds import share_of
from ctrlserver.stats.latency import UNIT_SECONDS

#: Seconds of a slice; shorter if the least time would not have ``SLICES``, but never shorter than ``SHORTEST``.
SLICE_SECONDS, SLICES, SHORTEST = 0.1, 100, 0.01

#: Between two looks for the view: seconds, and this part of the run, which narrows an interval by half as much.
VIEW_SECONDS, VIEW_PART = 1.0, 0.05

_Path = tuple[str, ...]


@frozen
class _Source:
    """Where the slices of some figures come from: the times that ``news`` has, or counts, by the second."""

    news: News | None
    number: Callable[[Counts], int]
    slices: Slices = field(factory=Slices)


@define(eq=False)
class Goals:
    """The goals of one run. ``told`` is what the last look found."""

    _options: Options
    _timing: Timing
    seconds: float = field(init=False)
    told: tuple[Precision, ...] = field(init=False)
    _paths: list[_Path] = field(init=False)
    _sources: dict[_Path, _Source] = field(init=False, factory=dict)
    _least: float = field(init=False)
    _stopping: Stopping = field(init=False, factory=Stopping)
    _began: float = field(init=False, default=0.0)
    _from: float = field(init=False, default=0.0)
    _counts: Counts = field(init=False, factory=Counts)
    _looked: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        options = self._options
        for freedom in FREEDOMS:
            factor_of(freedom)  # takes milliseconds, which the run does not have later
        least = options.duration or 0.0
        self.seconds = min(SLICE_SECONDS, max(SHORTEST, least / SLICES))
        self._least = least
        self._paths = [measured_path(options, goal.paths) for goal in options.until]
        self.told = tuple(
            Precision(goal.expression, ".".join(path)) for goal, path in zip(options.until, self._paths, strict=True)
        )

    def begin(self, now: float, counts: Counts) -> None:
        """The measured part begins."""
        self._began = self._from = self._looked = now
        self._counts = counts
        for path in self._paths:
            if _source_of(path) not in self._sources:
                self._sources[_source_of(path)] = self._source(path)

    def cut(self, now: float, counts: Counts) -> bool:
        """End a slice; whether the run may end, for all goals are reached."""
        seconds, news = now - self._from, counts.since(self._counts)
        self._from, self._counts = now, counts
        for source in self._sources.values():
            times = None if source.news is None else source.news.take()
            source.slices.add(seconds, source.number(news), times)
        cut = next(iter(self._sources.values())).slices.cut
        may_stop = now - self._began >= self._least and self._stopping.due(cut)
        if may_stop or now - self._looked >= max(VIEW_SECONDS, VIEW_PART * (now - self._began)):
            self._look(now)
        return may_stop and all(goal.reached for goal in self.told)

    def end(self, now: float) -> None:
        """The run is over, unless by its goals: look once more."""
        if self._sources:
            self._look(now)

    def _look(self, now: float) -> None:
        self._looked = now
        seconds = round(now - self._began, 6)
        goals = zip(self._options.until, self._paths, strict=True)
        self.told = tuple(self._precision(goal, path, seconds) for goal, path in goals)

    def _precision(self, goal: Goal, path: _Path, seconds: float) -> Precision:
        source, figure = self._sources[_source_of(path)], ".".join(path)
        if source.news is None:
            estimate, digits = source.slices.ratio(), 1
        else:
            share = share_of(path)
            estimate, digits = source.slices.mean() if share is None else source.slices.percentile(share), 9
            estimate = None if estimate is None else estimate.times(UNIT_SECONDS)
        if estimate is None:
            return Precision(goal.expression, figure, seconds=seconds)
        return Precision(
            goal.expression,
            figure,
            reached=goal.narrow(estimate),
            estimate=round(estimate.value, digits),
            low=None if estimate.low is None else round(estimate.low, digits),
            high=None if estimate.high is None else round(estimate.high, digits),
            batches=estimate.batches,
            independent=None if estimate.batches is None else estimate.independent,
            seconds=seconds,
        )

    def _source(self, path: _Path) -> _Source:
        if path[0] == "latency":
            kind = self._timing.response if path[1] == "response" else self._timing.service
            return _Source(kind.sliced(), lambda _: 0)
        if path[0] == "schedule":
            slips = News(self._timing.slip)
            slips.take()
            return _Source(slips, lambda _: 0)
        in_bits = path[-1] == "bits_per_second"
        return _Source(None, lambda counts: counts.bytes * 8 if in_bits else counts.packets)


def _source_of(path: _Path) -> _Path:
    """What figures that come from the same slices have in common."""
    return path[:2]
