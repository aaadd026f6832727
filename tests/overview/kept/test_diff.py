from __future__ import annotations

import pytest

from ctrlserver.overview.kept.diff import ratio, side_by_side
from ctrlserver.stats.records import Value

NUMBERS = ("packets", "seconds")


def test_two_runs_stand_side_by_side_with_the_ratio_of_their_numbers() -> None:
    one: dict[str, Value] = {"run": 3, "name": "a", "packets": 200, "seconds": 0.0}
    other: dict[str, Value] = {"run": 4, "name": None, "packets": 50, "seconds": 1.5, "site": "lab"}
    assert [
        {"field": "run", "run 3": 3, "run 4": 4, "ratio": None},
        {"field": "name", "run 3": "a", "run 4": None, "ratio": None},
        {"field": "packets", "run 3": 200, "run 4": 50, "ratio": 0.25},
        {"field": "seconds", "run 3": 0.0, "run 4": 1.5, "ratio": None},
        {"field": "site", "run 3": None, "run 4": "lab", "ratio": None},
    ] == side_by_side(("run 3", one), ("run 4", other), NUMBERS)


def test_a_run_beside_itself_has_two_columns() -> None:
    rows = side_by_side(("run 3", {"packets": 7}), ("run 3", {"packets": 7}), NUMBERS)
    assert [{"field": "packets", "run 3 (1)": 7, "run 3 (2)": 7, "ratio": 1.0}] == rows


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (3, 1, 0.3333),
        (0, 1, None),
        (None, 1, None),
        (1, None, None),
        ("a", "b", None),
        (True, True, None),
        (2.0, 0, 0.0),
    ],
)
def test_a_ratio_is_of_two_numbers(before: Value, after: Value, expected: float | None) -> None:
    assert expected == ratio(before, after)
