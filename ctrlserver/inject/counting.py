"""When a term strikes: one counter for each term of a stream, by the kind of its ``When``.

Rule: ``ahead`` asks and changes nothing. It answers for the next ``limit`` packets (at least one) that the term would
see, each of ``size`` bytes, the first of them number ``packet`` of its stream: ``n`` if the next n are let pass, ``-n``
if the next n are struck. The answer may be short: what follows is asked for later. ``passed`` and ``struck`` then tell
how many of those the term saw.
"""

from __future__ import annotations

from typing import Protocol

from ctrlserver.inject.draws import BLOCK, Draws


class Counter(Protocol):
    """What one term has counted."""

    def ahead(self, limit: int, size: int, packet: int) -> int:
        """See the module."""

    def passed(self, packets: int, size: int) -> None:
        """It let so many pass."""

    def struck(self, packets: int, size: int) -> None:
        """It struck so many."""


class Always:
    """A term without a WHEN."""

    __slots__ = ()

    def ahead(self, limit: int, size: int, packet: int) -> int:
        """All are struck."""
        return -limit

    def passed(self, packets: int, size: int) -> None:
        """Nothing is counted."""

    struck = passed


class Never(Always):
    """A term whose action cannot strike on this transport."""

    __slots__ = ()

    def ahead(self, limit: int, size: int, packet: int) -> int:
        """All pass."""
        return limit


class FirstOnes:
    """``3*``: so many are ``left``."""

    __slots__ = ("left",)

    def __init__(self, number: int) -> None:
        self.left = number

    def ahead(self, limit: int, size: int, packet: int) -> int:
        """Those left are struck."""
        left = self.left
        if left:
            return -left if left < limit else -limit
        return limit

    def passed(self, packets: int, size: int) -> None:
        """It is used up already."""

    def struck(self, packets: int, size: int) -> None:
        """So many fewer are left."""
        self.left -= packets


class EachNth:
    """``10th*``: after ``left`` more, one is struck."""

    __slots__ = ("left", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.left = number - 1

    def ahead(self, limit: int, size: int, packet: int) -> int:
        """One in ``number``."""
        left = self.left
        if left:
            return left if left < limit else limit
        return -1

    def passed(self, packets: int, size: int) -> None:
        """So many nearer."""
        self.left -= packets

    def struck(self, packets: int, size: int) -> None:
        """It begins again."""
        self.left = self.number - 1


class FirstBytes:
    """``64KiB*``: bytes ``left``; below 0 it is used up, whatever the next packet's size."""

    __slots__ = ("left",)

    def __init__(self, nbytes: int) -> None:
        self.left = nbytes

    def ahead(self, limit: int, size: int, packet: int) -> int:
        """Those that fit are struck."""
        left = self.left
        if left < size or left < 0:
            return limit
        return -min(limit, left // size) if size else -limit

    def passed(self, packets: int, size: int) -> None:
        """One did not fit."""
        self.left = -1

    def struck(self, packets: int, size: int) -> None:
        """So many bytes fewer are left."""
        self.left -= packets * size


class ByChance:
    """``5%*``: by the hash of the packet's number, whatever the other terms did.

    Bit n of ``struck_ones`` tells whether packet n of ``block`` is struck.
    """

    __slots__ = ("below", "block", "draws", "struck_ones")

    def __init__(self, draws: Draws, below: int) -> None:
        self.draws = draws
        self.below = below
        self.block = -1
        self.struck_ones = 0

    def ahead(self, limit: int, size: int, packet: int) -> int:
        """To the end of the block at most."""
        block, at = divmod(packet, BLOCK)
        if block != self.block:
            self.block = block
            below = self.below
            bits = ["1" if word < below else "0" for word in self.draws.block(block)]
            self.struck_ones = int("".join(bits[::-1]), 2)
        ones = self.struck_ones >> at
        strikes = ones & 1
        if strikes:
            ones = ~ones
        packets = min((ones & -ones).bit_length() - 1 if ones else BLOCK, BLOCK - at, limit)
        return -packets if strikes else packets

    def passed(self, packets: int, size: int) -> None:
        """Nothing is counted."""

    struck = passed
