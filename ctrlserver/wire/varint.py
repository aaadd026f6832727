"""Packets behind a base-128 varint: protobuf's delimited messages.

Rules: those of prefixed.py. Seven bits a byte, low ones first, the high bit set if another byte follows. As in
protobuf, a length may be padded with zero groups, up to ten bytes; ``encode`` writes the shortest.

Beware: a length is a fault as soon as the groups read so far are over the limit, so a fault names a lower bound
of the length.
"""

from __future__ import annotations

from attrs import define

from ctrlserver.wire.prefixed import Octets, Prefixed


@define(eq=False)
class Varint(Prefixed):
    """A varint, then that many bytes."""

    @classmethod
    def of(cls, max_packet: int) -> Varint:
        """The limit is ``max_packet``."""
        return cls("varint", max_packet, 10)

    def encode(self, payload: bytes) -> bytes:
        """Shortest length and payload; FramingError where the payload is over the limit."""
        self._check_payload(payload)
        length = len(payload)
        head = bytearray()
        while length > 127:
            head.append(length & 127 | 128)
            length >>= 7
        head.append(length)
        return bytes(head) + payload

    def _frame(self, octets: Octets, at: int, size: int) -> tuple[int, int] | None:
        length = 0
        for group in range(min(self.longest_head, size - at)):
            byte = octets[at + group]
            length |= (byte & 127) << 7 * group
            if length > self.limit:
                self._fail(f"a packet of {length} bytes or more; at most {self.limit} are allowed")
                return None
            if byte < 128:
                return group + 1, group + 1 + length
        if size - at >= self.longest_head:
            self._fail(f"a length of more than {self.longest_head} bytes")
        return None

    def _walk(self, octets: Octets, at: int, size: int, most: int) -> tuple[int, int]:
        limit = self.limit
        last = size - 1
        if at > last:
            return 0, at
        start = at
        for packets in range(1, most + 1):
            start = at
            length = octets[at]
            if length < 128 and length <= limit:
                at += length + 1
            elif at < last and (high := octets[at + 1]) < 128 and (length := length & 127 | high << 7) <= limit:
                at += length + 2
            else:
                frame = self._frame(octets, at, size)
                if frame is None:
                    return packets - 1, at
                at += frame[1]
            if at > last:
                break
        if at > size:
            return packets - 1, start
        return packets, at
