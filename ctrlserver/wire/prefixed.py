"""The base of the framings with a length prefix: integers.py, varint.py and netstring.py build on it.

Rules: a length over the limit is a fault as soon as it is read, before the payload arrives. The only buffer is the
incomplete packet: at most one header, one payload of the limit and one trailer. The chunk boundaries affect neither the
packets nor the fault.

Two ways to count, taken in turn: ``_walk`` cuts frame by frame in one tight loop; after some frames ``equal_frames``
tries to prove the rest of the chunk equal (see stride.py). A try that gains little doubles the number of frames walked
before the next one, up to PATIENCE, so that mixed sizes cost no more than the walk.

Beware: ``_walk`` is the hot loop of each class: locals only, no slices, no calls but ``unpack_from``; measure with
benchmarks/decode.py before and after any change. The chunk may be a memoryview over a buffer that the caller
reuses, so we copy the bytes we hold.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from copy import copy
from typing import ClassVar, Self

from attrs import define, field

from ctrlserver.errors import FramingError
from ctrlserver.wire.stride import WINDOW, WORTH, equal_frames

EAGER = 1
"""Frames walked before each try for equal ones, while the tries succeed."""

GAIN = 128
"""Equal frames that pay for a try that stops early: the try costs up to 6 us, the walk 12 us for as many frames."""

PATIENCE = 1024
"""The most frames walked before the next try: a try that fails costs 0.3 to 6 us, this many frames 90 us."""

Octets = bytes | bytearray | memoryview


@define(eq=False)
class Prefixed:
    """The base of framings with a length prefix; each defines ``_frame``, ``_walk`` and ``encode``.

    ``limit`` is the longest payload in bytes; ``trailer`` the bytes after each payload; ``longest_head`` the most bytes
    of a header.
    """

    trailer: ClassVar[bytes] = b""
    name: str
    limit: int
    longest_head: int
    fault: FramingError | None = field(default=None, init=False)
    most: int = field(default=sys.maxsize, init=False)
    left: int = field(default=0, init=False)
    holds: bool = field(default=True, init=False)
    _held: bytearray = field(factory=bytearray, init=False)
    _head: int = field(default=0, init=False)  # length of the held frame's header
    _need: int = field(default=0, init=False)  # length of the held frame, 0 until its header is read
    _dropped: int = field(default=0, init=False)  # bytes of the incomplete frame that are not held
    _wait: int = field(default=EAGER, init=False)  # frames to walk before the next try for equal ones
    _patience: int = field(default=EAGER, init=False)  # what _wait was when it was last set

    @property
    def pending_bytes(self) -> int:
        """Bytes of the incomplete packet, its header included; 0 after a fault."""
        return len(self._held) + self._dropped

    def count(self, chunk: bytes | memoryview) -> int:
        """Number of packets completed by ``chunk``, without building them."""
        if self.fault is not None:
            return 0
        packets = at = 0
        if self._held:
            at = self._complete(chunk)
            if not at:
                return 0
            self._held.clear()
            packets = 1
        size = len(chunk)
        walked = 0
        while True:
            if most := self._wait:
                cut, at = self._walk(chunk, at, size, most)
                packets += cut
                if cut < most:
                    break
                walked += most
                if walked >= self.most:
                    self._wait = 0
                    self.left = size - at
                    return packets
            cut, at = self._run(chunk, at, size)
            packets += cut
        self._wait = most - cut - 1
        if at < size and self.fault is None:
            if not self.holds and (frame := self._frame(chunk, at, size)) is not None:
                self._head, self._need = frame
                self._held += chunk[at : at + self._head]
                self._dropped = size - at - self._head
            else:
                self._held += chunk[at:]
        return packets

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """The payloads of the packets completed by ``chunk``."""
        if self.fault is not None:
            return []
        packets = []
        at = 0
        tail = len(self.trailer)
        if self._held:
            at = self._complete(chunk)
            if not at:
                return []
            packets.append(bytes(self._held[self._head : len(self._held) - tail]))
            self._held.clear()
        octets = bytes(chunk)
        size = len(octets)
        for _ in range(self.most):
            frame = self._frame(octets, at, size)
            if frame is None or at + frame[1] > size:
                break
            head, stride = frame
            packets.append(octets[at + head : at + stride - tail])
            at += stride
        else:
            self.left = size - at
            return packets
        if at < size and self.fault is None:
            self._held += octets[at:]
        return packets

    def ends(self, chunk: bytes | memoryview) -> Sequence[int]:
        """Where in ``chunk`` the same packets end, cut one by one."""
        if self.fault is not None:
            return ()
        ends: list[int] = []
        at = 0
        if self._held:
            at = self._complete(chunk)
            if not at:
                return ()
            self._held.clear()
            ends.append(at)
        size = len(chunk)
        for _ in range(self.most - len(ends)):
            frame = self._frame(chunk, at, size)
            if frame is None or at + frame[1] > size:
                break
            at += frame[1]
            ends.append(at)
        else:
            self.left = size - at
            return ends
        if at < size:
            self.count(chunk[at:])
        return ends

    def twin(self) -> Self:
        """Another that goes on from here."""
        twin = copy(self)
        twin._held = self._held.copy()
        return twin

    def _frame(self, octets: Octets, at: int, size: int) -> tuple[int, int] | None:
        """Length of the header at ``at`` and of its whole frame; None if the header is incomplete or faulty."""
        raise NotImplementedError

    def _walk(self, octets: Octets, at: int, size: int, most: int) -> tuple[int, int]:
        """Cut up to ``most`` frames from ``at`` on; return the number of whole ones and the start of the next.

        Fewer than ``most`` means: the next frame is incomplete, or the fault is set.
        """
        raise NotImplementedError

    def _fail(self, problem: str) -> None:
        self.fault = FramingError(f"{self.name}: {problem}")
        self._held.clear()
        self._dropped = 0

    def _fail_trailer(self, length: int) -> None:
        self._fail(f"no trailer after {length} bytes")

    def _check_payload(self, payload: bytes) -> None:
        if len(payload) > self.limit:
            raise FramingError(f"{self.name}: a payload of {len(payload)} bytes; at most {self.limit} are allowed")

    def _run(self, chunk: bytes | memoryview, at: int, size: int) -> tuple[int, int]:
        """Cut the equal frames from ``at`` on, as ``_walk`` does; set ``_wait`` to the frames to walk after them."""
        frame = self._frame(chunk, at, size)
        frames = min(size - at, WINDOW) // frame[1] if frame else 0
        if frame is None or frames < WORTH:
            self._wait = max(self._patience, WORTH)  # too few frames for a try, so ``_patience`` stays
            return 0, at
        head, stride = frame
        run = 0
        if self._frame(chunk, at + stride, size) == frame:
            run = equal_frames(chunk, at, stride, frames, head, self.trailer)
        self._patience = EAGER if run == frames or run >= GAIN else min(self._patience * 2, PATIENCE)
        self._wait = self._patience
        return run, at + run * stride

    def _complete(self, chunk: bytes | memoryview) -> int:
        """Complete the held frame from ``chunk``; return the bytes used, 0 if it is still incomplete or faulty."""
        held = self._held
        if not self._need:
            missing = self.longest_head - len(held)
            first = held if missing <= 0 else bytes(held) + bytes(chunk[:missing])
            frame = self._frame(first, 0, len(first))
            if frame is None:
                if self.fault is None:
                    held += chunk
                return 0
            self._head, self._need = frame
        need, self._need = self._need, 0
        taken = need - len(held) - self._dropped
        if taken > len(chunk):
            self._need = need
            if self.holds:
                held += chunk
            else:
                self._dropped += len(chunk)
            return 0
        self._dropped = 0
        if not self.holds:
            if self.trailer and chunk[taken - 1] != self.trailer[0]:
                self._fail_trailer(need - self._head - 1)
                return 0
            return taken
        held += chunk[:taken]
        if not held.endswith(self.trailer):
            self._frame(held, 0, len(held))
            return 0
        return taken
