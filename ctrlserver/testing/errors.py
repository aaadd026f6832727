"""The errors that a test sees."""

from __future__ import annotations

from ctrlserver.errors import CtrlServerError
from ctrlserver.testing.record import Record


class StartError(CtrlServerError):
    """The server did not start; the text has its log."""


class AdminError(CtrlServerError):
    """The server refused a command, with its own ``code``, ``id`` and words; or no ctrlserver answered (code 0)."""

    def __init__(self, command: str, code: int, id: str, message: str) -> None:
        super().__init__(f"{command}: ERR {code} {id} {message}" if code else f"{command}: {message}")
        self.code = code
        self.id = id


class NotReached(AssertionError):
    """What a test waited for did not come. ``record``: the server's stats when the time was over."""

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(f"{message}\nthe server's record, without what is 0:\n{record.lines()}")
        self.record = record
