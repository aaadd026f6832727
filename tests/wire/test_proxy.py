"""Claims about the header by which a proxy names its client."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.wire.proxy import ProxyHeader, WrongHeader, read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_2(addresses: bytes, family: int = 0x11, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(addresses)) + addresses


TCP4 = socket.inet_aton("203.0.113.7") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 56324, 443)
TCP6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "::1")
    + struct.pack("!HH", 56324, 443)
)
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:203.0.113.7") + bytes(16) + struct.pack("!HH", 56324, 443)

GOOD = [
    (b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n", ("203.0.113.7", 56324)),
    (b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\n", ("2001:db8::7", 56324)),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 56324 443\r\n", ("203.0.113.7", 56324)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    (version_2(TCP4), ("203.0.113.7", 56324)),
    (version_2(TCP4, family=0x12), ("203.0.113.7", 56324)),
    (version_2(TCP4 + b"\x04\x00\x03abc"), ("203.0.113.7", 56324)),
    (version_2(TCP6, family=0x21), ("2001:db8::7", 56324)),
    (version_2(MAPPED, family=0x21), ("203.0.113.7", 56324)),
    (version_2(b"", family=0x00, command=0x20), None),
    (version_2(TCP4, command=0x20), None),
    (version_2(b"", family=0x00), None),
    (version_2(bytes(216), family=0x31), None),
]


@pytest.mark.parametrize(("octets", "client"), GOOD)
def test_a_header_names_the_client_or_nobody_and_what_follows_is_not_its(
    octets: bytes, client: tuple[str, int] | None
) -> None:
    assert ProxyHeader(len(octets), client) == read_header(octets)
    assert ProxyHeader(len(octets), client) == read_header(octets + b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("octets", [octets for octets, _ in GOOD])
def test_a_header_is_awaited_however_it_is_cut(octets: bytes) -> None:
    assert all(read_header(octets[:end]) is None for end in range(len(octets)))


@pytest.mark.parametrize(
    "octets",
    [
        b"G",
        b"PROXY TCP5 1.2.3.4 1.2.3.5 1 2\r\n",
        b"PROXY TCP4 host 1.2.3.5 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 host 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 fe80::1%\x1b[31m ::1 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.5 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 65536 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2 \r\n",
        b"PROXY \r\n",
        b"PROXY UNKNOWN" + b"x" * 94,
        version_2(TCP4, command=0x11),
        version_2(TCP4, command=0x22),
        version_2(TCP4[:-1]),
        version_2(TCP4, family=0x21),
    ],
)
def test_a_wrong_header_is_known_as_soon_as_it_is_wrong(octets: bytes) -> None:
    with pytest.raises(WrongHeader):
        read_header(octets)


@given(st.one_of(st.binary(), st.binary().map(b"PROXY ".__add__), st.binary().map(SIGNATURE.__add__)))
def test_any_bytes_are_a_header_the_beginning_of_one_or_wrong(octets: bytes) -> None:
    try:
        header = read_header(octets)
    except WrongHeader:
        return
    assert header is None or header.size <= len(octets)
