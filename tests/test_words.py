from __future__ import annotations

import pytest

from ctrlserver.words import quoted


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
