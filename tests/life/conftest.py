"""A server that keeps its runs, for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.logger import capturedLogs

from tests.life.recordings import Scene


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
