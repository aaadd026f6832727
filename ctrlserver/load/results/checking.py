"""Whether a result agrees with itself: every number that follows from others of the same document, held to them. PURE.

    section          follows from
    intervals        they join without a gap; their counts sum to the whole; rate = count / time; p50 <= p99
    sent, ...        rate = count / time; the streams sum to it, and so do the shards of a merged result
    latency, slip    each figure is that of the histogram; the count is that of the replies; response >= service
    schedule         what was sent, late and planned; the verdict
    received         <= sent, and what is missing was lost, or is told
    until            the goals asked for; each is reached if its interval is as narrow
    thresholds       judged once more

Rules: an instrument that contradicts itself must not pass, and one that does not must never be accused. So each rule
holds for every run, however it ended: a bound has the room that rounding needs, and where an error or an injection
explains a difference, none is told. What is null is not held to anything.

Beware: the words are for people; a document is sound exactly if there are none.
"""

from __future__ import annotations

from collections.abc import Sequence

from ctrlserver.load.results.checks.counts import Part, connections, intervals, parts, streams, volumes
from ctrlserver.load.results.checks.goals import goals
from ctrlserver.load.results.checks.received import injections, received, thresholds
from ctrlserver.load.results.checks.times import histograms, replies, schedule

_CHECKS = (intervals, volumes, parts, streams, replies, connections, schedule, received, injections, goals)

#: What an error says of a result that did not agree with itself when it was written.
_TOLD = "the result contradicts itself: "


def contradictions(document: Part, *, with_histograms: bool = True) -> list[str]:
    """What in a result document cannot be true at once, each in one line; empty where it agrees with itself.

    It has the shape of its schema (``misfits`` in shapes.py). ``with_histograms``: figures are held to these too.
    """
    checks = (*_CHECKS, histograms) if with_histograms else _CHECKS
    as_run = {**document, "error": _before_that(document["error"])}
    try:
        return [*(line for check in checks for line in check(as_run)), *thresholds(document)]
    except OverflowError:
        return ["a number is too large for what it counts"]


def _before_that(error: str | None) -> str | None:
    """What the error was before the result was found to contradict itself."""
    before, told, _ = (error or "").partition(_TOLD)
    return before.removesuffix("; ") or None if told else error


def contradiction_words(lines: Sequence[str]) -> str:
    """``"the result contradicts itself: ..."``: the first of ``lines``, and how many more."""
    more = f"; and {len(lines) - 1} more, which ctrlload check tells" if len(lines) > 1 else ""
    return f"{_TOLD}{lines[0]}{more}"
