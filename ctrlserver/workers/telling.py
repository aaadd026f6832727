"""A worker's log events, on their way to the parent's log.

Model: ``Teller`` is the observer of a worker's log. It makes a ``Told`` of each event that is to be written, which
holds numbers and text only, and says it to the parent. There it becomes an event of Twisted's again, with ``worker``.

Rules: the worker formats the text, for only it has the objects. The level of the worker says what is written. If the
parent does not keep up, lines are left out, and their number is told with the next one. What Twisted says when a port
opens or closes is not told: each worker has every UDP port.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from ctrlserver.logs.level import LEVEL
from ctrlserver.logs.lines import out_of_memory
from ctrlserver.words import counted
from ctrlserver.workers.channel import Channel

#: Bytes that may wait on the channel before lines are left out.
MOST_WAITING = 1 << 20

#: Whose lines tell of ports: Twisted's old log, which nothing of ours uses.
OF_PORTS = "log_legacy"

_LONGEST_TEXT = 16_000


@frozen
class Traceback:
    """What a line shows of a failure, in the place of Twisted's."""

    name: str
    message: str
    text: str
    value: None = None

    @property
    def type(self) -> type:
        """A class of the error's name."""
        return type(self.name, (Exception,), {})

    def getErrorMessage(self) -> str:
        """As of a failure."""
        return self.message

    def getTraceback(self, *_: object, **__: object) -> str:
        """As of a failure."""
        return self.text


@frozen
class Told:
    """A log event: its time, level, source, text, fields and failure. ``left_out``: events before it."""

    when: float
    level: str
    source: str
    text: str
    fields: Mapping[str, Any] = field(factory=dict)
    failure: Traceback | None = None
    left_out: int = 0

    def log(self, worker: int) -> None:
        """Give it to this process's log."""
        event = {
            **self.fields,
            "worker": worker,
            "log_time": self.when,
            "log_level": LogLevel.levelWithName(self.level),
            "log_namespace": self.source,
            "log_format": "{log_told}",
            "log_told": f"{self.text}; {counted(self.left_out, 'line')} before it left out"
            if self.left_out
            else self.text,
        }
        if self.failure is not None:
            event["log_failure"] = self.failure
        globalLogPublisher(event)


def told(event: Mapping[str, Any], left_out: int = 0) -> Told:
    """What is told of an event."""
    event = out_of_memory(event) or event
    failure = event.get("log_failure")
    return Told(
        when=event.get("log_time") or 0.0,
        level=getattr(event.get("log_level"), "name", "info"),
        source=str(event.get("log_namespace", "-")),
        text=formatEvent(dict(event))[:_LONGEST_TEXT],
        fields={key: _plain(value) for key, value in event.items() if not key.startswith("log_")},
        failure=None
        if failure is None
        else Traceback(failure.type.__name__, failure.getErrorMessage(), failure.getTraceback()[-_LONGEST_TEXT:]),
        left_out=left_out,
    )


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    try:
        return str(value)
    except Exception:  # a line about a broken object is to be written all the same
        return f"<{type(value).__name__}>"


@implementer(ILogObserver)
class Teller:
    """A worker's log."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._left_out = 0
        self._telling = False

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Tell the parent, if the level is high enough."""
        level = event.get("log_level")
        if not LEVEL.writes(level) or self._telling:
            return
        if level is LogLevel.info and event.get("log_namespace") == OF_PORTS:
            return
        if self._channel.waiting > MOST_WAITING:
            self._left_out += 1
            return
        self._telling = True  # what the channel may log meanwhile would never end
        try:
            self._channel.send(told(event, self._left_out))
            self._left_out = 0
        finally:
            self._telling = False
