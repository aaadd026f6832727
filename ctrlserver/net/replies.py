"""The replies that a stream owes its peer, within a bound.

Rules:

- An outbox holds only the replies that the socket did not take at once. The stream reads nothing meanwhile, so these
  are the replies to one chunk at most: the chunk itself for echoes, a number for canned replies.
- ``block`` returns the next bytes to send; the caller reports to ``taken`` how many of them the socket took.
"""

from __future__ import annotations

from typing import Protocol

#: Bytes of the block from which canned replies are sent.
BLOCK_BYTES = 1 << 16


class Outbox(Protocol):
    """Replies that the socket has not taken yet."""

    def block(self) -> memoryview:
        """The next bytes to send; empty if nothing is owed."""

    @property
    def held(self) -> int:
        """Bytes held for these replies alone."""

    def taken(self, nbytes: int) -> None:
        """The socket took the first ``nbytes`` of the last ``block``."""

    def packets(self, received: int) -> int:
        """Packets without a complete reply, of a peer that has sent ``received`` bytes."""


class EchoOutbox:
    """The rest of one echoed chunk, of packets of ``size`` bytes.

    ``held``: all of it, until the last byte is taken. ``size`` None: packets differ in size. Nobody knows then how many
    packets the rest holds, so none is counted.
    """

    __slots__ = ("_rest", "_size", "held")

    def __init__(self, rest: bytes | memoryview, size: int | None = None) -> None:
        self._rest = memoryview(bytes(rest))
        self.held = len(rest)
        self._size = size

    def block(self) -> memoryview:
        """The rest of the chunk."""
        return self._rest

    def taken(self, nbytes: int) -> None:
        """Drop the first bytes."""
        self._rest = self._rest[nbytes:]

    def packets(self, received: int) -> int:
        """Packets whose last byte has not been sent back."""
        size = self._size
        return received // size - (received - len(self._rest)) // size if size else 0


class CannedReply:
    """One reply, or one packet of a source, repeated in a block so that one send takes many of them.

    All streams of a listener share it.
    """

    __slots__ = ("_block", "reply")

    def __init__(self, reply: bytes, block_bytes: int = BLOCK_BYTES) -> None:
        if not reply:
            raise ValueError("an empty reply answers nothing")
        self.reply = reply
        self._block = memoryview(reply * max(1, block_bytes // len(reply)))

    def span(self, start: int, nbytes: int) -> memoryview:
        """At most ``nbytes`` of the endlessly repeated reply, from byte ``start`` on."""
        offset = start % len(self.reply)
        return self._block[offset : offset + nbytes]


class CannedOutbox:
    """A number of canned replies, the first of which may be sent in part. Costs the same however many are owed."""

    __slots__ = ("_canned", "_left", "_offset")

    def __init__(self, canned: CannedReply, packets: int) -> None:
        self._canned = canned
        self._offset = 0
        self._left = packets * len(canned.reply)

    def block(self) -> memoryview:
        """The next bytes of the repeated reply."""
        return self._canned.span(self._offset, self._left)

    @property
    def held(self) -> int:
        """None: the block is that of all streams."""
        return 0

    def taken(self, nbytes: int) -> None:
        """Advance by ``nbytes``."""
        self._offset += nbytes
        self._left -= nbytes

    def packets(self, received: int) -> int:
        """Replies that are not sent in full."""
        return -(-self._left // len(self._canned.reply))
