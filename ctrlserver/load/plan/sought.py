"""What ``ctrlload search`` is asked for beside a run: its own flags, declared as those of a run are."""

from __future__ import annotations

from attrs import frozen

from ctrlserver.load.plan.flag import Rule, flag
from ctrlserver.load.plan.rules import POSITIVE
from ctrlserver.units import parse_count, parse_rate, parse_share

_BELOW_TO = Rule(
    lambda asked, rate: rate <= asked.to_packets_per_second,
    '"{value:.12g}/s" is more than --to, {asked.to_packets_per_second:.12g}/s',
)
_ABOVE_FROM = Rule(
    lambda asked, rate: rate >= asked.from_packets_per_second,
    '"{value:.12g}/s" is less than --from, {asked.from_packets_per_second:.12g}/s',
)


@frozen
class Sought:
    """Rates are in packets per second; ``precision`` and ``tolerance`` are parts of a rate."""

    from_packets_per_second: float = flag(
        "--from", "Lowest rate.", "R", parse_rate, default="1k/s", rules=(POSITIVE, _BELOW_TO)
    )
    to_packets_per_second: float = flag(
        "--to", "Highest rate.", "R", parse_rate, default="1G/s", rules=(POSITIVE, _ABOVE_FROM)
    )
    precision: float = flag(
        "--precision",
        "How close the highest good and the lowest bad rate must come.",
        "5%",
        parse_share,
        default="5%",
        rules=(Rule(lambda _, share: 0.001 <= share <= 1, "must be from 0.1% to 100%"),),
    )
    tolerance: float = flag(
        "--tolerance",
        "How far a run may fall below its rate and still pass.",
        "1%",
        parse_share,
        default="1%",
        rules=(Rule(lambda _, share: share < 1, "must be less than 100%"),),
    )
    repeats: int = flag(
        "--repeats",
        "Runs at a rate on which the answer rests; the majority counts.",
        "N",
        parse_count,
        default="3",
        rules=(Rule(lambda _, number: 1 <= number <= 99, "must be from 1 to 99"),),
    )
