"""Round trip and retransmissions of a TCP connection, from the kernel (Linux, ``TCP_INFO``).

Rules: they are read when somebody asks for a record and once at the close, never per chunk: a read costs a microsecond.
They are None on other systems, for unix sockets and for closed sockets.

Beware: the kernel measures the round trip of the data that *we* send. For a stream that only receives, it is that of
the handshake. Retransmissions are ours too: those of a sending peer are known at its side only.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

from ctrlserver.stats.counters import TcpFigures

#: Offsets in struct tcp_info of linux/tcp.h: tcpi_last_data_recv (milliseconds ago), tcpi_rtt (microseconds),
#: tcpi_total_retrans. It only grows at its end.
_LAST_DATA, _RTT, _TOTAL_RETRANS, _BYTES = 52, 68, 100, 104
_FIELD = struct.Struct("=I")
#: Transports inside each other that are searched for a socket: TLS is one, and another may wrap it.
_MOST_LAYERS = 4
_READABLE = sys.platform == "linux"


def tcp_figures(sock: socket.SocketType) -> TcpFigures | None:
    """Seconds of a round trip, and the number of segments sent again; None if the kernel does not report them."""
    info = _info(sock)
    if info is None:
        return None
    (rtt,), (retransmits,) = _FIELD.unpack_from(info, _RTT), _FIELD.unpack_from(info, _TOTAL_RETRANS)
    return rtt / 1e6, retransmits


def silent_seconds(sock: socket.SocketType) -> float:
    """Seconds since the last data came, or since the connection was made if none has; 0 if the kernel does not say."""
    info = _info(sock)
    return 0.0 if info is None else int(_FIELD.unpack_from(info, _LAST_DATA)[0]) / 1e3


def _info(sock: socket.SocketType) -> bytes | None:
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES) if _READABLE else b""
    except OSError:
        return None
    return info if len(info) >= _BYTES else None


def socket_of(transport: Any) -> socket.socket | None:
    """The TCP socket of a Twisted transport, wrapped or not; None if it has none."""
    for _ in range(_MOST_LAYERS):
        sock = getattr(transport, "socket", None)
        if isinstance(sock, socket.socket):
            return sock if sock.family in (socket.AF_INET, socket.AF_INET6) else None
        transport = getattr(transport, "transport", None)
    return None
