"""Streams over TLS: the same classes as over TCP, on a Twisted transport in place of a socket on the lane.

Two objects a connection. ``TlsConnection`` is Twisted's protocol: it has the handshake, the verification and the close.
``TlsWire`` is both the ``Wire`` and the ``Poller`` of its stream::

    stream  -- send -->       TlsWire  -- write -->          transport       until the transport asks for a pause
    stream  <-- ready --      TlsWire  <-- received, end --  TlsConnection   what the stream does not read, waits

Rules: the streams do all the counting. A connection is ready when the handshake is over. It verifies the peer and its
name, unless ``--insecure`` forbids it; a refusal is one line with the reason and the flags.

Beware: TLS has no half-close: the wire announces the close once all is written, and awaits the target's. What the
transport has taken counts as sent, some 100 KiB more than with a plain socket.
"""

from __future__ import annotations

import errno
import select
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.addresses import ip_version, text_of
from ctrlserver.client.connect import TARGET_RESET, check_tls
from ctrlserver.errors import LoadError, UsageError
from ctrlserver.lane.costly import Owner
from ctrlserver.lane.lane import Lane
from ctrlserver.load.streams.wire import Opened

if TYPE_CHECKING:
    from OpenSSL import SSL

#: Bytes of one write: what a turn encrypts.
WRITE_BYTES = 256 * 1024

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT

#: OpenSSL's numbers of the refusals that people meet.
_REFUSALS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed",
    19: "its authority is self-signed and not known",
    20: "its authority is not known",
    21: "its authority is not known",
}

_FLAGS = "--cafile FILE names an authority to trust, --insecure goes without verification"


@implementer(IOpenSSLClientConnectionCreator)
class Verification:
    """What is asked of the peer at ``host``; UsageError where ``cafile`` cannot be read or TLS is not installed."""

    def __init__(self, host: str, cafile: str | None, insecure: bool) -> None:
        check_tls()
        import service_identity.pyopenssl
        from OpenSSL import SSL

        self.refusal = ""
        self._host = host
        self._insecure = insecure
        self._names = service_identity.pyopenssl
        self._context = context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        if insecure:
            context.set_verify(SSL.VERIFY_NONE)
            return
        context.set_verify(SSL.VERIFY_PEER, self._verified)
        if cafile is None:
            context.set_default_verify_paths()
            return
        try:
            with open(cafile, "rb"):
                pass
            context.load_verify_locations(cafile)
        except OSError as problem:
            raise UsageError(f"--cafile: cannot read {cafile}: {problem.strerror or problem}") from None
        except SSL.Error:
            raise UsageError(f"--cafile: {cafile} holds no certificates in PEM form") from None

    def _verified(self, connection: SSL.Connection, certificate: object, number: int, depth: int, good: int) -> bool:
        if not good:
            self.refusal = self.refusal or _REFUSALS.get(number, f"OpenSSL says error {number}")
        return bool(good)

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:  # noqa: N803  (Twisted's name)
        """A fresh connection that says whom it is for."""
        from OpenSSL import SSL

        connection = SSL.Connection(self._context, None)
        if not ip_version(self._host):
            connection.set_tlsext_host_name(self._host.encode("idna"))
        return connection

    def check_name(self, connection: SSL.Connection) -> str:
        """Why the certificate is not one of the host; empty where it is."""
        if self._insecure:
            return ""
        verify = self._names.verify_ip_address if ip_version(self._host) else self._names.verify_hostname
        try:
            verify(connection, self._host)
        except Exception:  # of several kinds, by the library's version
            return f"it is not one of {self._host}"
        return ""


