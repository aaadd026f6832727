"""The last look at a result before it is written: its conditions are judged, and it is held to itself."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import asdict, evolve

from ctrlserver.load.results.checking import contradiction_words, contradictions
from ctrlserver.load.results.result import Result, as_document
from ctrlserver.load.results.thresholds import Threshold, judge


def judged(result: Result, conditions: Sequence[Threshold]) -> Result:
    """With the judgements on ``conditions``; if it contradicts itself, its error says so."""
    document = as_document(result)
    result = evolve(result, thresholds=judge(conditions, document))
    document["thresholds"] = [asdict(each) for each in result.thresholds]
    if not (lines := contradictions(document)):
        return result
    words = contradiction_words(lines)
    error = words if result.error is None else f"{result.error}; {words}"
    document["error"] = error
    return evolve(result, error=error, thresholds=judge(conditions, document))
