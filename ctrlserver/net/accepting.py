"""Listening ports of Twisted's: accepting a few at a time, and going on with another factory.

Twisted takes up to a hundred connections in one go, asks the kernel to queue 50, and logs each that finds no
descriptor. A hundred are more than the descriptors that are kept free, and a second's worth of other work.

A port that is bound stays so when the config changes: ``Bound`` gives it to an endpoint in place of a new one. No
connection is refused meanwhile, those that wait in the kernel's queue stay there, and open ones are not touched.

Rules:

- ``ACCEPTS_A_GO`` connections are made in one go; the rest wait in the kernel's queue.
- Without descriptors or memory the port pauses, as the lane's do, and says so in one line a second at most.

Beware: Twisted makes the connection of a socket within ``Port.doRead`` alone. So that is called, once for each socket,
with a listening socket that has just this one to accept.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import Any

from attrs import frozen
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.tcp import Port
from twisted.internet.unix import Port as UNIXPort
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from ctrlserver.config.endpoints import transport_word, unix_path
from ctrlserver.linux.inherited import server_endpoint
from ctrlserver.logs.sparing import Sparing
from ctrlserver.net.links import ACCEPT_PAUSE_SECONDS, OUT_OF, listen_for_many, tell_pause

#: Connections made before everything else has its turn: those rejected in one go are closed in the next, and of the
#: descriptors kept free no more than 4 may be in the air. A TLS connection takes 0.2 ms.
ACCEPTS_A_GO = 2


def accept_few(port: IListeningPort, name: str, reactor: IReactorTime) -> Accepting | None:
    """Have ``port`` accept a few connections at a time, if it is a port of Twisted's own; it is called ``name``."""
    return Accepting(port, name, reactor) if isinstance(port, Port) else None


@frozen
class _JustOne:
    """A listening socket with one connection."""

    accepted: tuple[socket.socket, Any]

    def accept(self) -> tuple[socket.socket, Any]:
        return self.accepted


class Connecting:
    """Has ``port``, one of Twisted's, make connections of accepted sockets.

    ``connect`` makes that of the socket which is just taken.
    """

    def __init__(self, port: Any) -> None:
        self.port = port
        self.connect: Callable[[], None] = port.doRead

    def take(self, sock: socket.socket, address: Any) -> None:
        """Make the connection of ``sock``; ``address`` is what ``accept`` gave."""
        port = self.port
        listening, port.socket, port.numberAccepts = port.socket, _JustOne((sock, address)), 1
        try:
            self.connect()
        finally:
            port.socket = listening


class Accepting(Connecting):
    """Stands in for ``port.doRead``. A socket that ``rejects`` is closed, and nothing is made of it."""

    def __init__(self, port: Any, name: str, reactor: IReactorTime) -> None:
        super().__init__(port)
        self._name = name
        self._reactor = reactor
        self._lines = Sparing()
        self._paused: IDelayedCall | None = None
        self._is_stopped = False
        self.rejects: Callable[[socket.socket], bool] = lambda _: False
        listen_for_many(port.socket)
        port.doRead = self.ready

    def ready(self) -> None:
        """Accept a few; no other one once ``stop`` was called."""
        port = self.port
        self._is_stopped = False
        for _ in range(ACCEPTS_A_GO):
            if port.disconnecting or self._is_stopped:
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
            if self.rejects(accepted[0]):
                accepted[0].close()
            else:
                self.take(*accepted)

    def _pause(self, lacking: str) -> None:
        self.port.stopReading()
        self._paused = self._reactor.callLater(ACCEPT_PAUSE_SECONDS, self._resume)
        tell_pause(self._lines, lacking, self._name, self._reactor.seconds())

    def _resume(self) -> None:
        self._paused = None
        if self.port.connected and not self.port.disconnecting:
            self.port.startReading()

    def take_waiting(self) -> None:
        """Accept a few of those that the kernel has accepted for us, if we are not pausing."""
        if self._paused is None:
            self.ready()

    def stop(self) -> None:
        """Accept no more, for now or for ever."""
        self._is_stopped = True
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
        self.port.stopReading()

    def go_on(self) -> None:
        """Accept again after a ``stop``."""
        self._resume()


@frozen
class _Choosing:
    """Takes the callback that Twisted means for ``context``: it chooses among the protocols that a client offers."""

    context: Any
    none: Any

    def set_alpn_select_callback(self, choose: Callable[..., bytes]) -> None:
        """Where it chooses none, say so."""
        self.context.set_alpn_select_callback(lambda *offered: choose(*offered) or self.none)


def choose_no_protocol() -> None:
    """Have Twisted's TLS accept clients that offer protocols (ALPN), as curl and urllib3 do, although it speaks none.

    From version 26 on Twisted chooses the empty one then, and OpenSSL ends the handshake for that.
    """
    from OpenSSL.SSL import NO_OVERLAPPING_PROTOCOLS
    from twisted.internet import _sslverify

    chooses = getattr(_sslverify, "setupForALPN", None)
    if isinstance(chooses, FunctionType):
        _sslverify.setupForALPN = partial(_choose_none, chooses, NO_OVERLAPPING_PROTOCOLS)


