"""What the kernel knows of a TCP connection: round trip and retransmissions (Linux, ``TCP_INFO``).

Rules: read when a record is asked for and once at the close, never per chunk: a read costs a microsecond. Where there
is no such thing (other systems, unix sockets, a socket that is closed) it is None.

Beware: the round trip is that of what *we* send. Of a stream that only receives, it is that of the handshake.
Retransmissions are ours too: those of a sending peer are seen at its side only.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

from ctrlserver.stats.counters import TcpFigures

#: struct tcp_info of linux/tcp.h: tcpi_rtt (microseconds) and tcpi_total_retrans. The struct only grows at its end.
_RTT, _TOTAL_RETRANS, _BYTES = 68, 100, 104
_FIELD = struct.Struct("=I")
#: Wrappers around a transport that are looked through; TLS is one, another may be around it.
_MOST_LAYERS = 4
_READABLE = sys.platform == "linux"


def tcp_figures(sock: socket.socket) -> TcpFigures | None:
    """Seconds of a round trip, and segments sent again, of a TCP socket."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES) if _READABLE else b""
    except OSError:
        return None
    if len(info) < _BYTES:
        return None
    (rtt,), (retransmits,) = _FIELD.unpack_from(info, _RTT), _FIELD.unpack_from(info, _TOTAL_RETRANS)
    return rtt / 1e6, retransmits


def socket_of(transport: Any) -> socket.socket | None:
    """The TCP socket below a Twisted transport, however it is wrapped; None where there is none."""
    for _ in range(_MOST_LAYERS):
        sock = getattr(transport, "socket", None)
        if isinstance(sock, socket.socket):
            return sock if sock.family in (socket.AF_INET, socket.AF_INET6) else None
        transport = getattr(transport, "transport", None)
    return None
