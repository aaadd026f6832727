"""The events of ``--json-stream``: one JSON object a line, while the run goes on.

Rules: ``start`` comes first, then an ``interval`` for each slice, an ``error`` for each thing that went wrong, and
``end`` with the whole result document last. Every event has a ``time``, ISO 8601 UTC. Each line is flushed. The run
never waits for the reader: an event that the pipe has no room for is kept and goes out with the next one; only at the
end is there time to wait. A reader that goes away is no matter of ours.

Beware: a line is kept whole only up to ``PIPE_BUF``; an interval is far below.
"""

from __future__ import annotations

import json
import select
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

import attrs

from ctrlserver.load.measure.intervals import Interval, Progress
from ctrlserver.load.show.output import put, raise_unwritten

SCHEMA = "ctrlload-events/1"

#: Events kept for a reader that does not read: hours of seconds.
KEPT = 10_000


class EventStream:
    """Writes events to ``out``; ``wall`` gives the time of each. A watcher of the run."""

    def __init__(self, out: TextIO | None, wall: Callable[[], str]) -> None:
        self._out = out
        self._wall = wall
        self._waiting: deque[str] = deque(maxlen=KEPT)
        self.problem: OSError | None = None

    def start(self, target: str, options: Mapping[str, object], labels: Mapping[str, str]) -> None:
        """The run begins."""
        self._tell("start", {"schema": SCHEMA, "target": target, "options": options, "labels": labels})

    def interval(self, interval: Interval) -> None:
        """A slice has ended."""
        self._tell("interval", {"interval": attrs.asdict(interval)})

    def progress(self, progress: Progress) -> None:
        """Nothing: events are for intervals."""

    def note(self, text: str) -> None:
        """Nothing: notes are for people."""

    def close(self) -> None:
        """Nothing is left open."""

    def end(self, document: Mapping[str, object], errors: Sequence[str], exit_code: int) -> None:
        """The run is over; wait for the reader, as long as there is one. LoadError where stdout took less than all."""
        for message in errors:
            self._keep("error", {"message": message})
        self._keep("end", {"exit_code": exit_code, "result": document})
        while self._waiting:
            self._write()
        raise_unwritten(self.problem)

    def _tell(self, event: str, fields: Mapping[str, object]) -> None:
        self._keep(event, fields)
        while self._waiting and self._has_room():
            self._write()

    def _keep(self, event: str, fields: Mapping[str, object]) -> None:
        self._waiting.append(json.dumps({"event": event, "time": self._wall(), **fields}, allow_nan=False) + "\n")

    def _has_room(self) -> bool:
        """Whether a write would not wait; also where it would fail."""
        if self._out is None or self.problem is not None:
            return True
        poll = select.poll()
        poll.register(self._out, select.POLLOUT)
        return bool(poll.poll(0))

    def _write(self) -> None:
        text = self._waiting.popleft()
        if self.problem is not None:
            return
        try:
            put(self._out, text)
        except OSError as error:
            self.problem = error
