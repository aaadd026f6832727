"""The parent's workers: started, asked, given connections, and replaced when they die.

Model::

    start() -> each begins -> all have answered -> connections are handed -> stop(): last figures, then the end
                  |                                   |
                  +--- ended, or silent for long -----+--> what it had not taken goes to others; another is started

What they counted is asked for in rounds (``workers/rounds.py``), whenever somebody wants it (``refresh``).

Rules:

- A worker that is silent for ``HUNG_SECONDS`` is killed; one that begins has ``BEGIN_SECONDS``. A pause of the parent
  itself does not count (``looks.py``).
- A worker is handed nothing until it has begun, while it is late and others are not, and while it does not keep up.
  At the start nothing is handed before all have begun: they share the first burst.
- ``MOST_QUICK_ENDS`` of one worker in a row, each before it had answered or within ``QUICK_SECONDS``, end the daemon.

Beware: who is silent is known of those alone that are asked: call ``refresh`` now and then.
Beware: start it after the process went into the background and gave up its privileges: workers inherit both.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ctrlserver.looks import Looks
from ctrlserver.stats.records import WorkerRecord
from ctrlserver.workers.balance import Balance
from ctrlserver.workers.channel import Lost
from ctrlserver.workers.handing import PAUSE_SECONDS, Handed, Said
from ctrlserver.workers.messages import Looked, Stop
from ctrlserver.workers.process import Past, WorkerProcess, environment, program, row_of
from ctrlserver.workers.rounds import Mirrors, Rounds
from ctrlserver.workers.seed import Seed
from ctrlserver.workers.telling import Told

#: Seconds between two looks at who is silent.
PACE = 0.25

#: Seconds of silence after which a worker is killed, and those that it has to begin.
HUNG_SECONDS, BEGIN_SECONDS = 5.0, 30.0

#: Seconds that workers have for their last answer.
STOP_SECONDS = 2.0

#: A worker that lives shorter ended at once; after so many in a row the daemon gives up.
QUICK_SECONDS, MOST_QUICK_ENDS = 1.0, 5

#: Seconds before another is started after one that ended at once; after several in a row as many times longer.
QUICK_PAUSE_SECONDS = 0.1


class Supervisor:
    """``count`` workers, numbered from 1.

    ``begin`` gives the first message to worker ``number``, and descriptors beside it, for each process anew.
    ``mirror`` takes their figures. ``failed``: the daemon cannot go on, and why. ``command``: how the seed of the
    processes is started.
    """

    log = Logger()

    def __init__(
        self,
        count: int,
        reactor: Any,
        *,
        begin: Callable[[int], tuple[object, Sequence[int]]],
        mirror: Mirrors,
        failed: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
        command: Sequence[str] = (),
    ) -> None:
        self.generation = 0
        """Counts the reloads: of which listeners connections are handed."""
        self.in_force: Callable[[Said], Said] = lambda said: said
        """Gives what a dead worker had not taken by the listeners of now, as far as they are the same."""
        self.moved: Callable[[Said, int], object] = lambda _, __: None
        """Told what a dead worker had not taken, and which worker has it now."""
        self._reactor = reactor
        self._begin = begin
        self._mirror = mirror
        self._failed = failed
        self._clock = clock
        self._command = command or program()
        self._seed = Seed(self._command, environment(os.environ, sys.path))
        self._numbers = range(1, count + 1)
        self._workers: dict[int, WorkerProcess] = {}
        self._past = {number: Past() for number in self._numbers}
        self._balance = Balance()
        self._full: set[int] = set(self._numbers)
        self._kept: deque[Handed] = deque()
        self._rounds = Rounds(self._workers, mirror, reactor, seen=self._see, first=self._is_ready)
        self._pace: IDelayedCall | None = None
        self._looks = Looks(PACE)
        self._started: Deferred[None] | None = None
        self._has_started = False
        self._stopped: Deferred[None] | None = None
        self._is_ending = False

    # The start

    def start(self) -> Deferred[None]:
        """Start all; the Deferred fires once each has answered. If that cannot be, ``failed`` is called."""
        self._started = Deferred()
        self._looks.begin(self._clock())
        for number in self._numbers:
            self._spawn(number)
        self._pace = self._reactor.callLater(PACE, self._beat)
        return self._started

    def _spawn(self, number: int) -> None:
        worker = self._workers[number] = WorkerProcess(number, self, self._reactor)
        try:
            worker.start(self._seed)
        except OSError as error:
            how = f"could not be started: {error.strerror.lower() if error.strerror else error}: {self._command[0]}"
            self._reactor.callLater(0, worker.could_not, how)
            return
        begun = maybeDeferred(lambda: worker.ask(*self._begin(number)))
        begun.addCallbacks(lambda _: self._has_begun(worker), lambda failure: self._has_not_begun(worker, failure))

    def _spawn_again(self, number: int) -> None:
        if not self._is_ending:
            self._spawn(number)

    def _has_begun(self, worker: WorkerProcess) -> None:
        worker.is_running = True
        worker.silent = 0.0
        self.log.info("worker {worker} is process {pid}", event="worker-started", worker=worker.number, pid=worker.pid)
        self._rounds.ask(worker)

    def _has_not_begun(self, worker: WorkerProcess, failure: Failure) -> None:
        if not failure.check(Lost):
            worker.kill(f"could not begin: {failure.getErrorMessage()}")

    def _is_ready(self, worker: WorkerProcess) -> None:
        """It has answered for the first time."""
        if not self._has_started and all(each.has_answered for each in self._workers.values()):
            self._has_started = True
            self._full -= {number for number, each in self._workers.items() if each.is_running}
            self._see()
            if self._started is not None:
                self._started.callback(None)
        elif self._has_started:
            self._full.discard(worker.number)
            self._see()
        else:
            return
        self._hand_kept()

    # What they counted

    def refresh(self, *, urgent: bool = False) -> Deferred[None]:
        """Ask all; the Deferred fires once what they counted until now is applied. ``late`` says whose is not.

        ``urgent``: somebody waits for it.
        """
        return self._rounds.refresh(urgent=urgent)

    @property
    def late(self) -> tuple[int, ...]:
        """The workers that owe figures."""
        return self._rounds.late

    def _beat(self) -> None:
        self._pace = self._reactor.callLater(PACE, self._beat)
        if self._looks.may_judge(self._clock()):
            for worker in list(self._workers.values()):
                self._judge(worker)

    def _judge(self, worker: WorkerProcess) -> None:
        if worker.has_ended or (worker.is_running and not worker.looking):
            return
        worker.silent += PACE
        limit = HUNG_SECONDS if worker.is_running else BEGIN_SECONDS
        if worker.silent > limit:
            worker.kill(f"did not answer for {limit:g} s and was killed")

    def _see(self) -> None:
        self._balance.saw({number: each.seen() for number, each in self._workers.items() if each.is_running})

    @property
    def lag(self) -> float:
        """Seconds since the oldest figures of those who are late were counted; 0 if nobody is.

        One that begins is not late: it has no streams.
        """
        late = [self._workers[number] for number in self.late]
        times = [each.snapshot.at for each in late if each.is_running]
        return max(0.0, self._clock() - min(times)) if times else 0.0

    @property
    def restarts(self) -> int:
        """How many workers were replaced."""
        return sum(each.restarts for each in self._past.values())

    def rows(self) -> list[WorkerRecord]:
        """A row for each worker."""
        shares = self._balance.shares
        whole = sum(shares.values()) or 1.0
        return [
            row_of(worker, self._past[number], is_late=number in self.late, share=shares.get(number, 0.0) / whole)
            for number, worker in sorted(self._workers.items())
        ]

    # What is handed to them

    def has_room(self) -> bool:
        """Whether a connection may be accepted."""
        return len(self._full) < len(self._numbers)

    def hand(self, listener: int, descriptor: int, peer: Any, strike: str = "") -> int | None:
        """Give a connection to the worker with the least load: its number. ``descriptor`` is ours from now on.

        None: nobody runs, and it is closed. It is sent with others by ``flush``.
        """
        said = (self.generation, listener, peer, strike, self._clock())
        number = self._hand(descriptor, said, self._full)
        if number is None:  # there was room when the turn of accepts began: what is left of it is taken too
            others = {number for number in self._numbers if not self.is_running(number)}
            number = self._hand(descriptor, said, others)
        if number is None:
            os.close(descriptor)
        return number

    def flush(self) -> None:
        """Send what was handed."""
        for worker in self._workers.values():
            worker.flush()

    def _hand(self, descriptor: int, said: Said, full: set[int]) -> int | None:
        late = self._rounds.late
        number = self._balance.choose(full.union(late) if late else full)
        if number is None:
            number = self._balance.choose(full)
        if number is None:
            return None
        if not self._workers[number].hand(descriptor, said):
            self._full.add(number)
        return number

    def _hand_kept(self) -> None:
        """Give what dead workers had not taken to others, as far as they have room."""
        kept = self._kept
        while kept:
            descriptor, said = kept[0][0], self.in_force(kept[0][1])
            number = self._hand(descriptor, said, self._full)
            if number is None:
                break
            kept.popleft()
            self.moved(said, number)
        self.flush()

    def room(self, worker: WorkerProcess) -> None:
        """It takes connections again."""
        if worker.is_running and self._has_started:
            self._full.discard(worker.number)
            self._hand_kept()

    def is_running(self, number: int) -> bool:
        """Whether that worker has begun."""
        return number in self._workers and self._workers[number].is_running

    def replace(self, number: int, why: str) -> None:
        """Kill a worker, and start another in its place; ``why`` ends the words "worker 2 (process 123) ..."."""
        self._workers[number].kill(why)

    # What is said to them

    def heard(self, worker: WorkerProcess, message: Told) -> None:
        """Log a line of its log, the one thing that a worker says without a question."""
        message.log(worker.number)

    def tell(self, number: int, message: object, descriptors: Sequence[int] = ()) -> None:
        """Say something to one; it comes after what was said before, also to one that begins."""
        if (channel := self._workers[number].channel) is not None:
            channel.send(message, descriptors)

    def send(self, message: object, descriptors: Sequence[int] = ()) -> None:
        """Say something to all."""
        for number in self._workers:
            self.tell(number, message, descriptors)

    def ask(self, number: int, message: object, descriptors: Sequence[int] = ()) -> Deferred[Any]:
        """Ask one; ``Refused`` or ``Lost`` as of a channel."""
        return self._workers[number].ask(message, descriptors)

    # The end

    def ended(self, worker: WorkerProcess) -> None:
        """A process is over: it is replaced, unless it was to end."""
        number = worker.number
        self._full.add(number)
        if self._is_ending:
            self._take_rest(worker)
            self._look_if_all_ended()
            return
        self._rounds.lost(worker)
        self._mirror.lost(number, self._clock())
        past = self._past[number]
        past.remember(
            worker, is_quick=not worker.has_answered or self._reactor.seconds() - worker.started < QUICK_SECONDS
        )
        is_last = past.quick >= MOST_QUICK_ENDS
        self.log.error(
            "worker {worker}{process} {how}{next}{what}",
            event="worker-lost",
            worker=number,
            pid=worker.pid,
            process=f" (process {worker.pid})" if worker.pid else "",
            how=worker.how,
            next="" if is_last else "; another takes its place",
            what=f": {worker.last_words()}" if worker.last_words() else "",
            restarts=self.restarts,
        )
        if is_last:
            self._take_rest(worker)
            last = worker.last_words().rpartition("\n")[2]
            self._failed(
                f"worker {number} ended {past.quick} times in a row as soon as it was started: it {worker.how}"
                f"{': ' if last else ''}{last}"
            )
            return
        past.restarts += bool(worker.pid)  # one that could not be started took nobody's place
        if past.quick:  # what it lacks may be there in a moment
            self._reactor.callLater(past.quick * QUICK_PAUSE_SECONDS, self._spawn_again, number)
        else:
            self._spawn(number)
        self._see()
        self._take_rest(worker)

    def _take_rest(self, worker: WorkerProcess) -> None:
        """What an ended worker had not taken goes to others, as soon as there are descriptors for it."""
        rest, is_all = worker.hander.rest() if worker.hander is not None else ([], True)
        self._kept.extend(rest)
        if not self._is_ending:
            self._hand_kept()
        if not is_all:
            self._reactor.callLater(PAUSE_SECONDS, self._take_rest, worker)
        elif self._is_ending:
            self._close_kept()

    def _close_kept(self) -> None:
        while self._kept:
            os.close(self._kept.popleft()[0])

    def stop(self) -> Deferred[None]:
        """End all; the Deferred fires once their last figures are applied and their processes are gone."""
        if self._stopped is not None:
            return self._stopped
        self._is_ending = True
        self._stopped = Deferred()
        if self._pace is not None and self._pace.active():
            self._pace.cancel()
        self._rounds.stop()
        self._seed.stop()
        running = [number for number, each in self._workers.items() if each.is_running]
        asked = DeferredList([self._workers[number].ask(Stop()) for number in running], consumeErrors=True)
        asked.addTimeout(STOP_SECONDS, self._reactor).addCallback(partial(self._end_all, running))
        return self._stopped

    def _end_all(self, running: Sequence[int], answered: Sequence[tuple[bool, Looked]]) -> None:
        answers = {number: looked for number, (is_one, looked) in zip(running, answered, strict=True) if is_one}
        for number, looked in answers.items():
            self._workers[number].saw(looked)
        self._rounds.apply({number: looked.snapshot for number, looked in answers.items()})
        for number, worker in self._workers.items():
            if number not in answers:
                worker.kill()
                self._mirror.lost(number, self._clock())
            if not worker.has_ended:
                worker.end()
        self._close_kept()
        self._look_if_all_ended()

    def _look_if_all_ended(self) -> None:
        stopped = self._stopped
        if stopped is not None and not stopped.called and all(each.has_ended for each in self._workers.values()):
            stopped.callback(None)
