"""For all tests: no claim depends on how fast the machine is just now, so Hypothesis sets no time for an example."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_twisted
from hypothesis import settings

from tests.servers import Servers

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest_twisted.async_yield_fixture
async def servers() -> AsyncIterator[Servers]:
    """Small servers on loopback, closed after the test."""
    made = Servers()
    yield made
    await made.close()
