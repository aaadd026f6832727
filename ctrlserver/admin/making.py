"""A reply that may be long, made piece by piece; no transport, no clock of its own.

Rules: ``more`` gives about a slice, less where time is up. If the reply fails before any of it was given, it is one
clear error instead. If it fails later, a text ends with an ERR line, and a line of JSON has no end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from attrs import define

from ctrlserver.admin.dialogue import Request
from ctrlserver.admin.journal import Journal
from ctrlserver.admin.replies import encode_error
from ctrlserver.errors import CommandError

SLICE: Final = 16 * 1024
"""Bytes of a long reply made and given to the transport at once."""


def failure(journal: Journal, request: Request) -> bytes:
    """Log the exception that is under way; what the peer is told instead of its reply."""
    journal.failed(request.words[0])
    wrong = f'"{request.words[0].casefold()}" failed; the log of the server says why'
    return encode_error(CommandError(500, "internal", wrong), json=request.json)


def wrong(journal: Journal, request: Request, error: Exception) -> bytes:
    """What the peer is told instead of its reply; one that is under way, and no ``CommandError``, is logged."""
    if isinstance(error, CommandError):
        return encode_error(error, json=request.json)
    return failure(journal, request)


@define
class Making:
    """A reply in the making: ``ended`` once nothing follows, ``broken`` where its line has no end."""

    request: Request
    steps: Iterator[bytes]
    journal: Journal
    begun: bool = False
    ended: bool = False
    broken: bool = False

    def more(self, has_time: Callable[[], bool]) -> bytes:
        """What follows, at most a slice and what one step gives; at least one step is made."""
        octets = bytearray()
        try:
            while not self.ended and len(octets) < SLICE:
                piece = next(self.steps, None)
                octets += piece or b""
                self.ended = piece is None
                if not has_time():
                    break
        except Exception:
            octets[:] = failure(self.journal, self.request)
            self.ended, self.broken = True, self.begun and self.request.json
        self.begun = self.begun or bool(octets)
        return b"" if self.broken else bytes(octets)
