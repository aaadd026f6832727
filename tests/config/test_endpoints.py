from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import endpoints as twisted_endpoints

from ctrlserver.config.endpoints import _parts, check_endpoint, is_any_port, private
from ctrlserver.errors import ConfigError
from tests.config.messages import one_line_of


def message_of(text: str) -> str:
    return one_line_of(lambda: check_endpoint(text))


@pytest.mark.parametrize(
    "text",
    [
        "tcp:22222",
        "tcp:0",
        "tcp:65535:interface=127.0.0.1",
        "tcp:port=22222",
        "tcp:22222:127.0.0.1:50",
        r"tcp:22222:interface=\:\:1",
        r"tcp6:22222:interface=\:\:1",
        "unix:/run/data.sock",
        "unix:/run/data.sock:mode=660:lockfile=0",
        "haproxy:tcp:22222",
        r"haproxy:tcp6:22222:interface=\:\:1",
        "haproxy:unix:/run/data.sock",
    ],
)
def test_a_good_endpoint_is_taken(text: str) -> None:
    check_endpoint(text)


@pytest.mark.parametrize(
    ("nearest", "text"),
    [
        ("tcp:22222", "22222"),
        ("tcp:22222", ":22222"),
        ("tcp:22222", "tpc:22222"),
        ("tcp:22222", "TCP:22222"),
        ("tcp:22222:interface=127.0.0.1", "tpc:22222:interface=127.0.0.1"),
        ("tcp:22222:interface=127.0.0.1", "127.0.0.1:22222"),
        ("tcp:22222:interface=127.0.0.1", "localhost:22222"),
        ("tcp:22222:interface=127.0.0.1", "tcp:localhost:22222"),
        ("tcp:22222", "0.0.0.0:22222"),
        ("tcp:22222", "*:22222"),
        ("tcp:65535", "tcp:70000"),
        (r"tcp6:65535:interface=\:\:1", r"tcp6:70000:interface=\:\:1"),
        (r"tcp:22222:interface=\:\:1", "tcp:22222:interface=::1"),
        ("unix:/run/data.sock", "/run/data.sock"),
        ("unix:./data.sock", "./data.sock"),
        ("tcp:22222", "tcp://0.0.0.0:22222"),
        ("tcp:22222:interface=127.0.0.1", "tcp://127.0.0.1:22222/"),
        ("udp:22222:interface=127.0.0.1", "udp://127.0.0.1:22222"),
        ("tcp:80:interface=127.0.0.1", "http://127.0.0.1:80/stats?a=b"),
        ("tcp:8080", "ws://0.0.0.0:8080"),
        ("tcp:22222", "example.com:22222"),
        ("tcp6:22222", "[::]:22222"),
        (r"tcp:22222:interface=\:\:1", "[::1]:22222"),
        (r"tcp:22222:interface=\:\:1", "::1:22222"),
        (r"tcp:22222:interface=\:\:1", "tcp:[::1]:22222"),
        (r"tcp:22222:interface=\:\:1", "tcp://[::1]:22222"),
        (r"udp:22222:interface=\:\:1", "udp:[::1]:22222"),
        (r"tcp:22222:interface=fe80\:\:1%eth0", "[fe80::1%eth0]:22222"),
        ("tcp:22222", "tcp: 22222"),
        ("tcp:22222", "tcp:22222 "),
        ("udp:22222:interface=127.0.0.1", "udp:127.0.0.1:22222"),
    ],
)
def test_a_slip_is_told_with_the_nearest_good_endpoint(nearest: str, text: str) -> None:
    assert message_of(text).endswith(f'; did you mean "{nearest}"?')
    check_endpoint(nearest)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ('unknown type "sctp": expected an endpoint such as tcp:PORT or unix:PATH', "sctp:22222"),
        ('port "70000": expected a port from 0 to 65535', "udp:70000"),
        ("an address without a port: expected tcp:PORT[:interface=ADDRESS]", "localhost:"),
        ("an address without a port: expected tcp:PORT[:interface=ADDRESS]", "0.0.0.0"),
        ("an address without a port: expected tcp:PORT[:interface=ADDRESS]", "[::1]"),
        ('interface "300.1.1.1": expected an address such as 127.0.0.1', "tcp:22222:interface=300.1.1.1"),
        ('interface "a b": expected an address such as 127.0.0.1', "tcp6:22222:interface=a b"),
        ('unknown type ""', ""),
        (r'endpoint "unx:/a\nb": unknown type "unx"', "unx:/a\nb"),
        ("no port: expected tcp:PORT", "tcp"),
        ("no port: expected tcp:PORT", "tcp:"),
        ('port "abc": expected a port from 0 to 65535', "tcp:abc"),
        ('port "-1": expected a port from 0 to 65535', "tcp:-1"),
        ('port "٣": expected a port from 0 to 65535', "tcp:٣"),
        (r'port "\n5": expected a port from 0 to 65535', "tcp:\n5"),
        (
            'unknown argument "intrface": expected tcp:PORT[:interface=ADDRESS]; did you mean "interface"?',
            "tcp:1:intrface=a",
        ),
        ("too many arguments", "tcp:1:2:3:4"),
        ("too many arguments", "tcp:1:port=2"),
        ('backlog "x": expected a number from 1 to 65535', "tcp:1:backlog=x"),
        ("no path: expected unix:PATH", "unix:"),
        ('mode "999": expected octal permissions such as 660', "unix:/a:mode=999"),
        ('lockfile "yes": expected 0 or 1', "unix:/a:lockfile=yes"),
        ("expected a path of 1 to 107 bytes", "unix:/" + "x" * 107),
        ("systemd has handed over no such socket", "systemd:domain=INET:index=0"),
        ("expected ssl:PORT:privateKey=FILE", "ssl:443:privateKey=/nowhere/key.pem"),
        (
            'no folder "22222" of certificates and keys: expected tls:FOLDER:PORT; '
            'did you mean "ssl:22222:privateKey=..."?',
            "tls:22222",
        ),
        ('no folder "/nowhere" of certificates and keys: expected tls:FOLDER:PORT', "tls:/nowhere:22222"),
        ('no folder ""', "tls"),
        ("expected an endpoint such as", "tcp:5\\"),
        ("expected an endpoint such as", "port=5"),
    ],
)
def test_a_bad_endpoint_is_told_with_what_was_expected(expected: str, text: str) -> None:
    assert expected in message_of(text)


