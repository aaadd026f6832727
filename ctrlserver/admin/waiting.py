"""Replies that come later.

Rules: whoever waits costs nothing until it is woken, and is woken by its own timer. What ends it, ends its
timer too: the end of the connection (``cancel``) and of the server (``stop``).
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from ctrlserver.admin.replies import encode_error
from ctrlserver.admin.session import Session
from ctrlserver.errors import CommandError

STOPPING = CommandError(503, "stopping", "the server stops")


def _nothing() -> None:
    """Nobody is to be woken."""


@define(eq=False)
class Pause:
    """An error that comes only after some seconds."""

    session: Session
    seconds: float
    error: CommandError
    closes: bool = False
    ended: bool = field(default=False, init=False)
    ends_at_a_line: bool = field(default=False, init=False)
    _json: bool = field(default=False, init=False)
    _wake: Callable[[], None] = field(default=_nothing, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _over: bool = field(default=False, init=False)

    def begin(self, wake: Callable[[], None], *, json: bool) -> None:
        """The pause begins."""
        self._wake, self._json = wake, json
        assert self.session.reactor is not None
        self._timer = self.session.reactor.callLater(self.seconds, self._is_over)

    def _is_over(self) -> None:
        self._timer, self._over = None, True
        self._wake()

    def more(self) -> bytes:
        """The error, once the pause is over."""
        if not self._over:
            return b""
        self.ended = True
        return encode_error(self.error, json=self._json)

    def interrupt(self) -> None:
        """No line does."""

    def stop(self) -> None:
        """The pause is over."""
        self.cancel()
        self._over, self.error = True, STOPPING

    def cancel(self) -> None:
        """Nobody waits for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
