"""The plugin of pytest: the fixtures ``ctrlserver`` and ``ctrlserver_factory``, the marker, the option, the report.

Model: a test takes its servers from the session's pool and gives them back; each is as new when it is taken. Under
xdist each worker has a session, so a pool, of its own.

Rules: nothing is started, nor imported beyond this room, before a test asks for a fixture. The servers' processes end
with this one, however it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress

import pytest

from ctrlserver.addresses import host_of
from ctrlserver.testing.errors import AdminError
from ctrlserver.testing.keys import Keys
from ctrlserver.testing.pool import Pool
from ctrlserver.testing.report import report_of
from ctrlserver.testing.server import Server

_TAKEN = pytest.StashKey[list[Server]]()

_MARKER = (
    "ctrlserver(framing=..., mode=..., reply=..., keep=..., ...): what the fixture ctrlserver serves, by the keys of"
    " [[listener]] in the config of ctrlserver"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    group = parser.getgroup("ctrlserver")
    group.addoption(
        "--ctrlserver",
        metavar="HOST:ADMINPORT",
        help="use the ctrlserver that runs already with this admin port, instead of starting one",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and look at the option."""
    config.addinivalue_line("markers", _MARKER)
    _running(config)
    if config.getoption("--ctrlserver") and (config.getoption("numprocesses", None) or config.getoption("tx", None)):
        raise pytest.UsageError("--ctrlserver is one server, and its counts are of one process of tests: leave out -n")


def _running(config: pytest.Config) -> tuple[str, int] | None:
    given = config.getoption("--ctrlserver")
    if given is None:
        return None
    host, port = host_of(given), given.rpartition(":")[2]
    if not host or not port.isdecimal():
        raise pytest.UsageError(f"--ctrlserver {given}: expected HOST:ADMINPORT, such as 127.0.0.1:22223")
    return host, int(port)


@pytest.fixture(scope="session")
def _ctrlserver_pool(pytestconfig: pytest.Config) -> Iterator[Pool]:
    pool = Pool(_running(pytestconfig))
    try:
        yield pool
    finally:
        pool.close()


@pytest.fixture
def ctrlserver_factory(request: pytest.FixtureRequest, _ctrlserver_pool: Pool) -> Iterator[Callable[..., Server]]:
    """``ctrlserver_factory(mode="echo")`` is a server, as new; each call gives another one, until the test is over."""
    taken: list[Server] = []
    request.node.stash[_TAKEN] = taken

    def take(**keys: object) -> Server:
        __tracebackhide__ = True
        try:
            server = _ctrlserver_pool.take(Keys(**keys))  # type: ignore[typeddict-item]  # the config says what is wrong
        except LookupError as error:
            pytest.skip(str(error))
        taken.append(server)
        return server

    yield take
    for server in taken:
        _ctrlserver_pool.give_back(server)


@pytest.fixture
def ctrlserver(request: pytest.FixtureRequest, ctrlserver_factory: Callable[..., Server]) -> Server:
    """A real ctrlserver, as new for each test; ``@pytest.mark.ctrlserver(mode="echo")`` says what it serves."""
    __tracebackhide__ = True
    keys: dict[str, object] = {}
    for marker in reversed(list(request.node.iter_markers("ctrlserver"))):
        if marker.args:
            raise pytest.UsageError(f"@pytest.mark.ctrlserver{marker.args}: expected keywords, such as mode='echo'")
        keys.update(marker.kwargs)
    return ctrlserver_factory(**keys)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Beside a failure, what the servers of the test have counted and logged."""
    report = yield
    if report.failed and call.when in ("setup", "call"):
        for server in item.stash.get(_TAKEN, ()):
            with suppress(AdminError, OSError):
                report.sections.append((f"ctrlserver {server!r}", report_of(server)))
    return report
