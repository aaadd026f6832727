from __future__ import annotations

import json

from ctrlserver.admin.replies import Listing, Record, Reply, Table, Word, encode_error, encode_in_steps
from ctrlserver.errors import CommandError


def text_of(reply: Reply) -> bytes:
    return b"".join(encode_in_steps("stats", reply, json=False))


def test_a_word_is_one_status_line() -> None:
    assert b"OK pong\r\n" == text_of(Word("pong", {"ping": "pong"}))


def test_a_record_is_a_line_for_each_field_and_their_number() -> None:
    assert b"packets 5\r\nbytes 10\r\nOK 2\r\n" == text_of(Record({"packets": 5, "bytes": 10}))


def test_a_table_counts_its_rows_and_not_its_header() -> None:
    lines = text_of(Table([{"a": 1}, {"a": 2}], 2)).split(b"\r\n")
    assert lines[0].startswith(b"# a")
    assert [b"OK 2", b""] == lines[3:]


def test_a_cut_table_says_so() -> None:
    assert text_of(Table([{"a": 1}], 5231)).endswith(b"OK 1 of 5231\r\n")


def test_an_empty_table_is_a_status_line() -> None:
    assert b"OK 0\r\n" == text_of(Table([], 0))


def test_no_body_line_starts_as_a_status_line_does() -> None:
    assert b" OK 1\r\n ERR 2\r\nok\r\nOK 3\r\n" == text_of(Listing(["OK 1", "ERR 2", "ok"], [], 3))


def test_json_is_one_line_with_the_total_of_a_list() -> None:
    octets = b"".join(encode_in_steps("streams", Table([{"a": "é\n"}], 9), json=True))
    assert 1 == octets.count(b"\n")
    assert octets.isascii()
    assert {"ok": True, "command": "streams", "data": [{"a": "é\n"}], "total": 9} == json.loads(octets)


def test_an_error_is_one_line_in_either_form() -> None:
    error = CommandError(404, "unknown-command", '"x"')
    assert b'ERR 404 unknown-command "x"\r\n' == encode_error(error, json=False)
    expected = {"ok": False, "error": {"code": 404, "id": "unknown-command", "message": '"x"'}}
    assert expected == json.loads(encode_error(error, json=True))


def test_text_that_utf8_cannot_hold_breaks_nothing() -> None:
    assert b"\\udcff\r\nOK 1\r\n" == text_of(Listing(["\udcff"], [], 1))
