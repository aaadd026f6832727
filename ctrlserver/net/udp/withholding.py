"""Answers to a peer that may be a service which answers answers: another server's UDP echo, on another machine.

One forged datagram would travel between the two for ever, and nothing in it says so: each end sees a peer that asks as
any client does. Only an answer that is withheld ends it. So of a peer whose port the system gives to no client, one
message in ``SPARED`` stays unanswered; each takes one datagram out of such a loop, however many go round. A client that
has bound such a port loses as much, as it may to the network.
"""

from __future__ import annotations

from ctrlserver.linux.udp import Address
from ctrlserver.net.injected.datagrams import Answer
from ctrlserver.stats.counters import Counters

#: Messages, the last of which is not answered. A loop is over within a second on a local network, and after some
#: minutes on a long way, where it is slow.
SPARED = 1000


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
