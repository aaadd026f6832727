"""A connect to a ``Target``, bounded in time.

Rules: name resolution counts as part of the connect. What the system resolves is a name, ``my_web_1`` too. A failure is
a ``LoadError`` in one line that names the target and the reason.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, cast

from twisted.internet import defer, error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, clientFromString
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from ctrlserver.addresses import ip_version
from ctrlserver.client.target import Target
from ctrlserver.errors import LoadError, UsageError
from ctrlserver.looks import deadlines
from ctrlserver.words import quoted

#: Of an endpoint: Twisted's own timers know no pause of the process, and ``connect`` has the limit.
_NO_TIMEOUT: Any = None

NO_SUCH_HOST = "the host name does not resolve"

#: Why the kernel gives no local address and port; for an IPv6 target both may be the reason.
NO_LOCAL_PORT = "no local port is free, or this machine has no address that reaches it"

#: A target that rejects a connection may do so before it is seen to be made: the words are those of a later reset.
TARGET_RESET = "the target reset the connection"

#: Errors of a socket that mean it.
RESETS = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN)

#: Kinds of failures and their words, which may name the timeout.
_REASONS = (
    (error.ConnectionRefusedError, "connection refused: nothing listens there"),
    ((error.DNSLookupError, socket.gaierror), NO_SUCH_HOST),
    (error.NoRouteError, "no route to the host"),
    (error.ConnectBindError, NO_LOCAL_PORT),
    ((error.TimeoutError, error.ConnectingCancelledError, defer.TimeoutError), "no answer within {:g} s"),
)


class _Named(HostnameEndpoint):
    """A host name as ``getaddrinfo`` takes it. Twisted refuses names that no domain may have, such as ``my_web_1``."""

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        encoded = host.encode("idna") if isinstance(host, str) else host
        return False, encoded, encoded.decode("ascii")


def check_tls() -> None:
    """UsageError where TLS is not installed."""
    try:
        import OpenSSL.SSL  # noqa: F401
        import service_identity.pyopenssl  # noqa: F401
    except ImportError:
        raise UsageError("TLS needs two packages: pip install pyopenssl service-identity") from None


def endpoint_of(target: Target, reactor: object) -> IStreamClientEndpoint:
    """What connects to ``target``: plain TCP where it has a host; UsageError where Twisted does not understand it."""
    version = ip_version(target.host)
    if version == 4:
        return TCP4ClientEndpoint(reactor, target.host, target.port, timeout=_NO_TIMEOUT)
    if version == 6:
        return TCP6ClientEndpoint(reactor, target.host, target.port, timeout=_NO_TIMEOUT)
    if target.host:
        return _Named(reactor, target.host, target.port, timeout=_NO_TIMEOUT)
    if target.over_tls:
        check_tls()
    try:
        return cast("IStreamClientEndpoint", clientFromString(reactor, target.text))
    except Exception as problem:  # plugins parse the string: what they raise is not ours to know
        said = " ".join(str(problem).split())
        words = f"{quoted(target.text)} is neither HOST:PORT nor a Twisted client endpoint"
        raise UsageError(f"{words}: {said}" if said else words) from None


def connect(
    reactor: IReactorTime, endpoint: IStreamClientEndpoint, factory: IProtocolFactory, target: str, timeout: float
) -> Deferred[IProtocol]:
    """Connect within ``timeout`` seconds or fail with a ``LoadError`` in one line that names ``target``."""
    connecting: Deferred[IProtocol] = endpoint.connect(factory)

    def too_late(_: object, seconds: float) -> None:
        raise LoadError(f"cannot connect to {target}: no answer within {seconds:g} s")

    def refused(failure: Failure) -> None:
        if failure.value is None or isinstance(failure.value, CancelledError | LoadError):
            failure.raiseException()
        else:
            raise LoadError(f"cannot connect to {target}: {connect_reason(failure.value, timeout)}")

    connecting.addTimeout(timeout, deadlines(reactor), too_late)
    connecting.addErrback(refused)
    return connecting


def connect_reason(problem: BaseException, timeout: float) -> str:
    """Why a connect failed, for a person."""
    for kind, words in _REASONS:
        if isinstance(problem, kind):
            return words.format(timeout)
    cause = problem.osError if isinstance(problem, error.ConnectError) else None
    number = cause.errno if isinstance(cause, OSError) else cause
    if number == errno.EADDRNOTAVAIL:
        return NO_LOCAL_PORT
    if number in RESETS:
        return TARGET_RESET
    if isinstance(cause, OSError):
        return cause.strerror or str(cause)
    if isinstance(cause, int):
        return os.strerror(cause)
    return " ".join(str(problem).split()) or type(problem).__name__
