"""What becomes of the bytes of one answer: turned bits, a shorter, doubled or other answer, pieces.

Rules: pure, bytes in and bytes out. Each answer is whole, and its header or delimiter is turned or cut like the rest:
the peer is meant to notice. Actions that are about time (``delay``, ``drip``) leave the bytes as they are, and so do
those that end a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ctrlserver.inject.actions import Action
from ctrlserver.inject.arguments import Bits, Length, Text


def changed(action: Action, answer: bytes, places: Sequence[int] = ()) -> bytes:
    """What is sent instead of ``answer``; empty for nothing. ``places`` are those of ``corrupt``'s bits."""
    argument = action.argument
    match action.name:
        case "swallow":
            return b""
        case "duplicate":
            return answer + answer
    match argument:
        case Length():
            return answer[: argument.nbytes]
        case Text():
            return argument.octets
        case Bits():
            return turned(answer, places)
    return answer


def turned(answer: bytes, places: Sequence[int]) -> bytes:
    """``answer`` with the bits at ``places`` turned over; bit 0 is the highest of the first byte."""
    octets = bytearray(answer)
    for place in places:
        octets[place >> 3] ^= 0x80 >> (place & 7)
    return bytes(octets)


def pieces(answer: bytes, nbytes: int) -> Iterator[bytes]:
    """The pieces of a drip, ``nbytes`` each but the last."""
    return (answer[at : at + nbytes] for at in range(0, len(answer), nbytes))


def dripped(answer: int, nbytes: int, ns: int, elapsed: float) -> int:
    """Of an answer of that many bytes, those that may have left ``elapsed`` seconds after its first piece was due."""
    if elapsed < 0:
        return 0
    return min(answer, (round(elapsed * 1e9) // ns + 1) * nbytes)
