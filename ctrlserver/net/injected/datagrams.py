"""Injections of datagrams: what strikes the answers to one UDP peer, and those of them that leave later.

Model::

    no order concerns the peer:  reader --batch--> answer of the port (udp/answering.py) --> socket
    while one does:              reader --batch--> StruckPeer --nothing strikes: a batch--> the same
                                                       |-------what is struck, one by one--> socket
                                                       +--heap of what waits <--Due (lane/due.py) at its moment

A stream has one ``answer``, a function, which a reader calls with each batch. An order puts a ``StruckPeer`` in its
place, and the end of the last order of the stream takes it away again. So the way of other datagrams is the same
whether or not there are orders.

Rules:

- A batch is cut only where an injection strikes it.
- Each answer that a delay strikes has its own moment, from when its datagram was read; so answers overtake each other.
- ``reorder``: the answer leaves right after the next answer of its stream, after ``REORDER_NS`` if there is none by
  then. While one waits so, none is put behind it: of answers that are all reordered, each two change places.
- Where the listener has rules for packets (``inject/rules.py``), a rule decides what the answer is and when it leaves;
  orders then change that.
- Where several orders strike one packet, it is a hit of each. One that swallows it decides; else bits are turned in the
  order of the orders, copies are added, and delays too.
- What waits is held for the stream (``memory_limit``), and within ``MOST_WAITING`` for the port. An answer that finds
  no place is given up. So are those of a stream that ends, and those that the socket does not accept; their packets
  are unanswered. A duplicate counts if the socket accepted it.
- When the last order of a stream has ended, what waits leaves as soon as it can, in the order in which it was read.
- Peers that share a stream, for there are too many, share its courses as well. An order for some networks does not
  concern them: nobody knows which of them they are.

Beware: an answer that waits keeps its stream open, however silent the peer is.
Beware: to send one answer may send another and count that: so nothing is added up around a call that sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

from attrs import define

from ctrlserver.inject.rules import Answers
from ctrlserver.inject.strikes import Course, Strike
from ctrlserver.lane.due import Due
from ctrlserver.lane.ticker import NEVER
from ctrlserver.linux.udp import Address
from ctrlserver.net.injected.orders import Order
from ctrlserver.stats.counters import StreamCounters

#: Nanoseconds for which a reordered answer waits for another one at most: a lone answer must not wait for ever.
REORDER_NS = 10**9

#: Bytes that the answers of one port that wait may take: half a second at a gigabit/s.
MOST_WAITING = 64 << 20

#: Bytes that an answer which waits takes beside its own: objects, and its places in two heaps.
OVERHEAD = 400

#: Answers that leave before others have their turn.
PORTION = 32

Answer = Callable[[memoryview, int, int, Address], int]
"""Answers a batch: its bytes, the bytes of each datagram but the last, its datagrams, its sender. Returns how many of
the answers the socket accepted."""

Send = Callable[[bytes, Address], int]
"""Sends one datagram; returns whether the socket accepted it, 1 or 0."""

#: An answer that waits: its moment, its number, its bytes, how often it is sent, its receiver, whether it is reordered,
#: and the bytes that are held for it.
Waiting = tuple[int, int, bytes, int, Address, bool, int]


Strikes = Sequence[tuple[Course, Strike]]
"""What strikes a packet: a strike of each course that does."""


class Peer(Protocol):
    """A stream of a UDP port. ``held``: bytes that its answers that wait take."""

    counters: StreamCounters
    answer: Answer | None
    struck: StruckPeer | None
    held: int

    def hold(self, nbytes: int) -> None:
        """So many bytes more are held, or fewer."""


@define(eq=False)
class Later:
    """What all answers of one port that wait have in common: the timer, and ``held`` of at most ``most`` bytes."""

    due: Due
    most: int = MOST_WAITING
    held: int = 0


class StruckPeer:
    """Answers the peer of ``stream`` while ``courses`` strike it or there are ``rules``, and until nothing of it waits.

    ``plain`` answers where nothing strikes, ``send`` sends what is made of an answer, ``copy`` sends that once more.
    ``canned`` is the answer where no rule has one, None where each datagram gets its own bytes back.
    """

    __slots__ = (
        "_behind",
        "_canned",
        "_copy",
        "_courses",
        "_later",
        "_moment",
        "_numbers",
        "_plain",
        "_rules",
        "_send",
        "_stream",
        "_waiting",
    )

    def __init__(
        self,
        stream: Peer,
        courses: Sequence[Course],
        plain: Answer,
        send: Send,
        copy: Send,
        canned: bytes | None,
        later: Later,
        rules: Answers,
    ) -> None:
        self._stream = stream
        self._courses: Sequence[Course] = ()
        self._plain = plain
        self._send = send
        self._copy = copy
        self._canned = canned
        self._later = later
        self._rules = rules
        self._numbers = count()
        self._waiting: list[Waiting] = []
        self._behind: Waiting | None = None  # leaves after the next answer
        self._moment = NEVER  # for which the timer is asked
        self.begin(courses)

    def begin(self, courses: Sequence[Course]) -> None:
        """These strike from now on, too."""
        self._courses = (*self._courses, *courses)
        self._stream.struck = self
        self._stream.answer = self

    def end(self, order: Order) -> None:
        """``order`` strikes no more."""
        self._courses = [each for each in self._courses if each.injection is not order.injection]
        self.settle()

    def settle(self) -> None:
        """If no order is left and no rule, go back to the plain answers; what waits leaves."""
        if not self._courses and not self._rules.of_packets and self._stream.answer is self:
            self._stream.answer = self._plain
            waiting, self._behind = [*self._waiting, *([self._behind] if self._behind else [])], None
            self._waiting = [(0, *each[1:5], False, each[6]) for each in waiting]
            heapify(self._waiting)
            self._ask()

    def give_up(self) -> None:
        """The stream ends, or its port is closed: what waits is not answered."""
        stream = self._stream
        stream.counters.unanswered += len(self._waiting) + (self._behind is not None)
        self._waiting, self._behind = [], None
        self._later.held -= stream.held
        stream.hold(-stream.held)
        stream.answer = self._plain
        self._leave_off()

    def __call__(self, content: memoryview, segment: int, packets: int, address: Address) -> int:
        """Answer a batch; what waits or is swallowed counts as accepted."""
        last = len(content) - segment * (packets - 1)
        if last == segment:
            return self._answer(content, segment, packets, address)
        whole = len(content) - last
        accepted = self._answer(content[:whole], segment, packets - 1, address)
        return accepted + self._answer(content[whole:], last, 1, address)

    def _answer(self, content: memoryview, size: int, packets: int, address: Address) -> int:
        """Answer a batch of equal datagrams."""
        courses, looks = self._courses, self._rules.of_packets
        at = accepted = 0
        while at < packets:
            run = 1 if looks else packets - at
            strikes: list[tuple[Course, Strike]] = []
            for course in courses:
                run, strike = course.look(run, size)
                if strike is not None:
                    strikes.append((course, strike))
            for course in courses:
                course.take(run, size)
            part = content if run == packets else content[at * size : (at + run) * size]
            answer = self._look if looks else self._strike if strikes else self._let
            accepted += answer(strikes, part, size, run, address)
            at += run
        return accepted

    def _let(self, _: Strikes, content: memoryview, size: int, packets: int, address: Address) -> int:
        """Answer what nothing strikes."""
        if self._behind is None:
            return self._plain(content, size, packets, address)
        accepted = self._plain(content[:size], size, 1, address)
        self._release()
        return accepted + (self._plain(content[size:], size, packets - 1, address) if packets > 1 else 0)

    def _strike(self, strikes: Strikes, content: memoryview, size: int, packets: int, address: Address) -> int:
        """Answer what all of ``strikes`` strike."""
        counters = self._stream.counters
        counters.injected += packets * len(strikes)
        if swallowed(strikes):
            counters.swallowed += packets
            return packets
        accepted = 0
        for at in range(packets):
            answer = self._canned or bytes(content[at * size : (at + 1) * size])
            accepted += self._change(strikes, answer, 0, packets - 1 - at, address)
        return accepted

    def _look(self, strikes: Strikes, content: memoryview, size: int, packets: int, address: Address) -> int:
        """Answer one datagram by the first rule that holds, or as ever."""
        rule = self._rules.answer(bytes(content))
        if rule is None:
            answer = self._strike if strikes else self._let
            return answer(strikes, content, size, packets, address)
        counters = self._stream.counters
        counters.injected += len(strikes)
        if not rule.octets or swallowed(strikes):
            counters.swallowed += 1
            return 1
        return self._change(strikes, rule.octets, round(rule.delay * 1e9), 0, address)

    def _change(self, strikes: Strikes, answer: bytes, ns: int, behind: int, address: Address) -> int:
        """Send what ``strikes`` make of an answer that is due in ``ns``; ``behind`` more packets were told of."""
        copies, reordered = 1, False
        for course, strike in strikes:
            name = strike.action.name
            packet = course.packets - behind
            if name == "delay":
                ns += round(course.seconds(strike, packet) * 1e9)
            elif name == "duplicate":
                copies += 1
            elif name == "reorder":
                reordered = True
            else:
                answer = course.changed(strike, packet, answer)
        if ns or (reordered and self._behind is None):
            return self._wait(answer, ns, copies, address, reordered)
        return self._leave(answer, copies, address)

    def _wait(self, answer: bytes, ns: int, copies: int, address: Address, reordered: bool) -> int:
        """Have an answer wait for ``ns``, or behind the next one; 0 if there is no place for it."""
        later = self._later
        nbytes = OVERHEAD if answer is self._canned else OVERHEAD + len(answer)
        if later.held + nbytes > later.most:
            return 0
        later.held += nbytes
        self._stream.hold(nbytes)
        moment = later.due.clock() + (ns or REORDER_NS)
        waiting = (moment, next(self._numbers), answer, copies, address, reordered, nbytes)
        if ns:
            heappush(self._waiting, waiting)
        else:
            self._behind = waiting
        if moment < self._moment:
            self._moment = moment
            later.due.at(self, moment)
        return 1

    def _leave(self, answer: bytes, copies: int, address: Address) -> int:
        """Send an answer, and the one that waits behind it; 0 if the socket did not accept it."""
        accepted = self._send(answer, address)
        if copies > 1 and accepted:
            for _ in range(copies - 1):
                self._stream.counters.duplicated += self._copy(answer, address)
        if self._behind is not None:
            self._release()
        return accepted

    def _release(self) -> None:
        """Send the answer that waited behind another one."""
        behind, self._behind = self._behind, None
        if behind is not None:
            self._leave_late(behind)

    def _leave_late(self, waiting: Waiting) -> None:
        _, _, answer, copies, address, _, nbytes = waiting
        self._later.held -= nbytes
        self._stream.hold(-nbytes)
        if not self._leave(answer, copies, address):
            self._stream.counters.unanswered += 1

    def due(self, now: int) -> None:
        """Send some of what is due."""
        self._moment = NEVER
        heap = self._waiting
        for _ in range(PORTION):
            if not heap or heap[0][0] > now:
                break
            waiting = heappop(heap)
            if waiting[5] and self._behind is None:
                self._behind = (now + REORDER_NS, *waiting[1:])
            else:
                self._leave_late(waiting)
        if self._behind is not None and self._behind[0] <= now:
            self._release()
        self._ask()

    def _ask(self) -> None:
        """Ask the timer for the next moment; if nothing waits and nothing strikes any more, leave off."""
        moment = self._waiting[0][0] if self._waiting else NEVER
        if self._behind is not None:
            moment = min(moment, self._behind[0])
        if moment < self._moment:
            self._moment = moment
            self._later.due.at(self, moment)
        elif moment == NEVER and self._stream.answer is not self:
            self._leave_off()

    def _leave_off(self) -> None:
        self._stream.struck = None
        self._later.due.forget(self)
        self._moment = NEVER


def swallowed(strikes: Strikes) -> bool:
    """Whether one of them swallows the answer."""
    return "swallow" in [strike.action.name for _, strike in strikes]
