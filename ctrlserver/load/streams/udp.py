"""Outgoing streams over UDP: each packet is one datagram, many in one call where they are equal.

Rules:

- The same streams as over TCP, on the same lane, with the same counts: a socket takes a datagram whole or not at all,
  so what was sent always ends with a packet.
- Up to 64 datagrams go in one call (``UDP_SEGMENT``), which the kernel cuts. Where a route cannot (packets longer than
  its frames, a kernel without it) they go one by one. Seen on loopback with 1 400 bytes: 6.8 M datagrams a second in
  batches, 0.14 M one by one; ``sendmsg`` with the size in each call is 6 % slower than the option set once.
- What the socket does not take now goes when it has room: sending stops at EAGAIN and goes on with EPOLLOUT.
- Probe packets are stamped in one block, just before each call: number, session and the intended send time.
- In request mode each datagram that comes is one reply, an empty one too. Nothing is sent again: a request whose
  request or reply is lost keeps its place among those in flight, and the stall timeout ends the run.

Beware: there is no close, so nobody says how much has arrived: that is what the admin port is asked for. Loss at the
receiver is not our failure; a port where nothing listens is, if the network says so.
"""

from __future__ import annotations

import errno
import socket
import time

from ctrlserver.lane.lane import Lane
from ctrlserver.linux.udp import SEGMENTS_A_CALL, SOL_UDP, UDP_SEGMENT, try_option
from ctrlserver.load.plan.pattern import Pattern
from ctrlserver.load.streams.metered import MeteredStream
from ctrlserver.load.streams.outgoing import REFUSED, RESET, STALLED, Observer, Outgoing
from ctrlserver.load.streams.paced import PacedRequestStream, PacedSendStream
from ctrlserver.load.streams.request import RequestStream
from ctrlserver.load.streams.send import PacketStream, SendStream
from ctrlserver.wire.datagram import LONGEST_DATAGRAM
from ctrlserver.wire.probe import ProbeBlock
from ctrlserver.words import counted

#: Calls for one ``ready``: with batches of 64 KiB some 0.2 ms.
BURST_CALLS = 16

#: The device's queue is full: the datagram was not taken, and will be some time later.
_LATER = (errno.ENOBUFS, errno.EAGAIN)

#: What kernels say to a batch that they or the route cannot cut.
_NO_BATCHES = (errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT)


class _OverUdp(Outgoing):
    """What differs from a connection: errors, the end, and that an empty read is a datagram."""

    __slots__ = ()

    closes = False

    def half_close(self) -> None:
        """Nothing to close: from now on only the network may still say that nobody was there."""
        self.half_closed = True

    def _ended(self) -> None:
        """An empty datagram."""

    def _lost(self, error: OSError) -> None:
        """A socket call failed; of those that another turn may do better, nothing is told."""
        if error.errno in _LATER or (error.errno in _NO_BATCHES and self._one_by_one()):
            return
        if error.errno == errno.ECONNREFUSED:
            self.fail(REFUSED, f"{self}: connection refused: nothing listens on that UDP port; {self.so_far()}")
        elif error.errno == errno.EMSGSIZE:
            self.fail(RESET, f"{self}: a packet is too long for one datagram on this way; take a smaller --size")
        else:
            self.fail(RESET, f"{self}: a datagram could not be sent ({error.strerror or error}) after {self.so_far()}")

    def _one_by_one(self) -> bool:
        """Send no more batches from now on; False where none were sent anyway."""
        batches = self._batches()
        if batches:
            try_option(self._socket, SOL_UDP, UDP_SEGMENT, 0)  # or it would be held against a single one too
        return batches

    def _batches(self) -> bool:
        """Whether batches were sent; none are after this."""
        return False


