"""How many connections the site has, and who makes room for another.

Rules: whoever awaits a request for longest makes room for a new connection: so slow clients, however many, keep nobody
out. Of those who have brought none yet only a few stay beside those who have, which is what a flood consists of: so a
monitor keeps its connection. Those with a request at work stay; if all have one, the new connection is refused.
"""

from __future__ import annotations

from typing import Protocol

from ctrlserver.admin.limits import Reserve
from ctrlserver.http.limits import Limits


class Held(Protocol):
    """A connection."""

    def evict(self) -> None:
        """Make room: the connection ends."""

    def close(self) -> None:
        """The server ends."""


class Connections:
    """Those of one server. ``reserve``: the descriptors that there are for them."""

    def __init__(self, limits: Limits, reserve: Reserve | None = None) -> None:
        self._limits = limits
        self._reserve = reserve
        self._new: dict[Held, None] = {}  # those that have brought no request yet, the one for longest first
        self._kept: dict[Held, None] = {}  # those that await another one, the one for longest first
        self._working: set[Held] = set()
        self._refused: set[Held] = set()

    @property
    def are_full(self) -> bool:
        """Whether the next one needs another's place."""
        return len(self) >= self._limits.connections

    def __len__(self) -> int:
        return len(self._new) + len(self._kept) + len(self._working)

    def enter(self, connection: Held) -> str | None:
        """Count a new one; None, or why it is refused."""
        most = self._limits.connections
        if len(self) >= most:
            crowd = self._new if len(self._new) > most // 4 or not self._kept else self._kept
            if (oldest := next(iter(crowd), None)) is None:
                self._refused.add(connection)
                return f"{most} connections have a request at work, which is the most; try again later"
            self.forget(oldest)
            oldest.evict()
        if self._reserve is not None and not self._reserve.enter():
            self._refused.add(connection)
            return "no descriptor is left for another connection; try again later"
        self._new[connection] = None
        return None

    def works(self, connection: Held) -> None:
        """It has a request at work."""
        if connection in self._new or connection in self._kept:
            self._new.pop(connection, None)
            self._kept.pop(connection, None)
            self._working.add(connection)

    def waits(self, connection: Held) -> None:
        """It awaits the next request."""
        if connection in self._working:
            self._working.discard(connection)
            self._kept[connection] = None

    def may_linger(self, connection: Held) -> bool:
        """False for one that is too many, where enough of those linger already."""
        return connection not in self._refused or len(self._refused) <= self._limits.refused

    def forget(self, connection: Held) -> None:
        """It is gone, or about to be."""
        if connection in self._new or connection in self._kept or connection in self._working:
            self._new.pop(connection, None)
            self._kept.pop(connection, None)
            self._working.discard(connection)
            if self._reserve is not None:
                self._reserve.leave()
        self._refused.discard(connection)

    def close(self) -> None:
        """End all."""
        for connection in [*self._new, *self._kept, *self._working, *self._refused]:
            connection.close()
