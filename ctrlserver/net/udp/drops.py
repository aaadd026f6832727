"""How many datagrams of a UDP port the kernel dropped.

Model: nothing is counted on the way of a datagram but what a reader has read. The rest is asked of the kernel when
somebody asks us.

    kernel's drops (SO_MEMINFO) ----+
    arrivals (linux/arrivals.py) ---+--> Drops (stats/drops.py) --> datagrams dropped, and drops that may be batches
    messages and datagrams read ----+

- The kernel's counter is the one that ``SO_RXQ_OVFL`` sends along and ``/proc/net/udp`` shows, without the wait for a
  next datagram. It grows by one for each dropped message; with ``UDP_GRO`` a message may be a batch.
- So a port with ``UDP_GRO`` counts its arrivals where we have the privilege. Its drops are then exact in datagrams as
  soon as the port has been read empty.

Beware: without the privilege a dropped batch counts as one drop. Drops since the first batch are then reported as
``dropped_in_batches_total`` as well: while that is 0, received + dropped = sent. If drops must be exact, senders batch
and there is no privilege, ``gro`` must be off: then the kernel cuts batches before it queues them.
"""

from __future__ import annotations

import socket

from ctrlserver.linux.arrivals import arrivals, charged_and_drops
from ctrlserver.stats.drops import Drops


class DropCount:
    """The drops of one port, from now on, or from the kernel's count ``since``.

    ``messages_read`` and ``beyond_read`` are its reader's. ``beyond_read``: of the datagrams read, those beyond the
    first of each message. ``counts_arrivals``: ask for the count of arrivals, which must be done before ``UDP_GRO`` is
    set; afterwards whether there is one.
    """

    __slots__ = ("_arrivals", "_drops", "_socket", "beyond_read", "messages_read")

    def __init__(self, sock: socket.socket, counts_arrivals: bool, since: int | None = None) -> None:
        self.messages_read = 0
        self.beyond_read = 0
        self._socket: socket.socket | None = sock
        self._drops = Drops(charged_and_drops(sock)[1] if since is None else since)
        self._arrivals = arrivals(sock) if counts_arrivals else None

    def dropped(self) -> tuple[int, int]:
        """Datagrams dropped since the start, and how many of the drops may have been whole batches.

        The queue was full, or a checksum was wrong.
        """
        if self._arrivals is not None:
            self._drops.take_look(self._arrivals.look(), self.messages_read, self.beyond_read)
        elif self._socket is not None:
            self._drops.take_count(charged_and_drops(self._socket)[1], self.beyond_read > 0)
        return self._drops.total, self._drops.in_batches

    def close(self) -> None:
        """Take the last count; to be called before the socket is closed."""
        self.dropped()
        if self._arrivals is not None:
            self._arrivals.close()
        self._arrivals = self._socket = None