class DatagramStream(_OverUdp, SendStream):
    """Send mode, packets of one size; ``batch`` of them a call at most. Probe packets are meant to go when they go."""

    __slots__ = ("_batch", "_probes", "_probes_view")

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
        batch: int,
        probes: ProbeBlock | None = None,
    ) -> None:
        super().__init__(number, sock, lane, observer, pattern, sendable, local, target)
        self._batch = batch
        self._probes = probes
        self._probes_view = sendable if probes is None else memoryview(probes.buffer)

    def _write(self) -> None:
        """A bounded number of calls; ends by BlockingIOError where the socket has no room."""
        stride, size = self._pattern.stride, len(self._pattern.block)
        send, probes = self._socket.send, self._probes
        for _ in range(BURST_CALLS if self._batch > 1 else BURST_CALLS * 8):
            offered = min(self._batch * stride, self.limit - self.sent)
            if probes is None:
                offset = self.sent % size
                send(self._sendable[offset : offset + offered])
            else:
                first, packets = self.sent // stride, offered // stride
                probes.stamp(packets, first, time.time_ns())
                send(self._probes_view[:offered])
            self.sent += offered
            self.writes += 1
            if self.sent >= self.limit:
                return

    def _batches(self) -> bool:
        batches, self._batch = self._batch > 1, 1
        return batches


class UnequalDatagramStream(_OverUdp, PacketStream):
    """Send mode, packets of several sizes, or one call a packet."""

    __slots__ = ()


class _MeteredOverUdp(_OverUdp, MeteredStream):
    """A stream that somebody lets send."""

    __slots__ = ()

    def send_batches(self, nbytes: int) -> None:
        """Up to so many bytes go in one call, whole packets."""
        self._write_bytes = nbytes

    def _lost(self, error: OSError) -> None:
        """What was not taken now goes when there is room."""
        super()._lost(error)
        if not self.over:
            self._blocked = True
            self._watch(self._events())

    def _batches(self) -> bool:
        batches, self._combine = self._combine, False
        return batches


class PacedDatagramStream(_MeteredOverUdp, PacedSendStream):
    """Send mode by a schedule; probe packets say when they were due."""

    __slots__ = ("_probes", "_probes_view", "_since_1970")

    def probe_with(self, probes: ProbeBlock) -> None:
        """Send them in place of the pattern's packets."""
        self._probes = probes
        self._probes_view = memoryview(probes.buffer)
        self._since_1970 = time.time_ns() - self._clock()
        self._send = self._send_probes

    def _send_probes(self, packets: memoryview) -> int:
        stride = self._pattern.stride
        number = len(packets) // stride
        due = [self._since_1970 + moment for moment in self._releases.moments(number)]
        self._probes.stamp(number, self.sent // stride, due)
        return self._socket.send(self._probes_view[: len(packets)])


class DatagramRequestStream(_MeteredOverUdp, RequestStream):
    """Request mode: each datagram is a reply."""

    __slots__ = ()

    def stall(self, seconds: float) -> None:
        """The watchdog has seen no progress for so long."""
        missing = counted(self.packets - self.replies, "request has", "requests have")
        words = f"{missing} no reply: lost on the way, or not answered; a lost datagram is not sent again"
        self.fail(STALLED, f"no progress on {self} for {seconds:g} s: {words}")

    def _ended(self) -> None:
        """An empty datagram is a reply."""
        if self.active:
            self.last = self._lane.round_began
            self._answered(1)
        elif not self.half_closed:
            self._answered_too_much()


class PacedDatagramRequestStream(DatagramRequestStream, PacedRequestStream):
    """The same by a schedule."""

    __slots__ = ()


def batch_of(sock: socket.socket, pattern: Pattern, *, combine: bool) -> int:
    """Datagrams that may go in one call on ``sock``, which is told their size; 1 where they go one by one."""
    most = min(SEGMENTS_A_CALL, LONGEST_DATAGRAM // pattern.stride) if combine and pattern.stride else 1
    return most if most > 1 and try_option(sock, SOL_UDP, UDP_SEGMENT, pattern.stride) else 1
