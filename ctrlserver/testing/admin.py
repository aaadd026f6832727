"""A plain blocking client of the admin port, of the standard library only.

Rules: each question has a connection of its own, so threads may ask at once and none goes stale. One connection may be
kept, for what is asked again and again and leaves nothing behind (``run_often``). Every command is asked with ``json``:
then a reply is one line. All waits are bounded.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

from ctrlserver.testing.errors import AdminError

__tracebackhide__ = True  # pytest shows a failure at the test's own line

#: Seconds that an answer may take, beside what a command itself waits: only ever reached by a failure.
PATIENCE = 30.0

#: Bytes of one reply: a hundred thousand kept packets have as many.
LONGEST_REPLY = 256 << 20

Result = TypeVar("Result")

Dialogue: TypeAlias = Generator[tuple[str, float], bytes, Result]
"""Lines to be asked, each with the seconds that it may take by itself; it is sent the line of JSON that answers."""


def asked(command: str, seconds: float = 0.0) -> Dialogue[Any]:
    """The ``data`` of the reply; ``AdminError`` where the server refuses."""
    return data_of(command, (yield f"{command} json", seconds))


def data_of(command: str, line: bytes) -> Any:
    """What a line of JSON brings."""
    try:
        reply = json.loads(line)
        good = reply["ok"]
        if good:
            return reply["data"]
        error = reply["error"]
        refusal = AdminError(command, error["code"], error["id"], error["message"])
    except (ValueError, KeyError, TypeError):
        said = line[:80].decode("utf-8", "backslashreplace").strip()
        wrong = f"it answered {said!r}" if said else "it closed the connection"
        raise AdminError(command, 0, "", f"no ctrlserver answers there: {wrong}") from None
    raise refusal


class AdminPort:
    """The admin port at ``address``."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self._kept: dict[int, socket.socket] = {}  # by process: one that was forked does not ask over its parent's

    def ask(self, command: str) -> Any:
        """The ``data`` of the JSON reply to ``command``."""
        return self.run(asked(command))

    def run(self, dialogue: Dialogue[Result]) -> Result:
        """Ask what ``dialogue`` asks, over one connection, and return what it returns."""
        with self._connected() as connection:
            return self._run(connection, dialogue)

    def run_often(self, dialogue: Dialogue[Result]) -> Result:
        """As ``run``, over the connection of the last time, unless the server has ended it."""
        connection = self._kept.pop(os.getpid(), None)
        if connection is not None and not _is_silent(connection):
            connection.close()
            connection = None
        connection = connection or self._connected()
        try:
            result = self._run(connection, dialogue)
        except BaseException:
            connection.close()
            raise
        if connection is not self._kept.setdefault(os.getpid(), connection):  # another thread's is kept
            connection.close()
        return result

    def hang_up(self) -> None:
        """Keep no connection."""
        for connection in list(self._kept.values()):
            connection.close()
        self._kept.clear()

    def _run(self, connection: socket.socket, dialogue: Dialogue[Result]) -> Result:
        with connection.makefile("rb") as answers:
            try:
                line, seconds = next(dialogue)
                while True:
                    connection.settimeout(PATIENCE + seconds)
                    connection.sendall(f"{line}\r\n".encode())
                    line, seconds = dialogue.send(answers.readline(LONGEST_REPLY))
            except StopIteration as end:
                result: Result = end.value
                return result
            except OSError as error:
                raise self._failed(error) from None

    def text(self, command: str) -> str:
        """The reply to ``command`` as a person reads it, its status line last."""
        with self._connected() as connection, connection.makefile("rb") as answers:
            try:
                connection.sendall(f"{command}\r\n".encode())
                connection.shutdown(socket.SHUT_WR)
                return answers.read(LONGEST_REPLY).decode("utf-8", "backslashreplace").replace("\r\n", "\n")
            except OSError as error:
                raise self._failed(error) from None

    def _connected(self) -> socket.socket:
        try:
            connection = socket.create_connection(self.address, PATIENCE)
        except OSError as error:
            raise self._failed(error) from None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _failed(self, error: OSError) -> AdminError:
        host, port = self.address
        return AdminError(f"admin port {host}:{port}", 0, "", f"no answer: {error.strerror or error}")


def _is_silent(connection: socket.socket) -> bool:
    """Whether nothing comes, no end either."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
