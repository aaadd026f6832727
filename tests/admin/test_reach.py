from __future__ import annotations

import socket
from pathlib import Path

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from ctrlserver.admin.reach import strangers


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
