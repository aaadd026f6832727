"""Where a stream is struck: its chunks are cut into stretches of packets that fare alike.

Model: a ``Cutter`` has the courses of one stream (``inject/strikes.py``). Of each chunk it finds where the packets end,
by a twin of the stream's framing that goes ahead; then it asks the courses and hands stretch by stretch to the stream,
which counts them by its own framing, as it would without injections::

    chunk --> ends of its packets --> look, take --> stream.took(stretch, strikes)     whole packets, struck alike
                                                --> stream.took_part(bytes, held)     of a packet that is not yet whole
                                                --> stream.stalled(injection)         it reads no more
    what is not taken is left: the link gives it again

Rules:

- A packet that has begun when an injection begins for the stream is not the injection's: packet 1 is the one after it.
- At the reading point a packet is struck before it is taken, and none behind it is taken. At the packet point it is
  taken and counted, and nothing behind it.
- If one of several courses ends the stream, the others are not told of that packet.
- A slow reader takes ``STEP_SECONDS`` worth of bytes at a time, and then none for as long as they last at its rate.
- A chunk costs a bounded time: what is beyond ``STRIKES_A_CALL`` strikes is left for a later turn.

Beware: how long an unfinished packet will be is known of fixed sizes only. Where sizes matter (``64KiB*``), the bytes
of an echo are held back until it is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ctrlserver.inject.arguments import Rate
from ctrlserver.inject.strikes import Course, Injection, Strike
from ctrlserver.wire.framing import PACKETS_A_CALL, Framing, FramingSpec

#: Seconds whose bytes a slow reader takes at a time: fine enough to look steady.
STEP_SECONDS = 0.05

#: Stretches that are struck, and packets in them that are answered one by one, for one chunk.
STRIKES_A_CALL = 256

#: More bytes than a chunk has.
_UNBOUNDED = 1 << 62

Strikes = list[tuple[Course, Strike]]
"""What strikes a packet, each with its course. ``course.packets``: the number of the last packet it was told of."""


class StruckStream(Protocol):
    """A stream, to its cutter."""

    def twin(self) -> Framing:
        """A framing for itself that goes on from what the stream has counted."""

    def took(self, chunk: memoryview, start: int, ends: Sequence[int], strikes: Strikes, now: float) -> bool:
        """Packets from ``start`` on that end at ``ends`` are taken, struck alike; False if nothing more is to be."""

    def took_part(self, octets: memoryview, held_back: bool, now: float) -> None:
        """Bytes of a packet that is not yet whole are taken; ``held_back``: it may be struck."""

    def stalled(self, injection: Injection, now: float) -> None:
        """It reads no more."""

    def most(self) -> int:
        """Packets whose answers it has room for."""


class Cutter:
    """The courses of one stream. ``free_at``: nanoseconds from which a slow reader reads on.

    ``hits`` are those of the stream.
    """

    __slots__ = ("_coming", "_courses", "_rate", "_scout", "_sizes", "_spec", "free_at", "hits")

    def __init__(self, spec: FramingSpec) -> None:
        self._spec = spec
        self._courses: list[Course] = []
        self._coming: list[Course] = []  # from the next packet on
        self._scout: Framing | None = None
        self._sizes = False  # whether packets are asked about one by one, by their sizes
        self._rate = 0
        self.free_at = 0
        self.hits = 0

    def add(self, course: Course, begun: bool) -> None:
        """Another course; ``begun``: a packet has begun that is not its own."""
        (self._coming if begun and self._spec.counts_packets else self._courses).append(course)
        self._tidy()

    def drop(self, injection: Injection) -> None:
        """The injection is over."""
        self._courses = [course for course in self._courses if course.injection is not injection]
        self._coming = [course for course in self._coming if course.injection is not injection]
        self._tidy()

    def _tidy(self) -> None:
        self._courses = [course for course in self._courses if not course.over]
        varies = self._spec.counts_packets and self._spec.size is None
        self._sizes = varies and any(course.injection.spec.needs_sizes for course in self._courses)
        if not self._courses:
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
        return round(now * 1e9) < self.free_at

    def room(self, now: float, strikes: Strikes) -> int:
        """How many bytes may be read now of a packet that ``strikes`` strike; 0 before ``free_at``."""
        self._rate = _rate(strikes)
        if not self._rate:
            return _UNBOUNDED
        return 0 if self.is_slow(now) else max(1, int(self._rate * STEP_SECONDS))

    def received(self, stream: StruckStream, chunk: memoryview, now: float) -> int:
        """Hand to ``stream`` what is taken of ``chunk``; return how many bytes at its end are left."""
        scout = self._scout
        if scout is None:
            scout = self._scout = stream.twin()
            scout.most, scout.holds = PACKETS_A_CALL, False
        before = scout.pending_bytes
        strikes = self.next_strikes(before + 1)
        if (stall := _named(strikes, "stall")) is not None:
            self._stall(stream, stall, before + 1, now)
            return len(chunk)
        view = chunk[: self.room(now, strikes)]
        taken = self._cut(stream, scout, view, before, now) if view else 0
        if self._rate and taken:
            # a timer may be late; over some steps the rate is exact all the same
            moment = round(now * 1e9)
            since = self.free_at if moment - self.free_at < 2e9 * STEP_SECONDS else moment
            self.free_at = since + taken * 10**9 // self._rate
        if taken < len(chunk):
            self._scout = None
        return len(chunk) - taken

    def _cut(self, stream: StruckStream, scout: Framing, view: memoryview, before: int, now: float) -> int:
        """Take what may be taken of ``view``, in which ``before`` bytes of the first packet are missing."""
        spec = self._spec
        ends: Sequence[int] = scout.ends(view) if spec.counts_packets else range(1, len(view) + 1)
        usable, scout.left = len(view) - scout.left, 0
        rate = self._rate
        at = packet = 0
        begun = before
        work = STRIKES_A_CALL
        while packet < len(ends):
            size = spec.size or (ends[packet] - at + begun if spec.counts_packets else 1)
            most = 1 if self._coming or self._sizes else min(len(ends) - packet, stream.most())
            if work <= 0 or most <= 0:
                return at
            most, strikes = self._look(most, size)
            if (stall := _named(strikes, "stall")) is not None:
                self._stall(stream, stall, size, now)
                return at
            if _rate(strikes) != rate:
                if packet:
                    return at
                rate = self._rate = _rate(strikes)  # its size was not known before
            if strikes:
                most = min(most, work) if spec.counts_packets else most
                work -= most if spec.counts_packets else 1
                strikes = self._take_struck(strikes, most, size)
            else:
                for course in self._courses:
                    course.take(most, size)
            work -= 1
            start, at = at, ends[packet + most - 1]
            goes_on = stream.took(view, start, ends[packet : packet + most], strikes, now)
            packet += most
            begun = 0
            self._packet_is_over()
            if not goes_on:
                return at
        if at < usable:
            strikes = self.next_strikes(begun + usable - at)
            if (stall := _named(strikes, "stall")) is not None:
                self._stall(stream, stall, begun + usable - at, now)
                return at
            if _rate(strikes) != rate:
                if packet:
                    return at
                self._rate = _rate(strikes)
            stream.took_part(view[at:usable], self._sizes or any(not _is_reading(each) for _, each in strikes), now)
        return usable

    def _look(self, most: int, size: int) -> tuple[int, Strikes]:
        """How many of the next packets fare alike, and what strikes each of them."""
        strikes: Strikes = []
        for course in self._courses:
            most, strike = course.look(most, size)
            if strike is not None:
                strikes.append((course, strike))
        return most, strikes

    def _take_struck(self, strikes: Strikes, packets: int, size: int) -> Strikes:
        """Count the hits; return what strikes: one strike alone if that ends the stream."""
        for course, strike in strikes:
            if strike.last:
                course.take(packets, size)
                self.hits += packets
                return [(course, strike)]
        for course in self._courses:
            course.take(packets, size)
        self.hits += packets * len(strikes)
        return strikes

    def _packet_is_over(self) -> None:
        if self._coming:
            self._courses += self._coming
            self._coming = []
            self._tidy()
        elif any(course.over for course in self._courses):
            self._tidy()

    def stall(self, stream: StruckStream, strikes: Strikes, now: float) -> None:
        """The next packet is there, and ``strikes`` have it stay where it is."""
        stall = _named(strikes, "stall")
        if stall is not None:
            self._stall(stream, stall, 1, now)

    def _stall(self, stream: StruckStream, course: Course, size: int, now: float) -> None:
        course.look(1, self._spec.size or size)
        course.take(1, self._spec.size or size)
        self.hits += 1
        self._tidy()
        stream.stalled(course.injection, now)


def _named(strikes: Strikes, name: str) -> Course | None:
    """The course whose action has that name."""
    return next((course for course, strike in strikes if strike.action.name == name), None)


def _is_reading(strike: Strike) -> bool:
    return strike.action.kind.point == "reading"


def _rate(strikes: Strikes) -> int:
    """Bytes a second of the slowest reader; 0 if none is slow."""
    rates = [strike.action.argument.nbytes for _, strike in strikes if isinstance(strike.action.argument, Rate)]
    return min(rates, default=0)
