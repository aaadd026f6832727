from __future__ import annotations

import socket
from pathlib import Path

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from ctrlserver.admin.levels import Level, base_level, strangers
from ctrlserver.admin.session import Access, access_of
from ctrlserver.config.tree import AdminConfig
from ctrlserver.errors import ConfigError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_a_loopback_address_is_for_this_machine(host: str) -> None:
    kind = IPv6Address if ":" in host else IPv4Address
    assert "" == strangers(kind("TCP", host, 22223))


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "fe80::1%eth0", "::ffff:10.0.0.1"])
def test_any_other_address_is_for_the_network(host: str) -> None:
    kind = IPv6Address if ":" in host else IPv4Address
    assert "everybody on the network" == strangers(kind("TCP", host, 22223))


@pytest.mark.parametrize(
    ("mode", "who"),
    [
        (0o600, ""),
        (0o660, ""),
        (0o664, ""),
        (0o666, "every user of this machine"),
        (0o602, "every user of this machine"),
    ],
)
def test_a_unix_socket_is_for_those_who_may_write_to_it(tmp_path: Path, mode: int, who: str) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        path.chmod(mode)
        assert who == strangers(UNIXAddress(bytes(path)))


def test_a_unix_socket_without_a_file_is_for_every_user() -> None:
    assert "every user of this machine" == strangers(UNIXAddress(b"\0name"))


def test_a_unix_socket_whose_file_cannot_be_seen_may_be_open_to_every_user(tmp_path: Path) -> None:
    gone = UNIXAddress(bytes(tmp_path / "gone.sock"))
    assert "every user of this machine" == strangers(gone)
    assert Level.OPERATOR is base_level(gone)


LOOPBACK, NETWORK = IPv4Address("TCP", "127.0.0.1", 5), IPv4Address("TCP", "0.0.0.0", 5)
ABSTRACT = UNIXAddress(b"\0name")
SECRET = b"0123456789abcdef"


def test_without_a_secret_the_address_of_a_port_decides_the_level(tmp_path: Path) -> None:
    assert Level.OPERATOR is base_level(LOOPBACK)
    assert Level.VIEWER is base_level(NETWORK)
    assert Level.VIEWER is base_level(LOOPBACK, proxied=True)
    assert Level.OPERATOR is base_level(ABSTRACT)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "a.sock"))
        for mode, level in ((0o600, Level.ADMIN), (0o660, Level.ADMIN), (0o666, Level.OPERATOR)):
            (tmp_path / "a.sock").chmod(mode)
            assert level is base_level(UNIXAddress(bytes(tmp_path / "a.sock")))


@pytest.mark.parametrize(
    ("begins", "reachable", "address", "level", "secret"),
    [
        ("operator", "operator", LOOPBACK, None, None),
        ("viewer", "viewer", NETWORK, None, None),
        ("viewer", "viewer", LOOPBACK, "viewer", None),
        ("viewer", "viewer", NETWORK, "viewer", SECRET),
        ("viewer", "operator", NETWORK, "operator", SECRET),
        ("viewer", "admin", NETWORK, None, SECRET),
        ("operator", "admin", LOOPBACK, "admin", SECRET),
    ],
)
def test_a_peer_begins_with_what_the_port_may_grant_and_auth_reaches_its_level(
    begins: str, reachable: str, address: IPv4Address, level: str | None, secret: bytes | None
) -> None:
    access = access_of(AdminConfig("tcp:5", level), address, secret)
    assert (begins, reachable) == (str(access.begins), str(access.reachable))


def test_on_a_unix_socket_the_config_may_grant_more_than_its_mode_says() -> None:
    config = AdminConfig(r"unix:/run/a.sock:mode=666", "admin")
    assert Level.ADMIN is access_of(config, ABSTRACT, None).begins
    assert Level.OPERATOR is access_of(AdminConfig("unix:/run/a.sock:mode=666"), ABSTRACT, None).begins


@pytest.mark.parametrize("endpoint", ["systemd:domain=INET:index=0", "haproxy:unix:/run/a.sock"])
def test_a_level_above_that_of_the_bound_address_needs_a_secret(endpoint: str) -> None:
    with pytest.raises(ConfigError, match='level "admin" needs auth = "FILE" on this port; did you mean level = '):
        access_of(AdminConfig(endpoint, "admin"), NETWORK, None)
    assert Level.VIEWER is access_of(AdminConfig(endpoint, "admin"), NETWORK, SECRET).begins


def test_a_secret_is_shown_nowhere() -> None:
    assert "0123" not in repr(Access(secret=SECRET))
