"""For all tests: no claim depends on how fast the machine is just now, so Hypothesis sets no time for an example.

Rules: ``make test`` runs the tests of folders in several processes (pytest-xdist), a file's tests in one of them. So a
test takes no port, path or name that another process may take: port 0, ``tmp_path``, a name with the process id in it.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from hypothesis import settings

from tests.packages import sdist, source, wheel
from tests.servers import Servers

__all__ = ["sdist", "servers", "source", "wheel"]  # fixtures of all tests

# Programs are started hundreds of times: they are compiled once, also where the environment would keep nothing.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# No daemon of a test keeps runs unless its test asks for it, and none in the folder of whoever runs the tests.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="ctrlserver-state-")
os.environ.pop("STATE_DIRECTORY", None)

# Under nohup, and behind "&" in a script, these are ignored. A program started from here would inherit that, and does
# not inherit a handler: so they are still ignored here, and in no program of a test.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


#: Test processes: more would need more cores than most machines have; at least three, for many tests wait for processes
#: and for time.
FEWEST, MOST = 3, 4


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For ``-n auto``: as many as there are processors; none (this process) where single files or tests are named."""
    if not any(Path(given).is_dir() for given in config.args):
        return 0
    return min(max(FEWEST, len(os.sched_getaffinity(0))), MOST)


@pytest_twisted.async_yield_fixture
async def servers() -> AsyncIterator[Servers]:
    """Small servers on loopback, closed after the test."""
    made = Servers()
    yield made
    await made.close()
