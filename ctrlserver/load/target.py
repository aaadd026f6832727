"""Where to connect: ``host:port``, ``[v6]:port`` or a Twisted client endpoint string; and why it did not work.

Rules: an address that cannot be understood is a usage error before anything is opened. A connect is bounded in time,
name resolution included, and its failure is a ``LoadError`` in one line.
"""

from __future__ import annotations

import re
from typing import cast

from attrs import frozen
from twisted.internet import defer, error
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, clientFromString
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from ctrlserver.errors import LoadError, UsageError
from ctrlserver.units import quoted

_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]/=]+)):(?P<port>\d{1,5})", re.ASCII)

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (error.ConnectionRefusedError, "connection refused: nothing listens there"),
    (error.DNSLookupError, "the host name does not resolve"),
    (error.NoRouteError, "no route to the host"),
    (error.ConnectBindError, "no local port is free"),
)


@frozen
class Target:
    """One address. ``text`` is as given; ``host`` is empty where it is an endpoint string."""

    text: str
    host: str = ""
    port: int = 0

    def endpoint(self, reactor: object, timeout: float) -> IStreamClientEndpoint:
        """The endpoint to connect with; ``UsageError`` where Twisted does not understand the string."""
        if isIPAddress(self.host):
            return TCP4ClientEndpoint(reactor, self.host, self.port, timeout=timeout)
        if isIPv6Address(self.host):
            return TCP6ClientEndpoint(reactor, self.host, self.port, timeout=timeout)
        if self.host:
            return HostnameEndpoint(reactor, self.host, self.port, timeout=timeout)
        try:
            return cast("IStreamClientEndpoint", clientFromString(reactor, self.text))
        except Exception as problem:  # plugins parse the string: what they raise is not ours to know
            raise UsageError(_misunderstood(self.text, problem)) from None


def parse_target(text: str) -> Target:
    """``host:port``, ``[v6]:port``, or an endpoint string, which only ``endpoint`` can check to the end."""
    if not text.isprintable():
        raise UsageError(f"{quoted(text)}: an address has no such characters")
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        if ":" not in text:
            raise UsageError(f"{quoted(text)} has no port: expected HOST:PORT or a Twisted client endpoint")
        host, _, port = text.rpartition(":")
        if isIPv6Address(host):
            raise UsageError(f"{quoted(text)}: an IPv6 address is written in brackets, such as [{host}]:{port}")
        return Target(text)
    number = int(match["port"])
    if not 1 <= number <= 65535:
        raise UsageError(f"{quoted(text)}: the port must be 1 to 65535")
    if match["v6"] is not None and not isIPv6Address(match["v6"]):
        raise UsageError(f"{quoted(text)}: {quoted(match['v6'])} is not an IPv6 address")
    return Target(text, match["v6"] or match["host"], number)


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
    return " ".join(str(problem).split()) or type(problem).__name__


def address_text(address: IAddress | None) -> str:
    """``host:port``, ``[v6]:port`` or the path of a unix socket; empty where there is none."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if isinstance(host, str) and isinstance(port, int):
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    name = getattr(address, "name", None)
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else ""
