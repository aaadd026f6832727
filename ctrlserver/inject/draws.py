"""Chance without a generator: 64 random bits for each packet, by a hash of seed, stream, term and packet number.

Rules: the bits of a packet depend on nothing else: not on how the network cuts the stream, on other streams, or on
which packets were asked for before. Draws for different ends (``use``) are independent. The hash is SHAKE-128, the same
on every machine and in every version.

A block of 64 packets is hashed at once and kept.
"""

from __future__ import annotations

from hashlib import shake_128
from struct import Struct

BLOCK = 64
"""Packets of a block."""

_UNPACK = Struct(f"<{BLOCK}Q").unpack


class Draws:
    """The words of one stream for one end."""

    __slots__ = ("_block", "_start", "_words")

    def __init__(self, seed: int, stream: int, term: int, use: str) -> None:
        self._start = shake_128(f"ctrlserver.inject {seed} {stream} {term} {use} ".encode())
        self._block = -1
        self._words: tuple[int, ...] = ()

    def word(self, packet: int) -> int:
        """64 bits for ``packet``."""
        return self.block(packet // BLOCK)[packet % BLOCK]

    def block(self, block: int) -> tuple[int, ...]:
        """The words of the packets from ``block * BLOCK`` on."""
        if block != self._block:
            hash = self._start.copy()
            hash.update(block.to_bytes(8, "little"))
            self._words = _UNPACK(hash.digest(8 * BLOCK))
            self._block = block
        return self._words

    def places(self, packet: int, number: int, among: int) -> list[int]:
        """``number`` different places out of ``among``, for ``packet``; all of them where there are no more."""
        hash = self._start.copy()
        hash.update(b"places" + packet.to_bytes(8, "little"))
        number = min(number, among)
        octets = hash.digest(8 * number)
        moved: dict[int, int] = {}
        found = []
        for at in range(number):  # the first steps of a shuffle, of which only the places that moved are held
            word = int.from_bytes(octets[8 * at : 8 * at + 8], "little")
            other = at + word % (among - at)
            found.append(moved.get(other, other))
            moved[other] = moved.get(at, at)
        return found