@implementer(IHandshakeListener)
class TlsConnection(Protocol):
    """One TLS connection, from the handshake to the close.

    ``ready`` fires after the handshake, or fails with a LoadError; ``gone`` fires when the connection is closed.
    """

    transport: Any
    wire: TlsWire

    def __init__(self, reactor: IReactorTime, lane: Lane, name: str, verification: Verification | None) -> None:
        self.ready: Deferred[Opened] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self._reactor = reactor
        self._lane = lane
        self._name = name
        self._verification = verification
        self._gathered: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Connected; the handshake begins."""
        self.wire = TlsWire(self._reactor, self._lane, self.transport)
        with suppress(AttributeError, NotImplementedError):
            self.transport.setTcpNoDelay(True)

    def handshakeCompleted(self) -> None:
        """The peer is verified but for its name."""
        refusal = "" if self._verification is None else self._verification.check_name(self.transport.getHandle())
        if refusal:
            self._fail(refusal)
            self.transport.abortConnection()
            return
        self.transport.registerProducer(self.wire, True)
        if not self.ready.called:
            local, peer = text_of(self.transport.getHost()), text_of(self.transport.getPeer())
            self.ready.callback(Opened(self.wire, self.wire, local, peer, self))

    def dataReceived(self, data: bytes) -> None:
        """Pass it to the stream."""
        self.wire.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Closed, in order or not."""
        words = _said(reason.value)
        self._fail("" if self._verification is None else self._verification.refusal, words)
        self.wire.end(None if reason.check(error.ConnectionDone) else OSError(errno.ECONNRESET, words))
        self.gone.callback(None)

    def unwritten(self) -> int:
        """What waits in Twisted's buffers, encrypted; it gathers small writes up to the next turn of the reactor."""
        if self._gathered is None:
            self._gathered = self._reactor.callLater(0, lambda: None)
        below = self.transport.transport
        return int(self._gathered.active()) + len(below.dataBuffer) + int(below._tempDataLen)

    def hang_up(self, *, reset: bool) -> None:
        """Announce the close, or reset the TCP connection below; what still comes is dropped."""
        if reset:
            self.transport.abortConnection()
        else:
            self.close()
            self.wire.watch(-1, Unread(self.wire), _IN)

    def close(self) -> None:
        """Announce the close, and close."""
        self.wire.shutdown(socket.SHUT_WR)

    def _fail(self, refusal: str, words: str = "") -> None:
        """There is no connection: the certificate is refused, or TLS failed by what ``words`` say."""
        if not self.ready.called:
            why = f"its certificate is refused: {refusal}; {_FLAGS}" if refusal else f"no TLS came about: {words}"
            self.ready.errback(LoadError(f"cannot connect to {self._name}: {why}"))


