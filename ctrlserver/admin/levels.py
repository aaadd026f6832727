"""Levels: what a peer of the admin port may do, and what the address of a port says about its peers.

Rules: who can reach a port decides what its peers may do without a secret. A unix socket's file is for those whom its
permissions allow to write to it: they are admins. A TCP port on a loopback address, and a unix socket that every user
may write to, is for the users of this machine: operators. Any other port, and every port behind a proxy, is for the
network: viewers. The address is that of the bound port, so it holds for sockets from systemd too.
"""

from __future__ import annotations

import os
import stat
from enum import IntEnum
from ipaddress import ip_address

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress


class Level(IntEnum):
    """What a peer may do; each level may do all that those below may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()


def base_level(address: IAddress, *, proxied: bool = False) -> Level:
    """What the peers of a port at ``address`` may do without a secret."""
    if proxied:
        return Level.VIEWER
    if isinstance(address, UNIXAddress):
        return Level.OPERATOR if _is_open(address.name) else Level.ADMIN
    return Level.VIEWER if strangers(address) else Level.OPERATOR


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
    """Whether all users may write to it; a name that is no file's has no permissions.

    A file that cannot be seen may be open: systemd may pass on a socket that lies outside this process's name space.
    """
    if path is None or path.startswith(b"\0"):
        return True
    try:
        return bool(os.stat(path).st_mode & stat.S_IWOTH)
    except OSError:
        return True
