"""The last packets of a stream, as received.

Rules: a number of packets and a number of bytes bound the memory. The packets held are always the newest of the stream,
without a gap. Packets are numbered from 1 in their stream.

Beware: a packet longer than the whole byte bound is not held, nor is any packet before it.
"""

from __future__ import annotations

from collections import deque

from attrs import frozen

PACKET_OVERHEAD = 48
"""Bytes that a packet costs beside its content: its object and its place."""


class KeptPackets:
    """At most ``limit`` packets and ``max_bytes`` bytes. ``total`` counts all packets given, ``bytes`` those held."""

    __slots__ = ("_packets", "bytes", "limit", "max_bytes", "total")

    def __init__(self, limit: int, max_bytes: int) -> None:
        self.limit = limit
        self.max_bytes = max_bytes
        self.total = 0
        self.bytes = 0
        self._packets: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._packets)

    @property
    def memory(self) -> int:
        """Bytes of memory of those held, with their objects."""
        return self.bytes + PACKET_OVERHEAD * len(self._packets)

    def clear(self) -> int:
        """Give up those held; return their number."""
        packets = len(self._packets)
        self._packets.clear()
        self.bytes = 0
        return packets

    def add(self, packets: list[bytes]) -> None:
        """Take the next packets of the stream, in order."""
        held = self._packets
        self.total += len(packets)
        for packet in packets[-self.limit :] if self.limit else ():
            held.append(packet)
            self.bytes += len(packet)
        while len(held) > self.limit or self.bytes > self.max_bytes:
            self.bytes -= len(held.popleft())

    def newest(self, n: int, nbytes: int) -> KeptPackets:
        """The newest ``n`` held packets alone, as far as they have so many bytes; the newest one in any case."""
        newest = self.last(n)
        held = KeptPackets(n, max(nbytes, len(newest[-1][1]) if newest else 0))
        held.total = self.total - len(newest)
        held.add([packet for _, packet in newest])
        return held

    def last(self, n: int) -> list[tuple[int, bytes]]:
        """The newest ``n`` held packets with their numbers, oldest first."""
        return [(number, self.get(number) or b"") for number in self.numbers(n)]

    def numbers(self, n: int) -> range:
        """The numbers of the newest ``n`` held packets."""
        return range(self.total - min(max(0, n), len(self._packets)) + 1, self.total + 1)

    def get(self, number: int) -> bytes | None:
        """The packet of this number; None where it is no longer held."""
        at = number - 1 - self.total + len(self._packets)
        return self._packets[at] if 0 <= at < len(self._packets) else None


@frozen
class Fetched:
    """The newest kept packets of a stream of another process, which holds ``held`` of it; None if it keeps none."""

    kept: KeptPackets | None
    held: int = 0
