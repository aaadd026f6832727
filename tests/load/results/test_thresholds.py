from __future__ import annotations

import pytest

from ctrlserver.errors import UsageError
from ctrlserver.load.results.thresholds import Judgement, judge, parse_threshold
from ctrlserver.stats.latency import UNIT_SECONDS, Histogram

DOCUMENT: dict[str, object] = {
    "sent": {"packets": 100, "packets_per_second": 600_000.0, "seconds": 0.002},
    "received": {"packets": 99},
    "replies": None,
}


@pytest.mark.parametrize(
    ("expression", "failed"),
    [
        ("packets_per_second<500k", False),
        ("packets_per_second<1M", True),
        ("packets_per_second<500k/s", False),
        ("packets==100", True),
        ("packets!=100", False),
        ("received.packets<100", True),
        ("received.packets >= 100", False),
        ("sent.packets>99", True),
        ("seconds>1ms", True),
        ("seconds>=2000us", True),
        ("seconds<=0.001s", False),
        ("packets<1_000", True),
        ("packets<1e3", True),
        ("packets<-1", False),
    ],
)
def test_a_condition_is_judged_on_the_document(expression: str, failed: bool) -> None:
    (judgement,) = judge([parse_threshold(expression)], DOCUMENT)
    assert (expression, failed) == (judgement.expression, judgement.failed)
    assert judgement.value is not None


OPEN_LOOP: dict[str, object] = {
    "sent": {"packets": 100},
    "received": None,
    "latency": {"response": {"p99": 0.3, "p99_9": 0.4}, "service": {"p99": 0.01, "p99_9": 0.02}},
    "schedule": {"late_packets": 2, "slip": {"p99": 0.003}},
}
CLOSED_LOOP: dict[str, object] = {
    "sent": {"packets": 100},
    "latency": {"response": None, "service": {"p99": 0.01, "p99_9": 0.02}},
    "schedule": None,
}


@pytest.mark.parametrize(
    ("expression", "document", "value"),
    [
        ("p99>2ms", OPEN_LOOP, 0.3),
        ("p99>2ms", CLOSED_LOOP, 0.01),
        ("latency.p99_9>2ms", OPEN_LOOP, 0.4),
        ("latency.p99_9>2ms", CLOSED_LOOP, 0.02),
        ("service.p99>2ms", OPEN_LOOP, 0.01),
        ("latency.service.p99_9>1ms", OPEN_LOOP, 0.02),
        ("latency.response.p99>1ms", CLOSED_LOOP, None),
        ("slip.p99>1ms", OPEN_LOOP, 0.003),
        ("schedule.slip.p99>1ms", OPEN_LOOP, 0.003),
        ("late_packets>0", OPEN_LOOP, 2),
        ("late_packets>0", CLOSED_LOOP, None),
    ],
)
def test_a_name_means_what_this_run_has_measured(
    expression: str, document: dict[str, object], value: float | None
) -> None:
    (judgement,) = judge([parse_threshold(expression)], document)
    assert (value, value is None or value > 0) == (judgement.value, judgement.failed)


def timed() -> dict[str, object]:
    """A closed loop whose replies took 1 to 1 000 us."""
    histogram = Histogram()
    for time in range(1, 1001):
        histogram.record(time * 1000)
    latency = histogram.latency()
    assert latency is not None
    service = {"p99": latency.p99, "p99_9": latency.p99_9, "hdr": latency.hdr}
    return {"sent": {}, "latency": {"response": None, "service": service, "unit_seconds": UNIT_SECONDS}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("p95", 950e-6), ("P95", 950e-6), ("p5", 50e-6), ("p75", 750e-6), ("p99.5", 995e-6), ("p99_5", 995e-6)),
        *(("latency.p95", 950e-6), ("service.p95", 950e-6), ("latency.service.p95.0", 950e-6)),
        *(("p99", 990e-6), ("p99.9", 999e-6), ("p99_90", 999e-6), ("latency.service.p99.9", 999e-6)),
    ],
)
def test_any_percentile_may_be_named(name: str, value: float) -> None:
    (judgement,) = judge([parse_threshold(f"{name}>2ms")], timed())
    assert pytest.approx(value, rel=2e-3) == judgement.value
    assert not judgement.failed


def test_a_percentile_of_nothing_timed_is_unknown() -> None:
    (judgement,) = judge([parse_threshold("response.p95>2ms")], timed())
    assert (None, True, "unknown") == (judgement.value, judgement.failed, judgement.words)


def test_a_percentile_from_the_histogram_is_that_of_the_document() -> None:
    document = timed()
    (before,) = judge([parse_threshold("p99>1")], document)
    service = document["latency"]["service"]  # type: ignore[index]
    del service["p99"]
    (after,) = judge([parse_threshold("p99>1")], document)
    assert before.value == pytest.approx(after.value)


