"""What is due at a time: the plan of an open loop, by arithmetic alone.

In an open loop the plan says when packets are sent, whatever the target does. A plan has two layers. A ``Curve`` is the
rate over time. A ``Schedule`` numbers the packets from 0 and puts them on the curve:

    rate            .-----------.
    packets/s       |           |                   a Curve of three Pieces, each a straight line
              ------'           '--------
    due       0  1  2 3 4 5 6 7 8  9  10            an Evenly schedule on it
    time      0                          end

The area under the curve between two moments is the number of packets due between them. ``Evenly`` makes packet k due at
the first moment at which the area since the beginning is k: packet 0 at once, every other one packet of area later.
``Poisson`` puts packets at random distances of area, exponentially distributed around 1, drawn from a seed.

A schedule answers two questions:

- ``due(at)``: how many packets are due at a moment, or were before;
- ``time_of(k)``: when packet k is due, its intended send time.

Rules:

- The two agree: packet k is among the ``due(at)`` first packets exactly where ``time_of(k) <= at``. Otherwise the
  pacer, which sleeps by one and releases by the other, would wake for nothing, or sleep past a packet.
- Nothing is due at the end of the plan, or after it.
- Nothing drifts, however long a run is. Time is in whole nanoseconds since the plan began, rates are in millionths of a
  packet per second, areas in ``_PARTS`` of a packet, and all arithmetic is in whole numbers. An evenly dealt packet's
  time is computed from its number, not from the packet before it.
- Evenly dealt packets cost nothing until somebody asks for one. Poisson's are drawn one by one, in order, and dropped
  once ``forget`` says that nobody will ask for them again.

Beware: the moments given to ``due`` must never fall. Where the rate is 0 the area stands still: a packet whose area is
reached just then is due at the end of the pause.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from fractions import Fraction
from itertools import accumulate, pairwise
from math import isqrt
from random import Random

from attrs import field, frozen

from ctrlserver.load.plan.modes import POISSON

#: Nanoseconds in a second.
SECOND = 10**9

#: The time of what never comes: 146 years.
NEVER = 1 << 62

#: Rates are in millionths of a packet per second.
_MICRO = 10**6

#: The lowest rate above 0, in packets per second.
LEAST_RATE = 1 / _MICRO

#: Areas are in these parts of a packet: half of a nanosecond times a millionth of a packet per second.
_PARTS = 2 * SECOND * _MICRO


def nanoseconds(seconds: float) -> int:
    """``seconds`` to the nearest nanosecond."""
    return round(Fraction(seconds) * SECOND)


@frozen
class Piece:
    """``length`` nanoseconds at a rate that goes in a straight line from ``first`` to ``last`` (millionths)."""

    length: int
    first: int
    last: int

    @classmethod
    def of(cls, seconds: float, first: float, last: float) -> Piece:
        """With its length in seconds and its rates in packets per second."""
        return cls(nanoseconds(seconds), round(Fraction(first) * _MICRO), round(Fraction(last) * _MICRO))

    @property
    def parts(self) -> int:
        """The area of the whole piece."""
        return (self.first + self.last) * self.length

    def parts_at(self, at: int) -> int:
        """The area of its first ``at`` nanoseconds, rounded down."""
        if self.first == self.last:
            return 2 * self.first * at
        return 2 * self.first * at + (self.last - self.first) * at * at // self.length

    def when(self, parts: int) -> int:
        """The first moment at which ``parts_at`` reaches ``parts``, which must be within the piece.

        The root of a quadratic equation, in whole numbers, and then a step or two to where rounding puts it.
        """
        if self.first == self.last:
            return -(-parts // (2 * self.first))
        slope = self.last - self.first
        product = self.first * self.length
        root = isqrt(max(0, product * product + slope * parts * self.length))
        at = max(0, (root - product) // slope)
        while at and self.parts_at(at - 1) >= parts:
            at -= 1
        while self.parts_at(at) < parts:
            at += 1
        return at


@frozen
class Curve:
    """A rate over time: ``pieces`` one after another, cut off at ``end`` nanoseconds."""

    pieces: tuple[Piece, ...]
    end: int = NEVER
    _starts: list[int] = field(init=False, repr=False, eq=False)
    _parts: list[int] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        starts = [0, *accumulate(piece.length for piece in self.pieces)]
        object.__setattr__(self, "end", min(self.end, starts[-1]))
        object.__setattr__(self, "_starts", starts[:-1])
        object.__setattr__(self, "_parts", [0, *accumulate(piece.parts for piece in self.pieces)][:-1])

    @classmethod
    def constant(cls, rate: float) -> Curve:
        """``rate`` packets per second without end."""
        return cls((Piece.of(NEVER / SECOND, rate, rate),))

    def until(self, seconds: float | None) -> Curve:
        """The same curve, cut off after ``seconds``; None does not cut it."""
        return self if seconds is None else Curve(self.pieces, min(self.end, nanoseconds(seconds)))

    def part(self, share: Fraction) -> Curve:
        """The same with ``share`` of its rates, to the nearest millionth of a packet per second."""
        pieces = (Piece(one.length, round(one.first * share), round(one.last * share)) for one in self.pieces)
        return Curve(tuple(pieces), self.end)

    @property
    def endless(self) -> bool:
        """Whether it has no end."""
        return self.end >= NEVER

    @property
    def opening(self) -> Curve:
        """For a warm-up: the rate it begins with, without end; where that is 0, its mean rate."""
        first = self.pieces[0].first / _MICRO
        return Curve.constant(first or max(LEAST_RATE, self.mean(0, self.end)))

    def parts(self, at: int) -> int:
        """The area up to a moment, which is not past its end."""
        index = bisect_right(self._starts, at) - 1
        return self._parts[index] + self.pieces[index].parts_at(at - self._starts[index])

    def mean(self, start: int, end: int) -> float:
        """Packets per second on average between two moments; outside of the curve the rate is 0."""
        first, last = (self.parts(min(max(0, moment), self.end)) for moment in (start, end))
        return (last - first) / _PARTS * SECOND / (end - start) if end > start else 0.0

    def rate(self, at: int) -> float:
        """Packets per second at a moment; 0 outside of the curve."""
        if not 0 <= at < self.end:
            return 0.0
        index = bisect_right(self._starts, at) - 1
        piece = self.pieces[index]
        return (piece.first + (piece.last - piece.first) * (at - self._starts[index]) / piece.length) / _MICRO

    def when(self, parts: int) -> int:
        """The moment at which the area reaches ``parts``; ``NEVER`` if it does not before the end.

        If the rate is 0 from that moment on for a while, the end of that pause.
        """
        index = bisect_right(self._parts, parts) - 1
        piece = self.pieces[index]
        if parts - self._parts[index] >= piece.parts:
            return NEVER  # only the last piece does not reach the beginning of the next
        at = self._starts[index] + piece.when(parts - self._parts[index])
        return at if at < self.end else NEVER

    def reached(self, at: int) -> int:
        """Packets due by ``at`` if they are dealt evenly: the whole numbers from 0 on that the area has reached."""
        if at < 0:
            return 0
        at = min(at, self.end - 1)
        index = bisect_right(self._starts, at) - 1
        piece = self.pieces[index]
        if not piece.parts:
            return -(-self._parts[index] // _PARTS)
        return (self._parts[index] + piece.parts_at(at - self._starts[index])) // _PARTS + 1


class Evenly:
    """Packets one packet of area apart. Moments are nanoseconds since the plan began."""

    def __init__(self, curve: Curve) -> None:
        self.curve = curve

    def due(self, at: int) -> int:
        """Packets due by ``at``, which never falls from one call to the next."""
        return self.curve.reached(at)

    def time_of(self, packet: int) -> int:
        """Time at which ``packet`` is due, ``NEVER`` if it is not; it must not be forgotten."""
        return self.curve.when(packet * _PARTS)

    def forget(self, packets: int) -> None:
        """Nobody will ask for the first ``packets`` packets again. Nothing is kept of them."""


class EvenlyAtOneRate(Evenly):
    """The same for a rate that never changes: a division, in a fifth of the time."""

    def __init__(self, curve: Curve) -> None:
        super().__init__(curve)
        self._rate = 2 * curve.pieces[0].first
        self._end = curve.end

    def due(self, at: int) -> int:
        """Packets due by ``at``."""
        return min(at, self._end - 1) * self._rate // _PARTS + 1 if at >= 0 else 0

    def time_of(self, packet: int) -> int:
        """Time at which ``packet`` is due."""
        at = -(-packet * _PARTS // self._rate)
        return at if at < self._end else NEVER


#: Forgotten times that Poisson keeps until a sweep is worth its cost.
_SWEEP = 4096


class Poisson:
    """Packets at random, independent of each other, on average as many as the rate says."""

    def __init__(self, curve: Curve, seed: int) -> None:
        self.curve = curve
        self._draw = Random(seed)
        self._parts = 0
        self._times: list[int] = []
        self._first = 0  # the packet of the first time
        self._due = 0

    def due(self, at: int) -> int:
        """Packets due by ``at``."""
        while self.time_of(self._due) <= at:
            self._due += 1
        return self._due

    def time_of(self, packet: int) -> int:
        """Time at which ``packet`` is due."""
        times = self._times
        while packet - self._first >= len(times):
            self._parts += round(self._draw.expovariate(1.0) * _PARTS)
            times.append(self.curve.when(self._parts))
        return times[packet - self._first]

    def forget(self, packets: int) -> None:
        """Drop their times, ``_SWEEP`` or more at once."""
        if packets - self._first >= _SWEEP:
            del self._times[: packets - self._first]
            self._first = packets


Schedule = Evenly | Poisson


def schedule(curve: Curve, arrival: str, seed: int) -> Schedule:
    """The plan of ``curve`` with ``arrival``, one of ``ARRIVALS``."""
    if arrival == POISSON:
        return Poisson(curve, seed)
    piece = curve.pieces[0]
    steady = len(curve.pieces) == 1 and piece.first == piece.last
    return EvenlyAtOneRate(curve) if steady else Evenly(curve)


def joined(points: Iterable[tuple[float, float]]) -> tuple[Piece, ...]:
    """The straight lines between points of (seconds, packets per second); two points at one second are a step."""
    return tuple(
        Piece.of(until - since, first, last) for (since, first), (until, last) in pairwise(points) if until > since
    )
