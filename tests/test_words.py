from __future__ import annotations

import pytest

from ctrlserver.words import did_you_mean, nearest, quoted


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ('"plain"', "plain"),
        (r'"a\nb"', "a\nb"),
        (r'"a\"b"', 'a"b'),
        (r'"\u2028"', "\u2028"),
        (r'"\udc80"', "\udc80"),
        ("true", True),
        ("5", 5),
        ('"' + "x" * 77 + '..."', "x" * 200),
    ],
)
def test_a_value_is_quoted_in_one_line(expected: str, value: object) -> None:
    assert expected == quoted(value)


@pytest.mark.parametrize(
    ("expected", "given"), [("stats", "stat"), ("stats", "STATS"), ("streams", "strems"), (None, "xyz"), (None, "")]
)
def test_the_nearest_word_is_found_in_any_case(expected: str | None, given: str) -> None:
    assert expected == nearest(given, ("stats", "streams"))


def test_a_suggestion_follows_an_error_where_a_word_is_near() -> None:
    assert '; did you mean "stats"?' == did_you_mean("stast", ["stats"])
    assert "" == did_you_mean("xyz", ["stats"])
