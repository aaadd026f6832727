"""A run's figures as metrics."""

from __future__ import annotations

from io import StringIO

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ctrlserver.load.measure.intervals import Interval, Progress, Waiting
from ctrlserver.load.show.exposition import Exposed
from ctrlserver.load.show.summary import Lines
from ctrlserver.render.openmetrics import OPENMETRICS, text


def figures(exposed: Exposed) -> dict[str, float]:
    lines = "".join(f"{line}\n" for line in text(exposed.families(), OPENMETRICS))
    found = {}
    for family in text_string_to_metric_families(lines):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            found[" ".join([sample.name, *sample.labels.values()])] = sample.value
    return found


def test_counters_grow_over_the_end_of_the_warm_up() -> None:
    exposed = Exposed(Lines(StringIO(), "packets"))
    assert 0 == figures(exposed)["ctrlload_packets_total"]
    for packets, warm_up in ((100, True), (250, True), (20, False), (90, False)):
        exposed.progress(Progress(0.5, 1.0, packets, packets * 10, in_flight=7, warm_up=warm_up))
    found = figures(exposed)
    assert (340, 3400) == (found["ctrlload_packets_total"], found["ctrlload_bytes_total"])
    assert (7, 0, 0.5) == (
        found["ctrlload_in_flight_packets"],
        found["ctrlload_warm_up"],
        found["ctrlload_done_ratio"],
    )


def test_times_are_those_of_the_last_interval_and_what_is_not_known_is_left_out() -> None:
    exposed = Exposed(Lines(StringIO(), "packets"))
    exposed.progress(Progress(None, 1.0, 1, 1))
    assert "ctrlload_done_ratio" not in figures(exposed)
    exposed.interval(Interval(0.0, 1.0, 5, 50, 5.0, 400.0, False, 10.0, 0.5, 0.75, 0.25, None))
    found = figures(exposed)
    assert (0.5, 0.75) == (found["ctrlload_response_time_seconds 0.5"], found["ctrlload_response_time_seconds 0.99"])
    assert 0.25 == found["ctrlload_service_time_seconds 0.5"]
    assert "ctrlload_service_time_seconds 0.99" not in found
    assert (10, 1) == (found["ctrlload_target_packets_per_second"], found["ctrlload_intervals_total"])


def test_what_a_person_is_shown_goes_on() -> None:
    out = StringIO()
    exposed = Exposed(Lines(out, "packets"))
    exposed.note("a word")
    exposed.starting(5.0)
    exposed.waiting(Waiting(1.0, None, 5, 5))
    assert "ctrlload: a word\n" in out.getvalue()
