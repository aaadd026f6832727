"""How sure figures were: what ``until`` says follows from the goals asked for, and fits the rest. PURE."""

from __future__ import annotations

from collections.abc import Iterator

from ctrlserver.errors import UsageError
from ctrlserver.load.measure.confidence import Estimate
from ctrlserver.load.results.checks.counts import MICROSECOND, RATE, Part, measured_in, whole_intervals
from ctrlserver.load.results.goals import Goal, parse_goal
from ctrlserver.load.results.schemas import number_at

#: Of a time in seconds with nine digits.
_TIME = 0.6e-9


def goals(document: Part) -> Iterator[str]:
    """Each goal asked for is told, and reached if its interval is as narrow; the estimate is no stranger."""
    until, asked = document["until"], document["options"].get("until") or []
    told = [] if until is None else until["goals"]
    if (found := [each["asked"] for each in told]) != asked:
        yield f"until.goals are {', '.join(found) or 'none'}, asked for were {', '.join(asked) or 'none'}"
    if until is None:
        return
    unreached = sum(not each["reached"] for each in told)
    if until["unreached"] != unreached:
        yield f"until.unreached is {until['unreached']}, of the goals {unreached} were not reached"
    for each in told:
        try:
            goal = parse_goal(each["asked"])
        except UsageError as error:
            yield f"until.goals: {error}"
            continue
        for words in (*_look(each, goal), *_beside(each, document)):
            yield f"until.goals: {each['asked']}: {words}"


def _look(told: Part, goal: Goal) -> Iterator[str]:
    """What the look found agrees with itself."""
    value, low, high, batches = told["estimate"], told["low"], told["high"], told["batches"]
    if tuple(told["figure"].split(".")) not in goal.paths:
        yield f"its figure is {told['figure']}"
    if (batches is None) != (told["independent"] is None):
        yield f"batches are {batches}, independent is {told['independent']}"
    if batches is None and (low is not None or high is not None):
        yield f"its interval is {low} to {high}, of no batches"
    if value is None:
        if told["reached"] or batches is not None:
            yield "it has no estimate, and more is told of it"
        return
    if told["seconds"] is None:
        yield f"estimate is {value}, at no time"
    if (low is not None and low > value) or (high is not None and high < value):
        yield f"estimate {value} is not within its interval, {low} to {high}"
    room = _room(told)
    half = Estimate(value, low, high).half
    most = goal.width * abs(value) if goal.relative else goal.width
    narrow = half is not None and bool(told["independent"]) and half <= most + room
    wide = half is None or not told["independent"] or half >= most - room
    if not (narrow if told["reached"] else wide):
        yield f"reached is {str(told['reached']).lower()}, {value} lies in {low} to {high}"


def _room(told: Part) -> float:
    """What rounding does to an interval and to its width."""
    return 3 * (RATE if told["figure"].endswith("per_second") else _TIME)


def _beside(told: Part, document: Part) -> Iterator[str]:
    """What the look found fits what was measured in the end."""
    value, seconds = told["estimate"], told["seconds"]
    if seconds is not None and whole_intervals(document):
        last, warmed = document["intervals"][-1], document["warm_up"]
        end = last["start_seconds"] + last["seconds"] - (0.0 if warmed is None else warmed["seconds"])
        if seconds > end + 4 * MICROSECOND:
            yield f"it was looked at after {seconds} s, the measured part took {end:.6f} s"
    if value is None:
        return
    section, *_ = figure = tuple(told["figure"].split("."))
    if section in ("latency", "schedule"):
        least, most = (number_at(document, (*figure[:-1], key)) for key in ("min", "max"))
        if most is None or not (least or 0.0) - _TIME <= value <= most + _TIME:
            yield f"estimate is {value}, all times are {least or 0.0} to {most}"
    elif value and not any(measured_in(document)[1][key] for key in ("packets", "bytes")):
        yield f"estimate is {value}, though nothing is in {measured_in(document)[0]}"
