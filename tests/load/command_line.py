"""``ctrlload`` as it is typed: in a process of its own, or refused at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

import ctrlserver
from ctrlserver.console.interrupts import Interrupts
from ctrlserver.load.commands import group as commands
from tests.servers import reactor

COMMAND = [sys.executable, "-m", "ctrlserver.load.cli"]
ROOT = str(Path(ctrlserver.__file__).parent.parent)


class Process(ProcessProtocol):
    """One ctrlload process; ``ended`` fires with its exit code."""

    transport: Any

    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.ended: Deferred[int] = Deferred()
        self.begun: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.out += data
        self._begin()

    def errReceived(self, data: bytes) -> None:
        self.err += data
        self._begin()

    def _begin(self) -> None:
        if not self.begun.called:
            self.begun.callback(None)

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        self.ended.callback(value.exitCode if value.exitCode is not None else -(value.signal or 0))


def start(*arguments: str, terminal: bool = False, redirect: str = "", folder: str | Path = ROOT) -> Process:
    """Start ctrlload with these arguments, its outputs as a shell's ``redirect`` says; it is killed after 30 s."""
    process = Process()
    environment = {**os.environ, "PYTHONPATH": ROOT, "COLUMNS": "100", "TERM": "xterm"}
    command = [*COMMAND, *arguments]
    if redirect:
        command = ["/bin/sh", "-c", f'exec "$0" "$@" {redirect}', *command]
    reactor.spawnProcess(process, command[0], command, env=environment, path=str(folder), usePTY=1 if terminal else 0)
    process.ended.addTimeout(30, reactor, lambda result, _: process.transport.signalProcess("KILL") or result)
    return process


async def finished(*arguments: str) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of ctrlload."""
    process = start(*arguments)
    code = await process.ended
    return code, process.out.decode(), process.err.decode()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which the command line refuses ``arguments``."""
    assert 2 == commands.exit_code(arguments, Interrupts())
    captured = capsys.readouterr()
    assert "" == captured.out
    assert captured.err.startswith("ctrlload: ")
    assert 1 == captured.err.count("\n")
    return captured.err.removeprefix("ctrlload: ").rstrip("\n")
