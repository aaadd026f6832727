"""Who can reach an admin port: it has no authentication, so the start says where that is anybody.

Rules: a TCP port on a loopback address is for the users of this machine, which is what its operator asked for; a unix
socket is for those whom the file's permissions allow to write to it.
"""

from __future__ import annotations

import os
import stat
from ipaddress import ip_address

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress


def strangers(address: IAddress) -> str:
    """Who else than the operator can reach a port at ``address``; empty where nobody can."""
    if isinstance(address, IPv4Address | IPv6Address):
        return "" if _is_loopback(address.host) else "everybody on the network"
    if isinstance(address, UNIXAddress) and not _is_open(address.name):
        return ""
    return "every user of this machine"


def _is_loopback(host: str) -> bool:
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_open(path: bytes | None) -> bool:
    """Whether all users may write to it; a name that is no file's has no permissions."""
    return path is None or path.startswith(b"\0") or bool(os.stat(path).st_mode & stat.S_IWOTH)
