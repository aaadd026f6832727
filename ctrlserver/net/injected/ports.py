"""Listening sockets that refuse connections for a while, and listen at the same address afterwards.

A port that refuses is bound and does not listen. So a connect fails with ECONNREFUSED, and nobody else can have the
address meanwhile.

- TCP: ``shutdown`` ends the listening. The kernel then takes back a number that it has chosen, so the socket is bound
  to it again. A second socket, the keeper, has it for these microseconds, or somebody else might get it.
- unix: a socket that was shut down never listens again. So the file is made anew for another socket, with the owner and
  the permissions that it had. For a moment between there is no file, and a connect fails with ENOENT.

Rules: connections that nobody has accepted by then are reset. An ``OSError`` leaves the socket listening, or at least
bound; it can be tried again.

Beware: for SO_REUSEADDR two sockets may be bound to one address as long as neither listens, and another program's could
listen first. So a socket that refuses is without it. The kernel also notes that an address was bound with SO_REUSEPORT;
only a listen without that makes it forget.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import Any

from ctrlserver.net.links import listen_for_many


def withdraw(port: Any, sock: socket.socket) -> socket.socket:
    """Have ``sock`` of a port of Twisted's refuse connections; returns the port's socket from now on."""
    if sock.family == socket.AF_UNIX:
        return _withdraw_unix(port, sock)
    address = sock.getsockname()
    with socket.socket(sock.family) as keeper:
        if sock.family == socket.AF_INET6:
            only = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            keeper.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        for each in (sock, keeper):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with suppress(OSError):  # a low number, and no privilege for it any more: none that the kernel has chosen
            keeper.bind(address)
        sock.shutdown(socket.SHUT_RD)
        with suppress(OSError):  # it still has its number
            sock.bind(address)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    sock.listen()
    sock.shutdown(socket.SHUT_RD)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return sock


def bring_back(sock: socket.socket) -> None:
    """Have it listen again."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listen_for_many(sock)


def _withdraw_unix(port: Any, sock: socket.socket) -> socket.socket:
    path = port._bindPath
    fresh: socket.socket = port.createInternetSocket()
    try:
        was = os.lstat(path)
        os.remove(path)
        fresh.bind(path)
        os.chmod(path, stat.S_IMODE(was.st_mode))
        with suppress(OSError):  # not ours to give away; then it was ours before
            os.chown(path, was.st_uid, was.st_gid)
    except OSError:
        fresh.close()
        raise
    sock.close()
    port.fileno = fresh.fileno
    return fresh


def may_withdraw(path: str) -> bool:
    """Whether the file of the unix socket ``path`` may be made anew."""
    return os.access(os.path.dirname(path) or ".", os.W_OK | os.X_OK)
