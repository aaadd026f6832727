"""The fast lane: one reactor descriptor that stands for every data socket.

Model:

The reactor watches one descriptor, an inner epoll, and the inner epoll watches the sockets. So a ready socket costs one
dictionary look-up and one call, not a turn of the reactor::

    reactor --doRead()--> Lane --poll()--> inner epoll <-- sockets
                            |
                            +-- together.serve(events)   many sockets at a time; gives back the events it leaves
                            +-- together.repeat()        the same sockets again without a poll, if they are all it has
                            +-- owner.ready(events)      one socket
                            +-- owner.failed()           after ready() raised; the socket has left the lane

A socket is on the lane from ``watch`` to ``forget``. Its owner calls both, and ``change`` in between; its owner reads,
sends and closes. The lane does none of these: it knows sockets, events and owners, nothing of streams.

``doRead`` is a turn, made of rounds. A round serves the sockets that one ``poll`` gave, at most ``ROUND_SOCKETS``, or
those of the round before (``together.repeat``):

    poll -> nothing ready ............................................ the turn ends
         -> serve them; the time of the turn is up .................... the turn ends, what is left begins the next one
                        some owner is eager, or the flow is young .... next round, at once
                        the round was full, so more may wait ......... next round, at once
                        all owners are patient, the flow is steady ... rest 0.1 ms, next round

An owner that has more to do with what it has read than a turn bears asks to be called ``again``. Those are served after
the rounds, in order, at least one each turn, and for ``AGAIN_SECONDS`` if the rounds served anybody. With them wait the
events of owners whose bytes cost much (``lane/costly.py``). So what costs much waits for what costs little.

A rest lets data gather, so that one read brings a megabyte and not only what arrived since the read before. An owner
is ``patient`` if nobody waits for an answer from it; there is no rest while one is eager, or none is patient. A flow is
steady if turns have followed each other without a pause for ``STEADY_SECONDS``. So the times of short flows stay exact.

Rules:

- A turn is bounded: others wait for it. With rests by ``RESTING_SECONDS``, else by ``TURN_SECONDS`` or the short one.
  The clock is read after each socket, so a turn is longer by one ``ready`` at most.
- Events are level triggered. An owner need not read to the end: the next round offers it what is left.
- An owner that raises has a bug, or there is no memory. The lane logs it (bugs once a second at most; the log itself
  sees to the other), drops its socket, calls ``failed`` and goes on with the others.
- A turn that fails otherwise is logged as well, and the next one goes on.
- What is in ``together`` may raise too: the lane then closes it, and serves all sockets one by one from then on.

Beware: an owner may get an event that was meant for the socket that had its number before. So all reads and writes of
an owner must be non-blocking.
Beware: all owners share ``buffer``. What a read left in it is valid until the owner returns.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.lane.costly import COSTLY_SECONDS, SUSPECT_SECONDS, Costly, Owner, is_costly
from ctrlserver.lane.together import Event, Together
from ctrlserver.logs.sparing import Sparing
from ctrlserver.sleeping import sleep

#: Events to watch for where none is wanted: of a reset, which epoll reports whatever it was asked for, it tells once.
UNWATCHED = select.EPOLLONESHOT if sys.platform == "linux" else 0

#: Sockets served in a round.
ROUND_SOCKETS = 32

#: Seconds after which a turn ends even if sockets are ready. All else in the reactor waits for this and one socket at
#: most. For so long after somebody had to wait turns are short: a short one is 3 % dearer to 200 echo streams.
TURN_SECONDS = 0.002
SHORT_TURN_SECONDS = 0.001
SHORT_FOR_SECONDS = 0.1

#: Seconds of a turn for owners that are called again; the rounds have the others.
AGAIN_SECONDS = 0.0005

#: Seconds without a pause after which a flow is steady: a rest then adds at most 0.3 % to a stream's duration. And the
#: seconds between two turns that count as a pause.
STEADY_SECONDS = 0.05
PAUSE_SECONDS = 0.001

#: Seconds without a turn after which whoever shares the reactor's time with the lane may have all of it.
BUSY_SECONDS = 0.01

#: Seconds of a rest; the kernel adds its timer slack of 50 us. At 60 Gbit/s a megabyte gathers meanwhile.
REST_SECONDS = 0.0001

#: Seconds after which a turn ends instead of resting again. With rests every turn is long, and an admin query takes two
#: or three turns. Measured beside one stream: p99 2.6 ms with this bound, 7.5 ms without.
RESTING_SECONDS = 0.0003

#: Bytes of the shared read buffer. A read that copies uses the first 64 KiB only, which stay in the L2 cache. A read
#: with MSG_TRUNC, which has the kernel drop the bytes, never touches the buffer: so the rest of it costs no memory.
BUFFER_BYTES = 1 << 22
COPY_BYTES = 1 << 16


@implementer(IReadDescriptor)
class Lane:
    """An ``IReadDescriptor`` around an inner ``select.epoll``.

    ``reactor`` watches descriptors (``IReactorFDSet``), on a system with epoll: see ``supported``. ``clock`` returns
    monotonic seconds; ``rest`` sleeps, and returns something true to end the turn. ``linger``: seconds, in whole
    milliseconds, for which a turn waits for more events, and blocks the reactor, before it ends.

    ``round_began``: when the lane saw a round's sockets ready. ``together``: None, or serves sockets before owners do.
    If it served all, unasked, ``give_way`` follows, for others who want the processor; owners may give way, too.
    Seconds: a ``pause`` ends a flow, ``resting`` a turn with rests, and ``repeating`` the part of a turn in which
    ``together`` may repeat such a round, again and again, without a poll.
    """

    log = Logger()

    @staticmethod
    def supported(reactor: object) -> bool:
        """Whether a lane can run on this reactor and system."""
        return sys.platform == "linux" and hasattr(select, "epoll") and IReactorFDSet.providedBy(reactor)

    def __init__(
        self,
        reactor: object,
        clock: Callable[[], float] = time.monotonic,
        linger: float = 0.0,
        rest: Callable[[float], object] = sleep,
    ) -> None:
        self.clock, self._linger, self.rest = clock, linger, rest
        self.pause, self.resting, self.repeating, self.round_began = PAUSE_SECONDS, RESTING_SECONDS, 0.0, clock()
        self.buffer = bytearray(BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.copy_view = self.view[:COPY_BYTES]
        self._reactor = reactor
        self._epoll: select.epoll | None = None
        self._poll: Callable[[float, int], list[Event]] = lambda *_: []
        self._owners: dict[int, Owner] = {}
        self._events: dict[int, int] = {}
        self._eager, self._patient = set[int](), set[int]()
        self._left: list[Event] = []  # of a round that the end of a turn cut short
        self._again: OrderedDict[int, int] = OrderedDict()  # events, by socket
        self._put_off = 0  # events of this turn
        self._suspects: dict[int, float] = {}  # sockets whose bytes cost much once, and when
        self._after_round: Callable[[], object] | None = None
        self._bell = -1  # always readable; in the inner epoll while a turn has left something
        self._ringing = False
        self.together: Together | None = None
        self.give_way: Callable[[], object] = lambda: None
        self.bugs = Sparing()
        self._steady_since = self._turn_ended = self._short_until = self.round_began

    def start(self) -> None:
        """Open the inner epoll and have the reactor watch it."""
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._bell = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        IReactorFDSet(self._reactor).addReader(self)

    def stop(self) -> None:
        """Stop watching. The sockets stay open: their owners close them."""
        if self._epoll is not None:
            IReactorFDSet(self._reactor).removeReader(self)
            self._epoll.close()
            self._epoll = None
            os.close(self._bell)
            self._ringing = False
            self._owners.clear()
            self._events.clear()
            self._suspects.clear()
            self._eager.clear()
            self._patient.clear()
            self._left.clear()
            self._again.clear()
            self._separate()

    def watch(self, fd: int, owner: Owner, events: int, *, patient: bool | None = False) -> None:
        """Call ``owner.ready`` when socket ``fd`` has one of ``events``; epoll always reports errors and hang-ups.

        ``patient``: nobody waits for an answer from ``owner``, so the lane may rest and call it a moment later. None:
        it has no data that could gather, so it is neither patient nor eager.
        """
        assert self._epoll is not None, "the lane is not started"
        self._epoll.register(fd, events)
        self._owners[fd], self._events[fd] = owner, events
        if patient is not None:
            (self._patient if patient else self._eager).add(fd)

    def change(self, fd: int, events: int) -> None:
        """Watch ``fd`` for other ``events``."""
        if self._epoll is not None:
            self._events[fd] = events
            self._epoll.modify(fd, events)

    def tell_left_out(self, now: float) -> None:
        """Log how many owners failed beside those that have a line; to be called now and then."""
        if number := self.bugs.overdue(now):
            self.log.warn("{number} more sockets could not be served", event="more-bugs", number=number)

    def again(self, fd: int, events: int) -> None:
        """Call the owner of ``fd`` in a later turn, as if ``events`` had come; to be asked for in its ``ready``."""
        self._again[fd] = events

    def after_round(self, call: Callable[[], object]) -> None:
        """Call ``call`` once this round is over, when no owner is at work."""
        self._after_round = call

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``, before its owner closes it. Sockets that are not on the lane are ignored."""
        if self._owners.pop(fd, None) is not None and self._epoll is not None:
            del self._events[fd]
            self._suspects.pop(fd, None)
            self._again.pop(fd, None)
            self._eager.discard(fd)
            self._patient.discard(fd)
            if self.together is not None:
                self.together.forget(fd)
            self._epoll.unregister(fd)

    def drop(self, fd: int, owner: Owner | None = None) -> None:
        """Take socket ``fd`` off the lane: its owner, or ``together`` for it, has just raised an exception."""
        self._tell("socket {fd} could not be served", fd)
        owner = owner or self._owners.get(fd)
        self.forget(fd)
        if owner is not None:
            try:
                owner.failed()
            except Exception:
                self.log.failure("the end of socket {fd} failed too", event="bug", fd=fd)

    def _tell(self, text: str, fd: int = -1) -> None:
        """Log the exception that is being handled."""
        try:
            if isinstance(sys.exc_info()[1], MemoryError) or self.bugs.may_write(self.clock()):
                self.log.failure(text, event="bug", fd=fd)
        except MemoryError:
            pass  # nor is there any for the line

    # IReadDescriptor

    def fileno(self) -> int:
        """The descriptor of the inner epoll; -1 while the lane is stopped."""
        return -1 if self._epoll is None else self._epoll.fileno()

    def doRead(self) -> None:
        """One turn. If it fails beside all owners, the next one goes on: Twisted would watch the lane no more."""
        try:
            self._take_turn()
        except Exception:
            self._tell("a turn of the lane failed")
            self._ring(bool(self._again))

    def _take_turn(self) -> None:
        """Serve ready sockets until none is ready or the time is up."""
        assert self._epoll is not None
        poll, owner_of, clock = self._poll, self._owners.get, self.clock
        now = self.round_began = clock()
        end = now + (SHORT_TURN_SECONDS if now < self._short_until else TURN_SECONDS)
        end_of_rests, end_of_repeats = now + self.resting, now + self.repeating
        linger, together = self._linger, self.together
        fewest = together.fewest if together is not None else 0
        served = self._put_off = 0
        if now - self._turn_ended > self.pause:
            self._steady_since = now
        left = self._left
        if self._ringing:
            self._ring(False)
            if self._again:
                end -= AGAIN_SECONDS
                linger = 0.0
        while events := left or poll(linger, ROUND_SOCKETS):
            may_miss = bool(left) or len(events) == ROUND_SOCKETS
            if left:
                left = self._left = []
            elif linger:
                now = self.round_began = clock()
            if together is not None and len(events) >= fewest:
                try:
                    events = together.serve(events)
                    if not events and now >= self._short_until:
                        self.give_way()
                        while clock() < end_of_repeats and together.repeat():
                            self.give_way()
                except Exception:
                    self.log.failure("served one by one from now on: serving sockets together failed", event="bug")
                    together = None
                    self._separate()
                now = clock()
            served += len(events)
            waiting = iter(events)
            for fd, bits in waiting:
                owner = owner_of(fd)
                began = now
                if owner is not None:
                    try:
                        took = owner.ready(bits)
                    except Exception:
                        self.drop(fd, owner)
                        took = None
                    now = clock()
                    if now - began > COSTLY_SECONDS and is_costly(took, now - began):
                        self._suspect(fd, owner, now)
                if now > end:
                    self._left = list(waiting)
                    break
            if self._after_round is not None:
                self._end_round()
            self.round_began = now
            if now > end or self._epoll is None:
                break
            if self._patient and not (self._eager or may_miss) and now - self._steady_since > STEADY_SECONDS:
                if now > end_of_rests or self._again:
                    break
                is_over = self.rest(REST_SECONDS)
                now = self.round_began = clock()
                if is_over:
                    break
        if self._again:
            now = self._serve_again(now + AGAIN_SECONDS if served > self._put_off else end + AGAIN_SECONDS)
            self._end_round()
        if self._left or self._again:
            self._ring(True)
        self._turn_ended = now

    def make_way(self) -> bool:
        """Keep turns short for a while; False if there was none in the last ``BUSY_SECONDS``."""
        now = self.clock()
        self._short_until = now + SHORT_FOR_SECONDS
        return now - self._turn_ended < BUSY_SECONDS

    def _serve_again(self, end: float) -> float:
        """Serve those that wait: each once, until ``end``, and one of them in any case. Returns the time."""
        now = self.clock()
        for _ in range(len(self._again)):
            if not self._again:
                break
            fd, bits = self._again.popitem(last=False)
            owner = self._owners.get(fd)
            costly = owner if isinstance(owner, Costly) else None
            if owner is not None:
                try:
                    if costly is not None:
                        owner, costly.waits = costly.owner, False
                        self.change(fd, self._events[fd])
                    took = owner.ready(bits)
                except Exception:
                    self.drop(fd, owner)
                    took = None
            began, now = now, self.clock()
            if costly is not None and costly.is_cheap(took, now - began) and self._owners.get(fd) is costly:
                self._owners[fd] = costly.owner
            if now > end:
                break
        return now

    def _suspect(self, fd: int, owner: Owner, now: float) -> None:
        """The bytes of ``owner`` cost much just now; if it is the second time in short, it is costly."""
        if fd in self._owners:
            if now - self._suspects.get(fd, float("-inf")) < SUSPECT_SECONDS:
                self._owners[fd] = Costly(owner, fd, self._wait)
            self._suspects[fd] = now

    def _wait(self, fd: int, events: int) -> None:
        """Have a costly owner wait, and look for no events of its socket meanwhile: a reset comes once at most."""
        if self._epoll is not None:
            self._epoll.modify(fd, UNWATCHED)
        self._put_off += 1
        self._again[fd] = events

    def _end_round(self) -> None:
        call, self._after_round = self._after_round, None
        if call is not None:
            call()

    def _ring(self, ringing: bool) -> None:
        """Have the reactor call ``doRead`` again, whether sockets are ready or not; or no longer."""
        if ringing != self._ringing and self._epoll is not None:
            self._ringing = ringing
            if ringing:
                self._epoll.register(self._bell, select.EPOLLIN)
            else:
                self._epoll.unregister(self._bell)

    def _separate(self) -> None:
        if self.together is not None:
            self.together.close()
            self.together = None

    def connectionLost(self, reason: Failure) -> None:
        """The reactor dropped the inner epoll, which it only does when it removes all descriptors."""
        self.stop()

    def logPrefix(self) -> str:
        """Twisted's name for this in its log."""
        return "lane"