@implementer(IPushProducer)
class TlsWire:
    """A stream's socket and lane over TLS, and its transport's producer."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, lane: Lane, transport: Any) -> None:
        self.transport = transport
        self.clock = lane.clock
        self.view = lane.view
        self.copy_view = lane.copy_view
        self._reactor = reactor
        self._owner: Owner | None = None
        self._events = 0
        self._paused = False
        self._closing = False
        self._chunks: deque[memoryview] = deque()
        self._end: OSError | None = None
        self._ended = False
        self._soon: IDelayedCall | None = None

    # What the connection reports

    def received(self, octets: bytes) -> None:
        """Offer them to the stream; if the stream does not take them, pause the transport."""
        self._chunks.append(memoryview(octets))
        self._offer()
        if self._chunks:
            self.transport.pauseProducing()

    def end(self, broken: OSError | None) -> None:
        """The connection is closed: in order, or by an error that the next read raises."""
        self._ended = True
        self._end = broken
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._offer()

    # What the transport asks of its producer

    def pauseProducing(self) -> None:
        """The transport has enough for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It can take more."""
        self._paused = False
        self._turn_soon()

    def stopProducing(self) -> None:
        """The connection is lost; ``end`` follows."""
        self._paused = True

    # A socket to its stream

    def fileno(self) -> int:
        """Of the TCP socket below: what the kernel still holds is asked there."""
        return -1 if self._ended else int(self.transport.fileno())

    def send(self, octets: memoryview | bytes) -> int:
        """Take some; BlockingIOError where the transport has enough."""
        if self._ended or self._closing:
            raise OSError(errno.EPIPE, "Broken pipe")
        if self._paused:
            raise BlockingIOError
        if self.transport.transport.disconnecting:  # the target has closed, and all we write is thrown away
            self._paused = True
            self.transport.unregisterProducer()  # for which the transport would wait
            raise BlockingIOError
        taken = min(len(octets), WRITE_BYTES)
        self.transport.write(bytes(octets[:taken]))
        return taken

    def recv_into(self, buffer: memoryview, nbytes: int = 0, flags: int = 0) -> int:
        """As a socket's; with ``MSG_TRUNC`` nothing is copied."""
        if self._chunks:
            chunk = self._chunks.popleft()
            size = min(len(chunk), len(buffer))
            if flags & socket.MSG_TRUNC:
                return len(chunk)
            buffer[:size] = chunk[:size]
            if size < len(chunk):
                self._chunks.appendleft(chunk[size:])
            return size
        if not self._ended:
            raise BlockingIOError
        if self._end is not None:
            problem, self._end = self._end, None
            raise problem
        return 0

    def shutdown(self, how: int) -> None:
        """No more is written; the close is announced after what was."""
        if not self._closing:
            self._closing = True
            with suppress(AttributeError):  # without a producer, before the handshake
                self.transport.unregisterProducer()
            self.transport.loseConnection()

    def getsockopt(self, level: int, option: int) -> int:
        """No error is kept: ``recv_into`` has raised it."""
        return 0

    # A lane to its stream

    @property
    def round_began(self) -> float:
        """Now: a transport does not say when it saw the data."""
        return self.clock()

    def watch(self, fd: int, owner: Owner, events: int) -> None:
        """Call ``owner.ready`` from now on, never from within this call."""
        self._owner = owner
        self.change(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Wait for other events."""
        self._events = events
        self._turn_soon()

    def forget(self, fd: int) -> None:
        """Call nobody any more."""
        self._owner = None

    def _turn_soon(self) -> None:
        if self._soon is None:
            self._soon = self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._soon = None
        if self._chunks or self._ended:
            self._offer()
            if not self._chunks and not self._ended:
                self.transport.resumeProducing()
        if self._events & _OUT and (self._ended or not self._paused):
            self._call(_OUT)
            if self._owner is not None and self._events & _OUT and not self._paused:
                self._turn_soon()

    def _offer(self) -> None:
        """What has come, and the end after it."""
        while self._owner is not None and self._events & _IN and self._chunks:
            before = len(self._chunks), len(self._chunks[0])
            self._call(_IN)
            if self._chunks and (len(self._chunks), len(self._chunks[0])) == before:
                return
        if self._ended and not self._chunks and self._owner is not None and self._events & _IN:
            self._call(_IN)

    def _call(self, events: int) -> None:
        owner = self._owner
        if owner is None:
            return
        try:
            owner.ready(events)
        except Exception:
            self.log.failure("a stream over TLS failed by our own fault")
            self._owner = None
            owner.failed()


class Unread:
    """Takes the place of a stream that has left: what comes is read and dropped."""

    def __init__(self, wire: TlsWire) -> None:
        self._wire = wire

    def ready(self, events: int) -> None:
        """Read all there is."""
        with suppress(OSError):
            while self._wire.recv_into(self._wire.view, 0, socket.MSG_TRUNC):
                pass
            self._wire.forget(-1)

    def failed(self) -> None:
        """Nothing more can be done."""


def _said(problem: BaseException | None) -> str:
    """An error of the connection or of OpenSSL, in words."""
    if isinstance(problem, error.ConnectionDone):
        return "the target closed the connection"
    if isinstance(problem, error.ConnectionLost):
        return TARGET_RESET
    parts = problem.args[0] if problem is not None and problem.args else ""
    if isinstance(parts, list | tuple):
        words = "; ".join(str(part[-1]) for part in parts if part)
        return f"{words} (does the target speak TLS?)" if "version" in words or "record" in words else words
    return " ".join(str(problem).split()) or type(problem).__name__
