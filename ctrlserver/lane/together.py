"""What serves many sockets of a lane at a time, before their owners do: ``Together``."""

from __future__ import annotations

from typing import Protocol

#: A socket and its ``select.EPOLL*`` bits.
Event = tuple[int, int]


class Together(Protocol):
    """Serves many sockets at a time. The lane calls it first, in each round with at least ``fewest`` ready sockets."""

    fewest: int

    def serve(self, events: list[Event]) -> list[Event]:
        """Serve some of the sockets of a round; return the events that are left to their owners."""

    def repeat(self) -> bool:
        """Serve all its sockets, whether ready or not; whether all were. Nothing if the round before was of others."""

    def forget(self, fd: int) -> None:
        """Socket ``fd`` leaves the lane. It may be any socket of the lane."""

    def close(self) -> None:
        """The lane has stopped, or ``serve`` or ``repeat`` has raised: it will not be called again."""
