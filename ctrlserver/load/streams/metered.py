"""A stream that may send up to a certain byte, which moves as somebody lets it: by replies, or by a schedule.

Rules: what is allowed is sent at once, as far as the kernel takes it, and the rest when it can take more. The allowed
byte is always the end of a packet. ``_begun`` is told of packets of which the first byte has gone, and when.

Beware: a stream that the kernel takes no more of waits on the lane; so does one that has done ``BURST_PACKETS`` writes
in a row, for the others' sake.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable

from ctrlserver.lane.lane import Lane
from ctrlserver.load.plan.pattern import Pattern
from ctrlserver.load.streams.outgoing import BURST_PACKETS, WRITE_BYTES, Observer, Outgoing

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class MeteredStream(Outgoing):
    """``combine``: packets that may go together go in one write. ``clock`` gives monotonic nanoseconds."""

    __slots__ = ("_allowed", "_begun_packets", "_blocked", "_clock", "_combine", "_send", "_write_bytes")

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
        *,
        combine: bool,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(number, sock, lane, observer, pattern, sendable, local, target)
        self._combine = combine
        self._clock = clock
        self._allowed = 0  # bytes that may have been sent by now, always the end of a packet
        self._begun_packets = 0  # told to _begun
        self._blocked = False  # the kernel took less than was offered
        self._send: Callable[[memoryview], int] = sock.send
        self._write_bytes = WRITE_BYTES

    def _events(self) -> int:
        return _IN | _OUT if self._blocked else _IN

    def _fill(self) -> None:
        """Send what is allowed, as far as the kernel takes it."""
        pattern = self._pattern
        size = len(pattern.block)
        writes = 0
        while self.sent < self._allowed:
            end = self._allowed if self._combine else pattern.bytes_of(self.packets + 1)
            offered = min(self._write_bytes, end - self.sent)
            offset = self.sent % size
            now = self._clock()
            try:
                taken = self._send(self._sendable[offset : offset + offered])
            except BlockingIOError:
                taken = 0
            except OSError as error:
                self._lost(error)
                return
            if taken:
                self.sent += taken
                self.writes += 1
                begun = pattern.packets_in(pattern.whole(self.sent)) - self._begun_packets
                if begun > 0:
                    self._begun_packets += begun
                    self._begun(begun, now)
            writes += 1
            if taken < offered or writes >= BURST_PACKETS:
                break
        blocked = self.sent < self._allowed
        if blocked != self._blocked:
            self._blocked = blocked
            self._watch(self._events())

    def _begun(self, packets: int, now: int) -> None:
        """The first byte of so many packets has been taken, offered at ``now``."""
