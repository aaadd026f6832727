"""How a stream under ``--inject`` reads what its target says: as it comes, at a rate, or not at all."""

from __future__ import annotations

from collections.abc import Callable

from ctrlserver.lane.due import Due
from ctrlserver.load.streams.wire import Wire

#: Reads a second at a rate.
READS_A_SECOND = 20


class Ear:
    """Reads ``socket``. ``rate``: bytes a second, None for as they come; ``deaf``: nothing is read for now.

    ``listen`` is called when ``deaf`` has changed.
    """

    def __init__(self, socket: Wire, moments: Due, listen: Callable[[], None]) -> None:
        self.rate: int | None = None
        self.deaf = False
        self._socket = socket
        self._moments = moments
        self._listen = listen

    def receive(self, view: memoryview) -> int:
        """As the socket's ``recv_into``; BlockingIOError also before the rate allows more."""
        rate = self.rate
        if rate is None:
            return self._socket.recv_into(view)
        if self.deaf:
            raise BlockingIOError
        size = self._socket.recv_into(view[: max(1, rate // READS_A_SECOND)])
        if size:
            self.deaf = True
            self._moments.at(self, self._moments.clock() + size * 1_000_000_000 // rate)
            self._listen()
        return size

    def due(self, now: int) -> None:
        """The rate allows more."""
        self.deaf = False
        self._listen()
