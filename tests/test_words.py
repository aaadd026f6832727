from __future__ import annotations

import pytest

from ctrlserver.words import did_you_mean, harmless, nearest, quoted


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


def test_a_document_of_others_has_no_control_character_in_texts_and_keys() -> None:
    given = {
        "a\x1b[31m": ["\x07", {"b": "line\nline", "c": "\x9b"}],
        "n": 5,
        "f": 0.5,
        "t": True,
        "none": None,
        "u": "ä",
    }
    expected = {
        r"a\x1b[31m": [r"\x07", {"b": r"line\nline", "c": r"\x9b"}],
        "n": 5,
        "f": 0.5,
        "t": True,
        "none": None,
        "u": "ä",
    }
    assert expected == harmless(given)


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan"), 1e300, 1 << 65, -(1 << 65)])
def test_a_document_of_others_has_no_number_that_nothing_counts(number: float) -> None:
    with pytest.raises(ValueError, match="too large"):
        harmless({"a": [number]})


@pytest.mark.parametrize(
    ("expected", "given"), [("stats", "stat"), ("stats", "STATS"), ("streams", "strems"), (None, "xyz"), (None, "")]
)
def test_the_nearest_word_is_found_in_any_case(expected: str | None, given: str) -> None:
    assert expected == nearest(given, ("stats", "streams"))


@pytest.mark.parametrize(
    ("expected", "given"),
    [("duplicate", "dup"), ("half-close", "HALF"), (None, "du"), (None, "wrong-")],
)
def test_a_word_is_found_by_its_beginning_if_no_other_begins_so(expected: str | None, given: str) -> None:
    assert expected == nearest(given, ("duplicate", "half-close", "wrong-hosts-name", "wrong-answer-text"))


def test_a_suggestion_follows_an_error_where_a_word_is_near() -> None:
    assert '; did you mean "stats"?' == did_you_mean("stast", ["stats"])
    assert "" == did_you_mean("xyz", ["stats"])
