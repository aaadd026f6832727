from __future__ import annotations

from pathlib import Path

import pytest

from ctrlserver.errors import HistoryError
from ctrlserver.history.results import is_reference, keep_result, result_at
from tests.history.stores import Stores, a_run

NOW = "2026-11-26T21:00:00.000Z"


def test_results_are_found_from_the_newest_back_and_by_number(tmp_path: Path) -> None:
    path = str(tmp_path / "results.sqlite3")
    assert [1, 2, 3] == [keep_result(path, document, NOW) for document in ("one", "zwei", "three é")]
    for reference, expected in {"last": "three é", "last~0": "three é", "last~2": "one", "2": "zwei"}.items():
        assert is_reference(f"{path}:{reference}")
        assert expected == result_at(f"{path}:{reference}", 100).decode()
    assert b"thr" == result_at(f"{path}:last", 3)
    for reference in ("last~3", "4"):
        with pytest.raises(HistoryError, match=f"has 3 results and none at {reference}$"):
            result_at(f"{path}:{reference}", 100)


def test_only_what_names_a_file_and_a_place_in_it_is_a_reference(tmp_path: Path) -> None:
    path = tmp_path / "a.json:last"
    path.touch()
    (tmp_path / "a.json").touch()
    assert [False] * 4 == [
        is_reference(each)
        for each in (str(path), f"{tmp_path}/b.json:last", f"{tmp_path}/a.json", f"{tmp_path}/a.json:x")
    ]
    assert is_reference(f"{tmp_path}/a.json:7")


def test_runs_and_results_may_share_a_file_and_another_kind_of_file_is_told(stores: Stores, tmp_path: Path) -> None:
    stores().write([a_run(1)])
    keep_result(str(stores.path), "{}", NOW)
    assert b"{}" == result_at(f"{stores.path}:last", 9)
    other = tmp_path / "notes.txt"
    other.write_text("no database, but a text that is longer than a header")
    for ask in (lambda: keep_result(str(other), "{}", NOW), lambda: result_at(f"{other}:last", 9)):
        with pytest.raises(HistoryError, match=r"notes.txt is damaged: file is not a database"):
            ask()
    assert other.read_text().startswith("no database")
