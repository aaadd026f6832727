from __future__ import annotations

import json

import pytest

from ctrlserver.overview.watching import Rows, Shown, interval_of


def row(**fields: object) -> dict[str, object]:
    return {"ok": True, "command": "watch", "data": fields}


def test_rows_stand_below_one_header_and_columns_only_get_wider() -> None:
    rows = Rows()
    assert ["# server  packets", "lab1            5"] == rows.lines({"server": "lab1", "packets": 5})
    assert ["lab2      1234567"] == rows.lines({"server": "lab2", "packets": 1234567})
    assert ["lab1      123456789"] == rows.lines({"server": "lab1", "packets": 123456789})
    assert ["lab1              1"] == rows.lines({"server": "lab1", "packets": 1})


def test_a_row_with_another_column_gets_a_header_of_its_own() -> None:
    rows = Rows()
    rows.lines({"server": "lab1", "packets": 5})
    assert "# server" == rows.lines({"server": "lab1", "packets": 5, "bytes": 7})[0].split("  ")[0]


def test_on_a_terminal_rows_are_cut() -> None:
    rows = Rows(20)
    assert ["# server  packets", "lab1            5"] == rows.lines(
        {"server": "lab1", "loop_lag_seconds": 0.5, "packets": 5}
    )
    assert ["lab1           77"] == rows.lines({"server": "lab1", "loop_lag_seconds": 0.51234, "packets": 77})


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"several": True}, ["# server  packets", "lab1            5", "lab2            6"]),
        ({"several": False}, ["# packets", "5", "6"]),
        ({"several": False, "in_csv": True}, ["server,packets", "lab1,5", "lab2,6"]),
    ],
)
def test_a_row_is_shown_when_it_comes(shown: dict[str, bool], expected: list[str]) -> None:
    out: list[str] = []
    output = Shown(out.append, **shown)  # type: ignore[arg-type]
    output.envelope("lab1", row(packets=5))
    output.envelope("lab2", row(packets=6))
    assert expected == "".join(out).splitlines()


def test_the_header_is_as_wide_as_the_longest_name_of_all_servers() -> None:
    out: list[str] = []
    output = Shown(out.append, several=True, servers=["lab1", "laboratory-2"])
    output.envelope("lab1", row(packets=5))
    output.envelope("laboratory-2", row(packets=6))
    expected = ["# server      packets", "lab1                5", "laboratory-2        6"]
    assert expected == "".join(out).splitlines()


def test_in_json_each_row_is_a_line_with_the_server_in_front() -> None:
    out: list[str] = []
    Shown(out.append, several=True, in_json=True).envelope("lab1", row(packets=5))
    Shown(out.append, several=False, in_json=True).envelope("lab1", row(packets=5))
    assert [{"server": "lab1", **row(packets=5)}, row(packets=5)] == [json.loads(line) for line in out]


@pytest.mark.parametrize(
    ("line", "seconds"),
    [("watch 2s", 2.0), ("watch 0.5 3", 0.5), ("watch seconds=3s", 3.0), ("watch x", 0.0), ("watch", 0.0)],
)
def test_between_two_rows_is_the_interval_that_was_asked_for(line: str, seconds: float) -> None:
    assert seconds == interval_of(line)
