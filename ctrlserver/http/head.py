"""The head of a request, judged line by line before Twisted reads it. PURE.

Twisted takes a request of any method, with a body, for any host, and where it refuses one it says no more than a
number. So each line comes here first, and a request that is refused gets one line that says why.

Rules:

- A request is a GET or a HEAD by HTTP/1.0 or 1.1, without a body, whose path and query are printable ASCII.
- A target may be a whole URI, as for a proxy: its host counts then, and that of the header does not (RFC 9112, 3.2.2).
- The host is one of ours (``is_ours``): an IP address, localhost, or a name that the server knows to be its own. A web
  page of somebody else can have its own name lead to this address, and its scripts would read what they get (DNS
  rebinding); such a request has that name as its host.
- What is kept of a head is bounded: ``LONGEST_TARGET``, ``LONGEST_HEAD``, ``MOST_HEADERS``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from attrs import define, field, frozen

from ctrlserver.addresses import ip_version
from ctrlserver.words import did_you_mean, quoted

LONGEST_TARGET: Final = 2048
"""Bytes of the path and its query: far more than any of ours."""

LONGEST_HEAD: Final = 8192
"""Bytes of all its lines: browsers send one or two thousand."""

MOST_HEADERS: Final = 64
"""Browsers send about twenty."""

METHODS: Final = ("GET", "HEAD")

NAMES_OF_CODES: Final = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    414: "URI Too Long",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_URI: Final = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@frozen
class Refusal:
    """Why a request is not answered: the code of the status, and one line for a person."""

    code: int
    why: str

    @property
    def name(self) -> str:
        """That of the code."""
        return NAMES_OF_CODES[self.code]


def is_ours(host: str, names: Collection[str]) -> bool:
    """Whether a request for ``host``, which may have a port, is for this server; ``names`` in small letters."""
    name = host.lower()
    if match := re.fullmatch(r"\[([0-9a-f:.]+)\](?::\d{0,5})?", name):
        return ip_version(match[1]) == 6
    name = re.sub(r":\d{0,5}$", "", name).removesuffix(".")
    return ip_version(name) == 4 or name == "localhost" or name.endswith(".localhost") or name in names


@define
class Head:
    """The lines of one request. ``names`` are those of this server; ``begun``: a line has come.

    ``request_line`` is the first one, with a path where the target is a whole URI.
    """

    names: Collection[str]
    begun: bool = field(default=False, init=False)
    ended: bool = field(default=False, init=False)
    method: str = field(default="", init=False)
    request_line: bytes = field(default=b"", init=False)
    _version: bytes = field(default=b"", init=False)
    _bytes: int = field(default=0, init=False)
    _headers: int = field(default=0, init=False)
    _has_uri: bool = field(default=False, init=False)
    _hosts: int = field(default=0, init=False)
    _lengths: int = field(default=0, init=False)

    def add(self, line: bytes) -> Refusal | None:
        """The next line, without its end; why the request is refused, if it is."""
        self._bytes += len(line) + 2
        if self._bytes > LONGEST_HEAD and self.begun:
            return too_large()
        if not self.begun:
            if not line:
                return None  # some clients send an empty line before a request
            self.begun = True
            return self._request_line(line)
        if not line:
            self.ended = True
            if self._hosts == 0 and self._version == b"HTTP/1.1":
                return Refusal(400, "a request by HTTP/1.1 has a Host header, and this one has none")
            return None
        return self._header(line)

    def _request_line(self, line: bytes) -> Refusal | None:
        if b"\n" in line or _CONTROL.search(line):
            return not_http()
        words = line.split(b" ")
        if len(words) != 3 or not _TOKEN.fullmatch(words[0]) or not words[2].startswith(b"HTTP/"):
            return not_http()
        method, target, self._version = words
        if self._version not in (b"HTTP/1.0", b"HTTP/1.1"):
            return Refusal(505, f"HTTP/1.0 and HTTP/1.1 are spoken here, not {_shown(self._version)}")
        self.method = method.decode("ascii")
        if self.method not in METHODS:
            return Refusal(405, f"only GET and HEAD are answered here, for nothing is changed, not {self.method}")
        if len(target) > LONGEST_TARGET:
            return Refusal(414, f"a path and its query have at most {LONGEST_TARGET} bytes, and this one {len(target)}")
        path = target
        if uri := _URI.fullmatch(target):
            self._has_uri, path = True, uri[2] if uri[2].startswith(b"/") else b"/" + uri[2]
        self.request_line = b" ".join((method, path, self._version))
        if not path.startswith(b"/") or not all(0x21 <= octet <= 0x7E for octet in target) or b"#" in target:
            return Refusal(400, f"{_shown(target)} is no path such as /metrics, in printable ASCII")
        return self._judged(uri[1]) if uri else None

    def _header(self, line: bytes) -> Refusal | None:
        self._headers += 1
        if self._headers > MOST_HEADERS:
            return Refusal(431, f"a request has at most {MOST_HEADERS} headers")
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or _CONTROL.search(value):
            return Refusal(400, f"{_shown(line)} is no header such as Host: 127.0.0.1")
        name, value = name.lower(), value.strip(b" \t")
        if name == b"host":
            return self._host(value)
        if name == b"transfer-encoding" or (name == b"content-length" and not re.fullmatch(rb"0{1,20}", value)):
            return Refusal(413, "a request has no body here")
        if name == b"content-length":
            self._lengths += 1
            if self._lengths > 1:
                return Refusal(400, "a request has one Content-Length header, and this one has two")
        if name == b"expect":
            return Refusal(413, "a request has no body here, so nothing is to be expected")
        return None

    def _host(self, value: bytes) -> Refusal | None:
        self._hosts += 1
        if self._hosts > 1:
            return Refusal(400, "a request has one Host header, and this one has two")
        return None if self._has_uri else self._judged(value)

    def _judged(self, value: bytes) -> Refusal | None:
        host = value.decode("ascii", "backslashreplace")
        if not is_ours(host, self.names):
            hint = did_you_mean(host, ["localhost", *self.names])
            known = "hosts in [http] of its config has its names" if self.names else "ask by its address"
            return Refusal(421, f"this server is not known as {quoted(host)}{hint}; {known}")
        return None


def not_http() -> Refusal:
    """For what is no request at all."""
    return Refusal(400, 'no request by HTTP: expected "GET /metrics HTTP/1.1", each line ended by CR LF')


def too_large() -> Refusal:
    """For a head that is longer than any that is kept."""
    return Refusal(431, f"the head of a request has at most {LONGEST_HEAD} bytes")


def too_long() -> Refusal:
    """For a first line of which no end was seen."""
    return Refusal(414, f"a path and its query have at most {LONGEST_TARGET} bytes")


def begins_as_http(octets: bytes) -> bool:
    """Whether the first bytes of a connection may begin a request, rather than a TLS handshake, say."""
    return octets[:1].isalpha() or octets[:1] in (b"\r", b"\n")


def _shown(octets: bytes) -> str:
    return quoted(octets.decode("ascii", "backslashreplace"))
