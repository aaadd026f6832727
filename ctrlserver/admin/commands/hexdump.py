"""Packets for a person: offset, bytes in hex, and what of them is printable ASCII; no clock, no socket.

Rules: sixteen bytes a line, offsets in hex, so that dumps of any two tools can be laid side by side::

    00000000  48 65 6c 6c 6f 2c 20 77  6f 72 6c 64 0d 0a        |Hello, world..|

A byte that is not printable ASCII is shown as a dot. No line starts with anything but a hex digit in lower case.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

WIDTH: Final = 16

_DOTS: Final = bytes(octet if 0x20 <= octet < 0x7F else 0x2E for octet in range(256))


def dump(octets: bytes, first: int = 0) -> Iterator[str]:
    """A line for every sixteen bytes, the offset ``first`` for the first of them; none for no bytes."""
    shown = printable(octets)
    for at in range(0, len(octets), WIDTH):
        middle = at + WIDTH // 2
        left = octets[at:middle].hex(" ")
        right = octets[middle : at + WIDTH].hex(" ")
        yield f"{first + at:08x}  {left:<23}  {right:<23}  |{shown[at : at + WIDTH]}|"


def printable(octets: bytes) -> str:
    """The same number of characters: printable ASCII as it is, all else a dot."""
    return octets.translate(_DOTS).decode("ascii")
