from __future__ import annotations

import pytest

from ctrlserver.errors import UsageError
from ctrlserver.load.thresholds import judge, parse_threshold

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
        ("latency<1", "known are packets, bytes"),
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
