"""What an admin connection asks of the socket below its transport, where there is one.

Beware: over TLS the handle of a transport is no socket of its own.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IReactorFDSet,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
)
from twisted.protocols.policies import ProtocolWrapper

from ctrlserver.addresses import peer_name
from ctrlserver.farewell import half_close
from ctrlserver.linux.keepalive import send_probes

_CREDENTIALS = struct.Struct("3i")
"""struct ucred: process, user, group."""


def can_half_close(transport: object) -> bool:
    """Whether the output can end before the connection does; over TLS it cannot."""
    return IHalfCloseableDescriptor.providedBy(transport) and not ISSLTransport.providedBy(transport)


def set_up(transport: Any, nbytes: int, half_closed: Callable[[], object]) -> None:
    """Bound its reads, send what is small at once, and have telnet's urgent data in their place.

    ``half_closed`` is called when a TLS peer sends no more; Twisted itself tells of the others.
    """
    half_close(transport, half_closed)
    read_at_most(transport, nbytes)
    if ITCPTransport.providedBy(transport) and isinstance(transport.getHost(), IPv4Address | IPv6Address):
        transport.setTcpNoDelay(True)
        take_urgent_data_in_line(transport)


def read_at_most(transport: object, nbytes: int) -> None:
    """Read so many bytes in one go, and pause the producer where as many are unsent; Twisted's own number is 64 KiB.

    It goes to the socket's transport, below TLS or another wrapper too.
    """
    transport = _lowest(transport)
    if isinstance(transport, FileDescriptor):
        transport.bufferSize = nbytes


def hold_unsent(transport: object, nbytes: int) -> None:
    """Have the kernel take about so many bytes of output that the peer does not; it would take megabytes."""
    sock = _socket_of(_lowest(transport))
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, nbytes)


def take_urgent_data_in_line(transport: object) -> None:
    """Telnet's Synch sends its last byte as urgent data: left out of the line, half a sequence would stay in it."""
    sock = _socket_of(transport)
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def send_now(transport: object, reactor: Any) -> None:
    """Give the kernel the output, as far as it takes it; the reactor does so a turn of the lane later.

    What it does not take is the reactor's all the same, and so is an error: it meets it again. Not for a transport that
    is to close: what ``doWrite`` returns then is for the reactor.
    """
    transport = _lowest(transport)
    if isinstance(transport, FileDescriptor) and not transport.producerPaused and is_unread(transport, reactor):
        transport.doWrite()


def is_unread(transport: object, reactor: Any) -> bool:
    """Whether the kernel has not taken all output yet."""
    return IReactorFDSet.providedBy(reactor) and transport in reactor.getWriters()


def is_reset(transport: object) -> bool:
    """The peer has reset the connection; a transport that does not read is not told."""
    sock = _socket_of(transport)
    return sock is not None and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def is_gone(transport: object) -> bool:
    """The peer has reset the connection, or closed both its ways.

    Over TCP the latter looks like a half-close, until a probe of ``send_probes_to`` is answered by a reset.
    """
    sock = _socket_of(_lowest(transport))
    if sock is None:
        return False
    asked = select.poll()
    asked.register(sock, 0)  # errors and hang-ups are told whatever is asked
    return bool(asked.poll(0))


def send_probes_to(transport: object, seconds: float) -> None:
    """Have the kernel ask a TCP peer from half of ``seconds`` of silence on, whether it is still there."""
    sock = _socket_of(_lowest(transport))
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        send_probes(sock, seconds)


def peer_of(transport: Any) -> tuple[str, str]:
    """Who is at the other end, and by which transport: an address, or the user and the process of a unix socket."""
    address = transport.getPeer()
    if isinstance(address, IPv4Address | IPv6Address):
        return peer_name(address), "tls" if ISSLTransport.providedBy(transport) else "tcp"
    sock = _socket_of(transport)
    if sock is not None and sock.family == socket.AF_UNIX and hasattr(socket, "SO_PEERCRED"):
        pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        return f"unix:uid={uid}:pid={pid}", "unix"
    return "unix", "unix"


def _lowest(transport: object) -> object:
    """The transport that has the socket, below TLS or another wrapper."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


def _socket_of(transport: object) -> socket.socket | None:
    """None where there is none of its own: TLS has as its handle what it computes with."""
    if not ISystemHandle.providedBy(transport) or ISSLTransport.providedBy(transport):
        return None
    return cast(socket.socket, transport.getHandle())
