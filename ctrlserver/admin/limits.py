"""The bounds of the admin port, each with its reason.

Rules: they hold for all connections of a factory together, and so for all admin ports of a server.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen


@frozen
class Limits:
    """The bounds of a factory's connections, and the reason of each.

    ``connections``: beyond what people and monitors need, and few enough that all of them stalled cost little memory.
    ``spare``: more than those, for peers on a unix socket only: who is on the machine itself can look, and end what is
    too much, while peers of the network hold all the others.
    ``unread_bytes``: several replies of any usual size. ``stall_seconds``: a peer with that much unread for so long is
    gone. ``idle_seconds``: as long as a person looks at a reply. ``turn_seconds``: half of what a lane's turn lasts, so
    that a flood of questions leaves the data streams most of the time. ``slice_seconds``: one or two usual replies, so
    that all connections together have a slice within some turns. ``linger_seconds``: several round trips around
    the world. ``refused``: of those turned away so many may linger, for each holds a descriptor of the few kept back.
    """

    connections: int = 64
    spare: int = 4
    unread_bytes: int = 256 * 1024
    stall_seconds: float = 30.0
    idle_seconds: float = 300.0
    turn_seconds: float = 0.001
    slice_seconds: float = 0.0001
    linger_seconds: float = 2.0
    refused: int = 8


class Reserve(Protocol):
    """The descriptors that connections may take."""

    def enter(self, spare: int = 0) -> bool:
        """One more, or one of ``spare`` more than usual; False where there is none."""

    def leave(self) -> None:
        """One less."""


class Boundless:
    """A reserve without end."""

    def enter(self, spare: int = 0) -> bool:
        """Always."""
        del spare
        return True

    def leave(self) -> None:
        """Nothing to give back."""
