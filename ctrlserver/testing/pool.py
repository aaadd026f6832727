"""Servers that tests take and give back: one process for each set of keys, for the whole session."""

from __future__ import annotations

import json

from ctrlserver.testing.keys import Keys
from ctrlserver.testing.server import RunningServer, Server

__tracebackhide__ = True  # pytest shows a failure at the test's own line


class Pool:
    """``running``: the admin port of a server to be used instead, by all."""

    def __init__(self, running: tuple[str, int] | None = None) -> None:
        self._running = running
        self._idle: dict[str, list[Server]] = {}
        self._all: list[Server] = []

    def take(self, keys: Keys) -> Server:
        """A server with these keys, as new; LookupError where the running one has no such listener."""
        idle = self._idle.get(_name(keys))
        if idle:
            server = idle.pop()
        else:
            server = Server(**keys) if self._running is None else RunningServer(self._running, **keys)
            self._all.append(server)
        server.start().fresh()
        return server

    def give_back(self, server: Server) -> None:
        """The test is over: what it ordered ends now, the rest when the next one takes it."""
        if server.is_running:
            server.calm()
        self._idle.setdefault(_name(server.keys), []).append(server)

    def close(self) -> None:
        """End them all, at the same time."""
        for server in self._all:
            server.leave()
        for server in self._all:
            server.stop()
        self._all.clear()
        self._idle.clear()


def _name(keys: Keys) -> str:
    return json.dumps(keys, sort_keys=True, default=repr)
