"""An answer that a command of the admin port makes, in slices of the reactor's time.

Model::

    page -> Answering.begin -> figures of now, if workers have them -> Turns -> carry_on: a slice, while the peer reads

Rules:

- The pages share the turns of the admin port: a flood of requests takes no more from the data streams than one of
  lines.
- A long list is made row by row, as the peer reads it: what is not read is not made.
- What is refused before anything was written is one line. What fails later has no end: the connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.admin.making import SLICE
from ctrlserver.admin.ports import AdminPorts
from ctrlserver.http.request import Request

Steps = Callable[[object], Iterator[bytes]]
"""Carries the question out, and gives its answer piece by piece. It gets what the figures came with."""


@implementer(IPushProducer)
class Answering:
    """The answer to one request, whose content is of ``kind``."""

    weight = 1

    def __init__(self, ports: AdminPorts, request: Request, kind: str, steps: Steps) -> None:
        self._ports = ports
        self._request = request
        self._kind = kind
        self._begin = steps
        self._found: object = None  # what the figures came with
        self._steps: Iterator[bytes] | None = None
        self._has_begun = False  # to be written
        self._is_over = False
        request.notifyFinish().addBoth(self._over)

    def begin(self, fresh: Deferred[Any] | None) -> None:
        """Answer once ``fresh`` has fired: what is read is of now."""
        if fresh is None:
            self._serve()
        else:
            fresh.addCallback(self._came)
            fresh.addErrback(self._failed)

    def _came(self, found: object) -> None:
        self._found = found
        self._serve()

    def _serve(self, *, had_a_slice: bool = False) -> None:
        if not self._is_over:
            self._ports.turns.serve(self, had_a_slice=had_a_slice)

    def carry_on(self) -> bool:
        """Make a slice; True where more is left and the peer reads."""
        if self._is_over or self._request.channel.is_paused:
            return False
        try:
            if self._steps is None:
                self._steps = self._begin(self._found)
            octets, ended = self._slice(self._steps)
        except Exception:
            self._failed(Failure())
            return False
        self._give(octets, ended)
        return not self._is_over and not self._request.channel.is_paused

    def _slice(self, steps: Iterator[bytes]) -> tuple[bytes, bool]:
        octets = bytearray()
        while len(octets) < SLICE:
            if (piece := next(steps, None)) is None:
                return bytes(octets), True
            octets += piece
            if not self._ports.turns.has_time():
                break
        return bytes(octets), False

    def _give(self, octets: bytes, ended: bool) -> None:
        request = self._request
        if ended and not self._has_begun:
            request.answer(octets, self._kind)
            return
        if not self._has_begun and octets:
            self._has_begun = True
            request.setHeader("Content-Type", self._kind)  # type: ignore[no-untyped-call]
            request.registerProducer(self, True)  # type: ignore[no-untyped-call]
        if octets:
            request.write(octets)
        if ended:
            request.unregisterProducer()  # type: ignore[no-untyped-call]
            request.finish()  # type: ignore[no-untyped-call]

    def _failed(self, failure: Failure) -> None:
        if not self._is_over:
            if self._has_begun:
                self._request.unregisterProducer()  # type: ignore[no-untyped-call]
            self._request.channel.site.tell(self._request, failure)

    def _over(self, _: object) -> None:
        """The answer is whole, or the peer has gone."""
        self._is_over = True
        self._ports.turns.forget(self)

    # Called by the channel

    def pauseProducing(self) -> None:
        """The peer has to read: ``carry_on`` sees it."""

    def resumeProducing(self) -> None:
        """The peer has read all."""
        self._serve(had_a_slice=True)

    def stopProducing(self) -> None:
        """The connection is lost; ``_over`` follows."""
