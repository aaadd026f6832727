"""A server, as far as its runs go. The file is a real one, and so are the threads; the clock is set by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from ctrlserver.config import Config
from ctrlserver.history import store
from ctrlserver.life.recording import APART_SECONDS, CHECKPOINT_SECONDS, HistoryFile, Recording
from ctrlserver.stats.book import Book
from ctrlserver.stats.chosen import Chosen
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


@contextmanager
def locked(path: Path, seconds: float = 0.01) -> Iterator[None]:
    """Another program writes to it; for so long a write waits for that."""
    with pytest.MonkeyPatch.context() as patched, closing(sqlite3.connect(path, isolation_level=None)) as other:
        patched.setattr(store, "BUSY_SECONDS", seconds)
        other.execute("BEGIN EXCLUSIVE")
        yield


def events(lines: Any) -> list[str]:
    return [line["event"] for line in lines if "event" in line]
