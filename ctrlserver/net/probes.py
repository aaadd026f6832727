"""A framing around a listener's own framing that also reads the probe headers of its packets.

Rules:

- A stream counts with it as with the framing inside. Streams without probes use that directly and pay nothing.
- Of packets of a fixed size it reads only the headers, in place in the chunk. Other framings have to build the packets.
- A packet is recorded once it is complete, with the time of day at which its last chunk was read.

Beware: the clock is read once a chunk, so packets that wait in the socket together arrive at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ctrlserver.errors import FramingError
from ctrlserver.stats.probing import Probing
from ctrlserver.wire.framing import PACKETS_A_CALL, Framing, FramingSpec
from ctrlserver.wire.probe import HEADER_SIZE, Heads, decode, decode_each


def begun(spec: FramingSpec, probing: Probing | None, wall_ns: Callable[[], int]) -> Framing:
    """The framing of one of many streams, from here on; with ``probing`` it reads probe headers."""
    framing: Framing = spec.new() if probing is None else ProbedFraming(spec, probing, wall_ns)
    framing.most = PACKETS_A_CALL
    return framing


class ProbedFraming:
    """A ``Framing`` that records probe headers in ``probing``; ``wall_ns`` returns nanoseconds since 1970."""

    __slots__ = ("_begun", "_inner", "_probing", "_size", "_wall_ns")

    def __init__(self, spec: FramingSpec, probing: Probing, wall_ns: Callable[[], int]) -> None:
        self._inner = spec.new()
        self._size = spec.size
        self._probing = probing
        self._wall_ns = wall_ns
        self._begun = b""  # the header, as far as it has arrived, of an incomplete packet of fixed size

    @property
    def fault(self) -> FramingError | None:
        """The fault of the framing inside."""
        return self._inner.fault

    @property
    def pending_bytes(self) -> int:
        """The bytes that the framing inside holds of an incomplete packet."""
        return self._inner.pending_bytes

    @property
    def most(self) -> int:
        """That of the framing inside."""
        return self._inner.most

    @most.setter
    def most(self, packets: int) -> None:
        self._inner.most = packets

    @property
    def holds(self) -> bool:
        """That of the framing inside."""
        return self._inner.holds

    @holds.setter
    def holds(self, holds: bool) -> None:
        self._inner.holds = holds or self._size is None  # packets that vary are built, to look at their headers

    @property
    def left(self) -> int:
        """That of the framing inside."""
        return self._inner.left

    @left.setter
    def left(self, nbytes: int) -> None:
        self._inner.left = nbytes

    def count(self, chunk: bytes | memoryview) -> int:
        """Packets completed by ``chunk``."""
        if self._size is None:
            return len(self.feed(chunk))
        chunk = self._bounded(chunk, self._size)
        self._take_fixed(chunk, self._size)
        return self._inner.count(chunk)

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """The payloads of these packets."""
        if self._size is not None:
            chunk = self._bounded(chunk, self._size)
            self._take_fixed(chunk, self._size)
            return self._inner.feed(chunk)
        packets = self._inner.feed(chunk)
        self._take(decode_each(packets))
        return packets

    def ends(self, chunk: bytes | memoryview) -> Sequence[int]:
        """Of the framing inside; no header is read."""
        return self._inner.ends(chunk)

    def twin(self) -> Framing:
        """A framing without probes that goes on from here."""
        return self._inner.twin()

    def encode(self, payload: bytes) -> bytes:
        """As the framing inside."""
        return self._inner.encode(payload)

    def _bounded(self, chunk: bytes | memoryview, size: int) -> bytes | memoryview:
        """As much of ``chunk`` as one call takes; the rest is left."""
        room = size * self.most
        if len(chunk) > room:
            self.left = len(chunk) - room
            return chunk[:room]
        return chunk

    def _take_fixed(self, chunk: bytes | memoryview, size: int) -> None:
        """Record the headers in ``chunk``; before the framing inside is fed, as its ``pending_bytes`` are needed."""
        pending = self._inner.pending_bytes
        if pending:
            if len(self._begun) < HEADER_SIZE:
                end = min(HEADER_SIZE - len(self._begun), size - pending)
                self._begun += bytes(chunk[:end])
            if pending + len(chunk) < size:
                return
            self._take(decode(self._begun, HEADER_SIZE, len(self._begun) // HEADER_SIZE))
        at = (size - pending) % size
        packets, rest = divmod(len(chunk) - at, size)
        self._take(decode(chunk, size, packets, at))
        self._begun = bytes(chunk[len(chunk) - rest :][:HEADER_SIZE])

    def _take(self, runs: list[Heads]) -> None:
        if runs:
            arrived = self._wall_ns()
            for session, sequences, sent in runs:
                self._probing.take_all(session, sequences, sent, arrived)
