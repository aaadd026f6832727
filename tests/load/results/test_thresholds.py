from __future__ import annotations

import pytest

from ctrlserver.errors import UsageError
from ctrlserver.load.results.thresholds import judge, parse_threshold

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
        ("xyzzy<1", "known are packets, bytes"),
        ("latency<1", "unknown name"),
        ("latency.p98>1", 'did you mean "latency.'),
        ("latency.servcie.p99>1ms", 'did you mean "latency.service.p99"?'),
        ("p999>1ms", 'did you mean "p99_9"?'),
        ("slp.p99>1ms", 'did you mean "slip.p99"?'),
        ("intervals.packets<1", "unknown name"),
        ("schedule.bottleneck==1", "unknown name"),
        ("interrupted==1", "unknown name"),
        ("packets<1 Mb", 'unknown unit "Mb"'),
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
