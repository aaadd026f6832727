"""What a UDP port sends back: a whole batch in one call, at once.

Rules:

- Answers are not queued. An answer that the socket does not accept is lost, as a datagram may be anyway; the reader
  counts it as unanswered.
- A batch goes out in one call (``UDP_SEGMENT``). If the kernel lacks that option, or the route cannot carry such a
  batch, its datagrams go out one by one.

Beware: a port that answers datagrams answers forged addresses too. Echo and reply are for a test network.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from ctrlserver.linux.udp import SEGMENT, SEGMENTS_A_CALL, SOL_UDP, UDP_SEGMENT, Address
from ctrlserver.net.replies import CannedReply
from ctrlserver.net.terms import Terms
from ctrlserver.wire.datagram import LONGEST_DATAGRAM

#: Answers a batch: its bytes, the bytes of each datagram but the last, its datagrams, its sender. Returns how many
#: answers the socket accepted.
Answer = Callable[[memoryview, int, int, Address], int]


class Answers:
    """The answers of one socket."""

    __slots__ = ("_canned", "_socket")

    def __init__(self, sock: socket.socket, canned: CannedReply | None) -> None:
        self._socket = sock
        self._canned = canned

    def reply(self, content: memoryview, segment: int, packets: int, address: Address) -> int:
        """Send the canned reply once for each datagram."""
        canned = self._canned
        if canned is None:
            return 0
        size = len(canned.reply)
        most = max(1, min(SEGMENTS_A_CALL, LONGEST_DATAGRAM // size))
        sent = 0
        while sent < packets:
            now = min(most, packets - sent)
            accepted = self.echo(canned.span(0, now * size), size, now, address)
            sent += accepted
            if accepted < now:
                break
        return sent

    def echo(self, content: memoryview, segment: int, packets: int, address: Address) -> int:
        """Send the batch back."""
        sock = self._socket
        if packets > 1:
            try:
                sock.sendmsg([content], [(SOL_UDP, UDP_SEGMENT, SEGMENT.pack(segment))], 0, address)
                return packets
            except BlockingIOError:
                return 0
            except OSError:
                pass  # no such option, or more than this route takes in one call: one by one then
        for sent in range(packets):
            try:
                sock.sendto(content[sent * segment : (sent + 1) * segment] if segment else b"", address)
            except OSError:
                return sent
        return packets


def answer_of(terms: Terms, sock: socket.socket) -> Answer | None:
    """How a listener with these terms answers; None for a sink."""
    answers = Answers(sock, terms.canned)
    return {"echo": answers.echo, "reply": answers.reply}.get(terms.origin.mode)
