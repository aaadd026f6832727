"""Which form of the metrics a client wants."""

from __future__ import annotations

import pytest

from ctrlserver.http.accepting import form_of
from ctrlserver.render.openmetrics import OPENMETRICS, PROMETHEUS

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("expected", "accept"),
    [
        (PROMETHEUS, ""),
        (PROMETHEUS, "*/*"),
        (PROMETHEUS, "text/html,application/xhtml+xml,*/*;q=0.8"),
        (PROMETHEUS, "text/plain;version=0.0.4"),
        (PROMETHEUS, "text/plain, application/openmetrics-text;q=0.5"),
        (PROMETHEUS, "application/openmetrics-text;q=0"),
        (PROMETHEUS, "application/openmetrics-text;q=much"),
        (OPENMETRICS, "application/openmetrics-text"),
        (OPENMETRICS, "text/plain;q=0.5, Application/OpenMetrics-Text; version=1.0.0 ; Q=0.5"),
        (OPENMETRICS, PROMETHEUS_2_42),
    ],
)
def test_openmetrics_is_for_those_who_ask_for_it(expected: str, accept: str) -> None:
    assert expected == form_of(accept)
