"""Families of metrics as lines."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ctrlserver.render.openmetrics import OPENMETRICS, PROMETHEUS, Family, Sample, text

BYTES = Family("lab_read_bytes", "counter", "bytes read", [Sample(5, {"listener": "a"}), Sample(7, {"listener": "b"})])
BUILD = Family("lab_build", "info", "what runs", [Sample(1, {"version": "1.0"})])


def test_openmetrics_announces_a_counter_without_its_total_and_its_unit() -> None:
    expected = [
        "# HELP lab_read_bytes bytes read",
        "# TYPE lab_read_bytes counter",
        "# UNIT lab_read_bytes bytes",
        'lab_read_bytes_total{listener="a"} 5',
        'lab_read_bytes_total{listener="b"} 7',
        "# EOF",
    ]
    assert expected == list(text([BYTES], OPENMETRICS))


def test_prometheus_announces_each_sample_by_its_name() -> None:
    expected = [
        "# HELP lab_build_info what runs",
        "# TYPE lab_build_info gauge",
        'lab_build_info{version="1.0"} 1',
        "# HELP lab_read_bytes_total bytes read",
        "# TYPE lab_read_bytes_total counter",
        'lab_read_bytes_total{listener="a"} 5',
        'lab_read_bytes_total{listener="b"} 7',
        "# EOF",
    ]
    assert expected == list(text([BUILD, BYTES], PROMETHEUS))


def test_whatever_a_label_holds_is_read_back() -> None:
    odd = 'a "b" \\ c\nd'
    lines = text([Family("lab_odd", "gauge", odd, [Sample(0.5, {"listener": odd})])], OPENMETRICS)
    (family,) = text_string_to_metric_families("".join(f"{line}\n" for line in lines))  # type: ignore[no-untyped-call]
    assert odd == family.documentation
    assert {"listener": odd} == family.samples[0].labels
    assert 0.5 == family.samples[0].value
