"""The header by which a proxy names its client: PROXY protocol, versions 1 and 2. PURE.

Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt

Rules: a header stands before everything else on a connection, before TLS too. An IP address counts whatever transport
the header says. Of a connection of the proxy's own (version 1 UNKNOWN, version 2 LOCAL) and of a client without an IP
address, the proxy's address is all that is known.
"""

from __future__ import annotations

import re
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import frozen

_V1_WORD = b"PROXY "
_V1_LONGEST = 107
"""Bytes of a header of version 1, its end included: the longest that the protocol allows."""
_V1_LINE = re.compile(rb"PROXY TCP(4|6) (\S+) (\S+) (\d{1,5}) (\d{1,5})", re.ASCII)
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: .*)?", re.ASCII | re.DOTALL)

_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD = struct.Struct("!12sBBH")
_V2_LOCAL, _V2_PROXY = 0x20, 0x21
_V2_SIZES = {1: 4, 2: 16}
"""Bytes of an address, by the family: IPv4 and IPv6. A header has two of them, then two ports."""


class WrongHeader(ValueError):
    """What came is no PROXY header."""


@frozen
class ProxyHeader:
    """A whole header of ``size`` bytes; ``client`` is host and port, None where only the proxy's address is known."""

    size: int
    client: tuple[str, int] | None = None


def read_header(octets: bytes) -> ProxyHeader | None:
    """The header at the beginning of ``octets``; None while it is not whole; ``WrongHeader`` if it cannot be one."""
    if octets.startswith(_V2_SIGNATURE[: len(octets)]):
        return _version_2(octets)
    if octets.startswith(_V1_WORD[: len(octets)]):
        return _version_1(octets)
    raise WrongHeader


def _version_1(octets: bytes) -> ProxyHeader | None:
    line, end, _ = octets[:_V1_LONGEST].partition(b"\r\n")
    if not end:
        if len(octets) >= _V1_LONGEST:
            raise WrongHeader
        return None
    size = len(line) + len(end)
    if _V1_UNKNOWN.fullmatch(line):
        return ProxyHeader(size)
    if not (match := _V1_LINE.fullmatch(line)):
        raise WrongHeader
    hosts = [_address(text.decode("latin-1"), version=4 if match[1] == b"4" else 6) for text in (match[2], match[3])]
    ports = int(match[4]), int(match[5])
    if max(ports) > 65535:
        raise WrongHeader
    return ProxyHeader(size, (hosts[0], ports[0]))


def _version_2(octets: bytes) -> ProxyHeader | None:
    if len(octets) < _V2_HEAD.size:
        return None
    _, command, family, length = _V2_HEAD.unpack_from(octets)
    if command not in (_V2_LOCAL, _V2_PROXY):
        raise WrongHeader
    size = _V2_HEAD.size + length
    address = _V2_SIZES.get(family >> 4)
    if command == _V2_LOCAL or address is None:
        return ProxyHeader(size) if len(octets) >= size else None
    if length < 2 * address + 4:
        raise WrongHeader
    if len(octets) < size:
        return None
    start = _V2_HEAD.size
    (port,) = struct.unpack_from("!H", octets, start + 2 * address)
    return ProxyHeader(size, (_name(ip_address(octets[start : start + address])), port))


def _address(text: str, version: int) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise WrongHeader from None
    if address.version != version or "%" in text:  # a scope is of no use to others, and may be any text
        raise WrongHeader
    return _name(address)


def _name(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
