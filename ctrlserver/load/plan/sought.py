"""What a search is asked for beside its runs: the flags of ``ctrlload search`` alone, declared as those of a run."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ctrlserver.load.plan import rules
from ctrlserver.load.plan.flag import Rule, flag
from ctrlserver.units import parse_count, parse_rate, parse_share


def _differ(asked: Any) -> bool:
    """Whether one end of a search is in bits: the two are compared once the packets' size is known."""
    return rules.in_bits(asked.from_packets_per_second) != rules.in_bits(asked.to_packets_per_second)


_BELOW_TO = Rule(
    lambda asked, rate: rate <= asked.to_packets_per_second or _differ(asked),
    '"{value:.12g}/s" is more than --to, {asked.to_packets_per_second:.12g}/s',
)
_ABOVE_FROM = Rule(
    lambda asked, rate: rate >= asked.from_packets_per_second or _differ(asked),
    '"{value:.12g}/s" is less than --from, {asked.from_packets_per_second:.12g}/s',
)


def _within(least: float, most: float, words: str) -> Rule:
    return Rule(lambda _, value: least <= value <= most, f"must be from {words}")


@frozen
class Sought:
    """What a search is asked for beside its runs.

    Rates are in packets per second; ``precision`` and ``tolerance`` are parts of a rate.
    """

    from_packets_per_second: float = flag(
        "--from R",
        "Lowest rate, in packets or in bits as --rate.",
        parse_rate,
        rules.POSITIVE,
        rules.NOT_TOO_SLOW,
        _BELOW_TO,
        default="1k/s",
    )
    to_packets_per_second: float = flag(
        "--to R", "Highest rate.", parse_rate, rules.POSITIVE, _ABOVE_FROM, default="1G/s"
    )
    precision: float = flag(
        "--precision 5%",
        "How close the highest good and the lowest bad rate must come.",
        parse_share,
        _within(0.001, 1, "0.1% to 100%"),
        default="5%",
    )
    tolerance: float = flag(
        "--tolerance 1%",
        "How far a run may fall below its rate and still pass.",
        parse_share,
        Rule(lambda _, share: share < 1, "must be less than 100%"),
        default="1%",
    )
    repeats: int = flag(
        "--repeats N",
        "Runs at a rate on which the answer rests; the majority counts.",
        parse_count,
        _within(1, 99, "1 to 99"),
        default="3",
    )
