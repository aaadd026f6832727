from __future__ import annotations

import pytest

from ctrlserver.client.target import TLS, UDP, Target, parse_admin, parse_target
from ctrlserver.errors import UsageError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:22222", "127.0.0.1", 22222),
        ("[::1]:22222", "::1", 22222),
        ("test-box.example:1", "test-box.example", 1),
        ("my_web_1:1", "my_web_1", 1),
        ("[fe80::1%eth0]:5", "fe80::1%eth0", 5),
        ("a" * 63 + ":5", "a" * 63, 5),
        ("unix:/" + "x" * 106, "", 0),
        ("unix:///run/x.sock", "", 0),
        ("unix:/run/x.sock", "", 0),
        ("unix:22222", "", 0),
        ("ssl:test-box:22222:hostname=x", "", 0),
        ("tcp:127.0.0.1:22222", "127.0.0.1", 22222),
        ("tcp:[::1]:22222", "::1", 22222),
        ("tcp:my_web_1:22222", "my_web_1", 22222),
        ("tcp:tcp:22222", "tcp", 22222),
        ("[fe80::1%eth0]:22222", "fe80::1%eth0", 22222),
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


NEITHER = [
    ("tcp://127.0.0.1:5", 'is a URL: expected HOST:PORT; did you mean "127.0.0.1:5"?'),
    ("http://test-box/stats?a=b", 'did you mean "test-box:80"?'),
    ("https://me@test-box/", 'is a URL: expected ssl:HOST:PORT; did you mean "ssl:test-box:443"?'),
    ("a" * 64 + ":5", "a part of a host name has 1 to 63 characters"),
    ("a..b:5", '"a..b" is not a host name'),
    ("tcp:a..b:5", '"a..b" is not a host name'),
    ("[fe80::1]:5", "a link-local address is written with its interface, such as [fe80::1%eth0]:5"),
    ("unix:/" + "x" * 107, "the path of a unix socket has at most 107 bytes, not 108"),
    ("unix:path=/" + "\u00e9" * 60 + ":timeout=5", "not 121"),
]
"""What is the address of no target and of no admin port, and what is said of it."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/run/admin.sock", "unix:/run/admin.sock"),
        ("./a:b.sock", "unix:./a\\:b.sock"),
        ("run/admin.sock", "unix:run/admin.sock"),
        ("unix:/run/admin.sock", "unix:/run/admin.sock"),
    ],
)
def test_an_admin_port_may_be_the_path_of_a_unix_socket(text: str, expected: str) -> None:
    assert Target(expected) == parse_admin(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("localhost", 'did you mean "localhost:22223"?'),
        ("udp:127.0.0.1:22223", "an admin port is asked over TCP or a unix socket"),
        ("tcp:22223", 'did you mean "127.0.0.1:22223"?'),
        ("a\tb:5", "an address has no such characters"),
        *NEITHER,
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
        ("udp://127.0.0.1:5", 'is a URL: expected udp:HOST:PORT; did you mean "udp:127.0.0.1:5"?'),
        ("tcp://test-box", 'did you mean "test-box:22222"?'),
        ("udp:" + "a" * 64 + ":5", "a part of a host name has 1 to 63 characters"),
        ("tls:a..b:5", '"a..b" is not a host name'),
        *NEITHER,
        ("127.0.0.1:0", "the port must be 1 to 65535"),
        ("127.0.0.1:65536", "the port must be 1 to 65535"),
        ("::1:22222", "an IPv6 address is written in brackets, such as [::1]:22222"),
        ("[nonsense]:1", "is not an IPv6 address"),
        ("/run/x.sock", 'did you mean "unix:/run/x.sock"?'),
        ("unix:", '"unix:" has no path: expected unix:PATH'),
        ("tcp4:127.0.0.1:5", 'did you mean "127.0.0.1:5"?'),
        ("tcp6:[::1]:5", 'did you mean "[::1]:5"?'),
        ("udp4:127.0.0.1:5", 'did you mean "udp:127.0.0.1:5"?'),
        ("127.0.0.1:5/stats", 'did you mean "127.0.0.1:5"?'),
        ("127.0.0.1:http", '"http" is no port: expected a number from 1 to 65535'),
        ("localhost:+5", '"+5" is no port'),
        ("[::1]:0x5", '"0x5" is no port'),
    ],
)
def test_what_is_no_address_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(text)
    assert words in str(caught.value)
