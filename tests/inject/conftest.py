"""The tests of the pure core run as plain functions, outside the reactor.

pytest-twisted runs every test within its reactor and wraps a Hypothesis test anew for each parameter, one wrap within
the other, so that the second parameter's test waits for the reactor inside the reactor and fails. Nothing here needs
one.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Call the test with its fixtures and parameters, as pytest itself would."""
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    pyfuncitem.obj(**arguments)
    return True
