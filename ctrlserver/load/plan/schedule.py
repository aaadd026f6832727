"""What is due at a time: the open loop's plan, by arithmetic alone.

Rules:

- Time is a whole number of nanoseconds since the plan began, rates are millionths of a packet a second; all arithmetic
  is in whole numbers, so nothing drifts, however long a run is.
- A ``Curve`` is the rate over time, in pieces that are straight lines. Packets are numbered from 0. Packet k is due at
  the first moment at which the integral of the rate reaches k: the first at once, the others one packet apart. With
  ``Poisson`` arrivals the packets are exponentially distributed distances apart instead, by a seed.
- ``due`` and ``time_of`` agree: packet k is among the ``due(t)`` first packets exactly where ``time_of(k) <= t``.
- Packets of a constant arrival cost nothing until somebody asks for one; those of a Poisson arrival are drawn one by
  one, in order, and forgotten by ``forget``.

Beware: what would be due at the end of the plan, or later, never is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from fractions import Fraction
from itertools import accumulate, pairwise
from math import isqrt
from random import Random
from typing import Protocol

from attrs import field, frozen

#: Nanoseconds in a second.
SECOND = 10**9

#: The time of what never comes: 146 years.
NEVER = 1 << 62

#: Rates are in millionths of a packet a second.
_MICRO = 10**6

#: The integral of a rate is counted in so many parts of a packet: twice a nanosecond of a millionth.
_PARTS = 2 * SECOND * _MICRO

CONSTANT = "constant"
POISSON = "poisson"
ARRIVALS = (CONSTANT, POISSON)


def nanoseconds(seconds: float) -> int:
    """To the nearest."""
    return round(Fraction(seconds) * SECOND)


@frozen
class Piece:
    """So many nanoseconds at a rate that goes in a straight line from ``first`` to ``last`` (millionths a second)."""

    length: int
    first: int
    last: int

    @classmethod
    def of(cls, seconds: float, first: float, last: float) -> Piece:
        """From seconds and packets per second."""
        return cls(nanoseconds(seconds), round(Fraction(first) * _MICRO), round(Fraction(last) * _MICRO))

    @property
    def parts(self) -> int:
        """The integral over the whole piece."""
        return (self.first + self.last) * self.length

    def parts_at(self, at: int) -> int:
        """The integral over its first ``at`` nanoseconds, rounded down."""
        if self.first == self.last:
            return 2 * self.first * at
        return 2 * self.first * at + (self.last - self.first) * at * at // self.length

    def when(self, parts: int) -> int:
        """The first moment at which ``parts_at`` is ``parts``, which the piece reaches."""
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
    """A rate over time: ``pieces`` one after another, up to ``end`` nanoseconds, where that is sooner."""

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
        """The same, ending after ``seconds`` at the latest."""
        return self if seconds is None else Curve(self.pieces, min(self.end, nanoseconds(seconds)))

    @property
    def endless(self) -> bool:
        """Whether it goes on as long as anybody likes."""
        return self.end >= NEVER

    @property
    def opening(self) -> Curve:
        """The rate it begins with, without end; the mean where that is nothing. For a warm-up."""
        first = self.pieces[0].first / _MICRO
        return Curve.constant(first or self.mean(0, self.end))

    def parts(self, at: int) -> int:
        """The integral up to a moment before its end, in ``_PARTS`` of a packet."""
        index = bisect_right(self._starts, at) - 1
        return self._parts[index] + self.pieces[index].parts_at(at - self._starts[index])

    def mean(self, start: int, end: int) -> float:
        """Packets per second, on average between two moments; nothing is due before the beginning or after the end."""
        first, last = (self.parts(min(max(0, moment), self.end)) for moment in (start, end))
        return (last - first) / _PARTS * SECOND / (end - start) if end > start else 0.0

    def rate(self, at: int) -> float:
        """Packets per second at a moment."""
        if not 0 <= at < self.end:
            return 0.0
        index = bisect_right(self._starts, at) - 1
        piece = self.pieces[index]
        return (piece.first + (piece.last - piece.first) * (at - self._starts[index]) / piece.length) / _MICRO

    def when(self, parts: int) -> int:
        """The moment at which the integral reaches ``parts``, ``NEVER`` where it does not before the end.

        Where the rate is nothing for a while just then, the end of that while.
        """
        index = bisect_right(self._parts, parts) - 1
        piece = self.pieces[index]
        if parts - self._parts[index] >= piece.parts:
            return NEVER  # only the last piece does not reach the beginning of the next
        at = self._starts[index] + piece.when(parts - self._parts[index])
        return at if at < self.end else NEVER

    def reached(self, at: int) -> int:
        """How many of the whole numbers from 0 on the integral has reached: the packets of a constant arrival."""
        if at < 0:
            return 0
        at = min(at, self.end - 1)
        index = bisect_right(self._starts, at) - 1
        piece = self.pieces[index]
        if not piece.parts:
            return -(-self._parts[index] // _PARTS)
        return (self._parts[index] + piece.parts_at(at - self._starts[index])) // _PARTS + 1


class Schedule(Protocol):
    """Which packets are due."""

    curve: Curve

    def due(self, at: int) -> int:
        """How many packets are due at a moment or were before; ``at`` never falls."""

    def time_of(self, packet: int) -> int:
        """When a packet is due, ``NEVER`` where it is not; of one that was not forgotten."""

    def forget(self, packets: int) -> None:
        """Nobody will ask for the first ``packets`` again."""


class Evenly:
    """Packets evenly apart, as the rate has it."""

    def __init__(self, curve: Curve) -> None:
        self.curve = curve

    def due(self, at: int) -> int:
        """How many."""
        return self.curve.reached(at)

    def time_of(self, packet: int) -> int:
        """When."""
        return self.curve.when(packet * _PARTS)

    def forget(self, packets: int) -> None:
        """Nothing is kept."""


class EvenlyAtOneRate(Evenly):
    """The same for a rate that never changes, in a fifth of the time."""

    def __init__(self, curve: Curve) -> None:
        super().__init__(curve)
        self._rate = 2 * curve.pieces[0].first
        self._end = curve.end

    def due(self, at: int) -> int:
        """How many."""
        return min(at, self._end - 1) * self._rate // _PARTS + 1 if at >= 0 else 0

    def time_of(self, packet: int) -> int:
        """When."""
        at = -(-packet * _PARTS // self._rate)
        return at if at < self._end else NEVER


#: Times of forgotten packets that are kept until they are worth a sweep.
_SWEEP = 4096


class Poisson:
    """Packets that come by chance, independent of each other, as many as the rate has it on average."""

    def __init__(self, curve: Curve, seed: int) -> None:
        self.curve = curve
        self._draw = Random(seed)
        self._parts = 0
        self._times: list[int] = []
        self._first = 0  # the packet of the first time
        self._due = 0

    def due(self, at: int) -> int:
        """How many."""
        while self.time_of(self._due) <= at:
            self._due += 1
        return self._due

    def time_of(self, packet: int) -> int:
        """When."""
        times = self._times
        while packet - self._first >= len(times):
            self._parts += round(self._draw.expovariate(1.0) * _PARTS)
            times.append(self.curve.when(self._parts))
        return times[packet - self._first]

    def forget(self, packets: int) -> None:
        """Drop their times, now and then."""
        if packets - self._first >= _SWEEP:
            del self._times[: packets - self._first]
            self._first = packets


def schedule(curve: Curve, arrival: str, seed: int) -> Schedule:
    """The plan of ``curve`` with one of ``ARRIVALS``."""
    if arrival == POISSON:
        return Poisson(curve, seed)
    piece = curve.pieces[0]
    steady = len(curve.pieces) == 1 and piece.first == piece.last
    return EvenlyAtOneRate(curve) if steady else Evenly(curve)


def joined(points: Iterable[tuple[float, float]]) -> tuple[Piece, ...]:
    """The straight lines between points of (seconds, packets per second); two at the same second are a step."""
    listed = list(points)
    return tuple(
        Piece.of(until - since, first, last) for (since, first), (until, last) in pairwise(listed) if until > since
    )
