"""What the admin port writes to the log: what its peers changed, what they were refused, and what failed.

Rules: each kind of line is bounded, for a peer may ask as often as it likes; ``tell_left_out`` tells how many more
there were. A line names the peer and its level. It holds the words of a command and never the answer to a challenge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import define, field
from twisted.logger import Logger

from ctrlserver.logs.sparing import Sparing
from ctrlserver.words import printable

log = Logger()

LINES_AT_ONCE: Final = 10
"""Lines on changes that may follow each other; of more, one a second."""


@define(eq=False)
class Journal:
    """The lines of one server's admin ports; ``clock()`` gives seconds."""

    clock: Callable[[], float]
    _failed: Sparing = field(factory=Sparing, init=False)
    _changed: Sparing = field(factory=lambda: Sparing(LINES_AT_ONCE), init=False)
    _asked: Sparing = field(factory=lambda: Sparing(LINES_AT_ONCE), init=False)
    _refused: Sparing = field(factory=Sparing, init=False)

    def failed(self, command: str) -> None:
        """Log the exception that is under way."""
        if self._failed.may_write(self.clock()):
            log.failure("admin command {command!r} failed", event="bug", command=command)

    def asked(self, peer: str, level: object, what: str) -> None:
        """A peer asked ``what``; to be called where debug lines are wanted."""
        if self._asked.may_write(self.clock()):
            log.debug("admin: {what} asked by {peer}", event="asked", what=what, peer=peer, peer_level=str(level))

    def changed(self, peer: str, level: object, words: Sequence[str]) -> None:
        """A command was carried out that changes something."""
        if self._changed.may_write(self.clock()):
            command = printable(" ".join(word if word and " " not in word else f'"{word}"' for word in words))
            log.info(
                "admin: {command} by {peer} ({peer_level})",
                event="changed",
                command=command,
                peer=peer,
                peer_level=str(level),
            )

    def reached(self, peer: str, level: object) -> None:
        """A peer knows the secret."""
        if self._changed.may_write(self.clock()):
            log.info("admin: {peer} is {peer_level} now", event="authenticated", peer=peer, peer_level=str(level))

    def refused(self, peer: str, level: object, what: str) -> None:
        """A peer was refused ``what``."""
        if self._refused.may_write(self.clock()):
            log.warn(
                "admin: {what} refused to {peer} ({peer_level})",
                event="refused",
                what=what,
                peer=peer,
                peer_level=str(level),
            )

    def tell_left_out(self, now: float) -> None:
        """Log how many more there were than were logged; to be called now and then."""
        if number := self._failed.overdue(now):
            log.warn("{number} more admin commands failed", event="more-bugs", number=number)
        if number := self._changed.overdue(now):
            log.info("admin: {number} more changes", event="more-changes", number=number)
        if number := self._asked.overdue(now):
            log.debug("admin: {number} more questions", event="more-questions", number=number)
        if number := self._refused.overdue(now):
            log.warn("admin: {number} more refusals", event="more-refusals", number=number)
