from __future__ import annotations

import errno

import pytest
import pytest_twisted
from twisted.internet import defer, error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.client.target import (
    TLS,
    UDP,
    Target,
    connect,
    connect_reason,
    parse_admin,
    parse_target,
)
from ctrlserver.errors import LoadError, UsageError
from tests.servers import Sink, quiet, reactor, refusing


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:22222", "127.0.0.1", 22222),
        ("[::1]:22222", "::1", 22222),
        ("test-box.example:1", "test-box.example", 1),
        ("unix:/run/x.sock", "", 0),
        ("unix:22222", "", 0),
        ("ssl:test-box:22222:hostname=x", "", 0),
        ("tcp:127.0.0.1:22222", "", 0),
        ("tcp:host=127.0.0.1:port=22222", "", 0),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int) -> None:
    assert Target(text, host, port) == parse_target(text)


@pytest.mark.parametrize(
    ("text", "host", "port", "transport"),
    [
        ("udp:127.0.0.1:5", "127.0.0.1", 5, UDP),
        ("UDP:[::1]:5", "::1", 5, UDP),
        ("udp:localhost:5", "localhost", 5, UDP),
        ("ssl:localhost:5", "localhost", 5, TLS),
        ("tls:[::1]:5", "::1", 5, TLS),
    ],
)
def test_a_plain_address_may_say_its_transport(text: str, host: str, port: int, transport: str) -> None:
    assert Target(text, host, port, transport) == parse_target(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("localhost", 'did you mean "localhost:22223"?'),
        ("udp:127.0.0.1:22223", "an admin port is asked over TCP or a unix socket"),
        ("tcp:22223", 'did you mean "127.0.0.1:22223"?'),
        ("a\tb:5", "an address has no such characters"),
    ],
)
def test_what_is_no_address_of_an_admin_port_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_admin(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("localhost", 'has no port: expected HOST:PORT or a Twisted client endpoint; did you mean "localhost:22222"?'),
        ("localhost:", 'has no port: expected HOST:PORT or a Twisted client endpoint; did you mean "localhost:22222"?'),
        ("::1", 'did you mean "[::1]:22222"?'),
        (":22222", 'has no host: expected HOST:PORT or a Twisted client endpoint; did you mean "127.0.0.1:22222"?'),
        ("22222", 'did you mean "127.0.0.1:22222"?'),
        ("tcp:22222", '"tcp:22222" has no host; did you mean "127.0.0.1:22222"?'),
        ("ssl:22222", 'has no host; did you mean "ssl:127.0.0.1:22222"?'),
        ("tls:localhost", 'has no port; did you mean "tls:localhost:22222"?'),
        ("udp:localhost", 'expected udp:HOST:PORT; did you mean "udp:localhost:22222"?'),
        ("udp:22222", 'did you mean "udp:127.0.0.1:22222"?'),
        ("udp:::1", 'did you mean "udp:[::1]:22222"?'),
        ("udp:", "expected udp:HOST:PORT"),
        ("udp:a b:5:6", "expected udp:HOST:PORT"),
        ("udp:127.0.0.1:0", "the port must be 1 to 65535"),
        ("udp:127.0.0.1\n:5", "an address has no such characters"),
        ("", "has no port"),
        ("127.0.0.1:0", "the port must be 1 to 65535"),
        ("127.0.0.1:65536", "the port must be 1 to 65535"),
        ("::1:22222", "an IPv6 address is written in brackets, such as [::1]:22222"),
        ("[nonsense]:1", "is not an IPv6 address"),
    ],
)
def test_what_is_no_address_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["udb:127.0.0.1:22222", "tpc:127.0.0.1:22222", "127.0.0.1:x", "tcp:a"])
def test_an_endpoint_twisted_does_not_know_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="neither HOST:PORT nor a Twisted client endpoint") as caught:
        parse_target(text).check(reactor, 1.0)
    assert "\n" not in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_a_failed_connect_is_one_line_that_names_the_target() -> None:
    target = refusing()
    with pytest.raises(LoadError, match="cannot connect to there: connection refused"):
        await connect(reactor, target.endpoint(reactor, 1.0), quiet(Sink), "there", 1.0)


@implementer(IStreamClientEndpoint)
class Slow:
    """An endpoint that never connects."""

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  (Twisted's name)
        return Deferred()


def test_a_connect_is_bounded_in_time() -> None:
    clock = Clock()
    connecting = connect(clock, Slow(), quiet(Sink), "there", 3.0)
    clock.advance(2.9)
    assert not connecting.called
    clock.advance(0.2)
    failures: list[Failure] = []
    connecting.addErrback(failures.append)
    assert ["cannot connect to there: no answer within 3 s"] == [str(failure.value) for failure in failures]


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (error.DNSLookupError("x"), "the host name does not resolve"),
        (error.NoRouteError(), "no route to the host"),
        (error.TimeoutError(), "no answer within 3 s"),
        (defer.TimeoutError(), "no answer within 3 s"),
        (error.ConnectError(OSError(2, "No such file or directory")), "No such file or directory"),
        (ValueError("a\nb"), "a b"),
        (ValueError(), "ValueError"),
    ],
)
def test_why_a_connect_failed_is_told_in_words(problem: Exception, words: str) -> None:
    assert words == connect_reason(problem, 3.0)


def test_a_unix_socket_that_is_not_there_is_told_by_the_systems_own_words() -> None:
    assert "No such file or directory" == connect_reason(error.ConnectError(errno.ENOENT, "gone"), 1.0)
