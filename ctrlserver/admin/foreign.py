"""What is no line for the admin port: the protocols of others, known by a line or by one byte; no clock, no socket.

A browser, a proxy or a server that is made to connect here sends a request of its own, and in its body whatever
somebody wishes: lines that look like commands. So the first sign of another protocol ends the connection, before any
such line is read.

Rules:

- A byte that no text holds (a control byte other than tab, LF, CR, and those of telnet) is such a sign: TLS, SMB, STUN,
  HTTP/2, memcached's binary protocol and databases all begin with some.
- So is a line that begins as no character of UTF-8 does: memcached's binary protocol, where its second byte is LF.
- HTTP is known by the end of its first line, whatever the verb, and so are protocols made like it; by a target that
  begins with ``/``; by a verb of its own in upper case; and by a header, so by ``Host:`` at the latest.

Beware: what is refused here can be no command. So no command has a colon in its first word, and no last argument is
``HTTP/1.1``, and no first one begins with ``/``.
"""

from __future__ import annotations

import re
from typing import Final

from ctrlserver.errors import CommandError

HTTP_VERBS: Final = frozenset(b"GET HEAD POST PUT DELETE OPTIONS TRACE CONNECT PATCH PRI".split())
"""In upper case only, as HTTP sends them, for a person may type ``get stats``; PRI opens HTTP/2."""

_HTTP = re.compile(rb"(?:%s)(?![\w.-])|\S+[ \t]+(?:/|https?:/)|HTTP/\d" % b"|".join(sorted(HTTP_VERBS)))
_HTTP_VERSION = re.compile(rb"(?:HTTP|RTSP|SIP|ICAP)/\d(?:\.\d)?$", re.IGNORECASE)
_OTHERS: Final = (
    ("a header of HTTP or the like", re.compile(rb"[^\s:]*:")),
    ("Redis", re.compile(rb"[*$]-?\d+$")),
    ("memcached", re.compile(rb"(?:set|add|replace|append|prepend|cas)[ \t]+\S+[ \t]+\d+[ \t]+-?\d+[ \t]+\d+")),
    ("a PROXY header, for an endpoint haproxy:tcp", re.compile(rb"PROXY[ \t]+(?:TCP[46]|UNKNOWN)")),
    ("mail", re.compile(rb"(?:EHLO|HELO|LHLO)[ \t]", re.IGNORECASE)),
    ("SSH", re.compile(rb"SSH-\d")),
    ("no text", re.compile(rb"[\x80-\xbf]")),
)
_OURS = "and this port takes plain lines, such as: stats json"


def foreign_line(line: bytes) -> CommandError | None:
    """The refusal of a line that is of another protocol; of a line too long its first part is enough."""
    line = line.strip(b" \t\r")
    if _HTTP.match(line) or _HTTP_VERSION.search(line[-8:]):
        verb = re.match(rb"[!-~]{0,16}", line)
        name = f"{verb[0].decode('ascii')} is HTTP" if verb and verb[0] else "this is HTTP"
        return CommandError(400, "http-request", f"{name}, {_OURS}")
    for name, pattern in _OTHERS:
        if pattern.match(line):
            return CommandError(400, "foreign-protocol", f"the line is {name}, {_OURS}")
    return None


def foreign_octet(octet: int) -> CommandError:
    """The refusal of a control byte."""
    wrong = f"the control character U+{octet:04X} is in no line of text, {_OURS}"
    return CommandError(400, "control-character", wrong)
