from __future__ import annotations

import json
from pathlib import Path

import pytest

from ctrlserver.errors import UsageError
from ctrlserver.load.results.result import as_document, as_json
from ctrlserver.load.results.stored import read_result
from tests.load.results.test_result import EMPTY, FULL


@pytest.mark.parametrize("result", [FULL, EMPTY], ids=["full", "empty"])
def test_a_result_is_read_as_it_was_written(tmp_path: Path, result: object) -> None:
    place = tmp_path / "result.json"
    place.write_text(as_json(result))  # type: ignore[arg-type]
    assert as_document(result) == read_result(str(place))  # type: ignore[arg-type]


def test_the_events_of_a_run_are_taken_for_its_result(tmp_path: Path) -> None:
    place = tmp_path / "events.jsonl"
    end = json.dumps({"event": "end", "time": "x", "exit_code": 0, "result": as_document(FULL)})
    place.write_text(f'{{"event": "start", "time": "x"}}\n{end}\n')
    assert as_document(FULL) == read_result(str(place))
    place.write_text(f"{end}\n")
    assert as_document(FULL) == read_result(str(place))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b"hello", "not JSON: line 1, column 1"),
        (b'{"schema": "ctrlload/1",\n', "not JSON: line 2"),
        (b"[]", "not a JSON object"),
        (b"{}", 'without a schema, expected "ctrlload/1"'),
        (b'{"schema": "ctrlload/2"}', 'its schema is "ctrlload/2", expected "ctrlload/1"'),
        (b'{"schema": "ctrlload/1"}', '"target" is missing or of another type'),
        (b'{"schema": "ctrlload/1", "target": "x", "options": {}, "sent": 5}', '"sent" is missing or of another type'),
        (
            b'{"schema": "ctrlload-search/1"}',
            "it is the document of a search, whose runs are steps; ctrlload plot draws",
        ),
        (b'{"schema": "ctrlload-comparison/1"}', "it is a comparison; expected the results that were compared"),
        (b'{"schema": NaN}', "NaN is no number of JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[" * 900 + b"1" + b"]" * 900, "nested too deeply"),
        (b'{"schema": 1e999}', "a number in it is too large"),
        (b'{"schema": %s}' % (b"1" * 5000), "5000 digits"),
        (b'{"schema": "\\u001b[31m"}', r'its schema is "\\x1b[31m"'),
        (b'{"schema":["' + b"x" * (48 << 20), "larger than 48 MiB"),
        (b'{"event": "start"}\n{"event": "interval"}\n', "events of a run that has not ended"),
        (b'{"event": "start"}\n{"event": "end", "resu', "events of a run that has not ended"),
        (b'{"event": "start"}', "without a schema"),
    ],
)
def test_a_file_that_is_no_result_is_one_line_that_names_it(tmp_path: Path, content: bytes, words: str) -> None:
    place = tmp_path / "x.json"
    place.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_result(str(place))
    assert str(caught.value).startswith(f"{place}: no result of ctrlload: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_texts_and_keys_of_a_document_are_shown_without_control_characters(tmp_path: Path) -> None:
    place = tmp_path / "x.json"
    place.write_text(json.dumps(as_document(FULL) | {"target": "a\x1b[31m\nctrlload: all is well", "\x07": 1}))
    document = read_result(str(place))
    assert r"a\x1b[31m\nctrlload: all is well" == document["target"]
    assert r"\x07" in document


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(UsageError, match="larger than 48 MiB"):
        read_result("/dev/zero")


@pytest.mark.parametrize(
    ("name", "words"),
    [("none.json", "cannot be read: No such file or directory"), (".", "Is a directory"), ("a\0b", "cannot be read")],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_result(f"{tmp_path}/{name}")
