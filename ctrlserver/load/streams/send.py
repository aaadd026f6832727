"""Streams in send mode: one way, as fast as the target reads, or by a schedule.

Rules: a write is a large slice of the pattern's block, or one packet (``--no-write-combine``). The writes for one
``ready`` are bounded, so timers keep their turn. The stream reads what the target says and drops it.

By a schedule (``PacedSendStream``) the stream sends a packet once the pacer has released it and the kernel has room.
Until then the packet waits, and its slip counts from the moment at which it was due. That makes an open loop honest:
a target that stalls delays packets, and the delay is measured. (Request mode by a schedule: streams/request.py.)

Beware: packets are counted from the stream's first, the warm-up's included. Nothing is released past its limit.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from os import write

from attrs import define, field

from ctrlserver.load.measure.due import Releases
from ctrlserver.load.streams.outgoing import derived
from ctrlserver.load.streams.sender import BURST_PACKETS, WRITE_BYTES, Sender

#: Writes for one ``ready`` where packets are combined; stops early when the kernel takes less than was offered.
BURST_WRITES = 4


@define(eq=False)
class SendStream(Sender):
    """Many packets a write."""

    def _write(self) -> None:
        """A bounded number of large writes; ends by BlockingIOError, or after one the kernel did not take whole."""
        size = len(self._pattern.block)
        for _ in range(BURST_WRITES):
            offset = self.sent % size
            offered = min(WRITE_BYTES, self.limit - self.sent)
            taken = self.socket.send(self._sendable[offset : offset + offered])
            self.sent += taken
            self.writes += 1
            if taken < offered or self.sent >= self.limit:
                return


@define(eq=False)
class PacketStream(Sender):
    """One write for each packet (``--no-write-combine``), on the bare descriptor of a plain socket.

    While it sends, the kernel may put several writes into one segment (Nagle), as for any program that writes without a
    pause: 1.3 to 2.5 times the rate. ``os.write`` of ``bytes`` costs less a call than ``send`` of a view.
    """

    _packets: list[memoryview] = field(kw_only=True)
    _single: bytes = derived(lambda self: bytes(self._packets[0]) if len(self._packets) == 1 else b"")
    _next: int = 0

    def start(self, limit: int) -> None:
        """As any stream; from now on several writes may share a segment."""
        self._set_no_delay(False)
        super().start(limit)

    def _done(self) -> None:
        self._set_no_delay(True)  # sends what is held back
        super()._done()

    def _set_no_delay(self, wanted: bool) -> None:
        sock = self.socket
        if isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):  # the next write reports a broken connection
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, wanted)

    def _write(self) -> None:
        fd = self.socket.fileno()
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


@define(eq=False)
class TlsPacketStream(Sender):
    """One write for each packet, over TLS: never on the bare descriptor, which would not encrypt."""

    def _write(self) -> None:
        size = len(self._pattern.block)
        for _ in range(BURST_PACKETS):
            if self.sent >= self.limit:
                return
            offset, end = self.sent % size, self._pattern.bytes_of(self.packets + 1)
            taken = self.socket.send(self._sendable[offset : offset + end - self.sent])
            self.sent += taken
            self.writes += 1


@define(eq=False)
class PacedSendStream(Sender):
    """What is due together goes in one write, or with ``combine`` off in one write each. It needs ``releases``."""

    metered = True
    releases: Releases = field(kw_only=True)

    @property
    def idle(self) -> bool:
        """Whether nothing is due."""
        return self.sent >= self._allowed

    def release(self, count: int, first: int, last: int) -> None:
        """Send ``count`` packets more."""
        if self.active:
            self.releases.add(count, first, last, self._pattern.packets_in(self.limit))
            self._allowed = self._pattern.bytes_of(self.releases.packets)
            if not self._blocked:
                self._fill()
                self._check_done()

    def _write(self) -> None:
        self._fill()

    def _begun(self, packets: int, now: int) -> None:
        self.releases.begun(packets, now)
        self.last = self.lane.clock()
