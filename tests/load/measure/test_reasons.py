from __future__ import annotations

from typing import Any

import pytest

from ctrlserver.load.measure.reading import Reading
from ctrlserver.load.measure.reasons import why
from tests.load.measure.records import stream

OURS = [stream(local="127.0.0.1:5001")]
BEFORE = Reading([{"stream": 7}])


def record(**fields: object) -> dict[str, object]:
    return {"stream": 8, "peer": "127.0.0.1:5001", "state": "open", "reason": None, "mode": "echo", **fields}


@pytest.mark.parametrize(
    ("served_by", "fields", "words"),
    [
        ((), {"state": "closed", "reason": "fault"}, "the server says that it closed the stream with reason fault"),
        ((), {"state": "closed", "reason": "handshake"}, "it expects TLS, as in tls:HOST:PORT"),
        (("echo", "reply"), {"mode": "sink"}, "the mode of its listener is sink"),
        (("source",), {"mode": "echo"}, "the mode of its listener is echo"),
    ],
)
def test_the_record_of_our_stream_explains_its_end(
    served_by: tuple[str, ...], fields: dict[str, Any], words: str
) -> None:
    assert words in (why(served_by, OURS, Reading([record(**fields)]), BEFORE) or "")


@pytest.mark.parametrize(
    ("served_by", "fields"),
    [
        ((), {"mode": "sink"}),
        (("echo", "reply"), {}),
        (("echo", "reply"), {"mode": "reply"}),
        (("source",), {"mode": "source"}),
        ((), {"state": "closed", "reason": "eof"}),
        (("echo", "reply"), {"peer": "127.0.0.1:5002", "mode": "sink"}),
        (("echo", "reply"), {"stream": 7, "mode": "sink"}),
    ],
)
def test_what_explains_nothing_is_not_told(served_by: tuple[str, ...], fields: dict[str, Any]) -> None:
    assert why(served_by, OURS, Reading([record(**fields)]), BEFORE) is None


def test_a_rejection_explains_a_stream_that_the_server_does_not_have() -> None:
    rejecting = {"rejected_max_streams_total": 2, "rejected_total": 2}
    words = "the server says that it has rejected 2 connections (max_streams)"
    assert words == why((), OURS, Reading([], rejecting), BEFORE)
    assert words == why((), [], Reading([], rejecting), BEFORE)  # over TLS the handshake fails first
    assert why((), OURS, Reading([record()], rejecting), BEFORE) is None
