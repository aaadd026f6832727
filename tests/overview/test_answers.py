from __future__ import annotations

import csv
import io
import json

import pytest

from ctrlserver.overview.answers import Answer, summed_of, table, totals
from ctrlserver.overview.forms import csv_of, json_of, text_of

SUMMED = frozenset({"packets_total", "packets_per_second"})


def record(server: str, **fields: object) -> Answer:
    return Answer(server, {"ok": True, "command": "stats", "data": fields}, summed=SUMMED)


def rows(server: str, *data: dict[str, object], total: int | None = None) -> Answer:
    envelope = {"ok": True, "command": "runs", "data": list(data), "total": len(data) if total is None else total}
    return Answer(server, envelope)


LAB1 = record("lab1", version="1.0", uptime_seconds=5.5, packets_total=10, packets_per_second=0.1)
LAB2 = record("lab2", version="1.1", uptime_seconds=9.0, packets_total=20, packets_per_second=0.2)
REFUSED = Answer("lab3", {"ok": False, "error": {"code": 404, "id": "unknown-command", "message": '"x"'}})
SILENT = Answer("lab4", problem="no answer")


def test_records_stand_side_by_side_with_a_total_where_adding_makes_sense() -> None:
    text, left_out = text_of([LAB1, LAB2, REFUSED, SILENT], None)
    assert [
        "# field             lab1  lab2  total",
        "version              1.0   1.1      -",
        "uptime_seconds       5.5   9.0      -",
        "packets_total         10    20     30",
        "packets_per_second   0.1   0.2    0.3",
    ] == text.splitlines()
    assert [] == left_out


def test_tables_stand_below_each_other_with_the_server_in_front() -> None:
    answers = [
        rows("lab1", {"run": 1, "name": "a b"}),
        rows("lab2"),
        rows("lab3", {"run": 7, "server": "x", "name": "c"}),
    ]
    assert ["# server  run  name", 'lab1        1  "a b"', "lab3        7  c"] == text_of(answers, None)[0].splitlines()


def test_a_field_that_only_some_have_is_unknown_of_the_others() -> None:
    one, other = record("a", packets_total=1), record("b", version="2")
    assert [
        {"field": "packets_total", "a": 1, "b": None, "total": 1},
        {"field": "version", "a": None, "b": "2", "total": None},
    ] == table([one, other])


def test_times_texts_and_flags_have_no_total() -> None:
    described = [
        {"name": "packets_total", "kind": "counter", "unit": "packets"},
        {"name": "packets_per_second", "kind": "gauge", "unit": "packets/s"},
        {"name": "uptime_seconds", "kind": "gauge", "unit": "seconds"},
        {"name": "version", "kind": "text", "unit": None},
        {"name": "complete", "kind": "flag", "unit": None},
        "no row",
    ]
    assert SUMMED == summed_of(described)
    assert frozenset() == summed_of({"not": "a list"})


def test_a_number_that_one_server_does_not_describe_has_no_total() -> None:
    other = Answer("b", {"ok": True, "data": {"packets_total": 5}})
    assert {} == totals([record("a", packets_total=1), other])
    assert {} == totals([record("a", packets_total=True), record("b", packets_total="5")])


def test_what_is_nested_stands_below_names_with_dots() -> None:
    config = Answer("a", {"ok": True, "data": {"data": {"endpoint": "tcp:1", "allow": ["x"]}, "none": {}}})
    assert ["data.endpoint", "data.allow", "none"] == [row["field"] for row in table([config])]
    assert '["x"]' == table([config])[1]["a"]


def test_json_of_many_is_one_document_with_the_sums() -> None:
    document = json.loads(json_of([LAB1, LAB2, SILENT], together=True))
    assert (False, "stats") == (document["ok"], document["command"])
    assert ["lab1", "lab2", "lab4"] == list(document["servers"])
    assert 20 == document["servers"]["lab2"]["data"]["packets_total"]
    assert {"code": None, "id": "no-answer", "message": "no answer"} == document["servers"]["lab4"]["error"]
    assert {"packets_total": 30, "packets_per_second": 0.3} == document["total"]
    assert "total" not in json.loads(json_of([rows("a"), rows("b")], together=True))


def test_json_of_one_is_its_own_reply() -> None:
    assert LAB1.envelope == json.loads(json_of([LAB1], together=False))
    assert not json.loads(json_of([SILENT], together=False))["ok"]


def test_csv_has_the_same_columns_for_one_and_for_many() -> None:
    assert ["field,lab1", "version,1.0"] == csv_of([LAB1]).splitlines()[:2]
    assert "packets_total,10,20,30" in csv_of([LAB1, LAB2, SILENT]).splitlines()
    text = csv_of([rows("a", {"name": 'x,"y', "complete": True, "bytes": None})])
    assert [{"server": "a", "name": 'x,"y', "complete": "true", "bytes": ""}] == list(csv.DictReader(io.StringIO(text)))
    assert "" == csv_of([SILENT])


@pytest.mark.parametrize(
    ("answer", "good", "wrong"),
    [
        (LAB1, True, ""),
        (REFUSED, False, 'ERR 404 unknown-command "x"'),
        (SILENT, False, "no answer"),
        (Answer("a", text="x 1\nOK 1\n"), True, ""),
        (Answer("a", text="ERR 404 unknown-command x\n"), False, ""),
        (Answer("a", {"ok": False, "error": "odd"}), False, "ERR odd"),
        (Answer("a", {"ok": False}), False, "ERR null"),
    ],
)
def test_an_error_or_no_answer_is_no_good_answer(answer: Answer, good: bool, wrong: str) -> None:
    assert (good, wrong) == (answer.good, answer.wrong)


def test_a_list_that_was_cut_says_so() -> None:
    assert "1 of 5231" == rows("a", {"run": 1}, total=5231).cut
    assert "" == rows("a", {"run": 1}).cut
    assert "" == LAB1.cut


def test_one_servers_reply_in_text_is_its_own() -> None:
    reply = "# stream  peer\n1         a:1\nOK 1\n"
    assert (reply, []) == text_of([Answer("a", text=reply)], None)
    assert (reply, []) == text_of([Answer("a", text=reply)], 80)


def test_on_a_terminal_a_wide_table_is_cut_and_its_status_line_stays() -> None:
    reply = "# stream  protocol  peer\n1         tcp       a:1\nOK 1\n"
    assert ("# stream  peer\n1         a:1\nOK 1\n", ["protocol"]) == text_of([Answer("a", text=reply)], 20)
