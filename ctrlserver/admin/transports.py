"""What an admin connection asks of the socket below its transport, where there is one.

Beware: over TLS the handle of a transport is no socket of its own.
"""

from __future__ import annotations

import socket
from typing import cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IHalfCloseableDescriptor, ISSLTransport, ISystemHandle
from twisted.protocols.policies import ProtocolWrapper


def can_half_close(transport: object) -> bool:
    """Whether the output can end before the connection does; over TLS it cannot."""
    return IHalfCloseableDescriptor.providedBy(transport) and not ISSLTransport.providedBy(transport)


def read_at_most(transport: object, nbytes: int) -> None:
    """Read so many bytes in one go, and pause the producer where as many are unsent; Twisted's own number is 64 KiB.

    It goes to the socket's transport, below TLS or another wrapper too.
    """
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    if isinstance(transport, FileDescriptor):
        transport.bufferSize = nbytes


def take_urgent_data_in_line(transport: object) -> None:
    """Telnet's Synch sends its last byte as urgent data: left out of the line, half a sequence would stay in it."""
    sock = _socket_of(transport)
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def is_reset(transport: object) -> bool:
    """The peer has reset the connection; a transport that does not read is not told."""
    sock = _socket_of(transport)
    return sock is not None and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def _socket_of(transport: object) -> socket.socket | None:
    """None where there is none of its own: TLS has as its handle what it computes with."""
    if not ISystemHandle.providedBy(transport) or ISSLTransport.providedBy(transport):
        return None
    return cast(socket.socket, transport.getHandle())
