"""What befalls one stream by order: why it waits, what its link does meanwhile, and how it becomes plain again.

Model: a struck stream has the states of ``net/stream.py``; a reply is *owed* once it is due and the socket has no
room. Beside them it may wait by order. What its link does follows from all of it, in this order::

    the socket took less than was due (``blocked``)     waits for room, reads nothing
    stalled, slow and before its time, or to be closed  rests: it neither reads nor waits for room
    ``reply_buffer`` or more bytes of answers wait      rests
    else                                                reads

Rules:

- A stream that waits by order is not judged by ``idle_timeout`` or ``stall_timeout``; one that is blocked is, from when
  the socket took nothing. Kick, drain and a lost peer end it as any other.
- A peer that resets while the stream rests: a stalled one is over, with what it has not read. Others read what the peer
  sent before, then it is over.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from ctrlserver.errors import lacks_memory
from ctrlserver.inject.strikes import Course, Injection
from ctrlserver.lane.due import Due
from ctrlserver.net.injected.cutting import Cutter
from ctrlserver.net.injected.links import STRUCK_LINKS, StruckLink
from ctrlserver.net.injected.looking import Looking
from ctrlserver.net.injected.waiting import NEVER, Waiting
from ctrlserver.net.stream import AnsweringStream, Stream
from ctrlserver.wire.framing import PACKETS_A_CALL

if TYPE_CHECKING:
    from ctrlserver.net.injected.leaving import Leaving

#: What the link of a struck stream does; ``FREED``: its socket has room again, ``OVER``: it has ended, or is plain.
READS, RESTS, BLOCKED, FREED, OVER = "reads", "rests", "blocked", "freed", "over"

#: Bytes by which what a stream holds may differ from what the book knows of it.
TOLD_BYTES = 4096

log = Logger()


class Struck:
    """What befalls a stream by order.

    ``plain``: the classes that the stream and its link come back to. ``half``: the sending is to end once nothing
    waits. ``begun``: bytes of an echo, held back until their packet is whole. ``looking``: where there are rules.
    """

    __slots__ = (
        "_due",
        "_leaving",
        "_moment",
        "_told",
        "begun",
        "cutter",
        "half",
        "looking",
        "plain",
        "state",
        "stream",
        "waiting",
    )

    def __init__(self, stream: Any, due: Due, kind: type[Stream], leaving: Leaving) -> None:
        self.stream = stream
        self.cutter = Cutter(stream.terms.spec)
        self.cutter.hits = stream.counters.injected  # by what struck it before
        self.half = False
        self.begun = bytearray()
        self.looking: Looking | None = None
        self.state = READS
        self.plain = type(stream), type(stream._link)
        self._due = due
        self._leaving = leaving
        self._moment = NEVER  # for which the timer is set
        self._told = 0  # bytes held, as the book knows
        self.waiting = Waiting()
        if isinstance(stream, AnsweringStream):
            stream.plain = False
            self.waiting = Waiting(stream._outbox)
            if stream._outbox is not None:
                self.state = BLOCKED
                stream._outbox = None
        stream.struck = self
        stream.__class__ = kind
        stream._link.__class__ = STRUCK_LINKS[type(stream._link)]
        stream._framing.most = sys.maxsize  # a cutter's stretches are counted whole

    def add(self, course: Course) -> None:
        """Another course."""
        origin, counters = self.stream.counters.origin, self.stream.counters
        pending = counters.bytes % origin.size if origin.by_size else self.stream._framing.pending_bytes
        self.cutter.add(course, pending > 0)

    def let_go(self, injection: Injection) -> None:
        """The injection is over, and what it held goes on."""
        self.cutter.drop(injection)
        if self.cutter.over:
            self.waiting.let_go()
            self._let_go_begun()
        self.settle_soon()

    def settle_soon(self) -> None:
        """Go on in a turn of the timer's."""
        self._moment = 0
        self._due.at(self, 0)

    def held(self) -> int:
        """Bytes held for the peer, as the book is told now."""
        self._told = self.waiting.held + len(self.begun)
        return self._told

    def _let_go_begun(self) -> None:
        """No packet is struck any more: what is there of one that has begun leaves."""
        if self.begun:
            self.waiting.add(bytes(self.begun), 0, 0)
            self.begun.clear()

    def due(self, now: int) -> None:
        """Its moment has come."""
        self._moment = NEVER
        if not self._leaving.takes(self, now):
            self.go_on(now)

    def go_on(self, now: int) -> None:
        """Send what is due, and what follows from that."""
        stream = self.stream
        if stream is None:
            return
        try:
            stream.due(now / 1e9)
        except Exception as error:
            self._fail(error, stream, now)

    def _fail(self, error: Exception, stream: Any, now: int) -> None:
        log.failure("a stream that waited by order could not go on", event="bug")
        if lacks_memory(error):
            stream.abort("limit", now / 1e9)
        else:
            stream.failed(now / 1e9)

    def only_sends(self) -> bool:
        """Whether its link is on the lane and reads, and nothing follows the answers that wait."""
        if self.state is not READS or self.half:
            return False
        stream = self.stream
        return type(stream._link) is StruckLink and stream._closing is None

    def left(self, sent: int, due: int, now: int) -> None:
        """Of so many bytes that were ``due`` so many were sent for it, or ``sent`` is a negative errno."""
        stream = self.stream
        if stream is None:
            return
        try:
            if sent > 0:
                stream.counters.duplicated += self.waiting.taken(sent)
            if sent == due:
                self.sent(now / 1e9)
            else:
                stream.due(now / 1e9)
        except Exception as error:
            self._fail(error, stream, now)

    def room(self, now: float) -> int:
        """How many bytes the link may read now; 0 if it has to rest, -1 if it may not read what is there."""
        strikes = self.cutter.next_strikes(1 + self.stream._framing.pending_bytes)
        if any(strike.action.name == "stall" for _, strike in strikes):
            return -1
        room = self.cutter.room(now, strikes)
        if not room:
            self.settle(now)
        return room

    def stall(self, now: float) -> None:
        """The peer has sent more, and the next packet may not be read."""
        size = 1 + self.stream._framing.pending_bytes
        self.cutter.stall(self.cutter.next_strikes(size), size)
        self.settle(now)

    def settle(self, now: float) -> None:
        """Have the link do what the stream's state asks for, set the timer, and give the stream back if all is over.

        The book is told what is held, if that has changed by as much as matters.
        """
        if self.state is OVER:
            return
        stream, cutter = self.stream, self.cutter
        stream.counters.injected = cutter.hits
        more = self.waiting.held + len(self.begun) - self._told
        if more and (self._told + more == 0 or abs(more) >= TOLD_BYTES):
            stream.hold()
        if self.begun and cutter.over and cutter.stalled_by is None:
            self._let_go_begun()
        moment = self.waiting.moment
        slow = cutter.free_at > 0 and cutter.is_slow(now)
        if moment is NEVER and not slow and cutter.stalled_by is None:
            if cutter.over and not self.half and self.looking is None:
                self._go_back()
                return
            stream._streams.waiting.discard(stream)
        else:
            stream._streams.waiting.add(stream)
        state = RESTS if slow or cutter.stalled_by is not None or stream.is_full() else READS
        if self.state is BLOCKED:
            moment, state = NEVER, BLOCKED
        if slow:
            moment = min(moment, cutter.free_at)
        if moment != self._moment:
            self._moment = moment
            if moment is NEVER:
                self._due.forget(self)
            else:
                self._due.at(self, moment)
        self._turn_to(state)  # at last: a link that reads again may have data at once, after which it is settled anew

    def added(self, now: float) -> None:
        """More waits, behind what waits already, and not too much: as ``settle``."""
        if self._moment is NEVER or self.waiting.held - self._told >= TOLD_BYTES:
            self.settle(now)

    def sent(self, now: float) -> None:
        """What was due has left, or some of it: as ``settle``."""
        moment = self.waiting.moment
        if (
            self.state is READS
            and moment is not NEVER
            and self.stream._closing is None
            and self._told - self.waiting.held < TOLD_BYTES
        ):
            self._moment = moment
            self._due.at(self, moment)
        else:
            self.settle(now)

    def _turn_to(self, state: str) -> None:
        if state is not self.state:
            self.state = state
            link = self.stream._link
            {READS: link.release, RESTS: link.rest, BLOCKED: link.hold}[state]()

    def block(self) -> None:
        """The socket has no room."""
        self._turn_to(BLOCKED)

    def unblock(self) -> None:
        """It has; the link is settled afterwards."""
        if self.state is BLOCKED:
            self.state = FREED

    def _go_back(self) -> None:
        """The stream and its link are plain again."""
        stream, was = self.stream, self.state
        stream._streams.waiting.discard(stream)
        self.over()
        stream.__class__, link = self.plain
        stream._framing.most = PACKETS_A_CALL
        del stream.struck
        stream.hold()
        stream._link.go_back(link, was is not READS)

    def over(self) -> None:
        """The stream has ended, or is plain again."""
        self.state = OVER
        self.stream = None
        self._due.forget(self)

    @property
    def rests(self) -> bool:
        """Whether its link neither reads nor waits for room."""
        return self.state is RESTS
