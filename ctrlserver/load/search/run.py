"""A search: one run after another, each at the rate that ``Search`` asks for next.

Rules: every run has its own connections. A failed run counts as bad if a lower rate was good before: the rate is then
too high for the target. If no rate was good before, or nothing could be connected, the search has failed.
``interrupt`` abandons the current run, which does not count; the result is whole all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import Factory, define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ctrlserver.load.measure.intervals import Watcher
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.sought import Sought
from ctrlserver.load.results.result import Environment, Result
from ctrlserver.load.running.run import LoadRun, utc_now
from ctrlserver.load.search.document import SearchResult, Step, finding
from ctrlserver.load.search.strategy import Limit, Search


class SearchWatcher(Watcher, Protocol):
    """Whoever shows a search to a person while it goes on."""

    def begin(self, number: int, rate: float) -> None:
        """A step begins."""

    def step(self, step: Step) -> None:
        """A step has ended."""


@define(eq=False)
class SearchRun:
    """One search with ``options``, whose rate is set for each run."""

    _reactor: IReactorTime
    _options: Options
    _sought: Sought
    _watcher: SearchWatcher
    _wall: Callable[[], str] = utc_now
    _search: Search = field(init=False, default=Factory(lambda self: Search(self._sought), takes_self=True))
    _current: LoadRun | None = field(init=False, default=None)
    _interrupted: bool = field(init=False, default=False)

    def run(self) -> Deferred[SearchResult]:
        """Run all steps; a failure is part of the result."""
        return Deferred.fromCoroutine(self._run())

    def interrupt(self) -> None:
        """Leave at once: half a run says nothing of its rate."""
        self._interrupted = True
        if self._current is not None:
            self._current.interrupt()
            self._current.interrupt()

    async def _run(self) -> SearchResult:
        started = self._wall()
        steps: list[Step] = []
        environment: Environment | None = None
        error: str | None = None
        while (rate := self._search.rate) is not None and not self._interrupted:
            self._watcher.begin(len(steps) + 1, rate)
            options = evolve(self._options, rate=rate)
            self._current = LoadRun(self._reactor, options, self._watcher, self._wall)
            result: Result = await self._current.run()
            environment = result.environment
            if result.interrupted:
                break
            step = Step.of(len(steps) + 1, rate, self._sought.tolerance, options, result)
            steps.append(step)
            self._watcher.step(step)
            if result.error is not None and (not result.streams or self._search.good is None):
                error = result.error
                break
            self._search.record(step.verdict)
        mode = self._options.mode
        highest, limit, why = finding(self._search, steps, mode, interrupted=self._interrupted, error=error)
        return SearchResult(
            started=started,
            target=self._options.target.text,
            options={**self._options.as_options(), "rate_packets_per_second": None},
            labels=dict(self._options.labels),
            environment=environment or Environment(),
            search=self._sought,
            steps=steps,
            highest_packets_per_second=highest,
            lower_bound=highest is not None and limit is not Limit.TARGET,
            limit=limit,
            why=why,
            interrupted=self._interrupted,
            error=error,
        )
