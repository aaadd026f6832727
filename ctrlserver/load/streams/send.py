"""Streams in send mode: one way, as fast as the target takes it.

Rules: writes are large slices of the pattern's block, or one packet each (``--no-write-combine``), a bounded number for
each ``ready``, so timers keep their turn. What the target says is read and dropped.
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from os import write

from ctrlserver.lane.lane import Lane
from ctrlserver.load.plan.pattern import Pattern
from ctrlserver.load.streams.outgoing import BURST_PACKETS, WRITE_BYTES, Observer, Outgoing

#: Writes for one ``ready`` where packets are combined; stops early when the kernel takes less than was offered.
BURST_WRITES = 4

_OUT = select.EPOLLOUT


class SendStream(Outgoing):
    """Send mode: one way, as fast as the target takes it, many packets a write."""

    __slots__ = ()

    def ready(self, events: int) -> None:
        """Drop what came, then write on."""
        if events & ~_OUT and not self._drop():
            return
        if self.active and events & _OUT:
            self.last = self._lane.clock()
            try:
                self._write()
            except BlockingIOError:
                pass
            except OSError as error:
                self._lost(error)
                return
            if self.sent >= self.limit:
                self._done()

    def _write(self) -> None:
        """A bounded number of large writes; ends by BlockingIOError, or after one the kernel did not take whole."""
        size = len(self._pattern.block)
        for _ in range(BURST_WRITES):
            offset = self.sent % size
            offered = min(WRITE_BYTES, self.limit - self.sent)
            taken = self._socket.send(self._sendable[offset : offset + offered])
            self.sent += taken
            self.writes += 1
            if taken < offered or self.sent >= self.limit:
                return


class PacketStream(SendStream):
    """Send mode with one write for each packet (``--no-write-combine``).

    The system may put what several writes brought into one segment while earlier ones are on their way (Nagle), as for
    any program that writes without a pause: 1.3 to 2.5 times the rate. ``os.write`` of ``bytes`` costs less of a call
    than ``send`` of a view.
    """

    __slots__ = ("_next", "_packets", "_single")

    def __init__(
        self,
        number: int,
        sock: socket.socket,
        lane: Lane,
        observer: Observer,
        pattern: Pattern,
        sendable: memoryview,
        local: str,
        target: str,
        packets: list[memoryview],
    ) -> None:
        super().__init__(number, sock, lane, observer, pattern, sendable, local, target)
        self._packets = packets
        self._single = bytes(packets[0]) if len(packets) == 1 else b""
        self._next = 0

    def start(self, limit: int) -> None:
        """As any stream; from now on small writes may share a segment."""
        self._set_no_delay(False)
        super().start(limit)

    def _done(self) -> None:
        self._set_no_delay(True)  # sends what is held back
        super()._done()

    def _set_no_delay(self, wanted: bool) -> None:
        if self._socket.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):  # a broken connection is told by the next write
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, wanted)

    def _write(self) -> None:
        fd = self._socket.fileno()
        if not self._end_begun(fd):
            return
        if self._single:
            self._write_equal(fd, self._single)
            return
        packets, count = self._packets, len(self._packets)
        for _ in range(BURST_PACKETS):
            if self.sent >= self.limit:
                return
            packet = packets[self._next]
            taken = write(fd, packet)
            self.sent += taken
            self.writes += 1
            if taken != len(packet):
                return
            self._next = (self._next + 1) % count

    def _write_equal(self, fd: int, packet: bytes) -> None:
        """The common case: nothing is counted for each packet."""
        size = len(packet)
        most = min(BURST_PACKETS, (self.limit - self.sent) // size)
        number = whole = part = 0
        try:
            for number in range(most):
                part = write(fd, packet)
                if part != size:
                    whole = number
                    return
            whole, part = most, 0
        except OSError:
            whole, part = number, 0
            raise
        finally:
            self.sent += whole * size + part
            self.writes += whole + (part > 0)

    def _end_begun(self, fd: int) -> bool:
        """Write the rest of a packet that the kernel took in part; True where none is left."""
        rest = self._pattern.rest_in(self.sent)
        if not rest:
            return True
        offset = self.sent % len(self._pattern.block)
        left = len(self._packets[self._next]) - rest
        taken = write(fd, self._sendable[offset : offset + left])
        self.sent += taken
        self.writes += 1
        if taken < left:
            return False
        self._next = (self._next + 1) % len(self._packets)
        return self.sent < self.limit


class TlsPacketStream(SendStream):
    """Send mode with one write for each packet; never by the bare descriptor, which would not be encrypted."""

    __slots__ = ()

    def _write(self) -> None:
        size = len(self._pattern.block)
        for _ in range(BURST_PACKETS):
            if self.sent >= self.limit:
                return
            offset, end = self.sent % size, self._pattern.bytes_of(self.packets + 1)
            taken = self._socket.send(self._sendable[offset : offset + end - self.sent])
            self.sent += taken
            self.writes += 1
