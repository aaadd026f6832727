"""Whether the machine of a TCP peer is still there (Linux): the kernel probes it, and says what it left unanswered.

Rules: the kernel sends the probes; accepted sockets inherit the options of the listening one. The kernel's own verdict
comes later than ours (``PROBES``): it would come as an error of a read, which Twisted does not hand on, and it waits
15 minutes for a machine to which data is on its way.

Beware: a peer that does not read answers window probes, so it is there. ``TCP_USER_TIMEOUT`` would cut it off.
"""

from __future__ import annotations

import socket
import struct
import sys

#: The shortest time after which a peer is given up: the kernel counts whole seconds, one before the probe, one after.
SHORTEST_SECONDS = 2.0

#: Unanswered probes after which the kernel ends a connection itself: more than we wait for.
PROBES = 10

#: struct tcp_info of linux/tcp.h: tcpi_retransmits, tcpi_probes; tcpi_rto (microseconds); tcpi_last_data_recv and
#: tcpi_last_ack_recv (milliseconds ago).
_INFO = struct.Struct("=2xBB4xI40xII")
_SUPPORTED = sys.platform == "linux"


def send_probes(sock: socket.socket, seconds: float) -> None:
    """Have the kernel probe new connections of a listening socket from half of ``seconds`` of silence on; 0: never."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, seconds > 0)
    if _SUPPORTED and seconds:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(seconds / 2)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(seconds / 6)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def unanswered_seconds(sock: socket.SocketType) -> float:
    """Seconds since the peer's machine last sent anything, if it owes an answer to data or to a probe of ours; else 0.

    A peer that owes one is given a round of retransmission before it counts.
    """
    try:
        octets = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size) if _SUPPORTED else b""
    except OSError:
        return 0.0
    if len(octets) < _INFO.size:
        return 0.0
    retransmits, probes, rto, data_ago, ack_ago = _INFO.unpack(octets)
    seconds: float = min(data_ago, ack_ago) / 1e3
    return seconds if probes or (retransmits and seconds > rto / 1e6) else 0.0
