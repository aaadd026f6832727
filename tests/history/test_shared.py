from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ctrlserver.errors import HistoryError
from ctrlserver.history.reading import Reading
from ctrlserver.history.shared import Shared
from ctrlserver.history.store import Store
from tests.history.stores import Stores, a_run


def shared_of(store: Store) -> Shared:
    assert store.shared is not None
    return store.shared


def beside(stores: Stores) -> Path:
    return stores.path.with_name("history.sqlite3-shared")


def removed(path: Path) -> None:
    path.unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def another(path: Path) -> None:
    path.with_name("new").write_text("nonsense")
    path.with_name("new").rename(path)


@pytest.mark.parametrize("take_away", [removed, moved, another])
def test_the_file_beside_a_history_that_somebody_took_away_is_made_anew_with_its_number_and_who_lives(
    stores: Stores, reading: Reading, take_away: Callable[[Path], None]
) -> None:
    one, two = stores(), stores()
    one.write([a_run(5, state="active")])
    two.write([a_run(6, state="active")])
    assert [6, 7] == [shared_of(one).next(5), shared_of(two).next(5)]
    take_away(beside(stores))
    for each, run in ((one, 5), (two, 6)):
        each.tidy(100, None)
        each.write([a_run(run, state="active")])
        each.tidy(100, None)
    third = stores()
    third.tidy(100, None)
    assert ["active", "active"] == [run.state for run in (reading.run(5), reading.run(6)) if run is not None]
    assert [8, 9, 10] == [shared_of(each).next() for each in (third, one, two)]
    one.close()
    third.tidy(100, None)
    assert ["interrupted", "active"] == [run.state for run in (reading.run(5), reading.run(6)) if run is not None]


def test_a_number_that_is_taken_first_makes_it_anew_too(stores: Stores) -> None:
    one, two = stores(), stores()
    assert [1, 2] == [shared_of(one).next(), shared_of(two).next()]
    beside(stores).unlink()
    assert [3, 4, 5] == [shared_of(two).next(), shared_of(one).next(), shared_of(two).next()]


def test_where_it_cannot_be_made_anew_the_old_one_serves_on(stores: Stores) -> None:
    one, two = stores(), stores()
    beside(stores).unlink()
    beside(stores).mkdir()
    assert [1, 2, 3] == [shared_of(one).next(), shared_of(two).next(), shared_of(one).next()]
    one.write([a_run(1)])
    with pytest.raises(HistoryError, match=r"history.sqlite3-shared: is a directory"):
        stores()
    stores.made.pop()
    beside(stores).rmdir()
    assert [4, 5] == [shared_of(one).next(), shared_of(two).next()]
