from __future__ import annotations

from typing import Any

import pytest

from ctrlserver.errors import UsageError
from ctrlserver.load.show.charts import MOST_RESULTS, Panel
from ctrlserver.load.show.search_charts import search_charts


def step(rate: float, achieved: float | None, **times: float) -> dict[str, Any]:
    kinds = {kind: {"p50": p99 / 2, "p99": p99} for kind, p99 in times.items()}
    latency = {"response": None, "service": None, **kinds} if kinds else None
    return {"rate_packets_per_second": rate, "achieved_packets_per_second": achieved, "result": {"latency": latency}}


TIMED = {
    "options": {"mode": "request"},
    "steps": [
        step(1000, 999, response=0.001, service=0.0005),
        step(4000, 3000, response=0.5),
        step(2000, 1990, response=0.002),
        step(4000, 3900, response=0.1),
        step(4000, 3500, response=0.3),
    ],
}
UNTIMED = {"options": {"mode": "send"}, "steps": [step(1000, 999), step(100_000, 99_000), step(200_000, None)]}


def lines(panel: Panel) -> dict[str, list[tuple[float, float]]]:
    return {series.name: [point for part in series.parts for point in part] for series in panel.series}


def test_the_latency_and_the_achieved_rate_stand_against_the_rate_with_the_median_of_repeats() -> None:
    made = search_charts([("a", TIMED)])
    latency, achieved = made.panels
    assert ("Latency against the rate", "packets/s asked for", "seconds") == (
        *(latency.title, latency.x_label),
        latency.y_kind,
    )
    assert {
        "response p99": [(1000, 0.001), (2000, 0.002), (4000, 0.3)],
        "response p50": [(1000, 0.0005), (2000, 0.001), (4000, 0.15)],
    } == lines(latency)
    assert {
        "achieved": [(1000, 999), (2000, 1990), (4000, 3500)],
        "asked for": [(1000, 1000), (2000, 2000), (4000, 4000)],
    } == lines(achieved)
    assert () == made.notes


def test_where_no_reply_was_timed_only_the_rate_is_drawn() -> None:
    made = search_charts([("a", UNTIMED)])
    assert ["Achieved rate against the one asked for"] == [panel.title for panel in made.panels]
    assert ("no latency against the rate: no replies were timed",) == made.notes
    x, _ = made.panels[0].axes()
    assert x.log, "1 k beside 100 k would lie on the axis"


def test_several_searches_have_a_colour_each() -> None:
    made = search_charts([("a", TIMED), ("b", UNTIMED)])
    assert ["a: response p99", "a: response p50"] == list(lines(made.panels[0]))
    assert ["a", "b", "asked for"] == list(lines(made.panels[1]))
    assert [0, 1, None] == [series.colour for series in made.panels[1].series]
    assert ("b: no latency against the rate: no replies were timed",) == made.notes


@pytest.mark.parametrize("steps", [[], [step(1000, None)], ["x", {}, {"rate_packets_per_second": "x"}]])
def test_a_search_with_nothing_to_draw_is_refused_in_one_line(steps: list[Any]) -> None:
    with pytest.raises(UsageError, match="nothing to draw"):
        search_charts([("a", {"options": {}, "steps": steps})])


def test_more_searches_than_colours_are_refused() -> None:
    with pytest.raises(UsageError, match="at most 6"):
        search_charts([(str(number), TIMED) for number in range(MOST_RESULTS + 1)])
