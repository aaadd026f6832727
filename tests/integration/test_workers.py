"""A parent and its workers under ``twistd``: in the background, without privileges, and killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from attrs import frozen

from tests.integration.conftest import BIN, PATIENCE

ROOT = Path(__file__).parents[2]


@frozen
class Parent:
    """A running parent."""

    pid: int
    port: int
    workers: Sequence[int]
    log: Path


@contextmanager
def parent(folder: Path, *options: str) -> Iterator[Parent]:
    """``twistd`` with a parent of two workers."""
    told, log = folder / "told", folder / "log"
    os.mkfifo(told)
    for each in (folder, told):
        each.chmod(0o777)
    command: list[str | Path] = [BIN / "twistd", *options, f"--pidfile={folder}/pid", f"--logfile={log}", "--no_save"]
    command += [f"--rundir={folder}", "-y", ROOT / "tests/integration/workers_parent.py"]
    environment = {**os.environ, "TOLD": str(told), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment)
    with told.open() as file:
        line = file.readline()
    pids = []
    try:
        pid, port, *pids = map(int, line.split())
        yield Parent(pid, port, pids, log)
    finally:
        if pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()


def state_of(pid: int) -> str:
    """The letter of a process's state; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def are_gone(pids: Sequence[int]) -> bool:
    """Whether none of them runs any more, soon."""
    end = time.monotonic() + PATIENCE
    while any(state_of(pid) not in ("", "Z") for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def numbers(port: int, count: int) -> set[bytes]:
    """The numbers of the workers that ``count`` connections get to."""
    found = set()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            found.add(client.recv(1))
    return found


def test_workers_end_with_a_parent_that_is_killed_and_its_port_is_free(tmp_path: Path) -> None:
    with parent(tmp_path, "-n") as running:
        assert {b"1", b"2"} == numbers(running.port, 4)
        os.kill(running.workers[0], signal.SIGSTOP)
        os.kill(running.pid, signal.SIGKILL)
        assert are_gone(running.workers)
        with socket.socket() as another:
            another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            another.bind(("127.0.0.1", running.port))
            another.listen()


def test_in_the_background_workers_are_replaced_and_end_with_sigterm(tmp_path: Path) -> None:
    with parent(tmp_path) as running:
        assert {b"1", b"2"} == numbers(running.port, 4)
        for pid in running.workers:
            os.kill(pid, signal.SIGKILL)
        assert are_gone(running.workers)
        assert numbers(running.port, 4) <= {b"1", b"2"}
        os.kill(running.pid, signal.SIGTERM)
        assert are_gone([running.pid])
    assert 2 == running.log.read_text().count("was ended by SIGKILL; another takes its place")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its privileges")
def test_workers_have_the_privileges_that_their_parent_kept(tmp_path: Path) -> None:
    with parent(tmp_path, "--uid=0", "--gid=4") as running:
        for pid in (running.pid, *running.workers):
            assert 4 == os.stat(f"/proc/{pid}").st_gid
        os.kill(running.workers[1], signal.SIGKILL)
        assert are_gone(running.workers[1:])
        assert numbers(running.port, 4) <= {b"1", b"2"}


def test_a_ctrl_c_in_the_terminal_ends_workers_by_way_of_their_parent_alone(tmp_path: Path) -> None:
    with parent(tmp_path, "-n") as running:
        for pid in (*running.workers, running.pid):
            os.kill(pid, signal.SIGINT)
        assert are_gone([running.pid, *running.workers])
    assert "takes its place" not in running.log.read_text()


def test_the_program_of_the_workers_started_by_hand_says_what_it_lacks() -> None:
    command = [sys.executable, "-m", "ctrlserver.workers"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (1, "ctrlserver: workers are started by their parent: there is no socket\n") == (
        done.returncode,
        done.stderr,
    )
