from __future__ import annotations

import pytest

from ctrlserver.admin.conditions import OPERATORS, parse_condition
from ctrlserver.errors import CommandError
from ctrlserver.stats.rename import Renames


def refused(text: str, renames: Renames | None = None) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        parse_condition(text, renames or Renames())
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("holds", "text"),
    [
        ("345", "packets_total>=3"),
        ("123", "packets_total<=3"),
        ("3", "packets_total==3"),
        ("1245", "packets_total!=3"),
        ("45", "packets_total>3"),
        ("12", "packets_total<3"),
        ("45", "run.packets>3.5"),
        ("345", "stream.7.packets>=3"),
        ("", "packets>=1M"),
        ("12345", "loop_lag_seconds>-1e3"),
    ],
)
def test_a_condition_holds_for_the_numbers_that_its_operator_says(holds: str, text: str) -> None:
    condition = parse_condition(text, Renames())
    assert holds == "".join(str(value) for value in range(1, 6) if condition.holds(value))


def test_blanks_around_the_operator_do_not_count() -> None:
    assert parse_condition("packets_total>=5", Renames()) == parse_condition(" packets_total  >= 5", Renames())


def test_no_condition_holds_of_what_is_not_known() -> None:
    for op in OPERATORS:
        assert not parse_condition(f"run.complete{op}1", Renames()).holds(None)


@pytest.mark.parametrize("text", ["run.complete==1", "run.complete==true"])
def test_a_flag_is_one_or_nothing(text: str) -> None:
    assert parse_condition(text, Renames()).holds(True)
    assert not parse_condition(text, Renames()).holds(False)


def test_a_number_of_any_length_is_exact() -> None:
    condition = parse_condition(f"bytes_total>={2**63}", Renames())
    assert (False, True) == (condition.holds(2**63 - 1), condition.holds(2**63))


def test_a_renamed_field_is_known_by_its_new_name() -> None:
    renames = Renames((("packets_total", "messages"),))
    condition = parse_condition("messages>5", renames)
    assert ("packets_total", "messages") == (condition.field, condition.shown)
    assert (404, '"packets_total" is published as "messages"') == refused("packets_total>5", renames)


@pytest.mark.parametrize(
    ("code", "words", "text"),
    [
        (400, "expected FIELD OP NUMBER, such as packets_total>=1000", "packets_total"),
        (400, "did you mean packets_total==5?", "packets_total=5"),
        (400, "did you mean packets_total>=5?", "packets_total => 5"),
        (400, 'count "5 6": expected a whole number', "packets_total>=5 6"),
        (400, "expected FIELD OP NUMBER", "packets_total>="),
        (400, "expected FIELD OP NUMBER", ">=5"),
        (400, "expected FIELD OP NUMBER", "packets_total>=5>=5"),
        (400, 'condition "packets_total>=x": count "x"', "packets_total>=x"),
        (400, '"version" is no number', "version==1"),
        (400, '"started" is no number', "run.started>1"),
        (404, 'did you mean "packets_total"?', "packet_total>=5"),
        (404, '"packet" is no field of a run record; did you mean "packets"?', "run.packet>=5"),
        (404, "is no field of a stats record", "stream.packets>=5"),
        (400, 'stream "9999999999999999999": expected a whole number', "stream.9999999999999999999.packets>=0"),
    ],
)
def test_what_is_no_condition_is_told_with_what_was_expected(code: int, words: str, text: str) -> None:
    given, message = refused(text)
    assert code == given
    assert words in message
