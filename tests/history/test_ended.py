from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkstemp

import pytest

from ctrlserver.history import ended
from ctrlserver.history.ended import EndedRuns, left
from ctrlserver.history.reading import Reading
from ctrlserver.stats.chosen import Chosen
from tests.history.stores import Stores, a_run


def runs_in(path: Path) -> list[int]:
    with left(str(path)) as rows:
        return [row[0] for row in rows]


def files(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}-*-*"))


def killed(runs: EndedRuns) -> None:
    os.close(runs._file)


@pytest.fixture
def runs(stores: Stores) -> EndedRuns:
    return EndedRuns(str(stores.path))


def test_what_a_dead_server_has_left_is_entered_once_and_numbers_go_on_after_it(
    stores: Stores, reading: Reading, runs: EndedRuns
) -> None:
    one = stores()
    one.write([a_run(1), a_run(2, state="active", packets=5)])
    for number in (1, 2, 3):
        runs.add(a_run(number))
    two = stores()
    two.tidy(100, None)
    assert ["active", "ended"] == [run.state for run in reading.page(Chosen(), 9, None, ()).records], "it lives"
    one.close()
    killed(runs)
    for store in (two, stores()):
        store.begin(go_on=False)
        assert [a_run(3), a_run(2), a_run(1)] == list(reading.page(Chosen(), 9, None, ()).records)
        assert [] == files(stores.path)
    assert two.shared is not None
    assert (3, 4) == (two.newest, two.shared.next())


def test_a_run_that_was_found_interrupted_first_has_ended_and_anothers_run_of_that_number_stays(
    stores: Stores, reading: Reading, runs: EndedRuns
) -> None:
    one, two = stores(), stores()
    one.write([a_run(1, state="active")])
    two.write([a_run(2, at=99, name="other")])
    one.close()
    two.tidy(100, None)
    runs.add(a_run(1))
    runs.add(a_run(2))
    killed(runs)
    two.tidy(100, None)
    assert [a_run(2, at=99, name="other"), a_run(1)] == list(reading.page(Chosen(), 9, None, ()).records)
    assert 1 == two.left_out


def test_lines_that_are_no_rows_hide_no_others(stores: Stores, reading: Reading, runs: EndedRuns) -> None:
    runs.add(a_run(1))
    killed(runs)
    (file,) = files(stores.path)
    spoilt = b'\xff\x00\n[]\n7\n["x",2,3,4,5,6,7]\n[9e99,2,3,4,5,6,[]]\n' + b"[" * 9999 + b'\n["\\ud800"]\n'
    for run, state, texts in (
        (1 << 53, "ended", ("[]", "{}", "{}")),  # no number follows it
        (None, "ended", ("[]", "{}", "{}")),
        (7, "active", ("[]", "{}", "{}")),
        (7, "ended", ("[]", "x", "{}")),
        (7, "ended", ("[]", "{}", "[]")),
        (7, "ended", ("[]", "{}", 7)),
    ):
        spoilt += f"{json.dumps([run, state, 'a', a_run(1).started, *texts])}\n".encode()
    spoilt += json.dumps([7, "ended", "\ud800", a_run(7).started, "[]", "{}", "{}"]).encode() + b"\n"
    file.write_bytes(spoilt + file.read_bytes() + b'[2,"ended')
    stores().begin(go_on=False)
    assert [a_run(1)] == list(reading.page(Chosen(), 9, None, ()).records)


def test_lines_go_once_their_runs_are_in_the_history(stores: Stores, runs: EndedRuns) -> None:
    for number in (1, 2, 3):
        runs.add(a_run(number))
    (file,), mark = files(stores.path), runs.mark()
    runs.add(a_run(4))
    runs.written(mark)
    assert 1 == len(file.read_bytes().split())
    assert runs.size == file.stat().st_size
    for number in (5, 6):
        runs.add(a_run(number))
    runs.written((runs.name, runs.size // 3))
    assert 3 == len(file.read_bytes().split()), "those after would overwrite themselves"
    killed(runs)
    assert [4, 5, 6] == runs_in(stores.path)


def test_it_stays_at_the_end_only_with_runs_that_are_not_in_the_history(stores: Stores) -> None:
    written, waits = EndedRuns(str(stores.path)), EndedRuns(str(stores.path))
    for runs in (written, waits):
        runs.add(a_run(1))
    written.written(written.mark())
    assert (False, True) == (written.has(1), waits.has(1))
    for runs in (written, waits):
        runs.close()
    assert [Path(waits.name)] == files(stores.path)


def taken(file: Path) -> None:
    file.unlink()


def moved(file: Path) -> None:
    file.rename(f"{file}.elsewhere")


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 3)


def other(file: Path) -> None:
    moved(file)
    file.mkdir()


@pytest.mark.parametrize("spoil", [taken, moved, cut, other])
def test_one_that_somebody_spoils_is_made_anew_and_says_what_it_has(
    stores: Stores, runs: EndedRuns, spoil: Callable[[Path], None]
) -> None:
    runs.add(a_run(1))
    mark = runs.mark()
    spoil(Path(runs.name))
    for number in (2, 3):
        runs.add(a_run(number))
    runs.written(mark)  # that of the file before
    assert [False, True, True] == [runs.has(number) for number in (1, 2, 3)]
    runs.close()
    assert {2, 3} <= set(runs_in(stores.path))


def test_one_that_is_gone_at_the_end_has_nothing(runs: EndedRuns) -> None:
    runs.add(a_run(1))
    taken(Path(runs.name))
    assert not runs.has(1)


def test_lines_that_somebody_writes_over_hide_no_later_ones(stores: Stores, runs: EndedRuns) -> None:
    runs.add(a_run(1))
    (file,) = files(stores.path)
    file.write_bytes(os.urandom(runs.size).replace(b"\n", b"x"))
    runs.add(a_run(2))
    killed(runs)
    assert [2] == runs_in(stores.path)


def test_where_the_system_gives_no_lock_there_is_no_file(
    stores: Stores, runs: EndedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", none)
        assert not runs.add(a_run(1))
    assert [] == files(stores.path)


def test_one_that_another_server_finds_before_it_is_locked_is_not_used(
    runs: EndedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def made(prefix: str, dir: str) -> tuple[int, str]:
        new = mkstemp(prefix=prefix, dir=dir)
        tries.append(new)
        if len(tries) == 1:
            assert [] == runs_in(Path(runs.path)), "it is removed"
        elif len(tries) == 2:
            looking.enter_context(left(runs.path))
        return new

    monkeypatch.setattr(ended, "mkstemp", made)
    with ExitStack() as looking:
        runs.add(a_run(1))
    killed(runs)
    assert (3, [1]) == (len(tries), runs_in(Path(runs.path)))


@pytest.mark.parametrize("why", ["no room", "no folder"])
def test_where_a_run_finds_no_place_that_is_said_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    runs = EndedRuns(str(tmp_path / ("no/history" if why == "no folder" else "history")))
    if why == "no room":
        runs.add(a_run(1))
        monkeypatch.setattr(ended, "LONGEST", runs.size)
    assert not runs.add(a_run(2))
    assert not runs.has(2)
