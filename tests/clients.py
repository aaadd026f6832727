"""Blocking clients of a server under test."""

from __future__ import annotations

import contextlib
import os
import socket

from tests.servers import PATIENCE


def connected(address: tuple[str, int] | str | os.PathLike[str], *, receive_buffer: int = 0) -> socket.socket:
    """A client socket, by TCP to a host and a port, or to the unix socket of that path.

    A server that rejects a connection may have reset it before the client looks whether it is connected. Such a socket
    is handed over too: it reads as closed and a send fails, as if the reset had come a moment later. Where there is no
    connection for another reason, nothing is left open.
    """
    where, family = (address, socket.AF_INET) if isinstance(address, tuple) else (os.fspath(address), socket.AF_UNIX)
    with contextlib.ExitStack() as unless_connected:
        client = unless_connected.enter_context(socket.socket(family))
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionResetError):
            client.connect(where)
        unless_connected.pop_all()
    return client
