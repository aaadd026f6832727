"""What a stream still owes its peer, kept within a bound.

Rules:

- An outbox holds only what the socket did not take at once. Reading stops while it holds anything, so it never holds
  more than one chunk's worth: the chunk itself for echoes, a number for canned replies.
- ``block`` gives the next bytes to send, ``taken`` says how many of them the socket took.
"""

from __future__ import annotations

from typing import Protocol

#: Bytes of the block that canned replies are sent from.
BLOCK_BYTES = 1 << 16


class Outbox(Protocol):
    """Replies not yet taken by the socket."""

    def block(self) -> memoryview:
        """The next bytes to send; empty when nothing is owed."""

    def taken(self, nbytes: int) -> None:
        """The socket took the first ``nbytes`` of the last ``block``."""

    def packets(self, received: int) -> int:
        """Packets not answered in full, of a stream that has sent ``received`` bytes."""


class EchoOutbox:
    """The rest of one echoed chunk, of packets of ``size`` bytes; None where only the content tells.

    Then nobody knows how many packets the rest holds, and they pass for answered.
    """

    __slots__ = ("_rest", "_size")

    def __init__(self, rest: bytes | memoryview, size: int | None = None) -> None:
        self._rest = memoryview(bytes(rest))
        self._size = size

    def block(self) -> memoryview:
        """What is left of the chunk."""
        return self._rest

    def taken(self, nbytes: int) -> None:
        """Let go of the first bytes."""
        self._rest = self._rest[nbytes:]

    def packets(self, received: int) -> int:
        """Packets whose last byte has not gone back."""
        size = self._size
        return received // size - (received - len(self._rest)) // size if size else 0


class CannedReply:
    """One reply, or one packet of a source, repeated ahead of time so that many go out in one send.

    It is shared by all streams of a listener.
    """

    __slots__ = ("_block", "reply")

    def __init__(self, reply: bytes, block_bytes: int = BLOCK_BYTES) -> None:
        if not reply:
            raise ValueError("an empty reply answers nothing")
        self.reply = reply
        self._block = memoryview(reply * max(1, block_bytes // len(reply)))

    def span(self, start: int, nbytes: int) -> memoryview:
        """Up to ``nbytes`` of the endless repetition of the reply, from its byte ``start`` on."""
        offset = start % len(self.reply)
        return self._block[offset : offset + nbytes]


class CannedOutbox:
    """A number of canned replies, the first of them perhaps begun. Costs the same however many are owed."""

    __slots__ = ("_canned", "_left", "_offset")

    def __init__(self, canned: CannedReply, packets: int) -> None:
        self._canned = canned
        self._offset = 0
        self._left = packets * len(canned.reply)

    def block(self) -> memoryview:
        """The next part of the repetition."""
        return self._canned.span(self._offset, self._left)

    def taken(self, nbytes: int) -> None:
        """Move on."""
        self._offset += nbytes
        self._left -= nbytes

    def packets(self, received: int) -> int:
        """Replies not gone out in full."""
        return -(-self._left // len(self._canned.reply))
