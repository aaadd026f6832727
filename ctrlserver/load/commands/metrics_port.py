"""``--metrics``: a port at which Prometheus and its like scrape the figures of a run.

Rules: a request is judged as the server judges those of its site (``http/head.py``). A connection has one request, and
``SECONDS`` for all of it; there are ``MOST`` of them. What is sent costs the sending next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from ctrlserver.addresses import peer_name
from ctrlserver.errors import UsageError
from ctrlserver.http.accepting import form_of
from ctrlserver.http.forms import head_of, whole
from ctrlserver.http.head import LONGEST_HEAD, Head, Refusal, begins_as_http, not_http, too_large
from ctrlserver.render.openmetrics import CONTENT_TYPES, Family, text

SECONDS: Final = 10.0
MOST: Final = 8

Families = Callable[[], Sequence[Family]]


def listen(reactor: Any, endpoint: str, families: Families) -> str:
    """Listen; where, ``host:port`` or the path. UsageError where that cannot be."""
    found: list[Any] = []
    try:
        serverFromString(reactor, endpoint).listen(_Port(reactor, families)).addBoth(found.append)
    except Exception as error:
        raise UsageError(f"--metrics: {error}") from None
    if not found or isinstance(found[0], Failure):
        why = found[0].getErrorMessage() if found else "the endpoint does not bind at once"
        raise UsageError(f"--metrics: cannot listen on {endpoint}: {why}")
    return peer_name(found[0].getHost())


class _Port(Factory):
    noisy = False

    def __init__(self, reactor: Any, families: Families) -> None:
        self.reactor = reactor
        self.families = families
        self.open = 0

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """None where there are too many: the connection is closed."""
        return _Visit(self) if self.open < MOST else None


class _Visit(Protocol):
    """One request."""

    def __init__(self, port: _Port) -> None:
        self._port = port
        self._octets = b""
        self._head = Head(())
        self._accept = ""
        self._over = False
        self._ends: Any = None

    def connectionMade(self) -> None:
        """It has so long for all."""
        self._port.open += 1
        self._ends = self._port.reactor.callLater(SECONDS, self._wire.abortConnection)

    def dataReceived(self, data: bytes) -> None:
        """More of the head."""
        if self._over:
            return
        self._octets += data
        refusal = None if begins_as_http(self._octets) else not_http()
        while refusal is None and not self._head.ended and b"\r\n" in self._octets:
            line, _, self._octets = self._octets.partition(b"\r\n")
            refusal = self._take(line)
        if refusal is None and len(self._octets) > LONGEST_HEAD:
            refusal = too_large()
        if refusal is not None:
            self._end(head_of(refusal, has_body=self._head.method != "HEAD"))
        elif self._head.ended:
            self._end(self._answer())

    def _take(self, line: bytes) -> Refusal | None:
        if (refusal := self._head.add(line)) is not None:
            return refusal
        if line.lower().startswith(b"accept:"):
            self._accept = line[7:].decode("ascii", "replace")
        return None

    def _answer(self) -> bytes:
        has_body = self._head.method != "HEAD"
        if self._head.request_line.split(b" ")[1].partition(b"?")[0] != b"/metrics":
            return head_of(Refusal(404, "there is one page, /metrics"), has_body=has_body)
        form = form_of(self._accept)
        body = "".join(f"{line}\n" for line in text(self._port.families(), form)).encode()
        return whole("200 OK", body, CONTENT_TYPES[form], has_body=has_body)

    def _end(self, answer: bytes) -> None:
        self._over = True
        self._wire.write(answer)
        self._wire.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Answered, or gone."""
        self._port.open -= 1
        if self._ends.active():
            self._ends.cancel()

    @property
    def _wire(self) -> Any:
        return self.transport
