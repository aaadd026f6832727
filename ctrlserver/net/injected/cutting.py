"""Where a stream is struck: its chunks are cut into stretches of packets that fare alike.

Model: a ``Cutter`` has the courses of one stream (``inject/strikes.py``). Of each chunk it finds where the packets end,
by a twin of the stream's framing that goes ahead; then it asks the courses and hands stretch by stretch to the stream,
which counts them by its own framing, as it would without injections::

    chunk --> ends of its packets --> look, take --> stream.took(stretch, strikes)     whole packets, struck alike
                                                --> stream.took_part(bytes, held)     of a packet that is not yet whole
                                                --> Cutter.stalled_by                 it reads no more
    what is not taken is left: the link gives it again

Rules:

- A packet that has begun when an injection begins for the stream is not the injection's: packet 1 is the one after it.
- At the reading point a packet is struck before it is taken, and none behind it is taken. At the packet point it is
  taken and counted, and nothing behind it.
- If one of several courses ends the stream, the others are not told of that packet.
- A slow reader takes ``STEP_SECONDS`` worth of bytes at a time, and then none for as long as they last at its rate.
- A chunk costs a bounded time: what is beyond ``STRIKES_A_CALL`` stretches is left for a later turn.

Beware: how long an unfinished packet will be is known of fixed sizes only. Where sizes matter (``64KiB*``), the bytes
of an echo are held back until it is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ctrlserver.inject.arguments import Rate
from ctrlserver.inject.strikes import Course, Injection, Strike
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.wire.framing import ByLength, Framing, FramingSpec

#: Seconds whose bytes a slow reader takes at a time: fine enough to look steady.
STEP_SECONDS = 0.05

#: Stretches of one chunk, and packets in them that are answered one by one, for one call: about half a millisecond.
STRIKES_A_CALL = 32

#: Packets whose ends are sought for one call, where that takes a look at each: about as many as those strikes lie in.
PACKETS_A_LOOK = 128

#: More bytes than a chunk has.
UNBOUNDED = 1 << 62

Strikes = list[tuple[Course, Strike]]
"""What strikes a packet, each with its course. ``course.packets``: the number of the last packet it was told of."""


class StruckStream(Protocol):
    """A stream, to its cutter."""

    counters: StreamCounters

    def took(self, chunk: memoryview, start: int, ends: Sequence[int], strikes: Strikes, now: float) -> bool:
        """Packets from ``start`` on that end at ``ends`` are taken, struck alike; False if nothing more is to be."""

    def took_part(self, octets: memoryview, held_back: bool, now: float) -> None:
        """Bytes of a packet that is not yet whole are taken; ``held_back``: it may be struck."""

    def most(self) -> int:
        """Packets whose answers it has room for."""


class Cutter:
    """The courses of one stream. ``free_at``: nanoseconds from which a slow reader reads on.

    ``alike``: the only course, where it has each answer wait for the same ``ns`` and packets are of one size.
    ``hits`` are those of the stream. ``reads``: some may strike at the reading point. ``stalled_by``: because of whom
    nothing is read until it is over. ``hurries``: no reader is slow any more.
    """

    __slots__ = (
        "_coming",
        "_courses",
        "_ends",
        "_only",
        "_rate",
        "_scout",
        "_sizes",
        "_spec",
        "alike",
        "free_at",
        "hits",
        "hurries",
        "ns",
        "reads",
        "stalled_by",
    )

    def __init__(self, spec: FramingSpec) -> None:
        self._spec = spec
        self._courses: list[Course] = []
        self._coming: list[Course] = []  # from the next packet on
        self._scout: Framing | None = None
        self._sizes = False  # whether packets are asked about one by one, by their sizes
        self._only: Course | None = None  # where there is no other
        self._ends = False  # whether courses may be over
        self._rate = 0
        self.alike: Course | None = None
        self.ns = 0
        self.free_at = 0
        self.hits = 0
        self.hurries = False
        self.reads = False
        self.stalled_by: Injection | None = None

    def add(self, course: Course, begun: bool) -> None:
        """Another course; ``begun``: a packet has begun that is not its own."""
        (self._coming if begun and self._spec.counts_packets else self._courses).append(course)
        self._tidy()

    def drop(self, injection: Injection) -> None:
        """The injection is over."""
        if self.stalled_by is injection:
            self.stalled_by = None
        self._courses = [course for course in self._courses if course.injection is not injection]
        self._coming = [course for course in self._coming if course.injection is not injection]
        self._tidy()

    def _tidy(self) -> None:
        self._courses = [course for course in self._courses if not course.over]
        specs = [course.injection.spec for course in self._courses]
        varies = self._spec.counts_packets and self._spec.size is None
        self._sizes = varies and any(spec.needs_sizes for spec in specs)
        self._only = self._courses[0] if len(self._courses) == 1 and not self._coming else None
        strike = None if self._only is None or not self._spec.size else self._only.of_all
        self.ns = 0 if strike is None else strike.ns
        self.alike = self._only if self.ns else None
        kinds = [term.action.kind for spec in specs for term in spec.terms]
        self.reads = any(kind.point == "reading" for kind in kinds)
        self._ends = any(kind.last or kind.name == "off" for kind in kinds)
        if not self.reads:
            self._rate = 0
            self.free_at = 0

    @property
    def over(self) -> bool:
        """Whether nothing will strike any more."""
        return not self._courses and not self._coming

    def next_strikes(self, size: int = 1) -> Strikes:
        """What would strike the next packet, or the one that has begun."""
        return self._look(1, self._spec.size or size)[1]

    def is_slow(self, now: float) -> bool:
        """Whether a slow reader has to wait."""
        return round(now * 1e9) < self.free_at and not self.hurries

    def room(self, now: float, strikes: Strikes) -> int:
        """How many bytes may be read now of a packet that ``strikes`` strike; 0 before ``free_at``."""
        self._rate = _rate(strikes)
        if not self._rate or self.hurries:
            return UNBOUNDED
        return 0 if self.is_slow(now) else max(1, int(self._rate * STEP_SECONDS))

    def received(self, stream: StruckStream, chunk: memoryview, now: float) -> int:
        """Hand to ``stream`` what is taken of ``chunk``; return how many bytes at its end are left."""
        spec = self._spec
        if size := spec.size:  # no content is needed to cut them
            begun = stream.counters.bytes % size
            if self._only is not None and not begun and self._took_all(stream, chunk, size, now):
                return 0
            ends: Sequence[int] = ()
        else:
            if self._scout is None:
                self._scout = _twin_of(stream)
                self._scout.most, self._scout.holds = PACKETS_A_LOOK, False
            begun = self._scout.pending_bytes
        view = chunk
        if self.reads:
            strikes = self.next_strikes(begun + 1)
            if self.stall(strikes, begun + 1):
                return len(chunk)
            if not (room := self.room(now, strikes)):
                return len(chunk)
            view = chunk[:room]
        usable = len(view)
        if size:
            ends = range(size - begun, usable + 1, size)
        elif not spec.counts_packets:
            ends = range(1, usable + 1)
        elif self._scout is not None:
            ends = self._scout.ends(view)
            usable -= self._scout.left
            self._scout.left = 0
        taken = self._cut(stream, view, ends, begun, usable, now)
        if self._rate and taken:
            # a timer may be late; over some steps the rate is exact all the same
            moment = round(now * 1e9)
            since = self.free_at if moment - self.free_at < 2e9 * STEP_SECONDS else moment
            self.free_at = since + taken * 10**9 // self._rate
        if self._ends:
            self._tidy()
        if taken < len(chunk):
            self._scout = None
        return len(chunk) - taken

    def _took_all(self, stream: StruckStream, chunk: memoryview, size: int, now: float) -> bool:
        """Take ``chunk`` in one step if it is whole packets that fare alike and cost no more than one."""
        packets, rest = divmod(len(chunk), size)
        if rest or self.reads or (packets > 1 and packets > stream.most()):
            return False
        course = self._only
        assert course is not None
        alike, strike = course.look(packets, size)
        if alike < packets or (strike is not None and strike.changes):
            return False
        course.take(packets, size)
        strikes: Strikes = []
        if strike is not None:
            strikes = [(course, strike)]
            self.hits += packets
        stream.took(chunk, 0, range(size, len(chunk) + 1, size), strikes, now)
        if self._ends:
            self._tidy()
        return True

    def _cut(
        self, stream: StruckStream, view: memoryview, ends: Sequence[int], begun: int, usable: int, now: float
    ) -> int:
        """Take what may be taken of the first ``usable`` bytes, of whose first packet ``begun`` bytes came before."""
        spec = self._spec
        counts = spec.counts_packets
        fixed = spec.size or (0 if counts else 1)
        at = packet = 0
        work = STRIKES_A_CALL
        while packet < len(ends):
            size = fixed or ends[packet] - at + begun
            most = 1 if self._coming or self._sizes else len(ends) - packet
            if most > 1 or packet:  # for the first one there is room, or it would not be read
                most = min(most, stream.most())
                if work <= 0 or most <= 0:
                    return at
            most, strikes = self._look(most, size)
            if self.reads and not self._may_read(strikes, packet, size):
                return at
            if strikes:
                if counts and any(strike.changes and strike.action.name != "swallow" for _, strike in strikes):
                    most = min(most, work)
                    work -= most - 1
                if self._ends:
                    strikes = [each for each in strikes if each[1].last][:1] or strikes
                self.hits += most * len(strikes)
            if strikes and strikes[0][1].last:
                strikes[0][0].take(most, size)
            else:
                for course in self._courses:
                    course.take(most, size)
            work -= 1
            start, at = at, ends[packet + most - 1]
            goes_on = stream.took(view, start, ends[packet : packet + most], strikes, now)
            packet += most
            begun = 0
            if self._coming:
                self._courses += self._coming
                self._coming = []
                self._tidy()
            if not goes_on:
                return at
        if at < usable:
            size = fixed or begun + usable - at
            _, strikes = self._look(1, size)
            if self.reads and not self._may_read(strikes, packet, size):
                return at
            held = self._sizes or any(strike.action.kind.point != "reading" for _, strike in strikes)
            stream.took_part(view[at:usable], held, now)
        return usable

    def _may_read(self, strikes: Strikes, packet: int, size: int) -> bool:
        """Whether a packet that ``strikes`` strike may be taken as the first one of the chunk was: ``packet`` 0."""
        if self.stall(strikes, size):
            return False
        rate = _rate(strikes)
        if packet and rate != self._rate:
            return False
        self._rate = rate  # of the first one: its size was perhaps not known before
        return True

    def _look(self, most: int, size: int) -> tuple[int, Strikes]:
        """How many of the next packets fare alike, and what strikes each of them."""
        strikes: Strikes = []
        for course in self._courses:
            most, strike = course.look(most, size)
            if strike is not None:
                strikes.append((course, strike))
        return most, strikes

    def stall(self, strikes: Strikes, size: int) -> bool:
        """Whether the next packet is to stay where it is; it counts as struck."""
        course = next((course for course, strike in strikes if strike.action.name == "stall"), None)
        if course is None:
            return False
        course.look(1, self._spec.size or size)
        course.take(1, self._spec.size or size)
        self.hits += 1
        self._tidy()
        self.stalled_by = course.injection
        return True


def _rate(strikes: Strikes) -> int:
    """Bytes a second of the slowest reader; 0 if none is slow."""
    rates = [strike.action.argument.nbytes for _, strike in strikes if isinstance(strike.action.argument, Rate)]
    return min(rates, default=0)


def _twin_of(stream: Any) -> Framing:
    """A framing that goes on from what ``stream`` has counted."""
    terms = stream.terms
    if not terms.uncut:
        twin: Framing = stream._framing.twin()
        return twin
    framing: ByLength = terms.spec.new()
    framing.advance(stream.counters.bytes % (terms.spec.size or 1))
    return framing
