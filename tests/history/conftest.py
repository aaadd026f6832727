"""A history file for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ctrlserver.history.reading import Reading
from tests.history.stores import Stores


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(tmp_path / "history.sqlite3")
    yield made
    made.close()


@pytest.fixture
def reading(stores: Stores) -> Iterator[Reading]:
    made = Reading(str(stores.path))
    yield made
    made.close()
