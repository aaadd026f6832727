"""Answers of one stream that wait by order: each until it is due, in order, and within a bound. PURE.

Model: each answer has a moment from which it may leave::

    add(answer, due) --> parts, in order --> block_at(now): what may leave by now --> taken(what the socket took)

Rules:

- Answers keep their order: one is due no earlier than the one before it. A drip is over before the next one begins.
- Moments are nanoseconds of the monotonic clock.
- ``bytes`` are those that wait, by which the stream decides when to read no more. ``held`` is what they cost: canned
  replies that nothing has changed are those of all streams, and cost a part alone.
"""

from __future__ import annotations

from collections import deque

from ctrlserver.inject.answers import dripped
from ctrlserver.inject.arguments import Drip
from ctrlserver.net.replies import BLOCK_BYTES, CannedReply, Outbox

#: Bytes of memory that a part costs beside its content.
PART_BYTES = 288

_NOTHING = memoryview(b"")

#: A moment that never comes.
NEVER = 1 << 62


class Part:
    """Answers to packets, of ``size`` bytes each, due at ``due``; ``sent`` bytes have left.

    ``size`` 0: to no whole packet, or a ``copy`` of the answer before.
    """

    __slots__ = ("content", "copy", "drip", "due", "length", "sent", "size")

    def __init__(
        self, content: bytes | CannedReply, length: int, due: int, size: int, drip: Drip | None, *, copy: bool = False
    ) -> None:
        self.content = content
        self.copy = copy
        self.length = length
        self.due = due
        self.size = size
        self.drip = drip
        self.sent = 0

    def leaves(self) -> int:
        """The moment at which its next byte may leave."""
        drip = self.drip
        return self.due if drip is None else self.due + self.sent // drip.nbytes * drip.ns

    def block_at(self, now: int) -> memoryview:
        """Its bytes that may leave by ``now``, not empty, at most those of a block."""
        end = self.length
        drip = self.drip
        if drip is not None:
            end = dripped(end, drip.nbytes, drip.ns, (now - self.due) / 1e9)
        content = self.content
        if isinstance(content, bytes):
            return memoryview(content)[self.sent : end]
        return content.span(self.sent, end - self.sent)

    @property
    def packets(self) -> int:
        """Packets whose answers have not left whole."""
        return -(-(self.length - self.sent) // self.size) if self.size else 0


class Waiting:
    """The answers of one stream. ``before``: replies that the socket had not taken when it became this stream's.

    ``moment``: when something may leave, ``NEVER`` if nothing waits.
    """

    __slots__ = ("_before", "_free", "_parts", "bytes", "held", "moment")

    def __init__(self, before: Outbox | None = None) -> None:
        self._before = before
        self._parts: deque[Part] = deque()
        self.moment = NEVER if before is None else 0
        self._free = 0  # the moment from which the next answer may leave
        self.bytes = 0
        self.held = 0 if before is None else before.held

    def __bool__(self) -> bool:
        return self.moment is not NEVER

    def add(self, answer: bytes, due: int, size: int, drip: Drip | None = None, *, copy: bool = False) -> None:
        """Answers to packets of ``size`` bytes each, at ``due``; ``size`` 0: bytes of one not yet whole, or a copy."""
        length = len(answer)
        if due < self._free:
            due = self._free
        self._parts.append(Part(answer, length, due, size, drip, copy=copy))
        if self.moment is NEVER:
            self.moment = due
        self._free = due
        self.bytes += length
        self.held += PART_BYTES + length
        if drip is not None:
            self._free += round(drip.seconds(len(answer)) * 1e9)

    def add_canned(self, canned: CannedReply, packets: int, due: int) -> None:
        """The canned reply to each of so many packets, at ``due``."""
        size = len(canned.reply)
        last = self._parts[-1] if self._parts else None
        due = max(due, self._free)
        if last is not None and last.content is canned and last.due == due:
            last.length += packets * size
            self.bytes += packets * size
        else:
            self._add(Part(canned, packets * size, due, size, None))

    def _add(self, part: Part) -> None:
        if self.moment is NEVER:
            self.moment = part.due
        self._parts.append(part)
        self._free = part.due
        self.bytes += part.length
        self.held += PART_BYTES

    def block_at(self, now: int) -> memoryview:
        """The next bytes that may leave by ``now``: one part's, or small ones joined."""
        if self._before is not None:
            if block := self._before.block():
                return block
            self._end_before()
        parts = self._parts
        if self.moment > now:
            return _NOTHING
        first = parts[0]
        if len(parts) == 1 or parts[1].due > now:
            if first.sent or first.drip is not None or not isinstance(first.content, bytes):
                return first.block_at(now)
            return memoryview(first.content)
        blocks: list[memoryview] = []
        size = 0
        for part in self._parts:
            if part.leaves() > now:
                break
            block = part.block_at(now)
            blocks.append(block)
            size += len(block)
            if part.sent + len(block) < part.length or size >= BLOCK_BYTES:
                break
        return blocks[0] if len(blocks) == 1 else memoryview(b"".join(blocks))

    def taken(self, nbytes: int) -> int:
        """The socket took so many of the last block; returns how many copies have left whole by that."""
        if self._before is not None:
            self._before.taken(nbytes)
            if not self._before.block():
                self._end_before()
            return 0
        self.bytes -= nbytes
        parts = self._parts
        first = parts[0]
        if nbytes == first.length and not first.sent:  # as most are sent
            parts.popleft()
            self.held -= PART_BYTES + (nbytes if isinstance(first.content, bytes) else 0)
            self.moment = parts[0].due if parts else NEVER
            return int(first.copy)
        copies = 0
        while nbytes:
            part = parts[0]
            step = min(nbytes, part.length - part.sent)
            part.sent += step
            nbytes -= step
            if part.sent == part.length:
                parts.popleft()
                self.held -= PART_BYTES + (part.length if isinstance(part.content, bytes) else 0)
                copies += part.copy
        self.moment = parts[0].leaves() if parts else NEVER
        return copies

    def _end_before(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            self.held -= before.held
        self.moment = self._parts[0].leaves() if self._parts else NEVER

    def packets(self, received: int) -> int:
        """Packets without a complete answer."""
        before = 0 if self._before is None else self._before.packets(received)
        return before + sum([part.packets for part in self._parts])

    def let_go(self) -> None:
        """All that waits is due at once, and whole."""
        self._free = 0
        for part in self._parts:
            part.due, part.drip = 0, None
        if self._parts:
            self.moment = 0
