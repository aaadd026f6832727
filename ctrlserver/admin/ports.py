"""What the admin ports of one server share: how many connections there are, their turns, and what the log gets of them.

Rules: the bounds hold for all connections together. A connection enters once, and is forgotten once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ctrlserver.admin.journal import Journal
from ctrlserver.admin.limits import Limits, Reserve
from ctrlserver.admin.session import Access
from ctrlserver.admin.turns import Served, Turns
from ctrlserver.admin.waiting import Readings
from ctrlserver.desk import Desk


class Connection(Served, Protocol):
    """Who takes a seat."""

    def close(self) -> None:
        """The server ends."""


class Port(Protocol):
    """An admin port."""

    access: Access


class AdminPorts:
    """What the admin ports of one server share; the bounds hold for the connections of all of them together."""

    def __init__(
        self,
        desk: Desk,
        reactor: IReactorTime,
        *,
        limits: Limits | None = None,
        reserve: Reserve | None = None,
        shared: Callable[[], bool] = lambda: False,
    ) -> None:
        self.desk = desk
        self.reactor = reactor
        self.limits = limits or Limits()
        self.turns = Turns(reactor, self.limits, shared)
        self.readings = Readings(desk, reactor)
        self.journal = Journal(reactor.seconds)
        self.all: list[Port] = []
        self.reserve = reserve
        self._open: set[Connection] = set()
        self._refused: set[Connection] = set()

    def accesses(self) -> list[Access]:
        """What each port grants."""
        return [port.access for port in self.all]

    def admit(self, connection: Connection, spare: int) -> str | None:
        """Count a new connection; None, or why it is rejected. ``spare`` more than usual are allowed."""
        most = self.limits.connections + spare
        wrong = None
        if len(self._open) >= most:
            wrong = f"{most} connections are open, which is the most; try again later"
        elif self.reserve is not None and not self.reserve.enter(spare):
            wrong = f"{len(self._open)} connections are open, and no descriptor is left for another; try again later"
        (self._open if wrong is None else self._refused).add(connection)
        return wrong

    def may_linger(self, connection: Connection) -> bool:
        """False for a rejected connection where enough of them linger already."""
        return connection in self._open or len(self._refused) <= self.limits.refused

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        if connection in self._open:
            self._open.remove(connection)
            if self.reserve is not None:
                self.reserve.leave()
        self._refused.discard(connection)
        self.turns.forget(connection)

    def close(self) -> None:
        """End all connections."""
        self.turns.stop()
        for connection in [*self._open, *self._refused]:
            connection.close()
