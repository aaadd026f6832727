"""Owners whose bytes cost much, and how the lane tells them from the others.

Model: the lane knows how many bytes each ``ready`` read and worked on, and how long it took. Long for few bytes means
packets that are cut, built or answered one by one. At the second time in ``SUSPECT_SECONDS`` the owner is replaced by
a ``Costly``, whose events wait for the part of a turn that the lane has for owners called again. After ``CHEAP_TIMES``
of cheap work the owner is back.

Beware: a pause of the process looks the same. Hence the first time alone does nothing, and the way back is short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Work that takes no longer than these seconds is cheap, and so is that which is faster than so many bytes a second.
COSTLY_SECONDS = 0.00003
CHEAP_RATE = 500e6

#: Seconds within which a second time makes an owner costly. Work that is costly more seldom than that is no matter.
SUSPECT_SECONDS = 0.05

#: Times of cheap work in a row that make an owner cheap again; so many bytes count as one time more.
CHEAP_TIMES = 3
CHEAP_BYTES = 32768


class Owner(Protocol):
    """Owns a socket on a lane: reads it, sends on it, closes it."""

    def ready(self, events: int) -> int | None:
        """The socket is ready for ``events`` (``select.EPOLL*`` bits): read or send a bounded number of times.

        Returns how many bytes it read and worked on, by which the lane judges their cost; None if it shall not.
        """

    def failed(self) -> None:
        """``ready`` raised an exception, and the lane has dropped the socket."""


class Costly:
    """Stands for ``owner`` on the lane; ``put_off`` has an event wait, with the socket unpolled."""

    def __init__(self, owner: Owner, fd: int, put_off: Callable[[int, int], None]) -> None:
        self.owner = owner
        self._fd = fd
        self._put_off = put_off
        self._times = 0
        self.waits = False

    def ready(self, events: int) -> None:
        """Wait, once: the events of a reset come while it waits, too."""
        if not self.waits:
            self.waits = True
            self._put_off(self._fd, events)

    def failed(self) -> None:
        """As its owner."""
        self.owner.failed()

    def is_cheap(self, took: int | None, seconds: float) -> bool:
        """Whether the owner is cheap again, after it worked on ``took`` bytes for ``seconds``."""
        if is_costly(took, seconds):
            self._times = 0
        else:
            self._times += 1 + (took or 0) // CHEAP_BYTES
        return self._times >= CHEAP_TIMES


def is_costly(took: int | None, seconds: float) -> bool:
    """Whether ``seconds`` are much for ``took`` bytes."""
    return seconds > COSTLY_SECONDS and took is not None and took < seconds * CHEAP_RATE
