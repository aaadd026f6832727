from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from ctrlserver.addresses import host_of, host_port, ip_version, peer_name, peer_test, plain_address, text_of


@pytest.mark.parametrize(
    ("expected", "host"),
    [
        (4, "127.0.0.1"),
        (6, "::1"),
        (6, "fe80::1%eth0"),
        (None, "localhost"),
        (None, "1.2.3"),
        (None, "[::1]"),
        (None, ""),
    ],
)
def test_a_host_is_an_ip_address_or_a_name(expected: int | None, host: str) -> None:
    assert expected == ip_version(host)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("10.0.0.1", "10.0.0.1:5"), ("fe80::1", "[fe80::1]:5"), ("::ffff:10.0.0.1", "10.0.0.1:5"), ("::1", "[::1]:5")],
)
def test_a_peer_is_named_as_people_write_it(host: str, expected: str) -> None:
    assert expected == host_port(host, 5)


def test_addresses_are_written_as_a_person_gives_them() -> None:
    assert "127.0.0.1:5" == text_of(IPv4Address("TCP", "127.0.0.1", 5))
    assert "[::1]:5" == text_of(IPv6Address("TCP", "::1", 5))
    assert "/run/x" == text_of(UNIXAddress(b"/run/x"))
    assert "" == text_of(None)


@pytest.mark.parametrize(
    ("expected", "address"),
    [
        ("10.0.0.1:5", ("10.0.0.1", 5)),
        ("[::1]:5", ("::1", 5, 0, 0)),
        ("unix", ""),
        ("unix", "/run/peer"),
        ("10.0.0.1:5", IPv4Address("TCP", "::ffff:10.0.0.1", 5)),
        ("unix", UNIXAddress(b"/run/peer")),
        ("unix", None),
    ],
)
def test_a_peer_has_one_name_whichever_way_it_comes_in(expected: str, address: object) -> None:
    assert expected == peer_name(address)


@pytest.mark.parametrize(("expected", "text"), [("10.0.0.1", "10.0.0.1:5"), ("::1", "[::1]:5"), ("", "unix")])
def test_the_host_of_an_address_has_no_brackets(expected: str, text: str) -> None:
    assert expected == host_of(text)


def test_a_peer_is_meant_by_its_address_or_its_host() -> None:
    assert peer_test("10.0.0.1:5")("10.0.0.1:5")
    assert peer_test("[::1]")("[::1]:7")
    assert not peer_test("10.0.0.1:6")("10.0.0.1:5")
    assert not peer_test("")("unix")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("127.0.0.1:5", "[::ffff:127.0.0.1]:5"),
        ("[::1]:5", "::1:5"),
        ("[fe80::1%eth0]:5", "[fe80::1]:5"),
    ],
)
def test_two_views_of_one_address_are_the_same(one: str, other: str) -> None:
    assert plain_address(one) == plain_address(other)


def test_another_port_or_host_is_another_address() -> None:
    assert 3 == len({plain_address(text) for text in ("127.0.0.1:5", "127.0.0.1:6", "127.0.0.2:5")})
