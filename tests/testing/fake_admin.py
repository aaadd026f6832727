"""An admin port in threads, which answers lines from a table: for commands whose answers are to be exact."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class FakeAdmin:
    """``answers``: the data or the error of each line, ``json`` left out; ``asked``: the lines, in order.

    ``connections``: those that are open or have been; ``ended``: one has ended.
    """

    def __init__(self) -> None:
        self.answers: dict[str, object] = {}
        self.asked: list[str] = []
        self.connections: list[socket.socket] = []
        self.ended = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listening.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections.append(connection)
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            for line in lines:
                command = line.decode().strip().removesuffix(" json")
                self.asked.append(command)
                connection.sendall(f"{json.dumps(self._reply(command))}\r\n".encode())
        self.ended.set()

    def _reply(self, command: str) -> dict[str, object]:
        answer = self.answers.get(command)
        if answer is None:
            answer = (404, "unknown-command", command)
        if isinstance(answer, tuple):
            return {"ok": False, "error": dict(zip(("code", "id", "message"), answer, strict=True))}
        return {"ok": True, "command": command, "data": answer}

    def close(self) -> None:
        """No more."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(30)


@contextmanager
def fake_admin() -> Iterator[FakeAdmin]:
    """One that ends with the block."""
    fake = FakeAdmin()
    try:
        yield fake
    finally:
        fake.close()
