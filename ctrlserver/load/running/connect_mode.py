"""Connect mode: connections made and dropped again, as many as the target accepts, each timed.

Rules: ``streams`` slots connect at once. Once a slot is connected it drops the connection and makes the next. With
``--greeting`` a connection counts as opened when the greeting has arrived, so the target's program has answered and not
only its kernel. Failed connections are counted by reason. The run fails if no connection ever succeeds, or none for the
stall timeout.

A connection is dropped by a reset (``SO_LINGER`` of 0). A close would leave our local port in TIME_WAIT for a minute or
two, and the 28 000 local ports of a Linux system would be used up within seconds.

In an open loop a slot begins a connection when it is due. If no slot is free the connection waits, and its response
time counts from the moment at which it was due.

Beware: a kernel completes connections that its program has not accepted yet; they count as opened all the same. Times
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
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ctrlserver.addresses import ip_version
from ctrlserver.client.connect import NO_LOCAL_PORT, NO_SUCH_HOST, RESETS, TARGET_RESET
from ctrlserver.errors import LoadError
from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.counts import Connected, Counts
from ctrlserver.load.measure.due import Releases
from ctrlserver.load.opening.greeting import Greeting
from ctrlserver.load.plan.options import Options
from ctrlserver.load.running.pacing import Paced
from ctrlserver.load.running.transports import Transport
from ctrlserver.load.running.work import Figures, Work
from ctrlserver.load.streams.outgoing import UNLIMITED
from ctrlserver.words import counted

#: Seconds that a slot rests after a failed connection, so that a target that refuses is not hammered.
PAUSE_SECONDS = 0.01

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)

_REASONS = {
    errno.ECONNREFUSED: "connection refused: nothing listens there",
    **dict.fromkeys(RESETS, TARGET_RESET),
    errno.EADDRNOTAVAIL: NO_LOCAL_PORT,
    socket.EAI_NONAME: NO_SUCH_HOST,
    errno.EMFILE: "too many open files",
    errno.ETIMEDOUT: "no answer in time",
    errno.EAGAIN: "the backlog of the target is full",
}


class ConnectSlot:
    """One connection after the other. ``resting``: the pause after one that failed, None once it is over."""

    __slots__ = ("_greeting", "_slots", "began", "due", "resting", "sock")

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._greeting: Greeting | None = None
        self.sock: socket.socket | None = None
        self.began = 0.0
        self.due = 0  # nanoseconds of the monotonic clock, in an open loop
        self.resting: IDelayedCall | None = None

    def begin(self) -> None:
        """Make another connection, if one is wanted."""
        slots = self._slots
        if not slots.takes_one(self):
            return
        self.began = slots.clock()
        try:
            self.sock = sock = socket.socket(slots.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            problem = sock.connect_ex(slots.address)
        except OSError as error:
            problem = error.errno or errno.EIO
        if problem in (0, errno.EINPROGRESS):
            slots.lane.watch(sock.fileno(), self, select.EPOLLOUT)
        else:
            slots.failed(self, _reason(problem))

    def ready(self, events: int) -> None:
        """The connection is made, or has failed."""
        sock, slots = self.sock, self._slots
        if sock is None:
            return
        problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            slots.failed(self, _reason(problem))
            return
        slots.timed(self)
        spec = slots.greeting
        if spec is None:
            slots.opened(self)
        else:
            slots.lane.forget(sock.fileno())
            self._greeting = Greeting(sock, slots.lane, spec, self._greeted)
            self._greeting.begin()

    def failed(self) -> None:
        """The lane dropped us after an exception of our own."""
        self._slots.failed(self, "an error of ctrlload's own")

    def give_up(self, connect_seconds: float, greeting_seconds: float, now: float) -> None:
        """Fail the connection under way if it has taken too long."""
        if self.sock is None:
            return
        seconds = now - self.began
        if self._greeting is not None:
            if seconds >= greeting_seconds:
                self._greeting.too_late(greeting_seconds)
        elif seconds >= connect_seconds:
            self._slots.failed(self, f"no answer within {connect_seconds:g} s")

    def drop(self) -> None:
        """Close it by a reset; may be called again."""
        if self.resting is not None:
            self.resting.cancel()
        sock, self.sock, self._greeting, self.resting = self.sock, None, None, None
        if sock is not None:
            self._slots.lane.forget(sock.fileno())
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            finally:
                sock.close()

    def _greeted(self, problem: str | None) -> None:
        if problem is None:
            self._slots.opened(self)
        else:
            self._slots.failed(self, problem)


class Slots(Work):
    """The work of connect mode: no streams, but slots that connect. Connections are counted as packets.

    ``failures`` are the connections that failed, by reason, in the order in which the reasons first occurred.
    """

    last = 0.0  # when a connection was opened, or failed
    planned: int | None = None

    def __init__(self, reactor: IReactorTime, lane: Lane, options: Options, transport: Transport) -> None:
        super().__init__(reactor, lane, options, transport)
        self.family: int = socket.AF_INET
        self.address: tuple[object, ...] | str = ""  # as ``socket.connect`` takes it
        self.clock = lane.clock
        self.greeting = options.greeting
        self.failures: Counter[str] = Counter()
        self.planned = options.part(options.packets)
        self.packets = 0  # connections begun
        self._scheduled = options.curve is not None
        self._busy: set[ConnectSlot] = set()
        self._idle: list[ConnectSlot] = []  # of the busy ones, those that wait until something is due
        self._measuring = False
        self._opened = 0
        self._left = 0  # connections that may yet be begun, due or not
        self.releases = Releases(self.timing)
        self._last_opened = 0.0

    async def open(self) -> None:
        """Find the address; that of a name or an endpoint string by one connection, which is not counted."""
        target = self._options.target
        if ip_version(target.host) is not None:
            try:
                found = socket.getaddrinfo(target.host, target.port, flags=socket.AI_NUMERICHOST)
            except socket.gaierror:  # of the interface: fe80::1%nosuch
                raise LoadError(f"cannot connect to {target.text}: {NO_SUCH_HOST}") from None
            self.family, self.address = found[0][0], found[0][4]
            return
        (opened,) = await self._transport.connections.open(range(1, 2))
        assert isinstance(opened.socket, socket.socket)
        try:
            self.family, self.address = opened.socket.family, opened.socket.getpeername()
        except OSError as error:
            raise LoadError(f"cannot connect to {target.text}: {_reason(error.errno or errno.EIO)}") from None
        self._transport.connections.close()

    # While connections are made

    def start(self, *, warm_up: bool) -> Deferred[None]:
        """Every slot connects."""
        self._all_done = all_done = Deferred[None]()
        self._measuring = not warm_up
        if self._measuring:
            self.failures.clear()
        self._left = UNLIMITED if warm_up or self.planned is None else self.planned
        self._last_opened = self.clock()
        self._busy = {ConnectSlot(self) for _ in self._options.numbers}
        for slot in list(self._busy):
            self._next(slot)
        return all_done

    def end_warm_up(self, begin_measuring: Callable[[], None]) -> bool:
        """The connections under way are awaited, and left out as the rest of the warm-up is."""
        self.stop_new(at_once=False)
        return False

    def end_plan(self) -> bool:
        """What is due may still be made."""
        self._left = self.releases.waiting
        self._end_idle()
        return bool(self._busy)

    def stop_new(self, *, at_once: bool) -> None:
        """The connections under way are awaited; ``at_once``: dropped."""
        self._left = 0
        self.releases.end(self.packets)
        if at_once:
            self.close()
        self._end_idle()

    def fail(self, message: str) -> None:
        """Drop all slots."""
        self.error = self.error or message
        self.stop_new(at_once=True)

    def watch(self, now: float) -> None:
        """Give up the slots that take too long, and the target if it takes no connection for too long."""
        options = self._options
        for slot in list(self._busy):
            slot.give_up(options.connect_timeout, options.stall_timeout, now)
        if len(self._idle) == len(self._busy):
            self._last_opened = now  # nothing is under way
        if self._busy and now - self._last_opened >= max(options.stall_timeout, options.connect_timeout):
            seconds = now - self._last_opened
            self.fail(f"no connection to {options.target.text} for {seconds:.1f} s: {failure_words(self.failures)}")

    def _next(self, slot: ConnectSlot) -> None:
        slot.resting = None
        if slot not in self._busy:
            return
        slot.begin()
        if slot.sock is not None or slot.resting is not None:
            return
        if self._left <= 0:
            self._busy.discard(slot)
            self._end_idle()
        elif self._scheduled:
            self._idle.append(slot)

    def _end_idle(self) -> None:
        """Once no more connections are wanted, idle slots are done; all is done when none is under way."""
        if self._left <= 0:
            self._busy.difference_update(self._idle)
            self._idle.clear()
            if not self._busy:
                self._finish()

    # What the pacer asks and orders

    def paced(self) -> Sequence[Paced]:
        """The slots as a whole."""
        return [self]

    def release(self, count: int, first: int, last: int) -> None:
        """``count`` more connections are due; begin as many as there are idle slots."""
        self.releases.add(count, first, last, self.packets + self._left)
        while self._idle and self.releases.waiting:
            self._next(self._idle.pop())

    # What the slots ask and report

    def takes_one(self, slot: ConnectSlot) -> bool:
        """Whether ``slot`` is to make another connection, which then counts as begun."""
        if self._left <= 0 or (self._scheduled and not self.releases.waiting):
            return False
        if self._scheduled:
            ((_, slot.due, _),) = self.releases.begun(1, time.monotonic_ns())
        self._left -= 1
        self.packets += 1
        return True

    def timed(self, slot: ConnectSlot) -> None:
        """The connection of ``slot`` is made."""
        self.timing.service.now.record(int((self.clock() - slot.began) * 1e9))
        if self._scheduled:
            self.timing.response.now.record(time.monotonic_ns() - slot.due)

    def opened(self, slot: ConnectSlot) -> None:
        """One is opened, greeted where a greeting is awaited, and dropped again."""
        slot.drop()
        self._opened += 1
        self.last = self._last_opened = self.clock()
        self._next(slot)

    def failed(self, slot: ConnectSlot, reason: str) -> None:
        """One could not be made, and is dropped; the slot rests for a moment before the next."""
        slot.drop()
        self.last = self.clock()
        self.failures[reason] += 1
        if not self._opened and self.error is None:
            self.fail(f"cannot connect to {self._options.target.text}: {reason}")
            return
        slot.resting = self._reactor.callLater(PAUSE_SECONDS, self._next, slot)

    # What was done

    def counts(self, *, whole: bool = False) -> Counts:
        """Connections opened, as packets."""
        return Counts(packets=self._opened)

    def notes(self) -> list[str]:
        """Failed connections beside others that succeeded are no failure of the run."""
        return [f"{failure_words(self.failures)}; the first: {next(iter(self.failures))}"] if self.failures else []

    def figures(self, news: Counts, seconds: float, plan_seconds: float) -> Figures:
        """The connections, without those of a warm-up."""
        failures = self.failures if self._measuring else {}
        return Figures(connections=Connected.of(news.packets, failures, seconds, plan_seconds))

    def close(self) -> None:
        """Drop what is under way."""
        for slot in self._busy:
            slot.drop()
        self._busy.clear()


def failure_words(failures: Counter[str]) -> str:
    """``"3 failed: 2 no answer within 1 s, 1 connection refused"``, most frequent first."""
    total = sum(failures.values())
    each = ", ".join(f"{number} {reason}" for reason, number in failures.most_common())
    return f"{counted(total, 'connection')} failed{': ' if each else ''}{each}"


def _reason(number: int) -> str:
    return _REASONS.get(number, os.strerror(number))
