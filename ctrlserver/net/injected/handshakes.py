"""TLS handshakes that an order strikes: by another certificate than the listener's, or by no answer at all.

Model: a port makes each connection with its factory, which wraps that of the streams in TLS, and perhaps in one that
reads a PROXY header before or behind it. ``struck_factory`` makes the same chain for one connection, with another TLS
and with a protocol that counts the strike as its stream's::

    [ProxiedFactory ->] TLSMemoryBIOFactory -> [ProxiedFactory ->] StreamFactory

Rules: a handshake that hangs is bounded as every handshake is (``HANDSHAKE_SECONDS``). It reads the first 16 KiB that
the peer sends, so that it notices its end, and answers them if the order ends meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Protocol
from weakref import WeakSet

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ctrlserver.net.injected.minting import Minted
from ctrlserver.net.protocol import StreamFactory, StreamProtocol
from ctrlserver.net.proxied import ProxiedFactory

#: Bytes that are read of a handshake that hangs: a longest TLS record.
MOST_READ = 1 << 14


class HungHandshake(Protocol):
    """A handshake that nobody answers."""

    def go_on(self) -> None:
        """Answer it after all."""


class HandshakeStruck(StreamProtocol):
    """A connection whose handshake was struck, until it is made. Orders of packets know the plain class."""

    def connectionMade(self) -> None:
        """Open the stream, with a hit."""
        self.__class__ = StreamProtocol  # type: ignore[assignment]
        self.connectionMade()
        self.stream.counters.injected += 1


def struck_factory(factory: Any, minted: Minted | None, hung: WeakSet[HungHandshake]) -> Any:
    """The ``factory`` of a port for one connection that shows ``minted``; None: it hangs, and is among ``hung``."""
    if isinstance(factory, ProxiedFactory):
        return ProxiedFactory(struck_factory(factory.factory, minted, hung), factory.door, factory.tls)
    if isinstance(factory, StreamFactory):
        struck = copy(factory)
        struck.makes = HandshakeStruck
        return struck
    from twisted.protocols.tls import TLSMemoryBIOFactory

    inner = struck_factory(factory.wrappedFactory, minted, hung)
    if minted is None:
        return _hanging(factory, inner, hung)
    return TLSMemoryBIOFactory(minted.options(), False, inner)


def connect_struck(
    port: Any, connect: Callable[[], object], minted: Minted | None, hung: WeakSet[HungHandshake]
) -> None:
    """Have ``connect`` make one connection of ``port`` with the factory that is struck so."""
    plain = port.factory
    port.factory = struck_factory(plain, minted, hung)
    try:
        connect()
    finally:
        port.factory = plain


def _hanging(factory: Any, inner: Any, hung: WeakSet[HungHandshake]) -> Any:
    from twisted.protocols.tls import BufferingTLSTransport

    class Hung(BufferingTLSTransport):
        """Keeps what the peer sends from OpenSSL."""

        kept: bytes | None = b""

        def dataReceived(self, data: bytes) -> None:
            """Keep it, or go on as ever."""
            if self.kept is None:
                super().dataReceived(data)  # type: ignore[no-untyped-call]
                return
            self.kept += data
            if len(self.kept) >= MOST_READ:
                IPushProducer(self.transport).pauseProducing()

        def connectionLost(self, reason: Failure = connectionDone) -> None:
            """There is nothing to go on with."""
            self.kept = None
            super().connectionLost(reason)

        def go_on(self) -> None:
            """Answer it after all."""
            kept, self.kept = self.kept, None
            if kept:
                IPushProducer(self.transport).resumeProducing()
                super().dataReceived(kept)  # type: ignore[no-untyped-call]

    def made(wrapping: Any, protocol: Any) -> Hung:
        transport = Hung(wrapping, protocol)
        hung.add(transport)
        return transport

    hanging = copy(factory)
    hanging.wrappedFactory = inner
    hanging.protocol = made
    return hanging
