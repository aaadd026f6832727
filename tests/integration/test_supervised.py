"""What systemd hears of a real daemon; here its end of the protocol is a socket of the test."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import BIN, PATIENCE, WORKERS, Daemon, Start, run

#: Microseconds. A sign of life comes in a third of it.
WATCHDOG_USEC = 300_000


class Manager:
    """The service manager's end: what it has heard, in the order of coming."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(PATIENCE)
        self.environment = {**os.environ, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(WATCHDOG_USEC)}

    def hear(self, beginning: str) -> str:
        """The next message that begins so; those before it are over."""
        while not (message := self.socket.recv(1000).decode()).startswith(beginning):
            pass
        return message

    def hears_nothing(self) -> bool:
        """Whether nothing has come; of a process that has ended, all has."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(1000)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)
        return False


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    end = Manager(tmp_path / "notify")
    yield end
    end.socket.close()


@pytest.mark.parametrize(
    "program",
    [(BIN / "ctrlserver",), (BIN / "twist", "ctrlserver", "--log-format", "text")],
    ids=["ctrlserver", "twist"],
)
def test_systemd_hears_ready_when_the_ports_are_bound_then_signs_of_life_the_status_and_the_end(
    start: Start, manager: Manager, program: tuple[str, ...]
) -> None:
    daemon: Daemon = start(program=program, env=manager.environment)
    workers = f", {WORKERS} workers" if WORKERS > 1 else ""
    assert f"READY=1\nSTATUS=0 streams open, 0 packets/s{workers}" == manager.hear("READY")
    with daemon.connect() as client:
        client.sendall(b"x")
        assert manager.hear("STATUS=1 stream open")
        assert manager.hear("WATCHDOG=1")
    daemon.process.send_signal(signal.SIGTERM)
    assert "STOPPING=1\nSTATUS=stopping" == manager.hear("STOPPING")


def test_a_start_that_fails_is_never_ready(start: Start, manager: Manager, tmp_path: Path) -> None:
    daemon = start()
    endpoint = f"tcp:{daemon.ports['data']}:interface=127.0.0.1"
    done = run(BIN / "ctrlserver", "--data", endpoint, "--admin", "tcp:0", cwd=tmp_path, env=manager.environment)
    assert 1 == done.returncode
    assert manager.hears_nothing()


def test_a_server_that_hangs_and_is_ended_by_the_watchdog_says_where_it_was(start: Start) -> None:
    daemon = start()
    daemon.process.send_signal(signal.SIGABRT)
    assert -signal.SIGABRT == daemon.process.wait(PATIENCE)
    assert "Fatal Python error: Aborted" in daemon.stop()
    assert 'File "' in daemon.log.text
