from __future__ import annotations

import pytest

from ctrlserver.load.measure.student import t_quantile


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.7062), (2, 4.3027), (4, 2.7764), (10, 2.2281), (30, 2.0423), (1e9, 1.9623)]
)
def test_the_quantiles_are_those_of_the_tables(freedom: float, expected: float) -> None:
    assert t_quantile(freedom, 0.975) == pytest.approx(expected, rel=1e-4)
