"""Framings whose packets end with a delimiter: lines, and any bytes that an operator configures.

Rules: the leftmost delimiter ends a packet and is not part of it. A packet is a fault once no delimiter can end it
within the limit, so the buffer holds at most the limit and one delimiter. The chunk boundaries, even inside a
delimiter, affect neither the packets nor the fault.

Beware: a delimiter that can overlap itself (``0a0a``) may be at another place for ``rfind`` than for a scan from
the left. We scan such streams, and chunks longer than the limit, packet by packet; long packets too, because the scan
is faster for them. All others cost one ``bytes.count``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from copy import copy
from typing import Self

from attrs import define, field

from ctrlserver.errors import FramingError

LONG = 384
"""Bytes of a packet from which ``bytes.find`` of each delimiter beats ``bytes.count``: ``count`` reads 3 bytes a
nanosecond (CPython 3.11), ``find`` ten times as many, but it costs some 100 ns for each delimiter."""


@define(eq=False)
class Delimited:
    """Packets that end with ``delimiter`` and are at most ``limit`` bytes long without it."""

    name: str
    limit: int
    delimiter: bytes
    fault: FramingError | None = field(default=None, init=False)
    most: int = field(default=sys.maxsize, init=False)
    left: int = field(default=0, init=False)
    holds: bool = field(default=True, init=False)
    _held: bytearray = field(factory=bytearray, init=False)
    _dropped: int = field(default=0, init=False)  # bytes of the incomplete packet before those held
    _overlaps: bool = field(init=False)  # whether one delimiter can begin inside another

    def __attrs_post_init__(self) -> None:
        self._overlaps = any(self.delimiter.endswith(self.delimiter[:k]) for k in range(1, len(self.delimiter)))

    @property
    def pending_bytes(self) -> int:
        """Bytes of the incomplete packet, a partial delimiter included; 0 after a fault."""
        return len(self._held) + self._dropped

    def count(self, chunk: bytes | memoryview) -> int:
        """Number of packets completed by ``chunk``, without building them."""
        if self.fault is not None:
            return 0
        octets = bytes(chunk)
        packets = at = 0
        if self._held:
            at = self._complete(octets)
            if not at:
                return 0
            self._held.clear()
            self._dropped = 0
            packets = 1
        size = len(octets)
        width = len(self.delimiter)
        end = octets.find(self.delimiter, at)
        if end >= 0:
            if end + width == size and end - at <= self.limit:
                return packets + 1
            if self._overlaps or end - at >= LONG or size - at > self.limit:
                cut, at = self._scan(octets, at)
                packets += cut
                if self.left:
                    return packets
            else:
                packets += octets.count(self.delimiter, at)
                at = octets.rfind(self.delimiter, at) + width
        if at < size and self.fault is None:
            self._hold(octets[at:])
        return packets

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """The payloads of the packets completed by ``chunk``."""
        if self.fault is not None:
            return []
        octets = bytes(chunk)
        packets = []
        if self._held:
            at = self._complete(octets)
            if not at:
                return []
            packets.append(self._payload(bytes(self._held)))
            self._held.clear()
            octets = octets[at:]
        *whole, rest = octets.split(self.delimiter, self.most)
        for octets in whole:
            payload = self._payload(octets)
            if len(payload) > self.limit:
                self._fail()
                return packets
            packets.append(payload)
        if len(whole) == self.most:
            self.left = len(rest)
        elif rest:
            self._hold(rest)
        return packets

    def ends(self, chunk: bytes | memoryview) -> Sequence[int]:
        """Where in ``chunk`` the same packets end, behind their delimiters."""
        if self.fault is not None:
            return ()
        octets = bytes(chunk)
        ends: list[int] = []
        at = 0
        if self._held:
            at = self._complete(octets)
            if not at:
                return ()
            self._held.clear()
            self._dropped = 0
            ends.append(at)
        size, width, limit, find = len(octets), len(self.delimiter), self.limit, octets.find
        while len(ends) < self.most and (end := find(self.delimiter, at)) >= 0:
            if end - at > limit and len(self._payload(octets[at:end])) > limit:
                self._fail()
                return ends
            at = end + width
            ends.append(at)
        if len(ends) == self.most:
            self.left = size - at
        elif at < size:
            self._hold(octets[at:])
        return ends

    def twin(self) -> Self:
        """Another that goes on from here."""
        twin = copy(self)
        twin._held = self._held.copy()
        return twin

    def encode(self, payload: bytes) -> bytes:
        """Payload and delimiter; FramingError where the payload is over the limit or would be cut elsewhere."""
        if len(payload) > self.limit:
            raise FramingError(f"{self.name}: a payload of {len(payload)} bytes; at most {self.limit} are allowed")
        frame = payload + self.delimiter
        if frame.find(self.delimiter) != len(payload):
            raise FramingError(f"{self.name}: the payload holds the delimiter or begins it at its end")
        return frame

    def _payload(self, packet: bytes) -> bytes:
        """The payload of a whole packet, given without its delimiter."""
        return packet

    def _begun(self, packet: bytearray) -> int:
        """How many bytes at the end of an incomplete packet may belong to the delimiter."""
        delimiter = self.delimiter
        return next((k for k in range(len(delimiter) - 1, 0, -1) if packet.endswith(delimiter[:k])), 0)

    def _fail(self) -> None:
        self.fault = FramingError(f"{self.name}: a packet of more than {self.limit} bytes")
        self._held.clear()
        self._dropped = 0

    def _hold(self, octets: bytes) -> None:
        """Add to the incomplete packet; set the fault if it is too long already."""
        held = self._held
        if self.holds:
            held += octets
        else:  # the end is enough: the delimiter may have begun there
            tail = max(len(self.delimiter) - 1, 1)
            end = (bytes(held) + octets[-tail:])[-tail:]
            self._dropped += len(held) + len(octets) - len(end)
            held[:] = end
        length = len(held) + self._dropped
        if length > self.limit and length - self._begun(held) > self.limit:
            self._fail()

    def _scan(self, octets: bytes, at: int) -> tuple[int, int]:
        """Cut packet by packet from ``at`` on; return their number and the start of the next."""
        delimiter = self.delimiter
        width = len(delimiter)
        limit = self.limit
        most = self.most
        find = octets.find
        packets = 0
        while (end := find(delimiter, at)) >= 0:
            if end - at > limit and len(self._payload(octets[at:end])) > limit:
                self._fail()
                break
            packets += 1
            at = end + width
            if packets == most:
                self.left = len(octets) - at
                break
        return packets, at

    def _complete(self, octets: bytes) -> int:
        """End the held packet, without its delimiter; return the ``octets`` used, 0 if incomplete or faulty."""
        held = self._held
        width = len(self.delimiter)
        # A delimiter cut in two lies across the border. We search there first: it is further left than any
        # whole one in octets, and begins `before` bytes or less before the border.
        before = min(width - 1, len(held))
        border = held[len(held) - before :] + octets[: width - 1] if before else b""
        end = border.find(self.delimiter) - before if self.delimiter in border else octets.find(self.delimiter)
        if end >= 0:
            held += octets[:end]
        elif self.delimiter in border:
            del held[end:]
        else:
            self._hold(octets)
            return 0
        if len(held) + self._dropped > self.limit and len(self._payload(bytes(held))) + self._dropped > self.limit:
            self._fail()
            return 0
        return end + width


@define(eq=False)
class Lines(Delimited):
    """Lines that end with LF or CRLF; neither is payload. ``encode`` writes LF."""

    @classmethod
    def of(cls, max_packet: int) -> Lines:
        """The limit is ``max_packet``, the line's end not counted."""
        return cls("line", max_packet, b"\n")

    def encode(self, payload: bytes) -> bytes:
        """Payload and LF; FramingError as above, and for a CR at the end, which a reader would remove."""
        frame = super().encode(payload)
        if payload.endswith(b"\r"):
            raise FramingError("line: the payload ends with CR, which a reader takes for the line's end")
        return frame

    def _payload(self, packet: bytes) -> bytes:
        return packet[:-1] if packet.endswith(b"\r") else packet

    def _begun(self, packet: bytearray) -> int:
        return 1 if packet.endswith(b"\r") else 0
