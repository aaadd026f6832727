from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.errors import UsageError
from ctrlserver.load.show.charts import (
    MOST_COLUMNS,
    MOST_RESULTS,
    Charts,
    Panel,
    charts,
    linear,
    logarithmic,
    nines,
    percentile_label,
    spectrum,
    tick_label,
)
from tests.load.documents import changed, latency
from tests.load.results.test_comparison import BASE

TIMES = {"response_p50": 0.002, "response_p99": 0.3, "service_p50": 0.001, "service_p99": 0.004}
NO_TIMES = dict.fromkeys(TIMES)


def interval(start: float, packets: int, target: float | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "start_seconds": start,
        "seconds": 0.5,
        "packets": packets,
        "bytes": packets * 64,
        "packets_per_second": packets / 0.5,
        "bits_per_second": packets * 64 * 8 / 0.5,
        "warm_up": False,
        "target_packets_per_second": target,
        **TIMES,
        **changes,
    }


OPEN: dict[str, Any] = changed(
    BASE,
    intervals=[
        interval(0.0, 50, 100.0, warm_up=True),
        interval(0.5, 60, 120.0),
        interval(1.0, 0, 140.0, **NO_TIMES),
        interval(1.5, 150, 160.0),
    ],
)
CLOSED = changed(
    BASE,
    latency__response=None,
    intervals=[interval(0.0, 500, response_p50=None, response_p99=None)],
)
BLIND = changed(BASE, latency=None, intervals=[interval(0.0, 5_000, **NO_TIMES)])


def titles(made: Charts) -> list[str]:
    return [panel.title for panel in made.panels]


def lines(panel: Panel) -> dict[str, list[list[tuple[float, float]]]]:
    return {series.name: [list(part) for part in series.parts] for series in panel.series}


def test_one_result_shows_its_rate_and_target_both_latencies_and_both_spectra() -> None:
    made = charts([("a.json", OPEN)])
    assert ["Rate over time, and its target", "Latency over time", "Percentile spectrum"] == titles(made)
    rate, times, tail = made.panels
    steps = [(0.0, 100.0), (0.5, 100.0), (0.5, 120.0), (1.0, 120.0), (1.0, 0.0), (1.5, 0.0), (1.5, 300.0), (2.0, 300.0)]
    assert [steps] == lines(rate)["achieved"]
    assert (2.0, 160.0) == lines(rate)["target"][0][-1]
    assert ((0.0, 0.5),) == rate.warm_up == times.warm_up
    assert ["response p99", "response p50", "service p99", "service p50"] == list(lines(times))
    assert ["response time", "service time"] == list(lines(tail))
    assert () == made.notes
    assert times.log_y
    assert not rate.log_y


def test_where_nothing_was_answered_the_latency_has_a_gap() -> None:
    times = charts([("a.json", OPEN)]).panels[1]
    before, after = lines(times)["service p99"]
    assert ((0.0, 1.0), (1.5, 2.0)) == ((before[0][0], before[-1][0]), (after[0][0], after[-1][0]))


def test_several_results_have_a_colour_each_and_one_percentile_over_time() -> None:
    made = charts([("a.json", OPEN), ("b.json", CLOSED)])
    rate, times, tail = made.panels
    assert {"a.json": 0, "b.json": 1, "target": None} == {series.name: series.colour for series in rate.series}
    assert "Latency over time: response and service p99" == times.title
    assert ["a.json: response p99", "b.json: service p99"] == list(lines(times))
    assert [("a.json: response", "solid"), ("a.json: service", "dashed"), ("b.json: service", "dashed")] == [
        (series.name, series.style) for series in tail.series
    ]
    assert () == rate.warm_up


def test_different_targets_are_drawn_each() -> None:
    other = changed(OPEN, intervals=[interval(0.0, 50, 100.0)])
    rate = charts([("a", OPEN), ("b", other)]).panels[0]
    assert ["a", "b", "a: target", "b: target"] == list(lines(rate))


def test_what_a_run_has_not_measured_is_left_out_with_a_word() -> None:
    made = charts([("a.json", BLIND)])
    assert ["Rate over time"] == titles(made)
    assert (
        "no latency over time: no interval has timed replies",
        "no percentile spectrum: no replies were timed",
    ) == made.notes
    both = charts([("a.json", OPEN), ("b.json", BLIND)])
    assert 3 == len(both.panels)
    assert "b.json: no percentile spectrum: no replies were timed" == both.notes[1]


def test_a_line_that_would_lie_on_the_floor_makes_the_scale_logarithmic() -> None:
    assert charts([("a", OPEN), ("b", BLIND)]).panels[0].log_y
    assert not charts([("a", OPEN), ("b", CLOSED)]).panels[0].log_y


def test_a_rate_of_connections_is_called_so() -> None:
    connecting = changed(OPEN, connections={"opened": 260})
    assert "connections/s" == charts([("a", connecting)]).panels[0].y_label
    assert "packets/s" == charts([("a", OPEN)]).panels[0].y_label
    assert "packets and connections/s" == charts([("a", OPEN), ("b", connecting)]).panels[0].y_label


def test_bytes_without_packets_are_drawn_in_bits() -> None:
    raw = changed(BASE, latency=None, intervals=[interval(0.0, 0, **NO_TIMES, bytes=1_000, bits_per_second=16_000.0)])
    (panel,) = charts([("a.json", raw)]).panels
    assert ("bit/s", [[(0.0, 16_000.0), (0.5, 16_000.0)]]) == (panel.y_label, lines(panel)["achieved"])