@pytest.mark.parametrize(
    ("expression", "document", "value"),
    [
        ("rate<10", {"sent": {"packets_per_second": 7.0}}, 7.0),
        ("rate<10", {"sent": {"packets_per_second": 7.0}, "connections": {"connections_per_second": 8.0}}, 8.0),
        ("rate<10", {"sent": {"packets_per_second": 7.0}, "downloaded": {"packets_per_second": 9.0}}, 9.0),
        ("received.rate<10", {"sent": {"packets_per_second": 7.0}, "received": {"packets_per_second": 6.0}}, 6.0),
        ("rate<10Mbit/s", {"sent": {"packets_per_second": 7.0, "bits_per_second": 8e6}}, 8e6),
        ("bits_per_second<10Mbit/s", {"sent": {"bits_per_second": 8e6}}, 8e6),
        ("errors>0", {"sent": {}, "connections": {"failed": 3}, "error": None}, 3),
        ("errors>0", {"sent": {}, "connections": None, "error": "the target closed the connection early"}, 1),
        ("errors>0", {"sent": {}, "error": None}, 0),
    ],
)
def test_rate_and_errors_are_words(expression: str, document: dict[str, object], value: float) -> None:
    (judgement,) = judge([parse_threshold(expression)], document)
    assert (value, value > 0) == (judgement.value, judgement.failed)


@pytest.mark.parametrize(
    ("expression", "value", "words", "bound"),
    [
        ("p99>5s", 0.005456, "5.456 ms", "5.000 s"),
        ("p95>1ms", 0.005456, "5.456 ms", "1.000 ms"),
        ("slip.max>1ms", 1e-5, "10.00 us", "1.000 ms"),
        ("mean>1ms", 1e-5, "10.00 us", "1.000 ms"),
        ("jitter_seconds>1ms", 1e-5, "10.00 us", "1.000 ms"),
        ("seconds>1", 2.5, "2.500 s", "1.000 s"),
        ("rate<2M", 1.03489e6, "1034890.0/s", "2000000.0/s"),
        ("rate<10Mbit/s", 8.19e6, "8.19 Mbit/s", "10.0 Mbit/s"),
        ("bytes<1M", 65536, "65536 bytes", "1000000 bytes"),
        ("bytes<64KiB", 65535, "65535 bytes", "65536 bytes"),
        ("bytes<10MB", 65536, "65536 bytes", "10000000 bytes"),
        ("packets<10k", 1034891, "1034891", "10000"),
        ("count<10k", 1034891, "1034891", "10000"),
    ],
)
def test_a_value_has_the_units_of_the_report(expression: str, value: float, words: str, bound: str) -> None:
    judgement = Judgement(expression, value, False)
    assert (words, bound) == (judgement.words, judgement.bound)


def test_what_is_not_known_cannot_be_vouched_for() -> None:
    (judgement,) = judge([parse_threshold("replies.packets<1")], DOCUMENT)
    assert (None, True) == (judgement.value, judgement.failed)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("packet_per_second<1", 'did you mean "packets_per_second"?'),
        ("recieved.packets<1", 'did you mean "received.packets"?'),
        ("received.writes<1", "unknown name"),
        ("options.seed<1", "unknown name"),
        ("xyzzy<1", "expected packets, bytes, rate, bits_per_second, errors, lost, mean, max, p50, p95 or another"),
        ("p(95)>1ms", 'did you mean "p95"?'),
        ("p100>1ms", 'did you mean "max"?'),
        ("avg>1ms", 'did you mean "mean"?'),
        ("rps<1k", 'did you mean "rate"?'),
        ("throughput<1G", 'did you mean "bits_per_second"?'),
        ("loss>0", 'did you mean "lost"?'),
        ("slip.p95>1ms", 'did you mean "slip.p9'),
        ("latency<1", "unknown name"),
        ("latency.servcie.p99>1ms", 'did you mean "latency.service.p99"?'),
        ("p999>1ms", 'did you mean "p99_9"?'),
        ("slp.p99>1ms", 'did you mean "slip.p99"?'),
        ("intervals.packets<1", "unknown name"),
        ("schedule.bottleneck==1", "unknown name"),
        ("interrupted==1", "unknown name"),
        ("packets<1 Mb", 'unknown unit "Mb"'),
        ("rate<10Mbps", 'did you mean "Mbit"?'),
        ("rate<10kbits", 'did you mean "kbit"?'),
        ("p95=>1ms", 'did you mean "p95>=1ms"?'),
        ("p95=1ms", 'did you mean "p95==1ms"?'),
        ("packets<", "expected NAME OPERATOR NUMBER"),
        ("packets=1", "expected NAME OPERATOR NUMBER"),
        ("<1", "expected NAME OPERATOR NUMBER"),
        ("packets<nan", "expected NAME OPERATOR NUMBER"),
        ("packets<1e999", "too large"),
        ("", "expected NAME OPERATOR NUMBER"),
        ("packets<1\nseconds<1", "expected NAME OPERATOR NUMBER"),
    ],
)
def test_a_bad_condition_is_refused_in_one_line(expression: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_threshold(expression)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
