"""A worker's log events, as they appear in the parent's log."""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import Logger, LogLevel, capturedLogs
from twisted.python import log

from ctrlserver.logs.lines import json_line, text_line
from ctrlserver.workers.telling import MOST_WAITING, Teller, Told, told


class Broken:
    """Cannot be shown."""

    def __str__(self) -> str:
        raise ValueError


class Channel:
    """Remembers what was sent; ``waiting`` bytes are on their way."""

    def __init__(self) -> None:
        self.waiting = 0
        self.sent: list[Told] = []

    def send(self, message: Told) -> None:
        self.sent.append(message)


def logged(**fields: Any) -> dict[str, Any]:
    """An event of a worker as the parent logs it."""
    with capturedLogs() as events:
        Logger("a.source").warn("{what} of {number:03}", **fields)
    with capturedLogs() as again:
        told(events[0]).log(7)
    return dict(again[0])


def test_a_line_is_that_of_the_worker_with_its_number() -> None:
    event = logged(what="three {braces}", number=5, event="told", broken=Broken())
    assert text_line(event).endswith("[a.source#warn] three {braces} of 005")
    line = json.loads(json_line(event))
    assert {
        "level": "warn",
        "event": "told",
        "what": "three {braces}",
        "number": 5,
        "broken": "<Broken>",
        "worker": 7,
        "source": "a.source",
        "message": "three {braces} of 005",
    } == {key: value for key, value in line.items() if key != "ts"}


def test_a_failure_has_its_traceback_in_both_forms() -> None:
    with capturedLogs() as events:
        try:
            raise LookupError("nobody there")
        except LookupError:
            Logger("a.source").failure("it failed")
    with capturedLogs() as again:
        told(events[0]).log(1)
    assert "raise LookupError" in text_line(again[0])
    line = json.loads(json_line(again[0]))
    assert ("failure", "it failed: LookupError: nobody there") == (line["event"], line["message"])
    assert "raise LookupError" in line["traceback"]


def test_want_of_memory_is_a_line_without_a_traceback() -> None:
    with capturedLogs() as events:
        try:
            raise MemoryError
        except MemoryError:
            Logger("a.source").failure("no room")
    with capturedLogs() as again:
        told(events[0]).log(1)
    assert ("out-of-memory", LogLevel.warn, None) == (
        again[0]["event"],
        again[0]["log_level"],
        again[0].get("log_failure"),
    )


def test_what_a_slow_parent_does_not_take_is_left_out_and_its_number_told() -> None:
    channel: Any = Channel()
    teller = Teller(channel)
    with capturedLogs() as events:
        Logger("a.source").info("a line")
        Logger("a.source").debug("not written at this level")
    channel.waiting = MOST_WAITING + 1
    for _ in range(3):
        teller(events[0])
    channel.waiting = 0
    teller(events[0])
    teller(events[0])
    teller(events[1])
    assert [3, 0] == [each.left_out for each in channel.sent]
    with capturedLogs() as again:
        channel.sent[0].log(1)
    assert "a line; 3 lines before it left out" == again[0]["log_told"]


def test_what_twisted_says_of_ports_is_not_told_for_each_worker() -> None:
    channel = Channel()
    teller = Teller(channel)  # type: ignore[arg-type]
    with capturedLogs() as events:
        log.msg("Datagrams starting on 5")
        Logger("a.source").info("it begins")
    for event in events:
        teller(event)
    assert ["it begins"] == [each.text for each in channel.sent]
