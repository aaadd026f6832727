"""Where to connect: ``host:port``, ``udp:host:port``, ``ssl:host:port`` or a Twisted client endpoint string. PURE.

Rules: an address that nobody understands is a ``UsageError`` in one line, before anything is opened. The error says
what the address lacks, and names the nearest good one. Only Twisted can check the whole of an endpoint string, which
``connect.py`` has it do.

Beware: ``tcp:22222`` is how a server is told to listen; read as ``host:port`` its host would be "tcp". A host that has
the name of a transport is written ``tcp:tcp:22222``.
"""

from __future__ import annotations

import os
import re

from attrs import frozen

from ctrlserver.addresses import LONGEST_UNIX_PATH, ip_version, lacks_interface
from ctrlserver.errors import UsageError
from ctrlserver.words import quoted

_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]/=]+)):(?P<port>\d{1,5})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_URL = re.compile(
    r"(?!unix:)(?P<scheme>[a-z][a-z0-9+.-]*)://(?:[^/?#]*@)?(?P<address>[^/?#]*).*", re.ASCII | re.IGNORECASE
)
_PATH = re.compile(r"[^:]*/.*")
_UNIX = re.compile(r"unix:(?:path=)?(?P<path>(?:[^:\\]|\\.)*).*")

#: The ports of a ctrlserver that is told nothing else: what is suggested where one is missing.
DATA_PORT = 22222
ADMIN_PORT = 22223

UDP = "udp"
TLS = "tls"

#: Words before the first colon that make a target one of datagrams, or of TLS with our own verification.
_TRANSPORTS = {"udp": UDP, "ssl": TLS, "tls": TLS}

#: What stands before HOST:PORT for the scheme of a URL, and the port that the scheme means.
_URLS = {
    "udp": ("udp:", None),
    "ssl": ("ssl:", None),
    "tls": ("ssl:", None),
    "http": ("", 80),
    "ws": ("", 80),
    "https": ("ssl:", 443),
    "wss": ("ssl:", 443),
}

#: Words that name a transport and no host.
_SCHEMES = ("tcp", "tcp4", "tcp6", *_TRANSPORTS)


@frozen
class Target:
    """One address. ``text`` is as given; ``host`` is empty where it is an endpoint string, but for ``tcp:host:port``.

    ``transport`` is ``UDP`` or ``TLS`` for a plain ``udp:host:port``, ``ssl:host:port`` or
    ``tls:host:port``, else empty.
    """

    text: str
    host: str = ""
    port: int = 0
    transport: str = ""

    @property
    def over_tls(self) -> bool:
        """Whether it is plain or an endpoint string of TLS."""
        return self.transport == TLS or (not self.host and self.text.partition(":")[0].casefold() in ("ssl", "tls"))

    @property
    def word(self) -> str:
        """``tcp``, ``unix``, ``tls`` or ``udp``, as injections have it; ``tcp`` for what only Twisted knows."""
        if self.over_tls:
            return TLS
        return "unix" if not self.host and self.text.casefold().startswith("unix:") else self.transport or "tcp"


def parse_target(text: str) -> Target:
    """Where to send a load. An endpoint string is checked to its end by ``endpoint_of`` alone."""
    _check(text, DATA_PORT)
    scheme, colon, rest = text.partition(":")
    transport = _TRANSPORTS.get(scheme.casefold(), "") if colon else ""
    match = _HOST_PORT.fullmatch(rest) if transport else None
    if match is not None and (transport == UDP or not _is_scheme_alone(text)):
        return _plain(text, match, transport)
    if transport == UDP:
        raise UsageError(f"{quoted(text)}: expected udp:HOST:PORT{_nearest(rest, DATA_PORT, 'udp:')}")
    return _parsed(text, DATA_PORT)


def parse_admin(text: str) -> Target:
    """The address of an admin port, which is never one of datagrams; a path is that of a unix socket."""
    if _PATH.fullmatch(text):
        text = "unix:" + re.sub(r"([:\\])", r"\\\1", text)
    _check(text, ADMIN_PORT)
    if text.casefold().startswith("udp:"):
        raise UsageError(f"{quoted(text)}: an admin port is asked over TCP or a unix socket, such as 127.0.0.1:22223")
    return _parsed(text, ADMIN_PORT)


def _check(text: str, usual: int) -> None:
    """What is wrong with an address of any form; ``usual`` is the port to suggest."""
    if not text.isprintable():
        raise UsageError(f"{quoted(text)}: an address has no such characters")
    if (url := _URL.fullmatch(text)) is not None:
        before, port = _URLS.get(url["scheme"].casefold(), ("", None))
        plain = _HOST_PORT.fullmatch(url["address"]) is not None
        near = (
            f'; did you mean "{before}{url["address"]}"?' if plain else _nearest(url["address"], port or usual, before)
        )
        raise UsageError(f"{quoted(text)} is a URL: expected {before}HOST:PORT{near}")
    if (unix := _UNIX.fullmatch(text)) is not None:
        length = len(os.fsencode(re.sub(r"\\(.)", r"\1", unix["path"])))
        if length > LONGEST_UNIX_PATH:
            words = f"the path of a unix socket has at most {LONGEST_UNIX_PATH} bytes, not {length}"
            raise UsageError(f"{quoted(text)}: {words}")


