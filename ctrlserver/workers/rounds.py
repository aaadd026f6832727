"""Rounds: all workers are asked what they counted, and their answers are given to the mirror together.

Rules:

- Who asks during a round has the next one, which begins when that ends: so what was counted before a question is in its
  answer. All who ask meanwhile share it, and so do those who ask again when it ends.
- What was accepted before the question is taken before it is answered. So streams are numbered in the order in which
  they were accepted, but for those that come during a round.
- A round ends when all have answered, after ``LATE_SECONDS`` at the latest, and in the next turn where nobody can be
  asked. Who has not answered by then is ``late``.
  Later rounds do not wait for it, and its answer is applied when it comes. Of these questions a worker has one at a
  time.
- What a worker has answered is applied before it is said to be lost.
- Workers make way for a while where somebody waits (``urgent``), and not for the looks of every tick: half of the time
  they would not give way to each other then. An echo over four workers took up to 1.06 times the processor time so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ctrlserver.logs.sparing import Sparing
from ctrlserver.workers.messages import Look, Looked
from ctrlserver.workers.process import WorkerProcess
from ctrlserver.workers.snapshots import Snapshot

#: Seconds after which a round ends without those who have not answered.
LATE_SECONDS = 1.0


class Mirrors(Protocol):
    """Where the figures go."""

    def apply(self, snapshots: Mapping[int, Snapshot]) -> object:
        """Some workers' snapshots, of about one time."""

    def lost(self, worker: int, now: float) -> object:
        """The worker is gone, with its streams."""


@define(eq=False)
class _Round:
    """``awaited``: who has not answered. ``asked``: who waits for its end."""

    awaited: set[int]
    asked: list[Deferred[None]]
    got: dict[int, Snapshot] = field(factory=dict)
    limit: IDelayedCall | None = None


class Rounds:
    """``workers``: those that there are, by number; some of them run.

    ``seen`` is called when a round has been applied, ``first`` when a worker has answered for the first time.
    """

    log = Logger()

    def __init__(
        self,
        workers: Mapping[int, WorkerProcess],
        mirror: Mirrors,
        reactor: Any,
        *,
        seen: Callable[[], object],
        first: Callable[[WorkerProcess], object],
    ) -> None:
        self.late: tuple[int, ...] = ()
        self._workers = workers
        self._mirror = mirror
        self._reactor = reactor
        self._seen = seen
        self._first = first
        self._round: _Round | None = None
        self._next: list[Deferred[None]] = []
        self._next_is_urgent = False
        self._is_telling = False
        self._is_over = False
        self._lines = Sparing()

    def refresh(self, *, urgent: bool = False) -> Deferred[None]:
        """A round that begins now or later; the Deferred fires at its end. ``urgent``: somebody waits for it."""
        done: Deferred[None] = Deferred()
        self._next_is_urgent |= urgent
        self._next.append(done)
        self._begin_if_none()
        return done

    def _begin_if_none(self) -> None:
        if self._round is not None or self._is_telling:
            return
        asked, self._next = self._next, []
        urgent, self._next_is_urgent = self._next_is_urgent, False
        free = (
            [] if self._is_over else [each for each in self._workers.values() if each.is_running and not each.looking]
        )
        going = self._round = _Round({each.number for each in free}, asked)
        going.limit = self._reactor.callLater(LATE_SECONDS if free else 0, self._end)
        for worker in free:
            self.ask(worker, urgent=urgent)

    def ask(self, worker: WorkerProcess, *, urgent: bool = False) -> None:
        """Ask one, in a round or outside."""
        worker.looking = True
        worker.flush()
        worker.ask(Look(urgent)).addCallbacks(partial(self._looked, worker), lambda _: self._answers_no_more(worker))

    def _looked(self, worker: WorkerProcess, looked: Looked) -> None:
        worker.looking, worker.silent = False, 0.0
        self._is_late_no_more(worker)
        is_first = not worker.has_answered
        worker.saw(looked)
        going = self._round
        if going is not None and worker.number in going.awaited:
            going.awaited.discard(worker.number)
            going.got[worker.number] = looked.snapshot
            self._end_if_whole()
        else:
            self.apply({worker.number: looked.snapshot})
        if is_first:
            self._first(worker)

    def _answers_no_more(self, worker: WorkerProcess) -> None:
        """Its channel is lost, or it cannot carry out the question: then its silence is judged."""
        if self._round is not None:
            self._round.awaited.discard(worker.number)
            self._end_if_whole()

    def lost(self, worker: WorkerProcess) -> None:
        """The worker is gone: apply what it has answered."""
        self._is_late_no_more(worker)
        if (going := self._round) is not None:
            going.awaited.discard(worker.number)
            if worker.number in going.got:
                self.apply({worker.number: going.got.pop(worker.number)})

    def _is_late_no_more(self, worker: WorkerProcess) -> None:
        self.late = tuple(number for number in self.late if number != worker.number)

    def _end_if_whole(self) -> None:
        if self._round is not None and not self._round.awaited:
            self._end()

    def _end(self) -> None:
        going, self._round = self._round, None
        if going is None:
            return
        if going.limit is not None and going.limit.active():
            going.limit.cancel()
        self.apply(going.got)
        self.late = tuple(sorted({*self.late, *going.awaited}))
        self._seen()
        self._is_telling = True  # those who ask again share a round
        for each in going.asked:
            each.callback(None)
        self._is_telling = False
        if self._next:
            self._begin_if_none()

    def apply(self, snapshots: Mapping[int, Snapshot]) -> None:
        """Give snapshots to the mirror."""
        try:
            if snapshots:
                self._mirror.apply(snapshots)
        except Exception:  # a bug: those who wait are to have their answer, and the next round comes
            if self._lines.may_write(self._reactor.seconds()):
                self.log.failure(
                    "some figures of workers {workers} could not be entered", event="bug", workers=sorted(snapshots)
                )

    def stop(self) -> None:
        """Begin no more, and let nobody wait."""
        self._is_over = True
        self._end()
