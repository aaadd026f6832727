"""A search for people: a line for each step, and the answer."""

from __future__ import annotations

from collections.abc import Mapping

from ctrlserver.load.results.schemas import number_at
from ctrlserver.load.search.document import SearchResult, Step, in_words
from ctrlserver.load.search.strategy import Outcome, Search
from ctrlserver.units import format_duration
from ctrlserver.words import counted

#: The kinds of latency, the first that was timed is shown.
_KINDS = ("response", "service")

_VERDICTS = {Outcome.GOOD: "good", Outcome.BAD: "BAD", Outcome.SPOILT: "ctrlload was late"}


def step_line(step: Step) -> str:
    """The rate asked for, the rate achieved, the latency if it was timed, the verdict and why.

    A good one fits 80 columns.
    """
    achieved = "-" if number_at(step.result, ("schedule", "sent_packets")) else "nothing"
    if step.achieved_packets_per_second is not None:
        achieved = f"{step.achieved_packets_per_second:.1f}/s"
    words = [
        f"{step.step:>3}",
        f"{step.rate_packets_per_second:>8.12g}/s",
        f"achieved {achieved:>11}",
        _latency(step.result),
        ": ".join([_VERDICTS[step.verdict], *(["; ".join(step.why)] if step.why else [])]),
    ]
    return "  ".join(word for word in words if word)


def _latency(result: Mapping[str, object]) -> str:
    for kind in _KINDS:
        p50, p99 = (number_at(result, ("latency", kind, name)) for name in ("p50", "p99"))
        if p50 is not None and p99 is not None:
            return f"{kind} p50 {format_duration(p50):>8} p99 {format_duration(p99):>8}"
    return ""


def answer_lines(result: SearchResult) -> list[str]:
    """The answer, then the reason why it is not higher."""
    highest = result.highest_packets_per_second
    runs, mode = counted(len(result.steps), "run"), result.options["mode"]
    if highest is None:
        good = good_so_far(result)
        cut_short = result.interrupted or result.error is not None
        what = "none" if not cut_short else "unknown" if good is None else f"at least {in_words(good, mode)}"
        words = f"{what}, after {runs}"
    else:
        least = "at least " if result.lower_bound else ""
        words = f"{least}{in_words(highest, mode)}, found in {runs}"
    return [f"{'highest':<12}{words}", f"{'because':<12}{result.why}"]


def good_so_far(result: SearchResult) -> float | None:
    """The highest good rate of the steps that there are."""
    search = Search(result.search)
    for step in result.steps:
        if search.rate is not None:
            search.record(step.verdict)
    return search.good


def search_error_lines(result: SearchResult) -> list[str]:
    """One line if the exit code is neither 0 nor that of an interruption."""
    if result.interrupted:
        return []
    if result.error is not None:
        return [result.error]
    return [result.why] if result.highest_packets_per_second is None else []
