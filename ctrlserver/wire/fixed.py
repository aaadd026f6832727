"""Framings that need only the number of bytes: fixed-size packets (``fixed``), and no packets (``raw``).

Rules: ``advance`` takes a number of bytes and reads no content, so the kernel can drop the bytes of a stream uncopied.
``count`` and ``feed`` agree with it and with each other, and may alternate. The only buffer is the incomplete packet.

Beware: ``advance`` never sees the bytes. A packet begun under ``advance`` and ended under ``feed`` counts as one, but
its bytes start at the first ``feed`` or ``count``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from copy import copy

from attrs import define, field

from ctrlserver.errors import FramingError


@define(eq=False)
class FixedSize:
    """Packets of ``size`` bytes each, one after the other; no content is ever a fault."""

    size: int
    fault: FramingError | None = field(default=None, init=False)
    pending_bytes: int = field(default=0, init=False)
    most: int = field(default=sys.maxsize, init=False)
    left: int = field(default=0, init=False)
    holds: bool = field(default=True, init=False)
    _held: bytes | bytearray = field(default=b"", init=False)

    def advance(self, nbytes: int) -> int:
        """Packets completed by the next ``nbytes`` bytes of the stream; the hot path."""
        nbytes += self.pending_bytes
        self._held = b""
        self.pending_bytes = nbytes % self.size
        return nbytes // self.size

    def count(self, chunk: bytes | memoryview) -> int:
        """Packets completed by ``chunk``; keeps the bytes after the last of them."""
        if not self.holds:
            return self.advance(len(chunk))
        total = self.pending_bytes + len(chunk)
        packets, rest = divmod(total, self.size)
        self.pending_bytes = rest
        if packets:
            self._held = bytes(chunk[-rest:]) if rest else b""
        else:
            self._hold(chunk)
        return packets

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """The packets completed by ``chunk``, each ``size`` bytes long."""
        size = self.size
        if len(chunk) > size * self.most:
            self.left = len(chunk) - size * self.most
            chunk = chunk[: size * self.most]
        first = size - self.pending_bytes
        if len(chunk) < first:
            self.pending_bytes += len(chunk)
            self._hold(chunk)
            return []
        octets = bytes(chunk)
        last, rest = divmod(len(octets) - first, size)
        packets = [bytes(self._held) + octets[:first]]
        packets.extend([octets[at : at + size] for at in range(first, first + last * size, size)])
        self.pending_bytes = rest
        self._held = octets[-rest:] if rest else b""
        return packets

    def ends(self, chunk: bytes | memoryview) -> Sequence[int]:
        """Where the packets end, however many."""
        first = self.size - self.pending_bytes
        self.count(chunk)
        return range(first, len(chunk) + 1, self.size)

    def twin(self) -> FixedSize:
        """Another that goes on from here."""
        twin = copy(self)
        twin._held = copy(self._held)
        return twin

    def encode(self, payload: bytes) -> bytes:
        """The payload itself; FramingError where it is not ``size`` bytes long."""
        if len(payload) != self.size:
            raise FramingError(f"fixed:{self.size}: a payload of {len(payload)} bytes, not {self.size}")
        return payload

    def _hold(self, chunk: bytes | memoryview) -> None:
        # A bytearray only once a packet needs several chunks: its growth is amortised, so a packet of n bytes that
        # arrives byte by byte costs n and not n squared.
        if self._held:
            if not isinstance(self._held, bytearray):
                self._held = bytearray(self._held)
            self._held += chunk
        else:
            self._held = bytes(chunk)


@define(eq=False)
class Raw:
    """No packets: the reader of the stream counts its bytes, and ``encode`` leaves every payload unchanged."""

    fault: FramingError | None = field(default=None, init=False)
    pending_bytes: int = field(default=0, init=False)
    most: int = field(default=sys.maxsize, init=False)
    left: int = field(default=0, init=False)
    holds: bool = field(default=True, init=False)

    def advance(self, nbytes: int) -> int:
        """Always 0."""
        return 0

    def count(self, chunk: bytes | memoryview) -> int:
        """Always 0."""
        return 0

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """Always empty."""
        return []

    def ends(self, chunk: bytes | memoryview) -> Sequence[int]:
        """Always empty."""
        return ()

    def twin(self) -> Raw:
        """Another."""
        return copy(self)

    def encode(self, payload: bytes) -> bytes:
        """The payload as it is, of any length."""
        return payload
