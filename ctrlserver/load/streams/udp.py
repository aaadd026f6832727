"""Outgoing streams over UDP: each packet is one datagram, many in one call where they are equal.

Rules:

- The same streams as over TCP, on the same lane, with the same counts: a socket takes a datagram whole or not at all,
  so what was sent always ends with a packet.
- Up to 64 datagrams go in one call (``UDP_SEGMENT``), which the kernel cuts. Where a route cannot (packets longer than
  its frames, a kernel without it) they go one by one. Seen on loopback with 1 400 bytes: 6.8 M datagrams a second in
  batches, 0.14 M one by one; ``sendmsg`` with the size in each call is 6 % slower than the option set once.
- Sending stops at EAGAIN, when the socket has no room, and goes on with EPOLLOUT.
- Probe packets are stamped in one block, just before each call: number, session and the intended send time.
- In request mode each datagram received is one reply, an empty one too. Nothing is sent again: a packet that is lost,
  or whose reply is, stays in flight, and the stall timeout ends the run.

Beware: UDP has no close that confirms arrival: only the admin port says how much has arrived. Loss at the receiver is
not our failure; a port where nothing listens is, if the network says so.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable

from attrs import define, field

from ctrlserver.linux.udp import SEGMENTS_A_CALL, SOL_UDP, UDP_SEGMENT, try_option
from ctrlserver.load.measure.due import Releases
from ctrlserver.load.plan.pattern import Pattern
from ctrlserver.load.streams.outgoing import derived
from ctrlserver.load.streams.sender import Sender
from ctrlserver.load.streams.wire import REFUSED, RESET, SocketKind
from ctrlserver.wire.datagram import LONGEST_DATAGRAM
from ctrlserver.wire.probe import ProbeBlock

#: Calls for one ``ready``: with batches of 64 KiB some 0.2 ms.
BURST_CALLS = 16

#: The device's queue is full: the datagram can go later.
_LATER = (errno.ENOBUFS, errno.EAGAIN)

#: Errors for a batch that the kernel or the route cannot cut.
_NO_BATCHES = (errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT)


class UdpKind(SocketKind):
    """The kind of one connected UDP socket; ``batch`` datagrams at most go in one call."""

    closes = False

    def __init__(self, sock: socket.socket, batch: int) -> None:
        self._socket = sock
        self.combines = batch > 1

    def failure(self, error: OSError, eof: bool, so_far: str) -> tuple[str, str] | None:
        """None if the datagrams may go later, or go one by one."""
        if error.errno in _LATER:
            return None
        if error.errno in _NO_BATCHES and self.combines:
            self.combines = False
            try_option(self._socket, SOL_UDP, UDP_SEGMENT, 0)  # the kernel would hold it against a single datagram too
            return None
        if error.errno == errno.ECONNREFUSED:
            return REFUSED, f"connection refused: nothing listens on that UDP port; {so_far}"
        if error.errno == errno.EMSGSIZE:
            return RESET, "a packet is too long for one datagram on this way; take a smaller --size"
        return RESET, f"a datagram could not be sent ({error.strerror or error}) after {so_far}"


@define(eq=False)
class DatagramStream(Sender):
    """Send mode, packets of one size, ``batch`` a call at most. Probe packets are stamped with the time of the call."""

    _batch: int = field(kw_only=True)
    _probes: ProbeBlock | None = field(default=None, kw_only=True)
    _probes_view: memoryview = derived(lambda self: memoryview(self._probes.buffer if self._probes else b""))

    def _write(self) -> None:
        """A bounded number of calls; ends by BlockingIOError where the socket has no room."""
        stride, size = self._pattern.stride, len(self._pattern.block)
        send, probes = self._send, self._probes
        batch = self._batch if self._combine else 1
        for _ in range(BURST_CALLS if batch > 1 else BURST_CALLS * 8):
            offered = min(batch * stride, self.limit - self.sent)
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


@define
class ProbesWhenDue:
    """Sends probe packets in place of the pattern's; each is stamped with the moment at which it was due.

    ``send_block`` is the socket's ``send``; ``stride`` is the bytes of a packet.
    """

    _send_block: Callable[[memoryview], int]
    _probes: ProbeBlock
    _stride: int
    _releases: Releases
    _sent: int = 0
    _view: memoryview = derived(lambda self: memoryview(self._probes.buffer))
    _since_1970: int = derived(lambda _: time.time_ns() - time.monotonic_ns())

    def send(self, packets: memoryview) -> int:
        """As many probe packets as there are ``packets``."""
        number = len(packets) // self._stride
        due = [self._since_1970 + moment for moment in self._releases.moments(number)]
        self._probes.stamp(number, self._sent, due)
        taken = self._send_block(self._view[: len(packets)])
        self._sent += number
        return taken


def empty_sender(sock: socket.socket) -> Callable[[memoryview], int]:
    """A ``send`` for packets without a byte: an empty datagram for the one byte that the pattern has for each."""

    def send(packet: memoryview) -> int:
        sock.send(b"")
        return len(packet)

    return send


def batch_of(sock: socket.socket, pattern: Pattern, *, combine: bool) -> int:
    """Datagrams that may go in one call on ``sock``, which gets their size as an option; 1 where they go one by one."""
    most = (
        min(SEGMENTS_A_CALL, LONGEST_DATAGRAM // pattern.stride)
        if combine and not pattern.empty and pattern.stride
        else 1
    )
    return most if most > 1 and try_option(sock, SOL_UDP, UDP_SEGMENT, pattern.stride) else 1
