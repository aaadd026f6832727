"""The line in which stdin says when a run begins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError

from ctrlserver.errors import LoadError
from ctrlserver.load.plan.start import StartAt
from ctrlserver.load.running.told import told_start
from tests.servers import reactor


@pytest.fixture
def pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    reading, writing = os.pipe()
    with open(reading, "rb") as out, open(writing, "wb", buffering=0) as into:
        yield out, into


@pytest_twisted.ensureDeferred
async def test_a_line_in_parts_is_a_time_and_what_follows_it_is_left(pipe: tuple[BinaryIO, BinaryIO]) -> None:
    reading, writing = pipe
    told = told_start(reactor, reading.fileno())
    writing.write(b"17957")
    assert not told.called
    writing.write(b"08800.5\nmore")
    assert StartAt("1795708800.5", 1795708800.5) == await told
    assert not [each for each in reactor.getReaders() if each.fileno() == reading.fileno()]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "stdin ended before it said when to begin"),
        (b"1795708800", "stdin ended before it said when to begin"),
        (b"now\n", '"now": expected a time such as '),
        (b"-\n", '"-" is no time'),
        (b"1" * 200, "stdin says no time, but a line that does not end"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_time_is_told_in_a_line(pipe: tuple[BinaryIO, BinaryIO], said: bytes, words: str) -> None:
    reading, writing = pipe
    writing.write(said)
    writing.close()
    with pytest.raises(LoadError) as error:
        await told_start(reactor, reading.fileno())
    assert str(error.value).startswith(f"--start-at -: {words}")


@pytest_twisted.ensureDeferred
async def test_a_file_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "start").write_text("2026-11-26T16:00:00Z\n")
    with (tmp_path / "start").open() as file:
        assert 1795708800.0 == (await told_start(reactor, file.fileno())).seconds


@pytest_twisted.ensureDeferred
async def test_a_wait_that_is_cancelled_reads_no_more(pipe: tuple[BinaryIO, BinaryIO]) -> None:
    told = told_start(reactor, pipe[0].fileno())
    told.cancel()
    with pytest.raises(CancelledError):
        await told
    assert not [each for each in reactor.getReaders() if each.fileno() == pipe[0].fileno()]
