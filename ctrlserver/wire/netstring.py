"""Packets as D. J. Bernstein's netstrings: ``5:hello,``.

Rules: those of prefixed.py. A length is decimal digits without sign, space or leading zero, then a colon; a comma ends
the packet. Anything else is a fault at its first wrong byte, and so is the digit that puts a length over the limit.

Beware: the code reads digits one by one because a memoryview has no ``find`` and a copy of each header costs more.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import define

from ctrlserver.wire.prefixed import Octets, Prefixed


@define(eq=False)
class Netstring(Prefixed):
    """Decimal length, colon, that many bytes, comma."""

    trailer: ClassVar[bytes] = b","

    @classmethod
    def of(cls, max_packet: int) -> Netstring:
        """The limit is ``max_packet``; a length has no more digits than that number."""
        return cls("netstring", max_packet, len(str(max_packet)) + 1)

    def encode(self, payload: bytes) -> bytes:
        """The netstring; FramingError where the payload is over the limit."""
        self._check_payload(payload)
        return b"%d:%b," % (len(payload), payload)

    def _frame(self, octets: Octets, at: int, size: int) -> tuple[int, int] | None:
        length = 0
        for place in range(at, min(size, at + self.longest_head)):
            byte = octets[place]
            if byte == 58 and place > at:
                stride = place - at + 2 + length
                if at + stride <= size and octets[at + stride - 1] != 44:
                    self._fail_trailer(length)
                    return None
                return place - at + 1, stride
            if not 48 <= byte <= 57:
                self._fail(f"byte 0x{byte:02x} in a length")
                return None
            if length == 0 and place > at:
                self._fail("a length with a leading zero")
                return None
            length = length * 10 + byte - 48
            if length > self.limit:
                self._fail(f"a packet of {length} bytes or more; at most {self.limit} are allowed")
                return None
        return None

    def _walk(self, octets: Octets, at: int, size: int, most: int) -> tuple[int, int]:
        limit = self.limit
        last = size - 1
        for packets in range(most):
            if at < last and 0 < (length := octets[at] - 48) < 10:
                place = at + 1
                digit = octets[place] - 48
                while 0 <= digit < 10 and length <= limit and place < last:
                    length = length * 10 + digit
                    place += 1
                    digit = octets[place] - 48
                end = place + 1 + length
                if digit == 10 and end < size and length <= limit and octets[end] == 44:  # 10: the colon
                    at = end + 1
                    continue
            if at + 2 <= last and octets[at] == 48 and octets[at + 1] == 58 and octets[at + 2] == 44:  # empty
                at += 3
                continue
            # Incomplete or faulty: ``_frame`` reads it byte by byte.
            frame = self._frame(octets, at, size)
            if frame is None or at + frame[1] > size:
                return packets, at
            at += frame[1]
        return most, at

    def _fail_trailer(self, length: int) -> None:
        self._fail(f"no comma after {length} bytes")
