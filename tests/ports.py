"""Ports that nobody has."""

from __future__ import annotations

import os
import socket
from itertools import count
from pathlib import Path

_FIRST = 10_000
_LIMIT = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
_NUMBERS = count(os.getpid() * 37)


def free_port() -> int:
    """A port of 127.0.0.1 that is free for TCP and UDP, for a server that cannot take port 0, or where none is to be.

    It is below those that the kernel gives to who asks for none, so no other test gets it meanwhile; each process of
    the tests begins elsewhere.
    """
    for number in _NUMBERS:
        port = _FIRST + number % (_LIMIT - _FIRST)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError
