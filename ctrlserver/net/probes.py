"""Where probe packets are looked at: a framing around a listener's own, which also reads the heads of its packets.

Rules: a stream counts with it as with the framing inside; so streams without probes pay nothing. Of packets of a fixed
size only the heads are looked at, where they lie in the chunk; other framings build their packets for it. A packet is
entered when it is whole, with the time of day at which its chunk was read.

Beware: those are one clock reading a chunk, so packets that wait in the socket for each other arrive together.
"""

from __future__ import annotations

from collections.abc import Callable

from ctrlserver.errors import FramingError
from ctrlserver.stats.probing import Probing
from ctrlserver.wire.framing import FramingSpec
from ctrlserver.wire.probe import HEADER_SIZE, Heads, decode, decode_each


class ProbedFraming:
    """A ``Framing`` that tells ``probing`` what passes; ``wall_ns`` gives nanoseconds since 1970."""

    __slots__ = ("_begun", "_inner", "_probing", "_size", "_wall_ns")

    def __init__(self, spec: FramingSpec, probing: Probing, wall_ns: Callable[[], int]) -> None:
        self._inner = spec.new()
        self._size = spec.size
        self._probing = probing
        self._wall_ns = wall_ns
        self._begun = b""  # of the packet of fixed size not yet whole, as much of its head as came

    @property
    def fault(self) -> FramingError | None:
        """That of the framing inside."""
        return self._inner.fault

    @property
    def pending_bytes(self) -> int:
        """Those of the framing inside."""
        return self._inner.pending_bytes

    def count(self, chunk: bytes | memoryview) -> int:
        """Packets completed by ``chunk``."""
        if self._size is None:
            return len(self.feed(chunk))
        self._take_fixed(chunk, self._size)
        return self._inner.count(chunk)

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """The payloads of the same packets."""
        if self._size is not None:
            self._take_fixed(chunk, self._size)
            return self._inner.feed(chunk)
        packets = self._inner.feed(chunk)
        self._take(decode_each(packets))
        return packets

    def encode(self, payload: bytes) -> bytes:
        """As the framing inside."""
        return self._inner.encode(payload)

    def _take_fixed(self, chunk: bytes | memoryview, size: int) -> None:
        """Before the framing inside takes the chunk: its ``pending_bytes`` say where the packets start."""
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
