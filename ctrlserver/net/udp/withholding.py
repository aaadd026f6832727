"""Answers to a peer that may be a service which answers answers: another server's UDP echo, on another machine.

One forged datagram would travel between the two for ever, and nothing in it says so: each end sees a peer that asks as
any client does. Only an answer that is withheld ends it. So of a peer whose port the system gives to no client, one
message in ``SPARED`` stays unanswered; each takes one datagram out of such a loop, however many go round. A client that
has bound such a port loses as much, as it may to the network. Each copy by order is one datagram more that goes round:
such a peer gets a few.
"""

from __future__ import annotations

from ctrlserver.linux.udp import Address
from ctrlserver.net.injected.datagrams import Answer, Send
from ctrlserver.stats.counters import Counters

#: Messages, the last of which is not answered. A loop is over within a second on a local network, and after some
#: minutes on a long way, where it is slow.
SPARED = 1000

#: Copies by order that such a peer gets at most. They are out of a loop within seconds on a local network.
COPIES = 100


class Withholding:
    """Answers as ``answer`` does, but for every ``SPARED``-th message."""

    __slots__ = ("_answer", "_counters", "_left")

    def __init__(self, answer: Answer, counters: Counters) -> None:
        self._answer = answer
        self._counters = counters
        self._left = SPARED

    def __call__(self, content: memoryview, segment: int, packets: int, address: Address) -> int:
        """Answer, or count what is withheld; return how many answers were accepted."""
        self._left -= 1
        if self._left:
            return self._answer(content, segment, packets, address)
        self._left = SPARED
        self._counters.loops += packets
        return 0


class FewCopies:
    """Sends copies of answers by ``send``; to ports below ``first_client_port`` no more than ``COPIES`` in all."""

    __slots__ = ("_counters", "_first_client_port", "_left", "_send")

    def __init__(self, send: Send, first_client_port: int, counters: Counters) -> None:
        self._send = send
        self._first_client_port = first_client_port
        self._counters = counters
        self._left = COPIES

    def __call__(self, answer: bytes, address: Address) -> int:
        """Send, or count what is withheld; return whether the socket accepted it, 1 or 0."""
        if address[1] < self._first_client_port:
            if not self._left:
                self._counters.loops += 1
                return 0
            self._left -= 1
        return self._send(answer, address)
