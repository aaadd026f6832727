"""``sd_notify``: the datagrams, on both kinds of address; and what the watchdog wants."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ctrlserver.linux.notify import Notify, watchdog_seconds


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{tmp_path}/notify" if request.param == "path" else f"@ctrlserver-{os.getpid()}-{tmp_path.name}"


@pytest.fixture
def listening(address: str) -> Iterator[socket.socket]:
    """The service manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0" + address[1:] if address[0] == "@" else address)
        end.settimeout(20)
        yield end


def test_values_are_told_in_one_datagram_and_none_of_them_adds_another(address: str, listening: socket.socket) -> None:
    with closing(Notify(address)) as notify:
        assert notify.is_heard
        assert notify.tell(READY=1, STATUS="2 streams\nWATCHDOG=trigger")
        assert b"READY=1\nSTATUS=2 streams\\nWATCHDOG=trigger" == listening.recv(1000)


def test_a_service_manager_that_does_not_read_is_not_waited_for(address: str, listening: socket.socket) -> None:
    with closing(Notify(address)) as notify:
        told = [notify.tell(WATCHDOG=1) for _ in range(10_000)]
        assert (True, False) == (told[0], told[-1])
        for _ in range(told.index(False)):
            listening.recv(1000)
        assert notify.tell(WATCHDOG=1)


@pytest.mark.parametrize("nobody", [None, "", "relative", "/nonexistent/notify", "@ctrlserver-nobody"])
def test_where_nobody_listens_nothing_is_told_and_nothing_fails(nobody: str | None) -> None:
    notify = Notify(nobody)
    assert not notify.is_heard
    assert notify.tell(READY=1)


@pytest.mark.parametrize(
    ("expected", "environment"),
    [
        (0.0, {}),
        (3.0, {"WATCHDOG_USEC": "3000000"}),
        (3.0, {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}),
        (0.0, {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}),
        (0.0, {"WATCHDOG_USEC": "soon"}),
        (0.0, {"WATCHDOG_USEC": "-1"}),
        (0.0, {"WATCHDOG_USEC": "0"}),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(expected: float, environment: dict[str, str]) -> None:
    assert expected == watchdog_seconds(environment, pid=7)
