from __future__ import annotations

import pytest

from ctrlserver.client.target import parse_target
from ctrlserver.errors import UsageError
from ctrlserver.load.plan.start import StartAt, iso_time, parse_start
from ctrlserver.load.results.thresholds import parse_threshold
from tests.load.asking import options_for

#: 2026-11-26T16:00:00Z
FOUR = 1_795_708_800.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-26T16:00:00Z", FOUR),
        ("2026-11-26 17:00:00+01:00", FOUR),
        (" 20261126T160000.5Z ", FOUR + 0.5),
        ("1795708800", FOUR),
        ("1795708800.250000000", FOUR + 0.25),
        ("+5s", FOUR + 4),
        ("+1500ms", FOUR + 0.5),
        ("+0", FOUR - 1),
    ],
)
def test_a_start_is_a_time_seconds_since_1970_or_from_now(text: str, seconds: float) -> None:
    start = parse_start(text).fixed(FOUR - 1)
    assert (seconds, False, text.strip()) == (start.seconds, start.relative, start.text)


def test_a_start_that_stdin_is_to_say_is_not_known_yet_and_never_over() -> None:
    start = parse_start(" - ")
    assert ("-", False) == (start.text, start.is_known)
    assert start == start.fixed(FOUR)
    assert parse_start("+0").fixed(FOUR).is_known


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("noon", '"noon": expected a time such as'),
        ("5s", '; did you mean "+5s"?'),
        ("-5s", '"-5s": expected a time such as'),
        ("+", 'duration "": expected seconds'),
        ("2026-11-26T16:00:00", 'a time needs its zone; did you mean "2026-11-26T16:00:00Z"?'),
        ("1795708800000", 'seconds since 1970 are at most 253402300799; did you mean "1795708800.000"?'),
        ("99999999999999999999", "seconds since 1970 are at most 253402300799"),
        ("nan", '"nan": expected'),
        ("9999-12-31T23:59:59-12:00", "the latest start is in the year 9999, in UTC"),
    ],
)
def test_what_is_no_start_is_refused_with_the_nearest_one(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_start(text)
    assert words in str(caught.value)


def test_a_start_that_is_over_is_refused_with_what_it_is_now() -> None:
    with pytest.raises(UsageError) as caught:
        parse_start("2026-11-26T16:00:00Z").fixed(FOUR + 0.25)
    assert "2026-11-26T16:00:00Z is over, it is 2026-11-26T16:00:00.250000Z now" == str(caught.value)
    with pytest.raises(UsageError) as caught:
        parse_start("5").fixed(FOUR)
    assert '5 (1970-01-01T00:00:05.000000Z) is over, it is 2026-11-26T16:00:00.000000Z now; did you mean "+5"?' == str(
        caught.value
    )


def test_a_condition_on_how_late_the_start_was_needs_one() -> None:
    late = parse_threshold("start.late_seconds>10ms")
    target = parse_target("127.0.0.1:22222")
    with pytest.raises(UsageError, match="late_seconds>10ms: needs --start-at"):
        options_for(target, fail_if=(late,))
    assert "+5s" == options_for(target, fail_if=(late,), start_at="+5s").as_options()["start_at"]


def test_the_line_that_refuses_a_start_is_one_line_whatever_stands_in_it() -> None:
    with pytest.raises(UsageError) as caught:
        parse_start("2001-02-03\n04:05:06Z").fixed(FOUR)
    assert 1 == len(str(caught.value).splitlines())


def test_a_start_at_this_very_moment_is_not_over() -> None:
    assert StartAt("1795708800", FOUR) == parse_start("1795708800").fixed(FOUR)
    assert "2026-11-26T16:00:00.000000Z" == iso_time(FOUR)