def test_the_rates_drawn_are_those_of_the_document_and_one_packet_alone_leaves_a_gap() -> None:
    last = interval(1.5, 2, 4.0, seconds=0.1, packets_per_second=4.0)
    alone = interval(1.0, 1, 4.0, seconds=0.001, packets_per_second=None, bits_per_second=None)
    made = charts([("a.json", changed(OPEN, intervals=[interval(0.5, 50, 100.0), alone, last]))])
    assert [[(0.5, 100.0), (1.0, 100.0)], [(1.5, 4.0), (1.6, 4.0)]] == lines(made.panels[0])["achieved"]


def test_a_result_with_nothing_to_draw_is_refused_in_one_line() -> None:
    empty = changed(BASE, latency=None, intervals=[])
    with pytest.raises(UsageError, match="nothing to draw: no rate over time: no interval has a rate"):
        charts([("a.json", empty)])
    with pytest.raises(UsageError, match="at most 6 can be told apart"):
        charts([(str(number), OPEN) for number in range(MOST_RESULTS + 1)])


@pytest.mark.parametrize("hdr", ["", "hello", "HISTFAAAAB", "SGVsbG8gd29ybGQ="])
def test_a_histogram_that_does_not_decode_is_one_line(hdr: str) -> None:
    wrong = changed(OPEN, latency__response=None, latency__service__hdr=hdr)
    with pytest.raises(UsageError, match=r"^latency\.service\.hdr does not decode"):
        charts([("a.json", wrong)])
    with pytest.raises(UsageError, match=r"^a\.json: latency\.service\.hdr does not decode"):
        charts([("a.json", wrong), ("b.json", OPEN)])


def test_a_long_run_is_put_together_and_its_worst_times_are_kept() -> None:
    many = [interval(number * 0.5, 50, 100.0) for number in range(MOST_COLUMNS * 3)]
    many[700] = interval(350.0, 50, 100.0, service_p99=9.0)
    made = charts([("a.json", changed(OPEN, intervals=many))])
    rate, times = made.panels[:2]
    assert [MOST_COLUMNS * 2] == [len(part) for part in lines(rate)["achieved"]]
    assert {100.0} == {round(y, 6) for _, y in lines(rate)["achieved"][0]}
    assert 9.0 == max(y for _, y in lines(times)["service p99"][0])


def test_the_spectrum_says_what_the_percentiles_say() -> None:
    part = latency([0.001 * number for number in range(1, 10_001)])
    points = dict(spectrum(changed(BASE, latency__service=part), "service"))
    for x, name in ((10, "p90"), (100, "p99"), (1_000, "p99_9"), (20_000, "max")):
        (value,) = [y for at, y in points.items() if math.isclose(at, x)]
        assert value == pytest.approx(part[name], rel=2e-3)
    assert () == spectrum(BLIND, "service")
    assert () == spectrum(CLOSED, "response")


def test_odd_documents_are_drawn_as_far_as_they_go() -> None:
    odd = changed(
        OPEN, intervals=[5, {}, {"start_seconds": "x", "seconds": 1}, interval(0.0, 5, seconds=0), *OPEN["intervals"]]
    )
    assert charts([("a", OPEN)]).panels[0] == charts([("a", odd)]).panels[0]


@given(st.floats(1e-9, 1e12), st.sampled_from(["seconds", "rate", "time"]))
def test_a_linear_scale_holds_its_values_and_has_a_few_different_ticks(highest: float, kind: str) -> None:
    scale = linear(highest, kind)
    assert 0 <= scale.share(highest) <= 1 + 1e-9
    assert 2 <= len(scale.ticks) <= 8
    assert len({label for _, label in scale.ticks}) == len(scale.ticks)


@given(st.floats(1e-9, 1e6), st.floats(1, 1e9))
def test_a_logarithmic_scale_holds_its_values_and_has_a_few_different_ticks(lowest: float, factor: float) -> None:
    scale = logarithmic(lowest, lowest * factor, "seconds")
    assert -1e-9 <= scale.share(lowest) <= scale.share(lowest * factor) <= 1 + 1e-9
    assert len({label for _, label in scale.ticks}) == len(scale.ticks) <= 18


def test_the_nines_are_named_up_to_the_last() -> None:
    assert ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"] == [label for _, label in nines(20_000).ticks]
    assert ["0 %", "50 %", "90 %"] == [label for _, label in nines(1).ticks]
    assert "99.98 %" == percentile_label(5_000)
    assert "99.980 %" == percentile_label(5_000, 1)


@pytest.mark.parametrize(
    ("value", "kind", "label"),
    [
        (0, "seconds", "0"),
        (0.01, "seconds", "10 ms"),
        (2.5e-6, "seconds", "2.5 us"),
        (1e-8, "seconds", "10 ns"),
        (2_500, "rate", "2.5 k"),
        (1e9, "bits", "1 G"),
        (0.5, "rate", "0.5"),
        (90_000, "time", "90000"),
    ],
)
def test_a_tick_is_said_shortly(value: float, kind: str, label: str) -> None:
    assert label == tick_label(value, kind)


def test_the_test_documents_are_json() -> None:
    assert OPEN == json.loads(json.dumps(OPEN))
