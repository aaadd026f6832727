"""Accepts for a port whose connections Twisted serves: a few at a time, and with as long a queue as on the lane.

Twisted takes up to a hundred connections in one go, asks the kernel to queue 50, and logs each that finds no
descriptor. A hundred are more than the descriptors that are kept free, and a second's worth of other work.

Rules:

- ``ACCEPTS_A_GO`` connections are made in one go; the rest wait in the kernel's queue.
- Without descriptors or memory the port pauses, as the lane's do, and says so in one line a second at most.

Beware: Twisted makes the connection of a socket within ``Port.doRead`` alone. So that is called, once for each socket,
with a listening socket that has just this one to accept.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.tcp import Port

from ctrlserver.lane.sparing import Sparing
from ctrlserver.net.links import ACCEPT_PAUSE_SECONDS, OUT_OF, listen_for_many, tell_pause

#: Connections made before everything else has its turn: those rejected in one go are closed in the next, and of the
#: descriptors kept free no more than 4 may be in the air. A TLS connection takes 0.2 ms.
ACCEPTS_A_GO = 2


def accept_few(port: IListeningPort, name: str, reactor: IReactorTime) -> IListeningPort:
    """Have ``port`` accept a few connections at a time, if it is a port of Twisted's own; it is called ``name``."""
    if isinstance(port, Port):
        Accepting(port, name, reactor)
    return port


@frozen
class _JustOne:
    """A listening socket with one connection."""

    accepted: tuple[socket.socket, Any]

    def accept(self) -> tuple[socket.socket, Any]:
        return self.accepted


class Accepting:
    """Stands in for ``port.doRead``."""

    def __init__(self, port: Any, name: str, reactor: IReactorTime) -> None:
        self._port = port
        self._connect: Callable[[], None] = port.doRead
        self._name = name
        self._reactor = reactor
        self._lines = Sparing()
        listen_for_many(port.socket)
        port.doRead = self.ready

    def ready(self) -> None:
        """Accept a few."""
        port = self._port
        for _ in range(ACCEPTS_A_GO):
            if port.disconnecting:
                return
            try:
                accepted = port.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF:
                    self._pause(OUT_OF[error.errno])
                    return
                continue  # the peer was gone before we accepted it
            listening, port.socket, port.numberAccepts = port.socket, _JustOne(accepted), 1
            try:
                self._connect()
            finally:
                port.socket = listening

    def _pause(self, lacking: str) -> None:
        self._port.stopReading()
        self._reactor.callLater(ACCEPT_PAUSE_SECONDS, self._resume)
        tell_pause(self._lines, lacking, self._name, self._reactor.seconds())

    def _resume(self) -> None:
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()
