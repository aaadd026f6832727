"""The site: which pages there are, and who may ask for them.

Rules: a page is found by its whole path, in a table; nothing is looked up in a folder. What a page raises is told in
one line: a ``CommandError`` as the admin port tells it, anything else as our fault, with a line in the log.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from ctrlserver.admin.journal import Journal
from ctrlserver.admin.limits import Reserve
from ctrlserver.errors import CommandError
from ctrlserver.http.channel import Channel
from ctrlserver.http.connections import Connections
from ctrlserver.http.dawdling import dawdles
from ctrlserver.http.head import NAMES_OF_CODES, Refusal
from ctrlserver.http.limits import Limits
from ctrlserver.http.request import Request
from ctrlserver.words import did_you_mean, quoted


class Accepting(Protocol):
    """What accepts for the port; who is not to be served ``rejects``."""

    rejects: Callable[[socket.socket], bool]

    def stop(self) -> None:
        """Accept no more for now."""

    def go_on(self) -> None:
        """Accept again."""


Page = Callable[[Request], None]
"""Answers a request, now or later; a ``CommandError`` that it raises at once is told instead."""


class Site(Factory):
    """``pages`` by their paths. ``names``: what this server is called beside its addresses, in small letters."""

    noisy = False

    def __init__(
        self,
        pages: Mapping[str, Page],
        reactor: Any,
        journal: Journal,
        *,
        names: Collection[str] = (),
        limits: Limits | None = None,
        reserve: Reserve | None = None,
    ) -> None:
        self.pages = pages
        self.reactor = reactor
        self.journal = journal
        self.names = frozenset(names)
        self.limits = limits or Limits()
        self.connections = Connections(self.limits, reserve)
        self._accepting: Accepting | None = None
        self._is_crowded = False  # nothing is accepted for a moment
        self._rejected = 0

    def buildProtocol(self, addr: IAddress | None) -> Channel:
        """A connection."""
        return Channel(self)

    def enter(self, channel: Channel) -> str | None:
        """Count a new connection; None, or why it is refused. While there are too many, the next ones wait a little."""
        wrong = self.connections.enter(channel)
        if self.connections.are_full:
            self._pause(self.limits.crowded_seconds)
        return wrong

    def accept_by(self, accepting: Accepting | None, *, proxied: bool) -> None:
        """From now on ``accepting`` accepts the connections. ``proxied``: a header of the proxy comes before a head."""
        self._accepting = accepting
        if accepting is not None and not proxied:
            accepting.rejects = self._rejects

    def _rejects(self, sock: socket.socket) -> bool:
        """While all places are taken, a slow client gets none: to close its socket costs little."""
        if not self.connections.are_full or not dawdles(sock):
            return False
        self._rejected += 1
        if self._rejected >= self.limits.rejected:
            self._pause(self.limits.rejected_seconds)
        return True

    def _pause(self, seconds: float) -> None:
        if not self._is_crowded and self._accepting is not None:
            self._is_crowded, self._rejected = True, 0
            self._accepting.stop()
            self.reactor.callLater(seconds, self._go_on)

    def _go_on(self) -> None:
        self._is_crowded = False
        if self._accepting is not None:
            self._accepting.go_on()

    def log(self, request: Request) -> None:
        """Twisted tells each request; the log gets none."""

    def serve(self, request: Request) -> None:
        """Have the page of its path answer."""
        try:
            page = self.pages.get(request.page)
            if page is None:
                hint = did_you_mean(request.page, self.pages) or "; there are " + ", ".join(self.pages)
                raise CommandError(404, "unknown-page", f"{quoted(request.page)}{hint}")
            page(request)
        except Exception:
            self.tell(request, Failure())

    def tell(self, request: Request, failure: Failure) -> None:
        """Say why there is no answer, log what is our fault. An answer that has begun ends with its connection."""
        try:
            failure.raiseException()
        except CommandError as error:
            code = error.code if error.code in NAMES_OF_CODES else 400
            refusal = Refusal(code, f"{error.id} {error.message}")
        except Exception:
            self.journal.failed(f"GET {request.page}")
            refusal = Refusal(500, f"{quoted(request.page)} failed; the log of the server says why")
        if request.startedWriting:
            request.channel.close()
        else:
            request.refuse(refusal)


def names_of_this_machine() -> set[str]:
    """What the machine calls itself; nobody is asked."""
    name = socket.gethostname().lower().removesuffix(".")
    return {name, name.partition(".")[0]}
