"""``/events``: all who have the live page open get a document each second, as server-sent events.

Rules: the document is made once for all of them, in the turns of the admin port, and none while nobody reads. A reader
that has not taken what was written gets no more until it has; then it gets the newest document, and has missed those
between. While the workers' figures or the turns are late there is a heartbeat instead: a page that hears nothing for
some seconds connects again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from attrs import define, field
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.admin.ports import AdminPorts
from ctrlserver.admin.transports import hold_unsent
from ctrlserver.errors import CommandError
from ctrlserver.http.page.gathering import Gathering

if TYPE_CHECKING:
    from ctrlserver.http.request import Request

MOST_READERS: Final = 16
"""Half of the connections by HTTP: the others are left to monitors, and to what the page asks beside its events."""

UNSENT: Final = 32 * 1024
"""Bytes that the kernel takes for a reader that does not read: one or two documents, not minutes of them."""

EVERY: Final = 1.0
BEGIN: Final = b"retry: 1000\n\n"
HEARTBEAT: Final = b"event: heartbeat\ndata: 0\n\n"


def event(name: str, document: bytes) -> bytes:
    """One event; the document is on one line."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), document)


@implementer(IPushProducer)
@define(eq=False)
class _Reader:
    """``waiting``: what it is to get once it has read what was written."""

    request: Request
    waiting: bytes = b""
    is_paused: bool = False
    has_past: bool = field(default=False, init=False)

    def send(self, octets: bytes) -> None:
        """Now, or instead of what waits."""
        if self.is_paused:
            self.waiting = octets
        else:
            self.request.write(octets)

    def pauseProducing(self) -> None:
        """What was written has not been read."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """It has."""
        self.is_paused = False
        waiting, self.waiting = self.waiting, b""
        if waiting:
            self.request.write(waiting)

    def stopProducing(self) -> None:
        """The peer is gone, which ``notifyFinish`` says too."""
        self.is_paused, self.waiting = True, b""


class Readers:
    """Those of one server, whose ``ports`` say when there is time."""

    weight = 1

    def __init__(self, ports: AdminPorts, charts: str | None) -> None:
        self._desk = ports.desk
        self._turns = ports.turns
        self._gathering = Gathering(ports.desk, charts)
        self._readers: set[_Reader] = set()
        self._last = b""
        self._is_asking = False  # the workers
        self._steps: Iterator[bytes] | None = None  # of the document in the making
        self._loop = LoopingCall(self._tick)
        self._loop.clock = ports.reactor

    def __len__(self) -> int:
        return len(self._readers)

    def events(self, request: Request) -> None:
        """The page of the events."""
        if len(self._readers) >= MOST_READERS:
            request.setHeader("Retry-After", "5")  # type: ignore[no-untyped-call]
            raise CommandError(503, "too-many-readers", f"{MOST_READERS} live pages are open, which is the most")
        request.setHeader("Content-Type", "text/event-stream")  # type: ignore[no-untyped-call]
        if request.method == b"HEAD":
            request.finish()  # type: ignore[no-untyped-call]
            return
        request.is_endless = True
        hold_unsent(request.channel.transport, UNSENT)
        reader = _Reader(request)
        self._readers.add(reader)
        request.notifyFinish().addBoth(lambda _: self._left(reader))
        request.write(BEGIN)
        request.registerProducer(reader, True)  # type: ignore[no-untyped-call]
        if not self._loop.running:
            self._loop.start(EVERY)
        elif self._last:
            self._welcome([reader])

    def _left(self, reader: _Reader) -> None:
        self._readers.discard(reader)
        if not self._readers and self._loop.running:
            self._loop.stop()
            self._last, self._steps = b"", None
            self._turns.forget(self)
            self._gathering.forget()

    def _tick(self) -> None:
        if self._is_asking or self._steps is not None:
            self._send(HEARTBEAT)
            return
        fresh = self._desk.fresh()
        if fresh is None:
            self._make()
        else:
            self._is_asking = True
            fresh.addCallback(lambda _: self._desk.look_at(self._gathering.looked_at())).addBoth(self._came)

    def _came(self, answer: object) -> None:
        """The workers' figures are here, or cannot be had now: then those of before are shown again."""
        self._is_asking = False
        self._make()

    def _make(self) -> None:
        if self._readers:
            self._steps = self._gathering.steps()
            self._turns.serve(self)

    def carry_on(self) -> bool:
        """Some steps of the document; True where more are left."""
        if self._steps is None:
            return False
        try:
            while not (document := next(self._steps)):
                if not self._turns.has_time():
                    return True
            self._steps = None
            self._last = event("snapshot", document)
            new = [reader for reader in self._readers if not reader.has_past]
            self._send(self._last, but=new)
            self._welcome(new)
        except Exception:
            failure, self._steps = Failure(), None
            for reader in list(self._readers):
                reader.request.channel.site.tell(reader.request, failure)
        return False

    def _welcome(self, readers: list[_Reader]) -> None:
        """The last minute, and the newest document."""
        if readers:
            first = event("past", self._gathering.past()) + self._last
        for reader in readers:
            reader.has_past = True
            reader.send(first)

    def _send(self, octets: bytes, but: list[_Reader] | None = None) -> None:
        for reader in list(self._readers):
            if not but or reader not in but:
                reader.send(octets)
