"""Sleeping and waiting for a process: also where ``time.sleep`` fails, as under libfaketime."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctrlserver.sleeping import sleep, wait_for
from ctrlserver.testing import minting
from ctrlserver.testing.errors import StartError
from ctrlserver.testing.minting import Certificate
from ctrlserver.workers.seed import Seed

#: A seed whose workers fail once they have looked for their parent.
BROKEN = """
import socket, sys
from ctrlserver.workers import seed

def fails():
    raise RuntimeError("no parent")

seed.end_with_parent = fails
seed.sow(socket.socket(fileno=int(sys.argv[1])))
"""


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: float) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(time, "sleep", fails)


def running(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)


def test_a_sleep_lasts_as_long_as_it_is_told() -> None:
    began = time.monotonic()
    sleep(0.01)
    assert 0.01 <= time.monotonic() - began


def test_a_process_that_ends_is_waited_for_and_its_exit_code_told() -> None:
    with running("input(); raise SystemExit(3)") as process:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        assert 3 == wait_for(process, 30)


def test_a_process_that_stays_is_waited_for_no_longer_than_told() -> None:
    with running("input()") as process:
        assert wait_for(process, 0.02) is None
        process.kill()
        assert -9 == wait_for(process, 30)


def test_the_last_words_of_a_seed_that_ends_are_told() -> None:
    slow = "import sys, time; sys.stderr.write('I am broken: say so'); sys.stderr.flush(); time.sleep(0.1)"
    seed = Seed([sys.executable, "-c", f"{slow}; raise SystemExit(1)"], dict(os.environ))
    with pytest.raises(OSError, match=r"^I am broken: say so$"):
        seed.fork({})


def test_what_a_worker_writes_in_its_first_moment_goes_where_its_parent_reads() -> None:
    seed = Seed([sys.executable, "-c", BROKEN], dict(os.environ))
    reads, writes = os.pipe()
    child = seed.fork({2: writes})
    os.close(writes)
    with open(reads) as file:
        assert "RuntimeError: no parent\n" == [*file][-1]
    assert os.waitpid(child, 0)[1]
    seed.stop()


def test_a_certificate_is_minted_where_processes_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Certificate()
    assert Path(made.server).read_bytes().startswith(b"-----BEGIN")
    made._folder.cleanup()
    monkeypatch.setattr(minting, "PATIENCE", 0.0)
    with pytest.raises(StartError, match=r"^no certificate for the server: none after 0 s$"):
        Certificate()
