from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ctrlserver.errors import HistoryError
from ctrlserver.history.results import check_history, keep_result, reference_in, result_at
from tests.history.stores import Stores, a_run

NOW = "2026-11-26T21:00:00.000Z"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite3"


def kept(path: Path, *documents: str, keep: int = 100, since: str | None = None, stored: str = NOW) -> list[int]:
    return [keep_result(str(path), document, stored, keep, since) for document in documents]


def test_results_are_found_from_the_newest_back_and_by_number(path: Path) -> None:
    assert [1, 2, 3] == kept(path, "one", "zwei", "three é")
    for place, expected in {"last": "three é", "last~0": "three é", "last~2": "one", "2": "zwei"}.items():
        assert expected == result_at(str(path), place, 100).decode()
    assert b"thr" == result_at(str(path), "last", 3)
    for place in ("last~3", "4", "0", f"last~{10**17}", "9" * 18):
        with pytest.raises(HistoryError, match=f":{place}: there is none; {path} has 3 results, 1 to 3$"):
            result_at(str(path), place, 100)


def test_the_newest_are_kept_and_of_those_none_that_is_too_old_and_numbers_stay(path: Path) -> None:
    kept(path, "old", stored="2026-01-01T00:00:00.000Z")
    kept(path, "a", "b", "c", keep=3)
    with pytest.raises(HistoryError, match="3 results, 2 to 4"):
        result_at(str(path), "1", 9)
    assert [5] == kept(path, "d", since=NOW)
    assert [b"a", b"d"] == [result_at(str(path), place, 9) for place in ("last~3", "last")]
    assert [6] == kept(path, "e", stored="2026-12-01T00:00:00.000Z", since="2026-11-30T00:00:00.000Z")
    assert [7] == kept(path, "f", keep=1)
    with pytest.raises(HistoryError, match="1 result, 7 to 7"):
        result_at(str(path), "last~1", 9)


@pytest.mark.parametrize(
    ("place", "near"),
    [
        ("lst", "last"),
        ("", "last"),
        ("last~", "last"),
        ("LAST~2", "last~2"),
        ("last-1", "last~1"),
        ("last~-1", "last~1"),
        ("~3", "last~3"),
        ("-1", "last~1"),
        ("2nd", "2"),
        ("9" * 19, "last~" + "9" * 18),
    ],
)
def test_a_place_that_is_none_is_told_with_the_nearest(path: Path, place: str, near: str) -> None:
    kept(path, "one")
    with pytest.raises(HistoryError) as caught:
        result_at(str(path), place, 9)
    words = "expected last, last~1, last~2 and so on, or the number of a result"
    assert f'{path}: "{place}": {words}; did you mean "{near}"?' == str(caught.value)


def test_only_what_names_a_file_and_a_place_in_it_is_a_reference(tmp_path: Path) -> None:
    path = tmp_path / "a.json:last"
    path.touch()
    (tmp_path / "a.json").touch()
    assert [None] * 3 == [reference_in(each) for each in (str(path), f"{tmp_path}/b.json:last", f"{tmp_path}/a.json")]
    assert (f"{tmp_path}/a.json", "7") == reference_in(f"{tmp_path}/a.json:7")


def test_a_history_that_has_no_result_says_what_keeps_one(stores: Stores) -> None:
    stores()
    with pytest.raises(HistoryError, match=f"has 0 results; ctrlload run --history {stores.path} keeps one"):
        result_at(str(stores.path), "last", 9)


def test_runs_and_results_may_share_a_file_and_another_kind_of_file_is_told(stores: Stores, tmp_path: Path) -> None:
    stores().write([a_run(1)])
    kept(stores.path, "{}")
    assert b"{}" == result_at(str(stores.path), "last", 9)
    other = tmp_path / "notes.txt"
    other.write_text("no database, but a text that is longer than a header")
    for ask in (lambda: kept(other, "{}"), lambda: result_at(str(other), "last", 9), lambda: check_history(str(other))):
        with pytest.raises(HistoryError, match=r"notes.txt is damaged: file is not a database"):
            ask()
    assert other.read_text().startswith("no database")


def test_a_file_is_looked_at_before_a_run_and_a_new_or_an_empty_one_is_good(path: Path) -> None:
    check_history(str(path))
    assert not path.exists()
    path.touch()
    check_history(str(path))
    kept(path, "one")
    check_history(str(path))
    with closing(sqlite3.connect(path)) as later:
        later.execute("PRAGMA user_version = 7")
    with pytest.raises(HistoryError, match="is of a later version: it has schema 7"):
        check_history(str(path))
