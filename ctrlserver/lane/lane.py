"""The fast lane: one reactor descriptor that stands for every data socket.

Rules:

- A lane watches sockets and calls ``ready(events)`` of whoever owns each one. It knows nothing of streams.
- The reactor sees one descriptor, an inner epoll. So a ready socket costs one dictionary look-up and one call, not a
  turn of the reactor, and a reactor turn is shared by all sockets that are ready with it.
- Sockets that are ready together may be served together: what is in ``together`` has each round first, and the owners
  get the events that it leaves.
- A turn goes on while sockets are ready, for a bounded time, so that timers and the admin port keep their turn.
- A long steady flow is let gather: where no owner minds (``patient``), the lane rests a moment between rounds, so that
  a read brings a megabyte and not whatever came since the last one. Short flows are read at once, for their times.
- Level triggered: an owner need not read to the end, what is left is offered again. An owner may get an event that was
  meant for the socket that had its number before; every owner's reads and writes are non-blocking, so that is harmless.
- An owner that raises is a bug of ours: it is logged once, its socket is dropped from the lane, the lane goes on.

Beware: ``buffer`` is shared by all owners of the lane. What a read left in it is good until the owner returns.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

#: Sockets served between two looks at the clock. It bounds how late the time limit is noticed: 32 reads of at most
#: 1 MiB each.
ROUND_SOCKETS = 32

#: Seconds after which a turn ends even if sockets are still ready: an admin query waits for this and a round at most.
TURN_SECONDS = 0.002

#: Seconds of a flow without a pause before the lane rests between its rounds: what a rest adds to the time of a
#: stream's last data is then 0.3 % of its duration at most. And seconds between two turns that are a pause.
STEADY_SECONDS = 0.05
PAUSE_SECONDS = 0.001

#: Seconds of a rest; the kernel adds its timer slack of 50 us. At 60 Gbit/s a megabyte gathers in it.
REST_SECONDS = 0.0001

#: Seconds after which a turn ends instead of resting once more. With rests every turn is a long one, and a question to
#: the admin port takes two or three turns: seen beside one stream, p99 2.6 ms with this bound, 7.5 ms without.
RESTING_SECONDS = 0.0003

#: Bytes of the shared read buffer. A read that copies takes the first 64 KiB only, which stay in the L2 cache; a read
#: that lets the kernel drop the bytes (MSG_TRUNC) never touches the rest, so it costs no memory.
BUFFER_BYTES = 1 << 22
COPY_BYTES = 1 << 16

#: A socket and its ``select.EPOLL*`` bits.
Event = tuple[int, int]


class Owner(Protocol):
    """Whoever owns a socket on a lane."""

    def ready(self, events: int) -> None:
        """The socket is ready; ``events`` are ``select.EPOLL*`` bits."""

    def failed(self) -> None:
        """``ready`` raised; the socket has left the lane."""


class Together(Protocol):
    """Serves sockets of a lane many at a time. The lane calls it for rounds of at least ``fewest`` ready sockets."""

    fewest: int

    def serve(self, events: list[Event]) -> list[Event]:
        """Serve some of the sockets of a round; gives the events left to their owners."""

    def forget(self, fd: int) -> None:
        """Socket ``fd``, which it may never have heard of, leaves the lane."""

    def close(self) -> None:
        """The lane calls it no more."""


@implementer(IReadDescriptor)
class Lane:
    """An ``IReadDescriptor`` around an inner ``select.epoll``.

    ``reactor`` is any reactor that watches descriptors (``IReactorFDSet``), where there is epoll: see ``supported``.
    ``clock`` gives monotonic seconds, ``rest`` lets some pass; ``round_began`` is the time at which the sockets now
    served were seen ready. ``linger``: seconds, to the millisecond, that a turn waits for more before it ends; nothing
    else of the reactor goes on meanwhile, so it is for a program that has little else to do.
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
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self.clock = clock
        self._linger = linger
        self._rest = rest
        self.round_began = clock()
        self.buffer = bytearray(BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.copy_view = self.view[:COPY_BYTES]
        self._reactor = reactor
        self._epoll: select.epoll | None = None
        self._owners: dict[int, Owner] = {}
        self._eager: set[int] = set()
        self.together: Together | None = None
        self._steady_since = self._turn_ended = self.round_began

    def start(self) -> None:
        """Open the inner epoll and have the reactor watch it."""
        self._epoll = select.epoll()
        IReactorFDSet(self._reactor).addReader(self)

    def stop(self) -> None:
        """Stop watching. The sockets stay open: they are their owners' to close."""
        if self._epoll is not None:
            IReactorFDSet(self._reactor).removeReader(self)
            self._epoll.close()
            self._epoll = None
            self._owners.clear()
            self._eager.clear()
            self._separate()

    def watch(self, fd: int, owner: Owner, events: int, *, patient: bool = False) -> None:
        """Call ``owner.ready`` when socket ``fd`` has one of ``events``; errors and hang-ups are always told.

        ``patient``: nobody waits for what it does, so it may be called a moment later and find more.
        """
        assert self._epoll is not None, "the lane is not started"
        self._epoll.register(fd, events)
        self._owners[fd] = owner
        if not patient:
            self._eager.add(fd)

    def change(self, fd: int, events: int) -> None:
        """Watch ``fd`` for other events."""
        if self._epoll is not None:
            self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Watch ``fd`` no more; call it before the socket is closed. Unknown ones are ignored."""
        if self._owners.pop(fd, None) is not None and self._epoll is not None:
            self._eager.discard(fd)
            if self.together is not None:
                self.together.forget(fd)
            self._epoll.unregister(fd)

    def fail(self, fd: int) -> None:
        """Whoever owns ``fd`` has just raised: it leaves the lane."""
        owner = self._owners.get(fd)
        if owner is not None:
            self._drop(fd, owner)
        else:
            self.log.failure("a stream failed by our own fault after its socket {fd} had left the lane", fd=fd)

    # IReadDescriptor

    def fileno(self) -> int:
        """The inner epoll's descriptor, -1 when stopped."""
        return -1 if self._epoll is None else self._epoll.fileno()

    def doRead(self) -> None:
        """Serve ready sockets until none is ready or the time is up."""
        assert self._epoll is not None
        poll = self._epoll.poll
        owner_of = self._owners.get
        now = self.round_began = self.clock()
        end = now + TURN_SECONDS
        end_of_rests = now + RESTING_SECONDS
        linger = self._linger
        together = self.together
        fewest = together.fewest if together is not None else 0
        if now - self._turn_ended > PAUSE_SECONDS:
            self._steady_since = now
        while events := poll(linger, ROUND_SOCKETS):
            if linger:
                self.round_began = self.clock()
            if together is not None and len(events) >= fewest:
                try:
                    events = together.serve(events)
                except Exception:
                    self.log.failure("sockets are served one by one from now on: serving them together failed")
                    together = None
                    self._separate()
            for fd, bits in events:
                owner = owner_of(fd)
                if owner is not None:
                    try:
                        owner.ready(bits)
                    except Exception:
                        self._drop(fd, owner)
            now = self.round_began = self.clock()
            if now > end or self._epoll is None:
                break
            if not self._eager and now - self._steady_since > STEADY_SECONDS:
                if now > end_of_rests:
                    break
                self._rest(REST_SECONDS)
                self.round_began = self.clock()
        self._turn_ended = now

    def _separate(self) -> None:
        if self.together is not None:
            self.together.close()
            self.together = None

    def _drop(self, fd: int, owner: Owner) -> None:
        self.log.failure("a stream failed by our own fault; its socket {fd} leaves the lane", fd=fd)
        self.forget(fd)
        try:
            owner.failed()
        except Exception:
            self.log.failure("the owner of socket {fd} could not be told", fd=fd)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor lost the inner epoll, which happens only when it is told to remove everything."""
        self.stop()

    def logPrefix(self) -> str:
        """For the reactor's log context."""
        return "lane"
