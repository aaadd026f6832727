"""Claims about runs that the history cannot have at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from ctrlserver.life import recording as module
from ctrlserver.life.recording import APART_SECONDS
from tests.life.recordings import Scene, events, locked, reactor


@pytest_twisted.ensureDeferred
async def test_a_file_that_cannot_be_written_is_one_line_and_a_reason_of_health_and_nothing_is_lost_meanwhile(
    scene: Scene, path: Path, lines: Any
) -> None:
    await scene.settled()
    with locked(path):
        await scene.follow("abc")
        await scene.checkpoint()
        assert ["history-not-kept"] == events(lines)
        (reason,) = scene.recording.reasons()
        assert "database is locked" in reason
        assert [3, 2, 1] == [run for run, *_ in await scene.listed()], "memory has them"
    await scene.checkpoint()
    assert (["history-not-kept", "history-again"], ()) == (events(lines), scene.recording.reasons())
    with closing(sqlite3.connect(path)) as found:
        assert [(1,), (2,), (3,)] == found.execute("SELECT run FROM runs").fetchall()
    assert 0 == scene.book.history_lost


@pytest_twisted.ensureDeferred
async def test_of_many_runs_that_wait_those_that_memory_gives_up_are_entered_from_the_file_beside(
    scene: Scene, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 2)
    with locked(path):
        await scene.follow("abcde")
    await scene.checkpoint()
    with closing(sqlite3.connect(path)) as found:
        assert [*"abcde"] == [name for (name,) in found.execute("SELECT name FROM runs ORDER BY run")]
    assert 0 == scene.recording._ended_runs.size
    await scene.follow("f")
    assert 0 == scene.book.history_lost


@pytest_twisted.ensureDeferred
async def test_each_run_whose_number_another_has_by_then_is_counted_once(
    scene: Scene, path: Path, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 2)
    await scene.settled()
    with locked(path):
        await scene.follow("abc")
    with closing(sqlite3.connect(path)) as other, other:
        for run in (1, 2, 3):
            other.execute("INSERT INTO runs VALUES (?, 99, 'ended', 'other', '2011', '[]', '{}', '{}')", (run,))
    await scene.checkpoint()
    assert ["history-not-kept", "runs-lost", "history-again"] == events(lines)
    assert ("3 runs", 3) == (lines[1]["runs"], scene.book.history_lost)


@pytest_twisted.ensureDeferred
async def test_of_runs_that_memory_has_given_up_those_that_the_file_beside_loses_are_counted(
    scene: Scene, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 2)
    with locked(path):
        await scene.follow("abcde")
    Path(scene.recording._ended_runs.name).unlink()
    await scene.checkpoint()
    assert 3 == scene.book.history_lost


@pytest_twisted.ensureDeferred
async def test_where_the_disk_does_not_answer_by_the_end_the_runs_that_it_was_to_have_wait_for_the_next_start(
    path: Path, lines: Any
) -> None:
    scene = Scene(path)
    scene.recording.begin()
    await scene.settled()
    with locked(path, seconds=60):
        scene.run("a", 1)
        scene.clock.advance(APART_SECONDS)
        Path(scene.recording._ended_runs.name).unlink()
        done = scene.recording.end(5.0)
        scene.clock.advance(5)
        await done
        (beside,) = path.parent.glob("*-ended-*")
        assert '[1,"ended","a"' in beside.read_text()
        assert (["runs-wait"], 0) == (events(lines), scene.book.history_lost)
    while scene.recording._is_writing:
        await deferLater(reactor, 0.002, lambda: None)
    for threads in (scene.recording._writers, scene.recording._readers):
        threads.stop()


@pytest_twisted.ensureDeferred
async def test_where_the_file_beside_is_spoilt_the_runs_that_wait_are_put_beside_anew_at_the_end(
    path: Path, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 2)
    scene = Scene(path)
    scene.recording.begin()
    with locked(path):
        await scene.follow("abc")
        (beside,) = path.parent.glob("*-ended-*")
        beside.unlink()
        await scene.end()
    assert ["history-not-kept", "runs-wait", "runs-lost"] == events(lines)
    assert ("1 run", 1) == (lines[-1]["lost"], scene.book.history_lost), "memory had given it up"
    second = Scene(path)
    second.recording.begin()
    assert [(3, "c", "ended", 1), (2, "b", "ended", 1)] == await second.listed()
    await second.end()


@pytest_twisted.ensureDeferred
async def test_runs_that_cannot_be_written_by_the_end_wait_for_the_next_start(path: Path, lines: Any) -> None:
    scene = Scene(path)
    scene.recording.begin()
    with locked(path):
        scene.run("a", 1)
        scene.run("b", 2)
        await scene.end()
    assert (["history-not-kept", "runs-wait"], 0) == (events(lines), scene.book.history_lost)
    second = Scene(path)
    second.recording.begin()
    assert [(2, "b", "ended", 2), (1, "a", "ended", 1)] == await second.listed()
    await second.end()
    assert {path, path.with_name(f"{path.name}-shared")} == set(path.parent.iterdir())


@pytest_twisted.ensureDeferred
async def test_of_runs_that_can_never_be_written_a_bounded_number_is_held_and_the_others_are_counted(
    tmp_path: Path, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 3)
    scene = Scene(tmp_path / "no" / "folder" / "history.sqlite3")
    scene.recording.begin()
    for name in "abcde":
        scene.run(name, 1)
    await scene.checkpoint()
    assert 2 == scene.book.stats(scene.clock.seconds()).history_lost_total
    assert [5, 4, 3, 2, 1] == [run for run, *_ in await scene.listed()]
    await scene.end()
    assert 5 == scene.book.history_lost
    assert ["history-not-kept", "runs-lost"] == events(lines)
    assert "no such file or directory" in lines[0]["why"]
