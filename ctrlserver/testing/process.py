"""The server's process, from the side of the test: started, its ports learnt, ended.

Rules: its folder in the temporary directory has its config and its log, and goes with it. It is no member of the
terminal's process group, so Ctrl-C ends the tests and leaves it to them. Its standard input is a pipe that this process
holds: when this process ends, so does it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ctrlserver.sleeping import wait_for
from ctrlserver.testing.errors import StartError
from ctrlserver.testing.toml import toml_of

__tracebackhide__ = True  # pytest shows a failure at the test's own line

#: Seconds that a start and an end may take: only ever reached by a failure.
PATIENCE = 30.0

#: The program of the server's process.
DAEMON = os.path.join(os.path.dirname(__file__), "daemon.py")

#: Bytes of the log that are read back: its end.
_LOG_BYTES = 1 << 20


class Process:
    """A running server of this config; ``ports``: address by transport by listener. ``StartError`` with its log."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ctrlserver-")
        self._log_path = os.path.join(self._folder.name, "log")
        self._last_log: str | None = None
        path = os.path.join(self._folder.name, "ctrlserver.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(toml_of(config))
        command = [sys.executable, "-P", DAEMON, path, self._folder.name]
        with open(self._log_path, "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        try:
            self.ports: dict[str, dict[str, str]] = self._told()
        except BaseException:
            self.kill()
            raise

    def _told(self) -> Any:
        """What it says once it is ready."""
        assert self._process.stdout is not None
        end, said = time.monotonic() + PATIENCE, b""
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise StartError(f"the server was not ready within {PATIENCE:g} s; its log:\n{self.log()}")
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                code = wait_for(self._process, PATIENCE)
                raise StartError(f"the server did not start (exit code {code}); its log:\n{self.log()}")
            said += more
        return json.loads(said)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def log(self) -> str:
        """Its log so far, or as it was at its end."""
        if self._last_log is not None:
            return self._last_log
        with open(self._log_path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_BYTES))
            return file.read().decode("utf-8", "backslashreplace")

    def leave(self) -> None:
        """Tell it to end."""
        stdin = self._process.stdin
        assert stdin is not None
        if not stdin.closed:
            with suppress(OSError):  # it has ended
                os.write(stdin.fileno(), b"\n")
            stdin.close()

    def stop(self) -> None:
        """End it, and wait for that."""
        self.leave()
        try:
            wait_for(self._process, PATIENCE)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, if it has not ended, and clean up."""
        if self._last_log is not None:
            return
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._last_log = self.log()
        self._folder.cleanup()
