from __future__ import annotations

import errno
import socket
import sys
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import defer, error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.client.connect import NO_LOCAL_PORT, TARGET_RESET, connect, connect_reason, endpoint_of
from ctrlserver.client.target import parse_admin, parse_target
from ctrlserver.errors import LoadError, UsageError
from ctrlserver.load.opening.tls import Verification
from tests.peers import Sink
from tests.servers import Servers, quiet, reactor, refusing


@pytest.mark.parametrize("text", ["udb:127.0.0.1:22222", "tpc:127.0.0.1:22222", "test-box:x", "tcp:a"])
def test_an_endpoint_twisted_does_not_know_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="neither HOST:PORT nor a Twisted client endpoint") as caught:
        endpoint_of(parse_target(text), reactor)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package", ["OpenSSL", "service_identity.pyopenssl"])
@pytest.mark.parametrize("text", ["tls:localhost:5", "ssl:localhost:5", "TLS:localhost:5:trustRoots=/"])
def test_tls_without_its_packages_says_what_to_install(
    text: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=r"^TLS needs two packages: pip install pyopenssl service-identity$"):
        endpoint_of(parse_admin(text), reactor)
    with pytest.raises(UsageError, match="TLS needs two packages"):
        Verification("localhost", None, insecure=True)


@pytest_twisted.ensureDeferred
async def test_a_failed_connect_is_one_line_that_names_the_target() -> None:
    target = refusing()
    with pytest.raises(LoadError, match="cannot connect to there: connection refused"):
        await connect(reactor, endpoint_of(target, reactor), quiet(Sink), "there", 1.0)


@pytest_twisted.ensureDeferred
async def test_a_name_that_no_domain_may_have_is_asked_of_the_system(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(host: str, port: int, *_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        assert "my_web_1" == host
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    target = servers.listen(Sink)
    monkeypatch.setattr(reactor.nameResolver, "_getaddrinfo", resolve)
    named = parse_target(f"my_web_1:{target.port}")
    connected: Any = await connect(reactor, endpoint_of(named, reactor), quiet(Protocol), "there", 1.0)
    assert target.port == connected.transport.getPeer().port
    connected.transport.loseConnection()


@implementer(IStreamClientEndpoint)
class Slow:
    """An endpoint that never connects."""

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  (Twisted's name)
        return Deferred()


def test_a_connect_is_bounded_in_time() -> None:
    clock = Clock()
    connecting = connect(clock, Slow(), quiet(Sink), "there", 3.0)
    clock.pump([0.1] * 29)
    assert not connecting.called
    clock.pump([0.1] * 6)
    failures: list[Failure] = []
    connecting.addErrback(failures.append)
    assert ["cannot connect to there: no answer within 3 s"] == [str(failure.value) for failure in failures]


def test_a_connect_that_is_made_during_a_pause_of_the_process_is_in_time() -> None:
    clock, made = Clock(), Protocol()

    @implementer(IStreamClientEndpoint)
    class Later:
        def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  (Twisted's name)
            return waiting

    waiting: Deferred[IProtocol] = Deferred()
    connecting = connect(clock, Later(), quiet(Sink), "there", 3.0)
    clock.advance(100.0)
    waiting.callback(made)
    heard: list[IProtocol] = []
    connecting.addCallback(heard.append)
    assert ([made], []) == (heard, clock.getDelayedCalls())


@pytest.mark.parametrize("text", ["127.0.0.1:5", "[::1]:5", "localhost:5"])
def test_no_timer_of_twisted_bounds_a_connect(text: str) -> None:
    """They do not know that the process was paused."""
    assert vars(endpoint_of(parse_target(text), reactor))["_timeout"] is None


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (error.DNSLookupError("x"), "the host name does not resolve"),
        (error.NoRouteError(), "no route to the host"),
        (error.TimeoutError(), "no answer within 3 s"),
        (defer.TimeoutError(), "no answer within 3 s"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "the host name does not resolve"),
        (error.ConnectError(errno.EADDRNOTAVAIL), NO_LOCAL_PORT),
        (error.ConnectError(OSError(errno.EADDRNOTAVAIL, "x")), NO_LOCAL_PORT),
        (error.ConnectBindError(errno.EADDRINUSE), NO_LOCAL_PORT),
        (error.ConnectError(errno.ECONNRESET, "x"), TARGET_RESET),
        (error.ConnectError(errno.EPIPE, "x"), TARGET_RESET),
        (error.ConnectError(OSError(errno.ECONNABORTED, "x")), TARGET_RESET),
        (error.ConnectError(OSError(2, "No such file or directory")), "No such file or directory"),
        (ValueError("a\nb"), "a b"),
        (ValueError(), "ValueError"),
    ],
)
def test_why_a_connect_failed_is_told_in_words(problem: Exception, words: str) -> None:
    assert words == connect_reason(problem, 3.0)


def test_a_unix_socket_that_is_not_there_is_told_by_the_systems_own_words() -> None:
    assert "No such file or directory" == connect_reason(error.ConnectError(errno.ENOENT, "gone"), 1.0)
