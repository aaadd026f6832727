"""Clients that have had time to send a request and have not, found before anything is made of their connections.

Rules:

- A whole head is here, as a rule, when its connection is accepted. A part of one alone is a slow client's.
- Of a connection that has brought nothing, the silence counts: it may just have come.
- What TLS brings is not read: there nothing is known but silence.

Source: struct tcp_info of linux/tcp.h. Where the kernel does not say, nobody dawdles by silence.
"""

from __future__ import annotations

import re
import socket

from ctrlserver.http.head import LONGEST_HEAD
from ctrlserver.linux.tcp_info import silent_seconds

#: Seconds of silence: far more than a request needs that its client sends at once.
SILENT_SECONDS = 1.0

#: The first byte of a TLS connection.
_HANDSHAKE = b"\x16"

_END = re.compile(rb"\n\r?\n")


def dawdles(sock: socket.socket) -> bool:
    """Whether it is a slow client's, or its client has gone; it is neither read nor closed."""
    try:
        got = sock.recv(LONGEST_HEAD, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return silent_seconds(sock) >= SILENT_SECONDS
    except OSError:
        return True
    return not got.startswith(_HANDSHAKE) and _END.search(got) is None
