"""Connect mode: connections made and dropped again, as many as the target takes, each timed.

Rules: ``streams`` slots connect at once; a slot whose connection has come about drops it and makes the next. Where a
greeting is awaited, a connection counts as opened when it has come, so that the target's program has answered and not
its system alone. What fails is counted by its reason; a target that never takes one has failed the run, one that takes
none for the stall timeout has too.

A connection is dropped by a reset (``SO_LINGER`` of 0). A close would leave our local port waiting for a minute or two
(TIME_WAIT), and the 28 000 ports of a Linux system would be used up within seconds.

In an open loop a connection is begun when it is due, as long as a slot is free; else it waits, and its response time
counts from the moment at which it was due.

Beware: a system completes connections that its program has not accepted yet; they are opened all the same. The times
are from ``connect`` to the moment the lane sees it done, the wait for its turn included; a greeting is not timed.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections import Counter

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.counts import Counts
from ctrlserver.load.measure.due import Releases
from ctrlserver.load.measure.intervals import Watcher
from ctrlserver.load.opening.greeting import Greeting
from ctrlserver.load.plan.options import Options
from ctrlserver.load.running.sending import GRACE_SECONDS, Sending
from ctrlserver.words import counted

#: Seconds that a slot waits after a connection that failed: a target that refuses must not be hammered.
PAUSE_SECONDS = 0.01

#: A number of connections that is none.
_UNLIMITED = 1 << 62

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)

_REASONS = {
    errno.ECONNREFUSED: "connection refused: nothing listens there",
    errno.ECONNRESET: "the target reset the connection",
    errno.EADDRNOTAVAIL: "no local port is free",
    errno.EMFILE: "too many open files",
    errno.ETIMEDOUT: "no answer in time",
    errno.EAGAIN: "the backlog of the target is full",
}


@frozen
class Address:
    """Where to connect: what ``socket.connect`` takes, and its family."""

    family: int
    where: tuple[object, ...] | str


class Slot:
    """One connection after the other."""

    __slots__ = ("_connecting", "_greeting", "began", "due", "number", "paused", "sock")

    def __init__(self, connecting: Connecting, number: int) -> None:
        self._connecting = connecting
        self._greeting: Greeting | None = None
        self.number = number
        self.sock: socket.socket | None = None
        self.began = 0.0
        self.due = 0  # nanoseconds of the monotonic clock; of an open loop
        self.paused = False

    def begin(self) -> None:
        """Connect, if another one is wanted."""
        connecting = self._connecting
        if not connecting.takes_one(self):
            return
        address = connecting.address
        self.began = connecting.clock()
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            connecting.failed(self, _reason(error.errno or 0))
            return
        self.sock = sock
        problem = sock.connect_ex(address.where)
        if problem and problem != errno.EINPROGRESS:
            self.drop()
            connecting.failed(self, _reason(problem))
            return
        connecting.lane.watch(sock.fileno(), self, select.EPOLLOUT)

    def ready(self, events: int) -> None:
        """It has come about, or not."""
        sock, connecting = self.sock, self._connecting
        if sock is None:
            return
        problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self.drop()
            connecting.failed(self, _reason(problem))
            return
        connecting.timed(self)
        spec = connecting.greeting
        if spec is None:
            self.drop()
            connecting.opened(self)
        else:
            connecting.lane.forget(sock.fileno())
            self._greeting = Greeting(sock, connecting.lane, spec, self._greeted)
            self._greeting.begin()

    def failed(self) -> None:
        """The lane dropped us after an exception of our own."""
        self.drop()
        self._connecting.failed(self, "an error of ctrlload's own")

    def give_up(self, connect_seconds: float, greeting_seconds: float, now: float) -> None:
        """It has taken too long, if it has."""
        if self.sock is None:
            return
        seconds = now - self.began
        if self._greeting is not None:
            if seconds >= greeting_seconds:
                self._greeting.too_late(greeting_seconds)
        elif seconds >= connect_seconds:
            self.drop()
            self._connecting.failed(self, f"no answer within {connect_seconds:g} s")

    def drop(self) -> None:
        """Close it by a reset; may be called again."""
        sock, self.sock, self._greeting = self.sock, None, None
        if sock is not None:
            self._connecting.lane.forget(sock.fileno())
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            finally:
                sock.close()

    def _greeted(self, problem: str | None) -> None:
        self.drop()
        if problem is None:
            self._connecting.opened(self)
        else:
            self._connecting.failed(self, problem)


class Connecting(Sending):
    """The run of connect mode: no streams, but slots. ``address`` is set before it runs.

    ``failures`` are the connections that failed, by reason; ``first_failure`` is the reason of the first.
    """

    def __init__(self, reactor: IReactorTime, lane: Lane, options: Options, watcher: Watcher) -> None:
        super().__init__(reactor, lane, options, watcher)
        self.address = Address(socket.AF_INET, ("", 0))
        self.lane = lane
        self.clock = lane.clock
        self.greeting = options.greeting
        self.failures: Counter[str] = Counter()
        self.first_failure: str | None = None
        self._slots: list[Slot] = []
        self._busy: set[Slot] = set()
        self._opened = 0
        self._left = 0  # connections that may yet be begun, due or not
        self._begun = 0
        self._releases = Releases(self.timing)
        self._idle: list[Slot] = []  # slots that wait until something is due
        self._last = 0.0
        self._last_opened = 0.0

    # What the run asks

    def counts(self, *, whole: bool = False) -> Counts:
        """Connections opened, as packets."""
        return Counts(packets=self._opened)

    def last_moved(self) -> float:
        """When the last connection was opened or failed."""
        return max(self._last, self.marked_at)

    def close(self) -> None:
        """Drop what is under way."""
        for slot in self._slots:
            slot.drop()

    # What the pacer of an open loop asks and tells

    @property
    def packets(self) -> int:
        """Connections begun."""
        return self._begun

    @property
    def due(self) -> int:
        """Connections that were due so far, begun or not."""
        return self._releases.packets + self._releases.dropped

    @property
    def dropped(self) -> int:
        """Of those, the ones that will not be made."""
        return self._releases.dropped

    def release(self, count: int, first: int, last: int) -> None:
        """So many connections more are due."""
        self._releases.add(count, first, last, self._begun + self._left)
        while self._idle and self._releases.waiting:
            self._next(self._idle.pop())

    # What the slots tell and ask

    def takes_one(self, slot: Slot) -> bool:
        """Whether another connection is to be made; it counts as begun then."""
        if self._left <= 0 or (self.open_loop is not None and not self._releases.waiting):
            return False
        if self.open_loop is not None:
            ((_, slot.due, _),) = self._releases.begun(1, time.monotonic_ns())
        self._left -= 1
        self._begun += 1
        return True

    def timed(self, slot: Slot) -> None:
        """A connection has come about."""
        self.timing.service.now.record(int((self.clock() - slot.began) * 1e9))
        if self.open_loop is not None:
            self.timing.response.now.record(time.monotonic_ns() - slot.due)

    def opened(self, slot: Slot) -> None:
        """One is done."""
        self._opened += 1
        self._last = self._last_opened = self._clock()
        self._next(slot)

    def failed(self, slot: Slot, reason: str) -> None:
        """One did not come about."""
        self._last = self._clock()
        self.failures[reason] += 1
        if self.first_failure is None:
            self.first_failure = reason
        if not self._opened and self.error is None:
            self._fail(f"cannot connect to {self._options.target.text}: {reason}")
            return
        slot.paused = True
        self._later(PAUSE_SECONDS, lambda: self._resume(slot))

    def _resume(self, slot: Slot) -> None:
        slot.paused = False
        self._next(slot)

    def _next(self, slot: Slot) -> None:
        if slot not in self._busy:
            return
        slot.begin()
        if slot.sock is not None or slot.paused:
            return
        if self._left <= 0:
            self._busy.discard(slot)
            self._end_idle()
        elif self.open_loop is not None:
            self._idle.append(slot)

    def _end_idle(self) -> None:
        """Slots that wait for what will not come are done; all are done where none is under way."""
        if self._left <= 0:
            self._busy.difference_update(self._idle)
            self._idle.clear()
            self._look_done_connecting()

    def _fail(self, message: str) -> None:
        self.error = message
        self._left = 0
        self.close()
        self._busy.clear()
        self._idle.clear()
        self._look_done_connecting()

    def _look_done_connecting(self) -> None:
        if not self._busy and self._all_done is not None:
            all_done, self._all_done = self._all_done, None
            all_done.callback(None)

    # As the streams' run does

    def _start(self, limits: list[int]) -> Deferred[None]:
        all_done: Deferred[None] = Deferred()
        self._all_done = all_done
        self._left = _UNLIMITED if self.warming else self._wanted()
        self._last_opened = self._clock()
        self._slots = [Slot(self, number) for number in range(self._options.streams)]
        self._busy = set(self._slots)
        for slot in self._slots:
            self._next(slot)
        return all_done

    def _limits(self) -> list[int]:
        return []

    def _pace_warm_up(self) -> None:
        if self.open_loop is not None:
            self.open_loop.warm_up([self])

    def _pace(self, limits: list[int]) -> None:
        if self.open_loop is not None:
            self.open_loop.measure([self], self._options.duration, self._options.packets)

    def _plan_ended(self) -> None:
        """All that was planned is released: what is due may still be made, for a while."""
        self.ended_early = True
        self._left = self._releases.waiting
        self._end_idle()
        if self._busy:
            self._later(GRACE_SECONDS, self._end_early)

    def _wanted(self) -> int:
        return _UNLIMITED if self._options.packets is None else self._options.packets

    def _end_early(self) -> None:
        self.ended_early = True
        self._left = 0
        if self.open_loop is not None:
            self.open_loop.stop()
            self._releases.end(self._begun)
        if self._interrupted:
            self.close()
            self._busy.clear()
        self._end_idle()

    def _end_warm_up(self) -> None:
        """What is under way is awaited, and left out as the rest of the warm-up is; the measured part comes then."""
        if not self.ended_early:
            self._left = 0
            if self.open_loop is not None:
                self._releases.end(self._begun)
            self._end_idle()

    def _begin_measuring(self) -> None:
        self.failures.clear()
        super()._begin_measuring()

    def _watch(self) -> None:
        now = self._clock()
        options = self._options
        for slot in list(self._busy):
            slot.give_up(options.connect_timeout, options.stall_timeout, now)
        if len(self._idle) == len(self._busy):
            self._last_opened = now  # nothing is under way
        if self._busy and now - self._last_opened >= max(options.stall_timeout, options.connect_timeout):
            seconds = now - self._last_opened
            self._fail(f"no connection to {options.target.text} for {seconds:.1f} s: {failure_words(self.failures)}")
        self._watcher.progress(self._progress(now))


def failure_words(failures: Counter[str]) -> str:
    """``"3 failed: 2 no answer within 1 s, 1 connection refused"``, most frequent first."""
    total = sum(failures.values())
    each = ", ".join(f"{number} {reason}" for reason, number in failures.most_common())
    return f"{counted(total, 'connection')} failed{': ' if each else ''}{each}"


def _reason(number: int) -> str:
    return _REASONS.get(number, os.strerror(number))
