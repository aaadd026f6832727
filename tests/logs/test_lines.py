"""The two forms of a line: nothing raw of what a peer says, one flat object in JSON."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.python.log import LogPublisher

from ctrlserver.logs.level import LEVELS, Level
from ctrlserver.logs.lines import json_line, text_line

NASTY = st.text(max_size=40)


def event(**fields: Any) -> dict[str, Any]:
    return {
        "log_time": 1_795_676_436.12,
        "log_level": LogLevel.warn,
        "log_namespace": "ctrlserver.net.plane",
        "log_format": "peers rejected: {number}",
        **fields,
    }


def failed(what: Exception) -> dict[str, Any]:
    """The event of a failure that a logger made."""
    with capturedLogs() as got:
        try:
            raise what
        except Exception:
            Logger("ctrlserver.lane").failure("a bug ended a stream", event="bug")
    return dict(got[0])


def test_a_json_line_has_the_time_in_utc_to_the_millisecond_the_level_the_event_and_its_fields() -> None:
    expected = {
        "ts": "2026-11-26T07:00:36.120Z",
        "level": "warn",
        "event": "rejected",
        "number": 3,
        "share": 0.5,
        "peer": "127.0.0.1:1",
        "source": "ctrlserver.net.plane",
        "message": "peers rejected: 3",
    }
    line = json_line(event(event="rejected", number=3, share=0.5, peer="127.0.0.1:1"))
    assert expected == json.loads(line)
    assert list(expected) == list(json.loads(line))


def test_a_line_without_a_name_of_its_own_says_what_it_is() -> None:
    assert "message" == json.loads(json_line(event()))["event"]
    assert "stderr" == json.loads(json_line(event(log_namespace="stderr")))["event"]
    assert "failure" == json.loads(json_line(event(log_failure=Failure(ValueError("x")))))["event"]


def test_a_traceback_is_one_line_of_json_with_what_was_wrong_in_its_message() -> None:
    line = json_line(failed(ValueError("no\nsuch")))
    assert line.isprintable()
    record = json.loads(line)
    assert ("bug", "a bug ended a stream: ValueError: no\nsuch") == (record["event"], record["message"])
    assert "Traceback" in record["traceback"]


@given(st.dictionaries(st.text("abcdef", min_size=1), st.none() | st.booleans() | st.floats() | st.integers() | NASTY))
def test_any_fields_make_one_flat_object_of_printable_ascii(fields: dict[str, Any]) -> None:
    line = json_line(event(**fields))
    assert line.isascii()
    assert line.isprintable()
    record = json.loads(line, parse_constant=pytest.fail)
    assert not [value for value in record.values() if isinstance(value, dict | list)]
    assert set(fields) <= set(record)


@given(NASTY)
@example("one\ntwo\r\x1b[2J\u2028")
def test_a_text_line_shows_no_control_character_and_a_newline_never_begins_a_line_of_its_own(said: str) -> None:
    first, *more = text_line(event(log_format="peer {said}", said=said)).split("\n")
    assert first.startswith("2026-11-26T")
    assert all(each.startswith("\t") for each in more)
    assert all(each.replace("\t", "").isprintable() for each in (first, *more))


def test_a_field_of_a_reserved_name_hides_nothing() -> None:
    record = json.loads(json_line(event(number=1, level="mine", message="mine")))
    assert ("warn", "peers rejected: 1") == (record["level"], record["message"])
    assert ("mine", "mine") == (record["level_"], record["message_"])


def test_a_line_of_twisteds_old_logger_has_only_the_fields_that_all_have() -> None:
    got: list[Any] = []
    LogPublisher(publishPublisher=got.append).msg("(TCP Port 1 Closed)", system="-")
    record = json.loads(json_line(got[0]))
    assert ["ts", "level", "event", "source", "message"] == list(record)
    assert ("info", "message", "(TCP Port 1 Closed)") == (record["level"], record["event"], record["message"])


def test_an_object_that_cannot_be_shown_is_shown_as_its_kind() -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError

    assert "<Broken>" == json.loads(json_line(event(thing=Broken())))["thing"]


def test_a_megabyte_makes_a_line_of_bounded_length_whose_end_is_there() -> None:
    text = "x" * 1_000_000 + "end"
    for line in (json_line(event(log_format=text, number=text)), text_line(event(log_format=text))):
        assert len(line) < 50_000
        assert "end" in line


@pytest.mark.parametrize("name", LEVELS)
def test_a_level_writes_itself_and_what_is_graver(name: str) -> None:
    level = Level()
    assert "info" == level.set(name)
    assert (name, name == "debug") == (level.name, level.debug)
    written = [each.name for each in LogLevel.iterconstants() if level.writes(each)]
    assert ["debug", "info", "warn", "error", "critical"][LEVELS.index(name) :] == written
    assert level.writes(None)


def test_the_time_of_a_text_line_is_left_to_a_log_that_has_its_own() -> None:
    stamped = text_line(event(number=1, log_time=time.time()))
    assert "[ctrlserver.net.plane#warn] peers rejected: 1" == text_line(event(number=1), stamped=False)
    assert stamped.endswith(text_line(event(number=1), stamped=False))
