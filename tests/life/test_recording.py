"""Claims about when runs are kept."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from ctrlserver.errors import CommandError
from ctrlserver.history.ended import EndedRuns
from ctrlserver.life.recording import APART_SECONDS, HistoryFile
from ctrlserver.tap import history_file
from tests.life.recordings import ANY, Scene, events
from tests.stats.books import send


@pytest_twisted.ensureDeferred
async def test_runs_of_earlier_starts_are_listed_below_those_of_this_one_and_numbers_go_on(path: Path) -> None:
    first = Scene(path)
    first.recording.begin()
    first.run("a", 1)
    first.run("b", 2)
    await first.end()
    second = Scene(path)
    second.clock.advance(60)
    second.recording.begin()
    second.run("c", 3)
    second.begin("d", 4)
    await second.settled()
    expected = [(4, "d", "active", 4), (3, "c", "ended", 3), (2, "b", "ended", 2), (1, "a", "ended", 1)]
    assert expected == await second.listed()
    assert expected[3:] == await second.listed(name="a")
    page = await second.recording.runs(ANY, 2, before=3)
    assert ([2, 1], 4) == ([record.run for record in page.records], page.total)
    page = await second.recording.runs(ANY, 1, before=2)
    assert [1] == [record.run for record in page.records]
    old = await second.recording.run(1)
    assert old is not None
    assert ("a", 1) == (old.name, old.packets)
    assert await second.recording.run(9) is None
    with pytest.raises(CommandError, match="no run 9"):
        await second.recording.runs(ANY, 1, before=9)
    assert 2 == second.book.stats(second.clock.seconds()).runs_total
    await second.end()


@pytest_twisted.ensureDeferred
async def test_a_run_that_a_crash_ends_is_interrupted_with_what_its_last_checkpoint_said(
    scene: Scene, path: Path
) -> None:
    crashed = Scene(path)
    crashed.recording.begin()
    crashed.begin("soak", 5)
    await crashed.checkpoint()
    crashed.book.streams()
    (stream,) = crashed.book.counters.open.values()
    send(crashed.book, stream, 7, crashed.clock.seconds())
    crashed.recording._store.close()  # as the kernel does
    await scene.checkpoint()
    assert [(1, "soak", "interrupted", 5)] == await scene.listed()
    crashed.recording._every.stop()


@pytest_twisted.ensureDeferred
async def test_runs_that_follow_each_other_soon_are_written_together(scene: Scene, path: Path) -> None:
    def written() -> list[int]:
        with closing(sqlite3.connect(path)) as found:
            return [run for (run,) in found.execute("SELECT run FROM runs ORDER BY run")]

    scene.run("a", 1)
    await scene.settled()
    assert [1] == written()
    for name in "bc":
        scene.run(name, 1)
        scene.clock.advance(0.3)
    assert not scene.recording._is_writing
    assert [3, 2, 1] == [run for run, *_ in await scene.listed()], "memory has them"
    scene.clock.advance(APART_SECONDS)
    await scene.settled()
    assert [1, 2, 3] == written()


@pytest_twisted.ensureDeferred
async def test_a_run_that_a_dead_server_left_and_whose_number_another_has_is_told_and_counted(
    path: Path, lines: Any
) -> None:
    first, second = Scene(path), Scene(path)
    first.recording.begin()
    first.run("a", 1)
    await first.end()
    second.clock.advance(60)
    second.book.runs.start("b", None, second.clock.seconds())  # it has number 1, too
    left = EndedRuns(str(path))
    stopped = second.book.runs.stop(second.clock.seconds())
    assert stopped is not None
    left.add(stopped)
    os.close(left._file)
    third = Scene(path)
    third.recording.begin()
    assert (["runs-lost"], 1) == (events(lines), third.book.history_lost)
    assert [(1, "a", "ended", 1)] == await third.listed()
    await third.end()


@pytest_twisted.ensureDeferred
async def test_a_damaged_file_is_put_aside_with_a_line_and_the_server_keeps_runs_from_then_on(
    path: Path, lines: Any
) -> None:
    path.write_bytes(b"not a database" * 1000)
    scene = Scene(path)
    scene.recording.begin()
    scene.run("a", 1)
    await scene.settled()
    assert [(1, "a", "ended", 1)] == await scene.listed()
    assert (["history-damaged"], ()) == (events(lines), scene.recording.reasons())
    await scene.end()


@pytest_twisted.ensureDeferred
async def test_where_the_file_beside_cannot_be_had_at_the_start_numbers_go_on_and_no_run_is_lost(path: Path) -> None:
    first = Scene(path)
    first.recording.begin()
    first.run("a", 1)
    await first.end()
    beside = path.with_name(f"{path.name}-shared")
    beside.unlink()
    beside.mkdir()
    second = Scene(path)
    second.recording.begin()
    second.run("b", 2)
    await second.checkpoint()
    assert 1 == len(second.recording.reasons())
    beside.rmdir()
    await second.checkpoint()
    assert ((), 0) == (second.recording.reasons(), second.book.history_lost)
    await second.end()
    with closing(sqlite3.connect(path)) as found:
        assert [(1, "a"), (2, "b")] == found.execute("SELECT run, name FROM runs ORDER BY run").fetchall()


@pytest_twisted.ensureDeferred
async def test_totals_go_on_over_restarts_where_they_are_kept(path: Path) -> None:
    for start in range(1, 4):
        scene = Scene(path, keep_totals=True)
        scene.recording.begin()
        stats = scene.book.stats(scene.clock.seconds())
        assert (10 * (start - 1), start - 1) == (stats.packets_total, stats.runs_total)
        scene.run("a", 10)
        await scene.end()


@pytest_twisted.ensureDeferred
async def test_no_more_runs_are_kept_than_the_config_says(path: Path) -> None:
    scene = Scene(path, history_runs=3, history_age=60.0)
    scene.recording.begin()
    for name in "abcde":
        scene.run(name, 1)
    await scene.checkpoint()
    with closing(sqlite3.connect(path)) as found:
        assert [(3,), (4,), (5,)] == found.execute("SELECT run FROM runs").fetchall()
        scene.clock.advance(60)
        await scene.settled()
        assert [] == found.execute("SELECT run FROM runs").fetchall()
    await scene.end()


def test_by_default_the_file_is_in_the_state_folder_of_the_service_or_of_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/home/ann/.local/state")
    assert HistoryFile("/home/ann/.local/state/ctrlserver/history.sqlite3", own=True) == history_file(None, {})
    first = HistoryFile("/var/lib/a/history.sqlite3", own=True)
    assert first == history_file(None, {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"})
    assert HistoryFile("/runs.sqlite3") == history_file("/runs.sqlite3", {"STATE_DIRECTORY": "/var/lib/a"})
    assert history_file("off", {}) is None
