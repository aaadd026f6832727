"""A line that waits for figures before it is carried out, or was carried out and waits for the workers. No transport.

Rules: ``wake`` is called once, and not from within ``wait_for``: who calls it looks at ``is_ready`` afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ctrlserver.admin.commands.command import Command
from ctrlserver.admin.dialogue import Request
from ctrlserver.admin.journal import Journal
from ctrlserver.admin.making import wrong
from ctrlserver.admin.replies import Reply, encode_error, encode_in_steps
from ctrlserver.admin.waiting import STOPPING


def _nothing() -> None:
    """Nobody is to be woken."""


@define(eq=False)
class Call:
    """``is_ready`` once the figures are there, or with ``failure`` cannot be had.

    ``reply``: that of a line which was carried out, and is said once the workers go by it; or of one that they answer.
    """

    request: Request
    command: Command
    reply: Reply | None = None
    is_ready: bool = field(default=False, init=False)
    failure: Failure | None = field(default=None, init=False)
    _wake: Callable[[], None] = field(default=_nothing, init=False)
    _reply: bytes = field(default=b"", init=False)

    def wait_for(self, fresh: Deferred[Any], wake: Callable[[], None]) -> None:
        """Wait, and ``wake`` then."""
        fresh.addBoth(self._over)
        self._wake = wake

    def _over(self, answer: object) -> None:
        self.is_ready, self.failure = True, answer if isinstance(answer, Failure) else None
        self.reply = answer if isinstance(answer, Reply) else self.reply
        self._wake()

    def wrong(self, journal: Journal) -> bytes:
        """What the peer is told, instead of its reply, of the ``failure``."""
        assert self.failure is not None
        try:
            self.failure.raiseException()
        except Exception as error:
            return wrong(journal, self.request, error)

    def stop(self) -> None:
        """The server stops; ``more`` has the reply."""
        self.cancel()
        if self.reply is None:
            self._reply = encode_error(STOPPING, json=self.request.json)
        else:
            self._reply = b"".join(encode_in_steps(self.command.command, self.reply, json=self.request.json))

    def more(self) -> bytes:
        """The reply, where it has come to nothing."""
        return self._reply

    def cancel(self) -> None:
        """The connection is gone."""
        self._wake = _nothing
