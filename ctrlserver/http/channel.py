"""One connection by HTTP: Twisted's, behind a judge of each line, with bounds of its own.

Model::

    transport --> Channel --each line--> Head: refused, or
                     |    --the same---> HTTPChannel --> Request --> Site.serve --> a page
                     +-- enter, waits, works, forget --> Connections: how many there are

A connection awaits a request, or has one at work, or is refused: then it reads and drops what comes until its peer has
the refusal.

Rules:

- What is refused gets one line that says why, and the connection ends.
- One timer: for a head that does not end, for the next request that does not come, for an answer that is not taken.
- A peer that has ended its input (``nc -N``) gets its answer; but an answer without an end ends with it.

Beware: Twisted's own timer begins anew with each byte, so it is off. Twisted would write a refusal of its own where a
line is bad: ``Head`` refuses all that it would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from zope.interface import implementer

from ctrlserver.admin.transports import can_half_close, is_unread, set_up
from ctrlserver.http.forms import head_of
from ctrlserver.http.head import (
    LONGEST_HEAD,
    MOST_HEADERS,
    Head,
    Refusal,
    begins_as_http,
    not_http,
    too_large,
    too_long,
)
from ctrlserver.http.request import Request
from ctrlserver.looks import deadlines

if TYPE_CHECKING:
    from ctrlserver.http.site import Site


@implementer(IHalfCloseableProtocol)
class Channel(HTTPChannel):
    """One peer of ``site``. ``is_paused``: it has not taken what was written last."""

    MAX_LENGTH = LONGEST_HEAD
    maxHeaders = MOST_HEADERS + 1
    totalHeadersSize = 2 * LONGEST_HEAD
    timeOut = None

    def __init__(self, site: Site) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.site = site
        self.requestFactory = self._request  # type: ignore[assignment]
        self.is_paused = False
        self._head = Head(site.names)
        self._is_fresh = True  # nothing has come
        self._is_at_work = False  # a whole request has come
        self._is_refused = False
        self._input_ended = False
        self._timer: Any = None

    # Called by the transport

    def connectionMade(self) -> None:
        """Await the first request; refuse the peer where there are too many."""
        set_up(self._wire, self.site.limits.read_bytes, self.readConnectionLost)
        super().connectionMade()  # type: ignore[no-untyped-call]
        self._expect(self.site.limits.head_seconds)
        if (wrong := self.site.enter(self)) is not None:
            self._refuse(Refusal(503, wrong))

    def dataReceived(self, data: bytes) -> None:
        """More of a request, or of the next ones."""
        if self._is_refused:
            return
        fresh, self._is_fresh = self._is_fresh, False
        if fresh and not begins_as_http(data):
            self._refuse(not_http())
            return
        was_amid = self._is_amid
        super().dataReceived(data)  # type: ignore[no-untyped-call]
        if self._is_amid and not was_amid:
            self._expect(self.site.limits.head_seconds)

    def readConnectionLost(self) -> None:
        """The peer sends no more."""
        self._input_ended = True
        if self._is_refused or self._wire.disconnecting:
            self._wire.loseConnection()
        elif self._is_at_work and not self._is_endless():
            self.persistent = False  # it gets its answer
        elif self._is_amid:
            self._refuse(Refusal(400, "the request has no end: an empty line, ended by CR LF"))
        elif self._is_at_work:
            self._wire.abortConnection()
        else:
            self.loseConnection()  # type: ignore[no-untyped-call]

    def writeConnectionLost(self) -> None:
        """A refusal is on its way; the peer's end is awaited."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Let go of everything."""
        self._stop_timer()
        self.site.connections.forget(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def pauseProducing(self) -> None:
        """The peer has to read from now on."""
        self.is_paused = True
        super().pauseProducing()  # type: ignore[no-untyped-call]

    def resumeProducing(self) -> None:
        """The peer has read all."""
        self.is_paused = False
        if self._is_at_work:
            self._expect(self.site.limits.stall_seconds)
        super().resumeProducing()  # type: ignore[no-untyped-call]

    # Called by Twisted's reading of a request

    def lineReceived(self, line: bytes) -> None:
        """Judge it first."""
        if self._is_refused or not self.persistent:
            return
        head = self._head
        is_first = not head.begun
        if (refusal := head.add(line)) is not None:
            self._refuse(refusal)
            return
        if head.ended:
            self._head = Head(self.site.names)
        if head.begun:
            super().lineReceived(head.request_line if is_first else line)  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line that is longer than any head."""
        self._refuse(too_large() if self._head.begun else too_long())

    def allContentReceived(self) -> None:
        """A request is whole: it is at work until ``requestDone``."""
        self._is_at_work = True
        self.site.connections.works(self)
        self._expect(self.site.limits.stall_seconds)
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def requestDone(self, request: Request) -> None:
        """It is answered: the next one is awaited, or the end."""
        self._is_at_work = False
        self.site.connections.waits(self)
        self._expect(self.site.limits.idle_seconds if self.persistent else self.site.limits.stall_seconds)
        super().requestDone(request)  # type: ignore[no-untyped-call]
        if self._is_amid:
            self._expect(self.site.limits.head_seconds)

    def _request(self, *_: object) -> Request:
        return Request(self)

    # The end

    def evict(self) -> None:
        """Make room for another: it has no request at work."""
        self._wire.abortConnection()

    def close(self) -> None:
        """The server ends."""
        self._wire.abortConnection()

    def _refuse(self, refusal: Refusal) -> None:
        self._is_refused = True
        wire = self._wire
        wire.unregisterProducer()
        wire.resumeProducing()
        wire.write(head_of(refusal, has_body=self._head.method != "HEAD"))
        if can_half_close(wire) and not self._input_ended and self.site.connections.may_linger(self):
            wire.loseWriteConnection()
            self._expect(self.site.limits.linger_seconds)
        else:
            wire.loseConnection()
            self._expect(self.site.limits.stall_seconds)

    def _expire(self) -> None:
        """What was awaited has not come."""
        limits = self.site.limits
        if self._is_refused or self._wire.disconnecting:
            self._wire.abortConnection()
        elif self._is_at_work:
            if self._is_endless() and not self.is_paused and not is_unread(self._wire, self.site.reactor):
                self._expect(limits.stall_seconds)
            else:
                self._wire.abortConnection()
        elif self._is_amid:
            self._refuse(
                Refusal(408, f"no whole request came within {limits.head_seconds:g} s: its last line is an empty one")
            )
        else:
            self.loseConnection()  # type: ignore[no-untyped-call]
            self._expect(limits.linger_seconds)

    def _expect(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = deadlines(self.site.reactor).callLater(seconds, self._expire)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _is_endless(self) -> bool:
        return any(request.is_endless for request in self.requests)

    @property
    def _is_amid(self) -> bool:
        """Whether some of a request has come, and not all."""
        return not self._is_at_work and not self._is_refused and (self._head.begun or bool(self._buffer))

    @property
    def _wire(self) -> Any:
        return self.transport