def _parsed(text: str, usual: int) -> Target:
    """``host:port``, ``[v6]:port`` or an endpoint string; ``usual`` is the port to suggest."""
    scheme, _, rest = text.partition(":")
    if _is_scheme_alone(text):
        before = "" if scheme.casefold() == "tcp" else f"{scheme}:"
        raise UsageError(f"{quoted(text)} has no host{_nearest(rest, usual, before)}")
    match = _HOST_PORT.fullmatch(rest if scheme.casefold() == "tcp" else text)
    if match is not None and match["host"] != "unix":
        return _plain(text, match)
    expected = "expected HOST:PORT or a Twisted client endpoint"
    host, _, port_text = text.rpartition(":")
    if text.startswith("/"):
        raise UsageError(f"{quoted(text)} has no port: {expected}; did you mean {quoted(f'unix:{text}')}?")
    if text.casefold() == "unix:":
        raise UsageError(f"{quoted(text)} has no path: expected unix:PATH")
    family = re.fullmatch(r"(?P<scheme>tcp|udp)[46]:(?P<address>.+)", text, re.IGNORECASE)
    if family is not None and _HOST_PORT.fullmatch(family["address"]):
        before = "udp:" if family["scheme"].casefold() == UDP else ""
        raise UsageError(f"{quoted(text)}: {expected}; did you mean {quoted(before + family['address'])}?")
    before, slash, _ = text.partition("/")
    if slash and scheme.casefold() != "unix" and _HOST_PORT.fullmatch(before):
        raise UsageError(f"{quoted(text)}: {expected}; did you mean {quoted(before)}?")
    if (ip_version(host.strip("[]")) or host.casefold() == "localhost") and port_text and not port_text.isdecimal():
        raise UsageError(f"{quoted(text)}: {quoted(port_text)} is no port: expected a number from 1 to 65535")
    if ip_version(host) == 6:
        raise UsageError(f"{quoted(text)}: an IPv6 address is written in brackets, such as [{host}]:{port_text}")
    if not rest or ip_version(text.strip("[]")) == 6:
        raise UsageError(f"{quoted(text)} has no port: {expected}{_nearest(text, usual)}")
    if not scheme:
        raise UsageError(f"{quoted(text)} has no host: {expected}{_nearest(text, usual)}")
    if scheme.casefold() in _TRANSPORTS and _NAME.fullmatch(rest):
        raise UsageError(f"{quoted(text)} has no port{_nearest(rest, usual, f'{scheme}:')}")
    return Target(text)


def _is_scheme_alone(text: str) -> bool:
    """Whether it is a transport and a port, as a server is told to listen."""
    scheme, colon, rest = text.partition(":")
    return bool(colon) and scheme.casefold() in _SCHEMES and rest.isdecimal() and rest.isascii()


def _plain(text: str, match: re.Match[str], transport: str = "") -> Target:
    number = int(match["port"])
    if not 1 <= number <= 65535:
        raise UsageError(f"{quoted(text)}: the port must be 1 to 65535")
    if match["v6"] is not None and ip_version(match["v6"]) != 6:
        raise UsageError(f"{quoted(text)}: {quoted(match['v6'])} is not an IPv6 address")
    host = match["v6"] or match["host"]
    if lacks_interface(host):
        words = f"a link-local address is written with its interface, such as [{host}%eth0]:{number}"
        raise UsageError(f"{quoted(text)}: {words}")
    if match["v6"] is None:
        try:
            host.encode("idna")  # as getaddrinfo does
        except UnicodeError:
            words = "a part of a host name has 1 to 63 characters"
            raise UsageError(f"{quoted(text)}: {quoted(host)} is not a host name; {words}") from None
    return Target(text, host, number, transport)


def _nearest(text: str, usual: int, before: str = "") -> str:
    """The suggestion for an address that lacks its host or its port; empty where neither can be guessed."""
    if ip_version(text.strip("[]")) == 6:
        return f'; did you mean "{before}[{text.strip("[]")}]:{usual}"?'
    text = text.strip(":")
    if text.isdecimal() and text.isascii():
        port = int(text) if 1 <= int(text) <= 65535 else usual
        return f'; did you mean "{before}127.0.0.1:{port}"?'
    known = _NAME.fullmatch(text) and text.casefold() not in _SCHEMES
    return f'; did you mean "{before}{text}:{usual}"?' if known else ""
