"""The bounds of the admin port, each with its reason.

Rules: they hold for all connections of a factory together, and so for all admin ports of a server.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen


@frozen
class Limits:
    """The bounds of a factory's connections, and the reason of each.

    ``connections``: more than people and monitors need, and so few that all of them stalled cost little memory.
    ``spare``: connections beyond those, for peers on a unix socket only. So somebody on the machine itself can look,
    and end what is too much, while peers on the network hold all the others.
    ``read_bytes``: several lines, and so few bytes that one read, however it is filled, is short; a transport that
    holds as much output pauses us.
    ``stall_seconds``: a peer that reads nothing for so long has gone. ``idle_seconds``: as long as a person looks at a
    reply. ``line_seconds``: from the first byte of a line to its end, which any client sends at once.
    ``handshake_seconds``: for TLS, as on a data port. ``share``: of the time, while data flow; with what
    the kernel and Twisted take beside, a flood leaves the streams two thirds. ``turn_seconds``: a quarter of a lane's
    turn, so that timers and streams wait little. ``slice_seconds``: one or two usual replies, so that all connections
    have a slice within a few turns. ``owed_seconds``: so that after a pause of the process nobody waits for longer than
    a second. ``linger_seconds``: several round trips around the world.
    ``probed_seconds``: from half of it on, the kernel asks a TCP peer whose reply comes later whether it is still
    there. Linux forgets its half of a closed connection after a minute, and then resets whoever asks, so a peer that
    left is noticed within a minute and a half.
    ``refused``: how many rejected connections may linger at once; each holds a reserved descriptor.
    """

    connections: int = 64
    spare: int = 4
    read_bytes: int = 4096
    stall_seconds: float = 30.0
    idle_seconds: float = 300.0
    line_seconds: float = 10.0
    handshake_seconds: float = 10.0
    share: float = 0.25
    turn_seconds: float = 0.0005
    slice_seconds: float = 0.0001
    owed_seconds: float = 0.25
    linger_seconds: float = 2.0
    probed_seconds: float = 60.0
    refused: int = 8


class Reserve(Protocol):
    """The file descriptors that admin connections may take; ``net/gate.py`` has it."""

    def enter(self, spare: int = 0) -> bool:
        """Take one; ``spare`` more than usual are allowed. False where none is left."""

    def leave(self) -> None:
        """Give one back."""
