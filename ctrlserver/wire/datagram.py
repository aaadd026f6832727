"""Datagrams: the network keeps the packets apart, so each datagram is one packet, empty ones included.

Beware: a chunk must be one whole datagram; this is the only framing whose packets depend on the chunk
boundaries. So only UDP uses it, and ``parse_framing`` does not know it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ctrlserver.errors import FramingError
from ctrlserver.wire.framing import FramingSpec

LONGEST_DATAGRAM = 65507
"""Bytes of the longest payload that UDP over IPv4 carries: 65535 less the headers."""


class Datagrams:
    """Counts and builds datagrams; it never has pending bytes or a fault."""

    __slots__ = ()

    fault: FramingError | None = None
    pending_bytes = 0
    most = sys.maxsize
    left = 0
    holds = True

    def count(self, chunk: bytes | memoryview) -> int:
        """Always 1: a chunk is one packet of any content."""
        return 1

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """The datagram."""
        return [bytes(chunk)]

    def ends(self, chunk: bytes | memoryview) -> Sequence[int]:
        """At its end."""
        return (len(chunk),)

    def twin(self) -> Datagrams:
        """Itself: it has no state."""
        return self

    def encode(self, payload: bytes) -> bytes:
        """The payload is the datagram; FramingError for one that is too long."""
        if len(payload) > LONGEST_DATAGRAM:
            raise FramingError(f"a payload of {len(payload)} bytes: a datagram holds at most {LONGEST_DATAGRAM}")
        return payload


DATAGRAM = FramingSpec("datagram", LONGEST_DATAGRAM, Datagrams)


def packets_in(nbytes: int, segment: int) -> int:
    """Datagrams in a batch of ``nbytes`` of which each but the last has ``segment`` bytes; at least 1."""
    return -(-nbytes // segment) or 1


def packets_in_all(sizes: Sequence[int], segments: Sequence[int]) -> int:
    """Datagrams in several batches; a batch without a segment, 0, is one datagram."""
    return sum([packets_in(size, segment) if segment else 1 for size, segment in zip(sizes, segments, strict=True)])


def cut(batch: memoryview, segment: int) -> list[bytes]:
    """The datagrams of such a batch."""
    return [bytes(batch[at : at + segment]) for at in range(0, len(batch), segment)] or [b""]
