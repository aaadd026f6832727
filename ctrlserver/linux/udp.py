"""UDP socket options of Linux that the socket module lacks.

Rules: an option that the kernel does not know, or does not allow to us, is no error: ``try_option`` returns False.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

#: A peer, as the socket module gives it: ``(host, port)``, or for IPv6 ``(host, port, flow, scope)``.
Address = tuple[Any, ...]

#: Linux's numbers, which the socket module lacks.
SOL_UDP = 17
UDP_SEGMENT = 103
UDP_GRO = 104
SO_RCVBUFFORCE = 33

#: The control message of ``UDP_GRO``: the bytes of each datagram of a batch but the last one.
GRO_SIZE = struct.Struct("=i")

#: The control message of ``UDP_SEGMENT``: likewise, of a batch that is sent.
SEGMENT = struct.Struct("=H")

#: The first port that Linux gives to clients, unless it is told otherwise; other systems begin higher.
USUAL_CLIENT_PORT = 32768

#: Room for the one control message we ask for.
ANCILLARY_BYTES = socket.CMSG_SPACE(GRO_SIZE.size) if hasattr(socket, "CMSG_SPACE") else 0

#: Datagrams sent in one call: what every kernel with UDP_SEGMENT takes.
SEGMENTS_A_CALL = 64


def try_option(sock: socket.socket, level: int, option: int, value: int) -> bool:
    """Set an option that not every kernel has or allows; False if this one does not."""
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False
    return True


def first_client_port() -> int:
    """The lowest port that a client gets unless it asks for another: this system's, at most Linux's usual one."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            return min(int(file.read().split()[0]), USUAL_CLIENT_PORT)
    except (OSError, ValueError, IndexError):
        return USUAL_CLIENT_PORT


def widen(sock: socket.socket, size: int) -> None:
    """Ask for a receive buffer of ``size`` bytes: beyond the kernel's limit where we may, else up to it."""
    if size and not try_option(sock, socket.SOL_SOCKET, SO_RCVBUFFORCE, size):
        try_option(sock, socket.SOL_SOCKET, socket.SO_RCVBUF, size)
