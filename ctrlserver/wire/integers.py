"""Packets behind an integer of fixed width, big- or little-endian: ``int8`` to ``int64:little``.

Rules: those of prefixed.py. The wire format is that of Twisted's IntNStringReceiver, whose prefix is big-endian.

Beware: an ``int64`` length may exceed any buffer; check the limit before any arithmetic with it.
"""

from __future__ import annotations

import struct

from attrs import define

from ctrlserver.wire.prefixed import Octets, Prefixed


@define(eq=False)
class LengthPrefixed(Prefixed):
    """An unsigned integer of 1, 2, 4 or 8 bytes, then that many bytes, as in Twisted's IntNStringReceiver."""

    layout: struct.Struct

    @classmethod
    def of(cls, name: str, layout: struct.Struct, max_packet: int) -> LengthPrefixed:
        """``layout`` holds the one integer; the limit is its largest value, or ``max_packet`` if that is less."""
        return cls(name, min(max_packet, (1 << 8 * layout.size) - 1), layout.size, layout)

    def count(self, chunk: bytes | memoryview) -> int:
        """Number of packets completed by ``chunk``, without building them."""
        # A peer that waits for each answer sends one whole packet: this test counts it at a third of the cost.
        size = len(chunk)
        if size >= self.longest_head and not self._held and self.fault is None:
            (length,) = self.layout.unpack_from(chunk)
            if length + self.longest_head == size and length <= self.limit:
                return 1
        return Prefixed.count(self, chunk)

    def encode(self, payload: bytes) -> bytes:
        """Length and payload; FramingError where the payload is over the limit."""
        self._check_payload(payload)
        return self.layout.pack(len(payload)) + payload

    def _frame(self, octets: Octets, at: int, size: int) -> tuple[int, int] | None:
        head = self.longest_head
        if at + head > size:
            return None
        (length,) = self.layout.unpack_from(octets, at)
        if length > self.limit:
            self._fail_length(length)
            return None
        return head, head + length

    def _walk(self, octets: Octets, at: int, size: int, most: int) -> tuple[int, int]:
        unpack = self.layout.unpack_from
        head = self.longest_head
        limit = self.limit
        end = size - head
        if at > end:
            return 0, at
        length = 0
        for packets in range(1, most + 1):
            (length,) = unpack(octets, at)
            if length > limit:
                self._fail_length(length)
                return packets - 1, at
            at += length + head
            if at > end:
                break
        if at > size:
            return packets - 1, at - length - head
        return packets, at

    def _fail_length(self, length: int) -> None:
        self._fail(f"a packet of {length} bytes; at most {self.limit} are allowed")