def _choose_none(chooses: Callable[[Any, Any], None], none: Any, context: Any, acceptable: Any) -> None:
    chooses(_Choosing(context, none), acceptable)


@implementer(IStreamServerEndpoint)
@frozen
class _Passed:
    """A socket from systemd. Its descriptor stays open, for a later config may name it; Twisted would close it."""

    endpoint: AdoptedStreamServerEndpoint

    def listen(self, factory: Any) -> Any:
        """Listen on a duplicate."""
        self.endpoint.fileno = os.dup(self.endpoint.fileno)
        return self.endpoint.listen(factory)


def endpoint_of(reactor: Any, text: str) -> IStreamServerEndpoint:
    """The endpoint of a good string."""
    if transport_word(text) == "tls":
        choose_no_protocol()
    make = serverFromString if isinstance(reactor, Bound) else server_endpoint
    endpoint: IStreamServerEndpoint = make(reactor, text)
    return _Passed(endpoint) if isinstance(endpoint, AdoptedStreamServerEndpoint) else endpoint


def endpoint_over(reactor: Any, port: IListeningPort, text: str) -> IStreamServerEndpoint:
    """The endpoint of a good string, over a ``port`` that is bound: it listens by that.

    Fails where it cannot be had: with ``OSError`` where the unix socket has lost its file and cannot have it again.
    """
    if has_lost_its_file(text):
        with socket.socket(socket.AF_UNIX) as trial:
            trial.bind(path := unix_path(text) or "")
            os.remove(path)
    return endpoint_of(Bound(reactor, port), text)


def has_lost_its_file(endpoint: str) -> bool:
    """Whether somebody has removed the file of this unix socket: nobody reaches it any more."""
    path = unix_path(endpoint)
    return path is not None and not os.path.lexists(path)


def closes_at_once(port: Any) -> Any:
    """The same port: once it stops listening, the kernel takes no connection at it. Twisted closes it a turn later.

    Not so where other processes accept at its address too: a socket is theirs as well, with what waits in it.
    """
    if isinstance(port, Port):
        port.stopListening = partial(_close_at_once, port, port.stopListening)  # type: ignore[method-assign]
    return port


def _close_at_once(port: Any, stop: Callable[[], object]) -> object:
    with suppress(OSError):
        sock = port.socket  # a worker's port may have none
        if sock is not None and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
            sock.shutdown(socket.SHUT_RDWR)
    return stop()


def closes_without_its_file(port: Any) -> Any:
    """The same port; it closes even if the file of its unix socket, or its lock, is gone or not ours to remove."""
    if type(port) is UNIXPort:
        port.connectionLost = partial(_close_unix, port)  # type: ignore[method-assign]
    return port


def _close_unix(port: Any, reason: Failure) -> None:
    """What Twisted does; it would keep the descriptor and the lock where the file cannot be removed."""
    with suppress(OSError):
        os.unlink(port._bindPath)
    with suppress(OSError, ValueError):  # gone with its folder, or another server's by now
        if port.lockFile is not None:
            port.lockFile.unlock()
    Port.connectionLost(port, reason)


class Bound:
    """The reactor, to an endpoint whose ``port`` is bound already: whatever it binds is that port, with its factory."""

    def __init__(self, reactor: Any, port: Any) -> None:
        self._reactor = reactor
        self._port = port
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """The port, as if it were new: whoever accepts for it does so anew."""
        bound = self._port
        factory.doStart()
        bound.factory, before = factory, bound.factory
        before.doStop()
        vars(bound).pop("doRead", None)
        bound.startReading()
        return bound

    def listenSSL(self, *arguments: Any, **options: Any) -> Any:
        """The same with TLS."""
        return PosixReactorBase.listenSSL(self, *arguments, **options)  # type: ignore[arg-type]

    def listenUNIX(self, address: str, factory: Any, *, mode: int = 0o666, **_: object) -> Any:
        """The same; its file gets the permissions, and is made anew where somebody has removed it."""
        if not os.path.lexists(address):
            self._bind_anew(address, mode)
        os.chmod(address, mode)
        return self.listenTCP(0, factory)

    def _bind_anew(self, address: str, mode: int) -> None:
        """Another socket for the port: nobody reaches the one that has lost its file."""
        port = self._port
        fresh = port.createInternetSocket()
        fresh.bind(address)
        os.chmod(address, mode)
        fresh.listen(port.backlog)
        port.stopReading()
        port.socket.close()
        port.socket, port.fileno = fresh, fresh.fileno

    def adoptStreamPort(self, descriptor: int, family: int, factory: Any) -> Any:
        """The same; it has a socket from systemd."""
        return self.listenTCP(0, factory)
