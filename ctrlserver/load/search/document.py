"""The document of a search: each run of it, judged, and the highest good rate.

``search.schema.json`` defines the document for programs. It is whole and valid however the search ended.

Rules: a run is good if it did not fail, no ``--fail-if`` held, the server (if asked) counted the same, and the run
achieved its rate within the tolerance. Otherwise ``why`` has the reasons. If the generator was the run's bottleneck,
its conditions and its rate say nothing about the target: the verdict is then ``generator`` instead of ``bad``. That
never excuses a failed run or a difference of the counts.

Beware: a Poisson arrival plans more or fewer packets than the rate says, by chance. If it plans fewer, the achieved
rate is compared with the plan.
"""

from __future__ import annotations

from attrs import frozen

from ctrlserver.console.exit_codes import gravest
from ctrlserver.load.measure.verdict import Bottleneck
from ctrlserver.load.plan.modes import CONNECT
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.sought import Sought
from ctrlserver.load.results.result import Environment, Result, as_document
from ctrlserver.load.search.strategy import Limit, Outcome, Search

SCHEMA = "ctrlload-search/1"

#: The fields of a run's result document that a step leaves out; it keeps the measured ones.
_OMITTED = (
    "schema",
    "began",
    "merged",
    "target",
    "options",
    "labels",
    "environment",
    "intervals",
    "downloaded",
    "injections",
    "streams",
    "shard",
    "start",
    "until",
    "interrupted",
)


@frozen
class Step:
    """One run at a rate; ``why`` is empty if it is good."""

    step: int
    rate_packets_per_second: float
    achieved_packets_per_second: float | None
    verdict: Outcome
    why: list[str]
    result: dict[str, object]

    @classmethod
    def of(cls, number: int, rate: float, tolerance: float, options: Options, result: Result) -> Step:
        """The run of ``options`` that gave ``result``, judged."""
        hard = [] if result.error is None else [result.error]
        if result.reconciled is False:
            hard.append(f"the counts do not reconcile: {result.difference}")
        held = [judged for judged in result.thresholds if judged.failed]
        soft = [f"{judged.expression} held, the value is {judged.words}" for judged in held]
        schedule = result.schedule
        achieved = None if schedule is None else schedule.achieved_packets_per_second
        late = schedule is not None and schedule.bottleneck is Bottleneck.GENERATOR
        if schedule is not None:
            planned = schedule.planned_packets / options.duration if options.duration else rate
            kept = schedule.sent_packets == 1 == schedule.planned_packets  # one packet has no rate
            if not kept and (achieved or 0.0) < min(rate, planned) * (1 - tolerance):
                soft.append(f"the achieved rate is more than {tolerance * 100:g} % below")
        verdict = Outcome.BAD if hard else Outcome.GOOD if not soft else Outcome.SPOILT if late else Outcome.BAD
        summary = {key: part for key, part in as_document(result).items() if key not in _OMITTED}
        return cls(number, rate, achieved, verdict, hard + soft, summary)


@frozen(kw_only=True)
class SearchResult:
    """The outcome of a search, its fields in the document's order.

    ``lower_bound``: the generator or ``--to`` was the limit; the target may do more.
    """

    schema: str = SCHEMA
    started: str
    target: str
    options: dict[str, object]
    labels: dict[str, str]
    environment: Environment
    search: Sought
    steps: list[Step]
    highest_packets_per_second: float | None
    lower_bound: bool
    limit: Limit | None
    why: str
    interrupted: bool
    error: str | None

    @property
    def exit_code(self) -> int:
        """0 found, 1 a run failed, 4 nothing was good, 130 interrupted."""
        nothing = self.highest_packets_per_second is None
        return gravest(interrupted=self.interrupted, failed=self.error is not None, held=nothing)


def finding(
    search: Search, steps: list[Step], mode: str, *, interrupted: bool, error: str | None
) -> tuple[float | None, Limit | None, str]:
    """The highest good rate, what keeps it from being higher, and why in words; a search cut short finds no rate."""
    if interrupted or error is not None:
        good = search.good
        so_far = "nothing was good so far" if good is None else f"{in_words(good, mode)} was good so far"
        return None, None, f"{'interrupted' if error is None else 'a run failed'}; {so_far}"
    return search.answer.highest, search.answer.limit, _why(search, steps, mode)


def _why(search: Search, steps: list[Step], mode: object) -> str:
    answer = search.answer
    if answer.above is None:
        return "--to allows no higher rate"
    runs = [step for step in steps if step.rate_packets_per_second == answer.above]
    verdict = Outcome.SPOILT if answer.limit is Limit.GENERATOR else Outcome.BAD
    worst = [step for step in runs if step.verdict == verdict]
    reasons = "; ".join(worst[-1].why)
    above = in_words(answer.above, mode)
    words = f"{above} is not good in {len(worst)} of {len(runs)} runs: {reasons}"
    if answer.limit is Limit.GENERATOR:
        words = f"at {above} ctrlload itself was late ({reasons}), so the target is not to blame"
    if answer.highest is None:
        return f"not even the lowest rate: {words}"
    return words


def in_words(rate: float, mode: object) -> str:
    """A rate with all its digits and its unit."""
    return f"{rate:.12g} {'connections' if mode == CONNECT else 'packets'}/s"
