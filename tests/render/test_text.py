"""Claims about records as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.render.text import HELD, TableText, record_lines
from ctrlserver.stats.records import Value
from ctrlserver.stats.rename import Renames

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["OK", "ERR 404", "OKAY", "-", "# x", "true", ""]),
)
NAMES = st.one_of(st.text(max_size=6), st.sampled_from(["OK", "ERR", "ERRORS", "packets", "#"]))
MAPPINGS = st.dictionaries(NAMES, VALUES, max_size=6)


def table_lines(mappings: Iterable[Mapping[str, Value]]) -> list[str]:
    table = TableText()
    for row in mappings:
        table.add(row)
    return list(table.lines())


def cut(line: str) -> list[str]:
    """The cells of a line: words, and JSON strings with whatever they hold."""
    cells = []
    line = line.lstrip(" ")
    while line:
        if line.startswith('"'):
            _, end = json.JSONDecoder().raw_decode(line)
        else:
            end = line.index(" ") if " " in line else len(line)
        cells.append(line[:end])
        line = line[end:].lstrip(" ")
    return cells


def meant(cell: str) -> str:
    return str(json.loads(cell)) if cell.startswith('"') else cell


def test_a_record_is_a_name_and_a_value_on_each_line() -> None:
    lines = record_lines({"version": "0.1.0", "packets_total": 1048576, "uptime_seconds": 812.4})
    assert ["version 0.1.0", "packets_total 1048576", "uptime_seconds 812.4"] == lines


def test_a_table_is_a_header_and_aligned_columns() -> None:
    table: list[dict[str, Value]] = [
        {"stream": 12, "peer": "10.0.0.1:5000", "packets": 1000, "reason": "eof"},
        {"stream": 3, "peer": "a:1", "packets": 7, "reason": None},
    ]
    assert [
        "# stream  peer           packets  reason",
        "12        10.0.0.1:5000     1000  eof",
        "3         a:1                  7  -",
    ] == table_lines(table)


def test_no_records_are_no_lines() -> None:
    assert [] == table_lines([])
    assert [] == table_lines([{}])
    assert [] == record_lines({})


def test_columns_are_the_union_of_the_names_and_what_a_record_lacks_is_not_known() -> None:
    assert [
        ["#", "a", "site", "rack"],
        ["1", "x", "-"],
        ["2", "-", "4"],
    ] == [cut(line) for line in table_lines([{"a": 1, "site": "x"}, {"a": 2, "rack": 4}])]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "-"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-5, "-5"),
        (2**70, "1180591620717411303424"),
        (72377.8, "72377.8"),
        (0.0, "0.0"),
        (0.000001, "0.000001"),
        (0.0000001, "0"),
        (1e17, "100000000000000000"),
        (float("nan"), "-"),
        (float("-inf"), "-"),
        ("fixed:1024", "fixed:1024"),
        ("[::1]:5000", "[::1]:5000"),
        ("a\\b", "a\\b"),
        ("naïve", "naïve"),
        ("", '""'),
        ("-", '"-"'),
        ("two words", '"two words"'),
        ("a\tb\r\nc", '"a\\tb\\r\\nc"'),
        ('say "x"', '"say \\"x\\""'),
        ("it's", '"it\'s"'),
        ("\x1b[2J", '"\\u001b[2J"'),
        ("\x85", '"\\u0085"'),
        ("\u2028", '"\\u2028"'),
        ("\u202e", '"\\u202e"'),
        ("\ud800", '"\\ud800"'),
        ("# x", '"# x"'),
        ("#x", '"#x"'),
    ],
)
def test_a_value_is_one_word_or_one_json_string(value: Value, written: str) -> None:
    assert [f"name {written}"] == record_lines({"name": value})


@given(MAPPINGS)
def test_a_record_reads_back_line_by_line_and_no_line_is_a_status(mapping: dict[str, Value]) -> None:
    lines = record_lines(mapping)
    assert [meant(cut(line)[0]) for line in lines] == list(mapping)
    for line, value in zip(lines, mapping.values(), strict=True):
        assert line.isprintable()
        assert not line.startswith(("OK", "ERR"))
        if isinstance(value, str):
            assert meant(cut(line)[1]) == value


@given(st.lists(MAPPINGS, max_size=4))
def test_a_table_has_a_cell_for_each_name_and_no_line_is_a_status(mappings: list[dict[str, Value]]) -> None:
    lines = table_lines(mappings)
    names = list(dict.fromkeys(name for mapping in mappings for name in mapping))
    if not names:
        assert [] == lines
        return
    header, *rows = lines
    assert header.startswith("# ")
    assert [meant(cell) for cell in cut(header[2:])] == names
    assert len(rows) == len(mappings)
    for line, mapping in zip(rows, mappings, strict=True):
        assert line.isprintable()
        assert not line.startswith(("OK", "ERR", "#"))
        cells = cut(line)
        assert len(cells) == len(names)
        for name, cell in zip(names, cells, strict=True):
            value = mapping.get(name)
            if isinstance(value, str):
                assert meant(cell) == value


def test_a_renamed_field_has_its_new_name_and_its_old_place() -> None:
    renames = Renames([("protocol", "inet_protocol")])
    record: dict[str, Value] = {"stream": 1, "protocol": "HTTP", "size": 1024}
    assert ["stream 1", "inet_protocol HTTP", "size 1024"] == record_lines(renames.apply(record))
    assert ["#", "stream", "inet_protocol", "size"] == cut(table_lines([renames.apply(record)])[0])


def test_of_a_table_of_many_rows_the_cells_are_made_again_and_the_text_is_the_same() -> None:
    records: list[dict[str, Value]] = [{"stream": number, "peer": "x" * (number % 7)} for number in range(999)]
    for record in records[901:]:
        record["site"] = record["stream"]
    table = TableText()
    for record in records:
        table.add(record)
    assert len(table._rows) <= HELD
    lines = list(table.lines(records))
    assert 1 + len(records) == len(lines)
    assert 1 == len({len(line) for line in lines[902:]} | {max(map(len, lines))})
    assert ["#", "stream", "peer", "site"] == lines[0].split()
    assert ["998", "xxxx", "998"] == lines[-1].split()
    assert ["899", "xxx", "-"] == lines[900].split()
