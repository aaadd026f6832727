"""Claims about when runs are kept. The file is a real one, and so are the threads; the clock is set by hand."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs

from ctrlserver.config import Config
from ctrlserver.errors import CommandError
from ctrlserver.history import store
from ctrlserver.history.ended import EndedRuns
from ctrlserver.life import recording as module
from ctrlserver.life.recording import APART_SECONDS, CHECKPOINT_SECONDS, HistoryFile, Recording
from ctrlserver.stats.book import Book
from ctrlserver.stats.chosen import Chosen
from ctrlserver.tap import history_file
from tests.stats.books import ORIGIN, WALL, a_book, send

reactor: Any = installed
ANY = Chosen()


class Threaded(Clock):
    """A clock set by hand; threads call back by the real reactor."""

    def callFromThread(self, *call: Any, **options: Any) -> None:
        reactor.callFromThread(*call, **options)


class Scene:
    """A server, as far as its runs go."""

    def __init__(self, path: Path, **config: Any) -> None:
        self.config = evolve(Config(), **config)
        self.clock = Threaded()
        self.clock.advance(500)
        self.book: Book = a_book(on_run_end=lambda record: self.recording.ended(record))
        self.recording = Recording(
            self.book,
            self.clock,
            self.clock.seconds,
            lambda: WALL + self.clock.seconds() - 500,
            lambda: self.config,
            HistoryFile(str(path)),
        )

    def run(self, name: str, packets: int) -> None:
        """A whole run."""
        self.begin(name, packets)
        self.book.runs.stop(self.clock.seconds())

    def begin(self, name: str, packets: int) -> None:
        self.book.runs.start(name, None, self.clock.seconds())
        send(self.book, self.book.stream_opened(ORIGIN, "a:1", self.clock.seconds()), packets, self.clock.seconds())
        self.clock.advance(0.001)

    async def follow(self, names: str) -> None:
        """Whole runs of these names, one letter each, each written if it can be."""
        for name in names:
            self.run(name, 1)
            await self.settled()

    async def settled(self) -> None:
        """All is written that can be."""
        while self.recording._is_writing or self.recording._look_due:
            if not self.recording._is_writing:
                self.clock.advance(APART_SECONDS)
            await deferLater(reactor, 0.002, lambda: None)

    async def checkpoint(self) -> None:
        await self.settled()
        self.clock.advance(CHECKPOINT_SECONDS)
        await self.settled()

    async def listed(self, **chosen: Any) -> list[tuple[int, str | None, str, int]]:
        found = await self.recording.runs(evolve(ANY, **chosen), 1000)
        assert len(found.records) == found.total
        return [(record.run, record.name, record.state, record.packets) for record in found.records]

    async def end(self) -> None:
        done: Deferred[object] = self.recording.end(5.0)
        await done


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite3"


@pytest_twisted.async_yield_fixture
async def scene(path: Path) -> AsyncIterator[Scene]:
    made = Scene(path)
    made.recording.begin()
    yield made
    await made.end()


@pytest.fixture
def lines() -> Iterator[Any]:
    with capturedLogs() as found:
        yield found


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program writes to it, and a write waits for that in vain."""
    with pytest.MonkeyPatch.context() as patched, closing(sqlite3.connect(path, isolation_level=None)) as other:
        patched.setattr(store, "BUSY_SECONDS", 0.01)
        other.execute("BEGIN EXCLUSIVE")
        yield


def events(lines: Any) -> list[str]:
    return [line["event"] for line in lines if "event" in line]


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
async def test_of_many_runs_that_wait_those_that_memory_gives_up_are_entered_from_the_file_beside(
    scene: Scene, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 2)
    with locked(path):
        await scene.follow("abcde")
    await scene.checkpoint()
    with closing(sqlite3.connect(path)) as found:
        assert [*"abcde"] == [name for (name,) in found.execute("SELECT name FROM runs ORDER BY run")]
    assert 0 == scene.book.history_lost
    assert 0 == scene.recording._ended_runs.size


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
    assert ("1 run could", 1) == (lines[-1]["lost"], scene.book.history_lost), "memory had given it up"
    second = Scene(path)
    second.recording.begin()
    assert [(3, "c", "ended", 1), (2, "b", "ended", 1)] == await second.listed()
    await second.end()


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
