from __future__ import annotations

import pytest
from attrs import frozen

from ctrlserver.errors import UsageError
from ctrlserver.load.plan.asked import Asked
from ctrlserver.load.plan.flag import Rule, check, flag, flags_of

EVEN = Rule(lambda _, value: value % 2 == 0, "must be even", shows=True)
BELOW = Rule(lambda asked, value: value < asked.most, "{value} is above --most {asked.most}")


@frozen(kw_only=True)
class Record:
    most: int = flag("--most N", "The bound.", int, default="10")
    number: int | None = flag(
        "-n --number N", "A number.", int, EVEN, BELOW, needs=Rule(lambda asked, _: asked.most > 0, "needs --most")
    )
    fast: bool = flag("--fast/--no-fast", "Or slow.", None, Rule(lambda *_: False, "never"), default=True)


def test_a_default_is_what_is_read_of_its_text() -> None:
    assert 10 == Record().most
    assert [["-n", "--number"], ["--most"]] == [declared.names for _, declared in flags_of(Record)][1::-1]


@pytest.mark.parametrize("record", [Record(), Record(number=2), Record(most=0)])
def test_what_the_rules_allow_passes(record: Record) -> None:
    check(record)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (Record(number=3), "--number 3: must be even"),
        (Record(number=11), "--number 11: must be even"),
        (Record(number=12), "--number: 12 is above --most 10"),
        (Record(number=3, most=0), "--number: needs --most"),
        (Record(fast=False), "--no-fast: never"),
    ],
)
def test_the_first_rule_that_is_broken_is_told_with_its_flag(record: Record, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(record)
    assert words == str(caught.value)


def test_every_flag_of_a_run_is_named_once() -> None:
    names = [name for _, declared in flags_of(Asked) for name in " ".join(declared.names).replace("/", " ").split()]
    assert sorted(set(names)) == sorted(names)
    assert {name for name, _ in flags_of(Asked)} == set(Asked.__annotations__) - {"target"}
