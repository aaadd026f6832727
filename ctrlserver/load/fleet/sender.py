"""One shard of a fleet, as the one who started it sees it, wherever it is sent from.

Model::

    made -> start() -> (event start) begun -> (event starting) ready -> say_start() -> (event end) its result -> ended

Rules:

- It is ``ctrlload run`` for one shard, whose events are passed to the owner as they are.
- It is interrupted as ctrlload is, by SIGINT, but not before it has begun: until then its program does not count
  signals. What is asked of it earlier is passed on then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

#: Seconds for which one that has to speak may say nothing.
SILENT_SECONDS = 30.0

Event = Mapping[str, Any]


class Owner(Protocol):
    """Whose sender it is."""

    def heard(self, sender: Sender, event: Event) -> object:
        """It tells an event."""

    def ended(self, sender: Sender) -> object:
        """It has ended, or could not be started; ``how`` says how."""


class Source(Protocol):
    """Where the senders of a load come from; a start has to be said ``lead_seconds`` before."""

    lead_seconds: float

    def begin(self, owner: Owner) -> Deferred[Sequence[Sender]]:
        """Those of all shards, in their order; LoadError says why there are none."""

    def end(self, *, at_once: bool) -> Deferred[None]:
        """Let go of all; fires once it is done. It may be called again."""


class Sender:
    """The sender of shard ``number``. ``where`` it is, for people and the result; None: in this machine."""

    def __init__(self, number: int, owner: Owner, where: str | None = None) -> None:
        self.number = number
        self.where = where
        self._owner = owner
        self._interrupts = 0
        self._why = ""
        self.has_begun = self.is_ready = self.is_sending = self.has_ended = False
        self.how = ""
        """How it ended."""
        self.silent = 0.0
        """Seconds for which it has said nothing, as far as its owner counts them."""

    @property
    def patience_seconds(self) -> float:
        """For how long it may say nothing: it tells its progress four times a second."""
        return SILENT_SECONDS

    @property
    def has_to_speak(self) -> bool:
        """Whether it is to be heard of now, at least now and then."""
        return self.is_sending or not self.has_begun

    def start(self, words: Sequence[str]) -> None:
        """Start it with these arguments of ctrlload."""
        raise NotImplementedError

    def say_start(self, seconds: float) -> None:
        """Say when to begin, in ``seconds`` since 1970."""
        raise NotImplementedError

    def signal(self, name: str) -> None:
        """Pass a signal on, such as INT; nothing if it has ended."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """The first time, have it end its sending and report; the second time, at once."""
        self._interrupts += 1
        if self.has_begun:
            self.signal("INT")
        elif self._interrupts > 1:
            self.kill()

    def kill(self, why: str = "") -> None:
        """End it now; ``why`` is said in place of the signal."""
        self._why = self._why or why
        self.signal("KILL")

    def named(self, words: str) -> str:
        """The same, with where it is."""
        return words if self.where is None else f"worker {self.where}: {words}"

    def heard(self, line: bytes | str) -> None:
        """It has written a line; one that is no event is left out."""
        try:
            event = json.loads(line)
        except ValueError:
            return
        if event["event"] == "start":
            self.has_begun = True
            for _ in range(self._interrupts):
                self.signal("INT")
        elif event["event"] == "starting":
            self.is_ready = True
        elif event["event"] == "progress":
            self.is_sending = True
        self.silent = 0.0
        self._owner.heard(self, event)

    def over(self, how: str) -> None:
        """It has ended; only the first word about it counts."""
        if not self.has_ended:
            self.how = self.named(how)
            self.has_ended = True
            self._owner.ended(self)
