"""What systemd hears of the daemon, and when."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from ctrlserver.life.supervision import Supervision


class Systemd:
    """The other end; ``heard()`` gives the datagrams since the last look."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(path))
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
        self.clock = Clock()
        self.line = "no stream is open"

    def heard(self) -> list[str]:
        got = []
        try:
            while True:
                got.append(self.socket.recv(1000).decode())
        except BlockingIOError:
            return got

    def supervise(self) -> Supervision:
        return Supervision(self.clock, lambda: self.line, self.environment, lambda: 12.5)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    end = Systemd(tmp_path / "notify")
    yield end
    end.socket.close()


@pytest.fixture
def service(systemd: Systemd) -> Iterator[Supervision]:
    made = systemd.supervise()
    yield made
    made.stopService()
    made.close()


def test_the_states_of_a_life_are_told_with_a_line_for_people(systemd: Systemd, service: Supervision) -> None:
    service.ready()
    assert ["READY=1\nSTATUS=no stream is open"] == systemd.heard()
    service.reloading()
    assert ["RELOADING=1\nMONOTONIC_USEC=12500000\nSTATUS=reading the config again"] == systemd.heard()
    service.ready()
    service.stopping()
    assert ["READY=1\nSTATUS=no stream is open", "STOPPING=1\nSTATUS=stopping"] == systemd.heard()


def test_the_watchdog_is_fed_three_times_in_its_time_from_the_start_to_the_stop(
    systemd: Systemd, service: Supervision
) -> None:
    service.startService()
    systemd.clock.pump([0.5] * 12)
    assert 7 == systemd.heard().count("WATCHDOG=1")
    service.stopService()
    systemd.clock.pump([0.5] * 12)
    assert [] == systemd.heard()


def test_a_status_is_told_when_it_changes_and_once_a_second_at_most(systemd: Systemd, service: Supervision) -> None:
    del systemd.environment["WATCHDOG_USEC"]
    service.startService()
    service.ready()
    systemd.heard()
    for number in range(20):
        systemd.line = f"{number} streams are open"
        systemd.clock.advance(0.25)
    assert 5 == len(systemd.heard())
    systemd.clock.pump([0.25] * 20)
    assert [] == systemd.heard()


def test_a_state_that_could_not_be_told_is_told_later(systemd: Systemd, service: Supervision) -> None:
    service.startService()
    with ExitStack() as crowds:  # one cannot fill the queue where this is longer than its own buffer holds
        sent = 1
        while sent:
            crowd = crowds.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
            crowd.connect(systemd.socket.getsockname())
            sent = 0
            with suppress(BlockingIOError):
                while crowd.send(b"X=1"):
                    sent += 1
    service.ready()
    systemd.heard()
    systemd.clock.advance(1)
    assert "READY=1\nSTATUS=no stream is open" in systemd.heard()


def test_without_systemd_there_is_no_call(systemd: Systemd) -> None:
    systemd.environment = {}
    service = systemd.supervise()
    service.startService()
    service.ready()
    service.stopping()
    assert [] == systemd.clock.getDelayedCalls()
    service.stopService()