def test_tls_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    assert "pip install pyopenssl service-identity" in message_of("ssl:0:privateKey=/nowhere/key.pem")


@settings(deadline=None, max_examples=50)
@given(text=st.one_of(st.text(), st.from_regex(r"\A(tcp6?|unix|haproxy)(:[a-z0-9=\\.]{0,8}){0,4}\Z")))
def test_any_text_is_an_endpoint_or_one_line(text: str) -> None:
    try:
        check_endpoint(text)
        message = ""
    except ConfigError as error:
        message = str(error)
    nearest = re.search('did you mean "(.*)"', message)

    assert len(message.splitlines()) == bool(message)
    if nearest and ":" in nearest[1]:
        check_endpoint(nearest[1])


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (True, "tcp:0"),
        (True, "tcp:port=0"),
        (False, "tcp:22222"),
        (False, "unix:/a"),
        (True, "tcp:0:interface=127.0.0.1"),
    ],
)
def test_any_port_is_known_where_the_system_chooses(expected: bool, text: str) -> None:
    assert expected is is_any_port(text)


def test_an_endpoint_is_checked_without_the_reactor() -> None:
    """The suite has a reactor, so a fresh interpreter is asked."""
    program = (
        "import sys; from ctrlserver.config import check_endpoint; check_endpoint('tcp6:22222'); "
        "print('twisted.internet.reactor' in sys.modules)"
    )
    assert (
        "False\n" == subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("udp:5:interface=nosuch", 'interface "nosuch": expected an address such as 127.0.0.1, for datagrams'),
        ("udp:5:localhost", 'bound to no name; did you mean "udp:5:interface=127.0.0.1"?'),
    ],
)
def test_udp_is_bound_to_an_address_and_no_name(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_endpoint(text)
    assert expected in str(caught.value)
    check_endpoint(r"udp:5:interface=\:\:1")
    check_endpoint("udp:5")


@given(st.text(st.sampled_from("tcp:=\\\n8"), max_size=12))
def test_a_string_is_cut_as_twisted_cuts_it(text: str) -> None:
    # Twisted's own parser is private: where it goes or changes, this test says so and the server goes on.
    try:
        (kind, *arguments), keywords = twisted_endpoints._parse(text)
    except (RuntimeError, ValueError):
        with pytest.raises(ConfigError):
            _parts(text)
    else:
        assert (kind, arguments, keywords) == _parts(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:/run/a.sock", "unix:/run/a.sock:mode=600"),
        ("unix:address=/run/a.sock:backlog=9", "unix:address=/run/a.sock:backlog=9:mode=600"),
        ("haproxy:unix:/run/a.sock", "haproxy:unix:/run/a.sock:mode=600"),
        ("unix:/run/a.sock:mode=660", "unix:/run/a.sock:mode=660"),
        ("unix:/run/a.sock:666", "unix:/run/a.sock:666"),
        ("tcp:22223", "tcp:22223"),
        ("systemd:domain=UNIX:index=0", "systemd:domain=UNIX:index=0"),
    ],
)
def test_a_private_unix_socket_is_its_owners_unless_a_mode_says_otherwise(text: str, expected: str) -> None:
    assert expected == private(text)
