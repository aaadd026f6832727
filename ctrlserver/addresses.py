"""Addresses as text: ``host:port``, ``[v6]:port``, the path of a unix socket. PURE.

Rules: here and nowhere else a host and a port are put together or taken apart. An IPv4 peer of an IPv6 socket has its
IPv4 address as its name.

Beware: the name of a peer that has no address, such as ``unix``, has no host: ``host_of`` gives an empty string.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network

#: Bytes that fit into the address of a unix socket on Linux.
LONGEST_UNIX_PATH = 107

#: The name of a peer without an address.
NO_ADDRESS = "unix"


def ip_version(host: str) -> int | None:
    """4 or 6 where ``host`` is an IP address, without brackets; None where it is a name."""
    try:
        return ip_address(host).version
    except ValueError:
        return None


def lacks_interface(host: str) -> bool:
    """Whether ``host`` is a link-local IPv6 address without ``%eth0``: every interface has such addresses."""
    return ip_version(host) == 6 and ip_address(host).is_link_local and "%" not in host


def nearest_network(text: str) -> str:
    """The network that an address with a prefix lies in, ``10.0.0.0/8`` of ``10.0.0.1/8``; empty where it is none."""
    try:
        return str(ip_network(text.strip(), strict=False))
    except ValueError:
        return ""


def host_port(host: str, port: int) -> str:
    """``127.0.0.1:22222`` or ``[::1]:22222``."""
    if ":" not in host:
        return f"{host}:{port}"
    mapped = host.removeprefix("::ffff:")
    return f"{mapped}:{port}" if "." in mapped and ":" not in mapped else f"[{host}]:{port}"


def text_of(address: object) -> str:
    """``host:port`` or the path of one of Twisted's addresses; empty where it has neither."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if isinstance(host, str) and isinstance(port, int):
        return host_port(host, port)
    name = getattr(address, "name", None)
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else ""


def peer_name(address: object) -> str:
    """``host:port`` of what ``accept`` or a Twisted transport gave; ``unix`` for a peer without an address."""
    if isinstance(address, tuple):
        host = address[0]
        return host_port(host, address[1]) if ":" in host else f"{host}:{address[1]}"
    return text_of(address) if hasattr(address, "host") else NO_ADDRESS


def host_of(text: str) -> str:
    """The host of ``host:port``, without brackets; empty where there is none."""
    return text.rpartition(":")[0].strip("[]")


def hosts_of(peers: Iterable[str]) -> list[str]:
    """That of each; a peer without one is its own. For thousands: as ``host_of``, without a call for each."""
    return [peer.rpartition(":")[0].strip("[]") or peer for peer in peers]


def peer_test(asked: str) -> Callable[[str], bool]:
    """Tells of a peer whether ``asked`` is its whole address, or its host, with or without brackets."""
    host = asked.strip("[]")
    begins = (f"{host}:", f"[{host}]:")
    return lambda peer: peer == asked or (peer.startswith(begins) and host_of(peer) == host != "")


def plain_address(text: str) -> str:
    """``host:port`` without what differs between two views of one address: brackets, scope, IPv4 mapped into IPv6."""
    host, port = host_of(text).partition("%")[0], text.rpartition(":")[2]
    return f"{host.removeprefix('::ffff:') if '.' in host else host}:{port}"
