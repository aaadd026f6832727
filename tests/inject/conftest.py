"""The tests run outside the reactor, as those of ``tests/wire``."""

from tests.wire.conftest import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]
