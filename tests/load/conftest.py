from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_twisted

from tests.load.servers import Servers


@pytest_twisted.async_yield_fixture
async def servers() -> AsyncIterator[Servers]:
    """Small servers on loopback, closed after the test."""
    made = Servers()
    yield made
    await made.close()
