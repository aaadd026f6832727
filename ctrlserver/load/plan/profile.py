"""A rate that changes over time, as people write it: ``10s@1k,60s@1k..50k,sine(30s,5k,20k)``, or a table.

Rules: pieces are separated by commas and follow one another. ``60s@1k`` holds a rate, ``60s@1k..50k`` goes from one to
the other in a straight line, ``sine(30s,5k,20k)`` swings once from the lower to the upper and back. All rates are in
packets, or all in bits (``10s@10Mbit/s``): these make a ``BitCurve``. A table is CSV text of (seconds, rate): its
points are joined by straight lines, and two points at the same second are a step; a heading, empty lines and text after
a ``#`` are skipped. A piece or line that does not parse is a ``UsageError`` in one line that names it and the nearest
good form.

Beware: a sine is made of straight lines; it is never off by more than a thousandth of its swing.
"""

from __future__ import annotations

import re
from collections.abc import Container
from fractions import Fraction
from math import cos, pi

from attrs import evolve, frozen

from ctrlserver.errors import UsageError
from ctrlserver.load.plan.schedule import Curve, Piece, joined
from ctrlserver.units import BitRate, parse_duration, parse_rate
from ctrlserver.words import quoted

#: Straight lines of a sine: the largest distance of the swing from its chord is 1/8 (2 pi / LINES)^2 of half the swing.
LINES = 128

#: Pieces of a profile, points of a table: more than any test needs, and read in a moment.
MOST_PIECES = 10_000

_FORMS = 'expected "10s@1k", "60s@1k..50k" or "sine(30s,5k,20k)"'


class BitCurve(Curve):
    """A curve whose rates are in bits per second."""

    def in_packets(self, packets_a_bit: float) -> Curve:
        """The same in packets."""
        part = Fraction(packets_a_bit)
        return _curve([evolve(one, first=round(one.first * part), last=round(one.last * part)) for one in self.pieces])


@frozen
class Profile:
    """A profile: the text or the file name that was typed, and the rate over time that it means."""

    text: str
    curve: Curve

    @property
    def in_bits(self) -> bool:
        """Whether its rates are in bits per second."""
        return isinstance(self.curve, BitCurve)

    def in_packets(self, packets_a_bit: float) -> Profile:
        """The same with a curve in packets per second."""
        curve = self.curve
        return Profile(self.text, curve.in_packets(packets_a_bit)) if isinstance(curve, BitCurve) else self


def parse_profile(text: str) -> Curve:
    """The rate over time that ``text`` means."""
    texts = _split(text)
    if len(texts) > MOST_PIECES:
        raise UsageError(f"{len(texts)} pieces: expected at most {MOST_PIECES}")
    pieces: list[Piece] = []
    kinds: set[type] = set()
    for number, piece in enumerate(texts, start=1):
        try:
            pieces += _pieces(piece, kinds)
        except UsageError as error:
            raise UsageError(f"piece {number} {quoted(piece)}: {error}") from None
    return _curve(pieces, kinds)


def parse_table(text: str) -> Curve:
    """The rate over time of a CSV table."""
    points: list[tuple[float, float]] = []
    kinds: set[type] = set()
    numbered = enumerate((line.partition("#")[0].strip() for line in text.splitlines()), start=1)
    lines = [(number, line) for number, line in numbered if line]
    if lines and not re.search(r"\d", lines[0][1]):
        del lines[0]
    for number, line in lines:
        cells = [cell.strip().strip('"') for cell in re.split(r"[;,\t]", line)]
        place = f"line {number} {quoted(line)}"
        if len(cells) != 2:
            raise UsageError(f'{place}: expected two numbers, seconds and packets per second, such as "10,5000"')
        try:
            point = parse_duration(cells[0]), _rate(cells[1], kinds)
        except UsageError as error:
            raise UsageError(f"{place}: {error}") from None
        if points and point[0] < points[-1][0]:
            raise UsageError(f"{place}: the line before it says {points[-1][0]:g} s; expected seconds that rise")
        points.append(point)
    if len(points) > MOST_PIECES:
        raise UsageError(f"{len(points)} points: expected at most {MOST_PIECES}")
    if len(points) < 2:
        raise UsageError('expected two lines or more of seconds and packets per second, such as "0,1000" and "10,5000"')
    since = points[0][0]
    return _curve(list(joined((seconds - since, rate) for seconds, rate in points)), kinds)


def _curve(pieces: list[Piece], kinds: Container[type] = ()) -> Curve:
    if not any(piece.parts for piece in pieces):
        raise UsageError('no packet is ever due: expected a rate and a duration above 0, such as "10s@1k"')
    return (BitCurve if BitRate in kinds else Curve)(tuple(pieces))


def _rate(text: str, kinds: set[type]) -> float:
    """A rate of the same kind as those before it, in packets or in bits; 0 is of both."""
    rate = parse_rate(text)
    if rate:
        kinds.add(type(rate))
    if len(kinds) > 1:
        raise UsageError(f"rate {quoted(text)}: expected all rates in packets, or all in bits")
    return rate


def _split(text: str) -> list[str]:
    """The pieces between commas, those within brackets left aside."""
    pieces, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth <= 0:
            pieces.append(text[start:at].strip())
            start = at + 1
    return [*pieces, text[start:].strip()]


def _pieces(text: str, kinds: set[type]) -> list[Piece]:
    sine = re.fullmatch(r"([A-Za-z]+)\s*\(([^()]*)\)", text)
    if sine is not None:
        return _sine(sine[1], [part.strip() for part in sine[2].split(",")], kinds)
    length, at, rates = text.partition("@")
    if not at:
        raise UsageError(f"{_FORMS}{_nearest(text)}")
    seconds = _duration(length.strip())
    first, dots, last = rates.partition("..")
    if dots and not (first.strip() and last.strip()):
        raise UsageError(f"{_FORMS}; both ends of a slope need a rate")
    begin = _rate(first.strip(), kinds)
    return [Piece.of(seconds, begin, _rate(last.strip(), kinds) if dots else begin)]


def _sine(name: str, parts: list[str], kinds: set[type]) -> list[Piece]:
    if name.casefold() != "sine" or len(parts) != 3:
        near = f'; did you mean "sine({",".join(parts)})"?' if len(parts) == 3 and name.casefold() != "sine" else ""
        raise UsageError(f'expected "sine(DURATION,LOWEST,HIGHEST)", such as "sine(30s,5k,20k)"{near}')
    seconds, low, high = _duration(parts[0]), _rate(parts[1], kinds), _rate(parts[2], kinds)
    if low > high:
        near = f'; did you mean "sine({parts[0]},{parts[2]},{parts[1]})"?'
        raise UsageError(f"the lower rate comes first{near}")
    points = [
        (seconds * step / LINES, low + (high - low) * (1 - cos(2 * pi * step / LINES)) / 2) for step in range(LINES + 1)
    ]
    return list(joined(points))


def _duration(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise UsageError(f'duration {quoted(text)}: expected more than 0, such as "10s"')
    return seconds


def _nearest(text: str) -> str:
    """The suggestion for a piece without an @: ``10s 1k``, ``10s:1k``, ``10s=1k``, or a rate alone."""
    number = r"[\d._]+"
    two = re.fullmatch(rf"({number}\s*[a-z]+)\s*[ :=x/*]\s*({number}.*)", text)
    guess = f"{two[1]}@{two[2]}" if two else f"10s@{text}"
    try:
        _pieces(guess, set())
    except UsageError:
        return ""
    return f'; did you mean "{guess}"?'
