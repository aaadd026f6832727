"""The events of ``--json-stream``: one JSON object a line, during the run.

Rules: first ``start``, then ``starting`` once a second of the wait for ``--start-at``, an ``interval`` for each slice,
``waiting`` once a second of the wait after the last byte, an ``error`` for each error, last ``end`` with the whole
result document. With ``--json-progress`` there is ``progress`` four times a second, and a ``note`` for each line that
is no failure. Every event has a ``time``, ISO 8601 UTC. Each line is flushed. The run never waits for the reader: an
event that does not fit the pipe is kept and sent with the next one. Only ``end`` waits. A reader that goes away is no
error.

Beware: the kernel keeps a line in one piece only up to ``PIPE_BUF``; an interval is far shorter.
"""

from __future__ import annotations

import json
import select
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

import attrs

from ctrlserver.console.streams import put, raise_unwritten
from ctrlserver.load.measure.intervals import Interval, Progress, Waiting, Watcher

SCHEMA = "ctrlload-events/1"

#: Events kept for a reader that does not read: almost three hours at one a second.
KEPT = 10_000


class EventStream:
    """Writes events to ``out``; ``wall`` gives the time of each. A watcher that passes on to ``people``."""

    def __init__(
        self, out: TextIO | None, wall: Callable[[], str], people: Watcher, *, with_progress: bool = False
    ) -> None:
        self._out = out
        self._wall = wall
        self._people = people
        self._with_progress = with_progress
        self._waiting: deque[str] = deque(maxlen=KEPT)
        self.problem: OSError | None = None

    def start(self, target: str, options: Mapping[str, object], labels: Mapping[str, str]) -> None:
        """The run begins."""
        self._tell("start", {"schema": SCHEMA, "target": target, "options": options, "labels": labels})

    def interval(self, interval: Interval) -> None:
        """A slice has ended."""
        self._people.interval(interval)
        self._tell("interval", {"interval": attrs.asdict(interval)})

    def progress(self, progress: Progress) -> None:
        """How far the run is; four times a second."""
        self._people.progress(progress)
        if self._with_progress:
            self._tell("progress", {"progress": attrs.asdict(progress)})

    def note(self, text: str) -> None:
        """A line that is no failure."""
        self._people.note(text)
        if self._with_progress:
            self._tell("note", {"message": text})

    def starting(self, seconds: float | None) -> None:
        """All streams are open, and the run waits for its start."""
        self._people.starting(seconds)
        self._tell("starting", {"starting": {"seconds": None if seconds is None else round(seconds, 3)}})

    def waiting(self, waiting: Waiting) -> None:
        """The run waits after its last byte."""
        self._people.waiting(waiting)
        self._tell("waiting", {"waiting": attrs.asdict(waiting)})

    def end(self, document: Mapping[str, object], errors: Sequence[str], exit_code: int) -> None:
        """The run is over; wait until the reader has all. LoadError if stdout could not be written."""
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
        """Whether a write would not wait; true also if it would fail."""
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
