"""Who asks: the session of one connection, its level, and how it reaches a higher one.

A peer begins with the level that its port grants (``Access.begins``). With the port's secret it reaches
``Access.highest``: it asks for a challenge, and answers with the HMAC-SHA-256 of it under the secret. So the secret
itself never goes over the wire, and an answer that somebody overheard is worth nothing.

Rules:

- A challenge is random, of one connection, good for one answer and for ``CHALLENGE_SECONDS``.
- Answers are compared in a time that does not depend on them.
- A wrong answer costs ``PAUSE_SECONDS``; after ``TRIES`` of them the connection ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hmac import compare_digest
from os import urandom
from typing import Final

from attrs import Factory, define, field, frozen
from twisted.internet.interfaces import IAddress

from ctrlserver.admin.journal import Journal
from ctrlserver.admin.levels import Level, base_level
from ctrlserver.admin.waiting import Readings
from ctrlserver.config.endpoints import behind_proxy, unix_path
from ctrlserver.config.tree import AdminConfig
from ctrlserver.errors import ConfigError
from ctrlserver.inject.orderer import Orderer
from ctrlserver.secret import answer_to
from ctrlserver.words import quoted

TRIES: Final = 3
PAUSE_SECONDS: Final = 1.0
CHALLENGE_SECONDS: Final = 60.0
"""A person copies a challenge to another window and the answer back."""

CHALLENGE_BYTES: Final = 32


@frozen
class Access:
    """What an admin port grants: the level that its peers begin with, and the one they reach with ``secret``."""

    begins: Level = Level.ADMIN
    highest: Level = Level.ADMIN
    secret: bytes | None = field(default=None, repr=False)
    endpoint: str = ""

    @property
    def reachable(self) -> Level:
        """The highest level that a peer of this port can have."""
        return self.begins if self.secret is None else self.highest


LOOKING_ONLY: Final = Access(Level.VIEWER, Level.VIEWER)
"""What a port grants before it is known what it may."""


def access_of(config: AdminConfig, address: IAddress, secret: bytes | None) -> Access:
    """What the port bound at ``address`` grants; ``ConfigError`` where its ``level`` is more than it may have."""
    base = base_level(address, proxied=behind_proxy(config.endpoint) is not None)
    highest = Level.ADMIN if config.level is None else Level[config.level.upper()]
    begins = min(base, highest)
    if secret is None and config.level is not None and highest > base:
        if unix_path(config.endpoint) is None or behind_proxy(config.endpoint) is not None:
            wrong = f'level "{highest}" needs auth = "FILE" on this port; did you mean level = "{base}"?'
            raise ConfigError(f"endpoint {quoted(config.endpoint)}: {wrong}")
        begins = highest
    return Access(begins, highest, secret, config.endpoint)


@define(eq=False)
class Session:
    """One connection's. ``ports`` are all admin ports of this server, to name one that grants more."""

    peer: str = ""
    transport: str = ""
    access: Access = Access()
    readings: Readings | None = None
    journal: Journal = Factory(lambda: Journal(lambda: 0.0))
    ports: Callable[[], Iterable[Access]] = tuple
    level: Level = Factory(lambda self: self.access.begins, takes_self=True)
    random: Callable[[int], bytes] = urandom
    tries: int = field(default=TRIES, init=False)
    _challenge: str | None = field(default=None, init=False, repr=False)
    _good_until: float = field(default=0.0, init=False)

    @property
    def orderer(self) -> Orderer:
        """The peer, as injections and answers name who ordered them."""
        return Orderer(self.peer, str(self.level))

    def changed(self) -> None:
        """A command of this session changes something: numbers asked for before are too old for who asks next."""
        if self.readings is not None:
            self.readings.freshness.changed()

    def challenge(self, now: float) -> str:
        """A new challenge, in hex; the one before is worth nothing from now on."""
        self._challenge, self._good_until = self.random(CHALLENGE_BYTES).hex(), now + CHALLENGE_SECONDS
        return self._challenge

    def has_challenge(self, now: float) -> bool:
        """Whether an answer is awaited."""
        return self._challenge is not None and now < self._good_until

    def is_right(self, answer: str) -> bool:
        """Whether ``answer`` is that to the challenge, which is used up; if so, the level is the highest there is."""
        challenge, self._challenge = self._challenge, None
        if challenge is None or self.access.secret is None:
            return False
        expected = answer_to(challenge, self.access.secret)
        if not compare_digest(expected.encode("ascii"), answer.lower().encode("utf-8")):
            self.tries -= 1
            return False
        self.level = max(self.level, self.access.highest)
        return True

    def way_to(self, level: Level) -> str:
        """How this peer can have ``level``, which is more than it has."""
        if self.access.reachable >= level:
            return 'auth raises it, and "help auth" says how'
        others = [each.endpoint for each in self.ports() if each.reachable >= level and each.endpoint]
        if others:
            return f"this port gives no more; ask through {others[0]}"
        return "this port gives no more; the config can: level and auth in [[admin]]"
