"""Claims about replies as one line of JSON."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.render.jsonline import Content, failure, success, success_rows
from ctrlserver.stats.records import Value
from ctrlserver.stats.rename import Renames

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
CONTENTS = st.one_of(
    SCALARS,
    st.dictionaries(st.text(max_size=5), SCALARS, max_size=5),
    st.lists(st.dictionaries(st.text(max_size=5), SCALARS, max_size=5), max_size=3),
)


def test_a_record_comes_as_data() -> None:
    line = b'{"ok":true,"command":"stats","data":{"packets_total":1048576,"reason":null}}\r\n'
    assert success("stats", {"packets_total": 1048576, "reason": None}) == line


def test_a_list_carries_how_many_there_are() -> None:
    assert b'{"ok":true,"command":"streams","data":[{"stream":1}],"total":1}\r\n' == success("streams", [{"stream": 1}])
    assert b'{"ok":true,"command":"streams","data":[],"total":0}\r\n' == success("streams", [])


def test_what_is_not_a_list_carries_no_total() -> None:
    assert b'{"ok":true,"command":"ping","data":"pong"}\r\n' == success("ping", "pong")
    assert b'{"ok":true,"command":"quit","data":null}\r\n' == success("quit", None)


def test_an_error_has_its_code_its_word_and_its_message() -> None:
    message = '"stast"; did you mean "stats"?'
    inside = b'{"code":404,"id":"unknown-command","message":"\\"stast\\"; did you mean \\"stats\\"?"}'
    assert failure(404, "unknown-command", message) == b'{"ok":false,"error":' + inside + b"}\r\n"


@given(CONTENTS)
def test_any_content_is_one_ascii_line_that_reads_back_as_it_was(content: Content) -> None:
    line = success("command", content)
    assert line.endswith(b"\r\n")
    assert all(0x20 <= byte < 0x7F for byte in line[:-2])
    assert json.loads(line)["data"] == content


@given(st.text())
def test_any_message_is_one_ascii_line(message: str) -> None:
    line = failure(400, "bad-request", message)
    assert all(0x20 <= byte < 0x7F for byte in line[:-2])
    assert json.loads(line)["error"]["message"] == message


@given(st.lists(st.dictionaries(st.text(max_size=5), SCALARS, max_size=5), max_size=4))
def test_a_list_made_row_by_row_is_the_same_line(rows: list[dict[str, Value]]) -> None:
    pieces = list(success_rows("streams", iter(rows), int))
    assert success("streams", rows) == b"".join(pieces)
    assert len(rows) + 2 == len(pieces)


def test_a_list_made_row_by_row_says_how_many_more_there_are() -> None:
    assert b'],"total":9}\r\n' == list(success_rows("streams", iter([{}, {}]), lambda count: count + 7))[-1]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_word_for_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        success("stats", {"rate": value})


def test_a_renamed_field_has_its_new_name_and_its_old_place() -> None:
    record: dict[str, Content] = Renames([("protocol", "inet_protocol")]).apply({"protocol": "HTTP", "size": 1024})
    assert (b'{"ok":true,"command":"streams","data":{"inet_protocol":"HTTP","size":1024}}\r\n') == success(
        "streams", record
    )


def test_a_text_in_parts_is_the_same_line_in_more_pieces() -> None:
    parts = ["ab", "", 'c"d\\', "\n\u00e9"]
    (row,) = json.loads(b"".join(success_rows("x", [{"n": 1, "text": iter(parts), "end": None}], int)))["data"]
    assert {"n": 1, "text": "".join(parts), "end": None} == row
