"""One load sent by several processes: their start, what they report, their end, the result of the whole.

    phase       each process                          ends when
    begin       ctrlload run --shard I/N              all say that their streams are open
    start       waits for the moment                  the moment, said to all at once, has come
    send        reports intervals and progress        each has written its result
    result      ended                                 all have ended: the results are merged

Rules:

- Nothing is sent before all streams of all processes are open. If one ends before that, the others are called off.
- After the start a process that dies ends nothing: the others send their parts and report, and the result names it.
- An interrupt is passed on to all: the first ends their sending, the second ends them at once. One that does not end
  within ``END_SECONDS`` after that is killed.
- A process that says nothing for its ``patience_seconds`` while it begins or sends is killed and named: it may have
  been stopped. In between it connects, or waits for the others.
- One that a signal from elsewhere interrupted has failed: it reports what it sent, and is named.
- The result is whole and valid however the processes end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from ctrlserver.errors import LoadError, UsageError
from ctrlserver.load.fleet.sender import Event, Sender, Source
from ctrlserver.load.fleet.summing import Summing, interval_in, progress_in, waiting_in
from ctrlserver.load.fleet.telling import words_for
from ctrlserver.load.measure.counts import Counts, Volume
from ctrlserver.load.measure.intervals import Progress, Waiting, Watcher
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.shard import Shard
from ctrlserver.load.results.judging import judged
from ctrlserver.load.results.merging import merged
from ctrlserver.load.results.records import result_in
from ctrlserver.load.results.result import Environment, Result
from ctrlserver.load.results.shards import Merged
from ctrlserver.load.running.run import utc_now
from ctrlserver.looks import Looks

#: Seconds between two views of how far the whole is.
SHOW_SECONDS = 0.25

#: Seconds between two lines about a wait.
WAIT_SECONDS = 1.0

#: Seconds that the processes have to end after a second interrupt.
END_SECONDS = 2.0


class Fleet:
    """The senders of ``source``, who send ``options``, shown to ``watcher``; ``load`` has the words typed for it."""

    def __init__(
        self,
        reactor: Any,
        options: Options,
        load: Sequence[str],
        source: Source,
        watcher: Watcher,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reactor = reactor
        self._options = options
        self._watcher = watcher
        self._now = now
        self._load = load
        self._source = source
        self._summing = Summing(0, options.interval)
        self._senders: Sequence[Sender] = ()
        self._results: dict[int, Result] = {}
        self._lacking: dict[int, str] = {}
        self._notes: set[str] = set()
        self._interrupts = 0
        self._is_started = self._is_called_off = False
        self._shown_at = float("-inf")
        self._started = self._refusal = ""
        self._over: Deferred[None] = Deferred()
        self._looks = Looks(SHOW_SECONDS)
        self._showing = LoopingCall(self._show)
        self._showing.clock = reactor

    def run(self) -> Deferred[Result]:
        """Start all processes; fires with the result of the whole whatever happens."""
        self._started = utc_now()
        self._showing.start(SHOW_SECONDS, now=False)
        self._source.begin(self).addCallbacks(self._begin, self._refused)
        return self._over.addCallback(lambda _: self._result())

    def _begin(self, senders: Sequence[Sender]) -> None:
        of = len(senders)
        self._senders, self._summing = senders, Summing(of, self._options.interval)
        for each in senders:
            each.start(words_for(Shard(each.number, of), self._options.target.text, self._load))

    def _refused(self, why: Failure) -> None:
        self._refusal = str(why.value) if why.check(LoadError) else f"an error of ctrlload's own: {why.value!r}"
        self._end()

    def _end(self) -> None:
        self._source.end(at_once=self._interrupts > 1).addCallback(self._over.callback)

    def interrupt(self) -> None:
        """Have all end their sending and report; the second time, at once."""
        self._interrupts += 1
        self._interrupt_all()
        if self._interrupts == 2:
            self._reactor.callLater(END_SECONDS, self._kill_all)
        if all(each.has_ended for each in self._senders):
            self._source.end(at_once=self._interrupts > 1)

    def _interrupt_all(self) -> None:
        for each in self._senders:
            if not each.has_ended:
                each.interrupt()

    def _kill_all(self) -> None:
        for each in self._senders:
            each.kill()

    # What the processes tell

    def heard(self, sender: Sender, event: Event) -> None:
        """A process tells an event."""
        kind, number = event["event"], sender.number
        if kind == "starting":
            self._ready(sender, event["starting"]["seconds"])
        elif kind == "interval":
            for interval in self._summing.interval(number, interval_in(event)):
                self._watcher.interval(interval)
        elif kind == "progress":
            self._summing.progress_of(number, progress_in(event))
        elif kind == "waiting":
            self._summing.waiting_of(number, waiting_in(event))
        elif kind == "note" and event["message"] not in self._notes:
            self._notes.add(event["message"])
            self._watcher.note(f"shard {number}: {event['message']}")
        elif kind == "end":
            try:
                self._results[number] = result_in("its result", event["result"])
            except UsageError as error:
                self._lacking[number] = str(error)

    def ended(self, sender: Sender) -> None:
        """A process has ended."""
        number = sender.number
        for interval in self._summing.ended(number):
            self._watcher.interval(interval)
        if number not in self._results:
            self._lacking.setdefault(number, sender.how)
            if self._is_started and not self._interrupts:
                self._watcher.note(f"shard {number}: {self._lacking[number]}; the others go on")
        if not self._is_started and not self._is_called_off:
            self._is_called_off = True
            if not self._interrupts:  # else they know
                self._interrupt_all()
        if all(each.has_ended for each in self._senders):
            self._end()

    def _ready(self, sender: Sender, left: float | None) -> None:
        asked = self._options.start_at
        if left is not None:
            if asked is not None and sender is next(each for each in self._senders if not each.has_ended):
                self._watcher.starting(left)
        elif all(each.is_ready for each in self._senders) and not self._is_called_off:
            self._is_started = True
            moment = self._now() + self._source.lead_seconds if asked is None else asked.seconds
            for each in self._senders:
                each.say_start(moment)

    def _show(self) -> None:
        if self._looks.may_judge(self._reactor.seconds()):
            self._judge_silence()
        now = self._summing.now()
        if isinstance(now, Progress):
            self._watcher.progress(now)
        elif isinstance(now, Waiting) and self._reactor.seconds() - self._shown_at >= WAIT_SECONDS:
            self._shown_at = self._reactor.seconds()
            self._watcher.waiting(now)

    def _judge_silence(self) -> None:
        for each in self._senders:
            if not each.has_ended and each.has_to_speak:
                each.silent += SHOW_SECONDS
                if each.silent >= each.patience_seconds:
                    each.kill(f"said nothing for {each.patience_seconds:.0f} s")

    # The result

    def _result(self) -> Result:
        self._showing.stop()
        if not self._results:
            return self._nothing()
        ours = self._options.as_options()
        typed = {key: ours[key] for key in ("processes", "dask", "shards", "start_at")}
        asked = {key: value for key, value in typed.items() if key != "start_at"}
        parts = {
            f"shard {number}": evolve(
                result,
                options={**result.options, **asked},
                interrupted=result.interrupted and self._interrupts > 0,
                error=self._error_of(number, result),
            )
            for number, result in self._results.items()
        }
        whole = merged(parts, lacking=self._lacking)
        return evolve(
            whole,
            started=self._started,
            options={**whole.options, **typed},
            merged=None if whole.merged is None else self._with_workers(whole.merged),
        )

    def _error_of(self, number: int, result: Result) -> str | None:
        """Why the shard failed."""
        error = result.error
        if error is None and result.interrupted and not (self._interrupts or self._is_called_off):
            error = "a signal from elsewhere interrupted it"
        return None if error is None else self._senders[number - 1].named(error)

    def _with_workers(self, made: Merged) -> Merged:
        """The same, and who sent which shard."""
        return evolve(made, shards=[evolve(each, worker=self._senders[each.shard - 1].where) for each in made.shards])

    def _nothing(self) -> Result:
        """No process has a result."""
        options = self._options
        lacking = [f"shard {number}: {how}" for number, how in sorted(self._lacking.items())]
        words = self._refusal or "; ".join(lacking)
        result = Result(
            started=self._started,
            target=options.target.text,
            options=options.as_options(),
            labels=dict(options.labels),
            environment=Environment(None),
            intervals=[],
            sent=Volume.of(Counts(), 0.0),
            warm_up=None,
            replies=None,
            received=None,
            reconciled=None,
            difference=None,
            streams=[],
            interrupted=self._interrupts > 0,
            error=None if self._interrupts else words,
        )
        return judged(result, options.fail_if)
