"""A connect to a ``Target``, bounded in time.

Rules: name resolution counts as part of the connect. A failure is a ``LoadError`` in one line that names the target and
the reason.
"""

from __future__ import annotations

import os
from typing import cast

from twisted.internet import defer, error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, clientFromString
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from ctrlserver.addresses import ip_version
from ctrlserver.client.target import Target
from ctrlserver.errors import LoadError, UsageError
from ctrlserver.words import quoted

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (error.ConnectionRefusedError, "connection refused: nothing listens there"),
    (error.DNSLookupError, "the host name does not resolve"),
    (error.NoRouteError, "no route to the host"),
    (error.ConnectBindError, "no local port is free"),
)


def endpoint_of(target: Target, reactor: object, timeout: float) -> IStreamClientEndpoint:
    """What connects to ``target``: plain TCP where it has a host; UsageError where Twisted does not understand it."""
    version = ip_version(target.host)
    if version == 4:
        return TCP4ClientEndpoint(reactor, target.host, target.port, timeout=timeout)
    if version == 6:
        return TCP6ClientEndpoint(reactor, target.host, target.port, timeout=timeout)
    if target.host:
        return HostnameEndpoint(reactor, target.host, target.port, timeout=timeout)
    try:
        return cast("IStreamClientEndpoint", clientFromString(reactor, target.text))
    except Exception as problem:  # plugins parse the string: what they raise is not ours to know
        raise UsageError(_misunderstood(target.text, problem)) from None


def _misunderstood(text: str, problem: Exception) -> str:
    words = f"{quoted(text)} is neither HOST:PORT nor a Twisted client endpoint"
    said = " ".join(str(problem).split())
    return f"{words}: {said}" if said else words


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

    connecting.addTimeout(timeout, reactor, too_late)
    connecting.addErrback(refused)
    return connecting


def connect_reason(problem: BaseException, timeout: float) -> str:
    """Why a connect failed, for a person."""
    for kind, words in _REASONS:
        if isinstance(problem, kind):
            return words
    if isinstance(problem, error.TimeoutError | error.ConnectingCancelledError | defer.TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(problem, error.ConnectError) and isinstance(problem.osError, OSError):
        return problem.osError.strerror or str(problem.osError)
    if isinstance(problem, error.ConnectError) and isinstance(problem.osError, int):
        return os.strerror(problem.osError)
    return " ".join(str(problem).split()) or type(problem).__name__
