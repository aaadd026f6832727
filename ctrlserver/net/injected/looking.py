"""Conditional answers at work: a struck stream looks into its packets, and a rule may answer (``inject/rules.py``).

Model: while its listener has rules for packets, a stream of mode ``reply`` is struck, with or without courses, and its
``Struck`` has a ``Looking``. Packets are then taken one by one: counted by a framing that holds them whole, answered by
the first rule that holds, and that answer waits and is changed as those of all struck streams.

Rules:

- Of a stream that was open before the first rule, the packet that had begun by then is not there whole, so the canned
  reply answers it. The rules are asked from the next packet on.
- A call looks into a bounded number of packets and bytes (``Answers``); the link gives the rest again.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ctrlserver.net.probes import begun
from ctrlserver.net.stream import AnsweringStream

if TYPE_CHECKING:
    from ctrlserver.net.injected.cutting import Strikes
    from ctrlserver.net.injected.streams import AnsweringStruck
    from ctrlserver.wire.framing import Framing


class Looking:
    """Looks into the packets of one stream. ``tries``: how many more it may in this call."""

    __slots__ = ("_contents", "tries")

    def __init__(self) -> None:
        self._contents: list[bytes] | None = None  # of the packets counted last; None where they are not there
        self.tries = 0

    def part_of(self, stream: AnsweringStruck, chunk: memoryview) -> memoryview:
        """As much of ``chunk`` as one call looks into."""
        answers = stream.terms.answers
        self.tries = answers.packets_a_call
        return chunk[: answers.bytes_a_call]

    def most(self, stream: AnsweringStruck, room: int) -> int:
        """How many packets may be taken at once, if their answers have ``room``: one at least."""
        canned = stream.terms.canned
        longest = max(stream.terms.answers.longest, 1 if canned is None else len(canned.reply))
        return max(1, min(self.tries, room // longest)) if stream._framing.holds else 1

    def count(self, stream: AnsweringStruck, chunk: memoryview, now: float) -> int:
        """Count ``chunk``, and have the packets that end in it."""
        counters, terms, framing = stream.counters, stream.terms, stream._framing
        self._contents = None
        if not framing.holds:
            origin = counters.origin
            if counters.bytes % origin.size if origin.by_size and origin.size else framing.pending_bytes:
                return AnsweringStream._count(stream, chunk, now)
            framing = _begin(stream, holds=True)
        if not counters.bytes:
            terms.book.first_data(counters, stream._link.since(now), now)
        counters.bytes += len(chunk)
        counters.last = now
        self._contents = packets = framing.feed(chunk)
        counters.packets += len(packets)
        if counters.kept is not None:
            counters.kept.add(packets)
        stream.hold()
        return 0

    def answer(self, stream: AnsweringStruck, packets: int, strikes: Strikes, moment: int) -> None:
        """Answer the packets counted last, ``packets`` of them, which ``strikes`` strike."""
        counters, terms, waiting = stream.counters, stream.terms, stream.struck.waiting
        canned = terms.canned
        assert canned is not None, "mode reply has a reply"
        self.tries -= packets
        for place in range(packets):
            rule = None if self._contents is None else terms.answers.answer(self._contents[place])
            answer = canned.reply if rule is None else rule.octets
            due = moment if rule is None else moment + round(rule.delay * 1e9)
            if not answer:
                counters.swallowed += 1
                terms.book.counters.struck = True
            elif strikes:
                stream._answer_struck(answer, packets - 1 - place, strikes, 1, due)
            elif rule is None:
                waiting.add_canned(canned, 1, due)
            else:
                waiting.add(answer, due, len(answer))

    def leave_off(self, stream: AnsweringStruck) -> None:
        """There are no rules any more: hold packets no longer, at once or, where one has begun, not in vain."""
        if stream.terms.uncut or not stream._framing.pending_bytes:
            _begin(stream, holds=stream.counters.kept is not None)
            stream.hold()


def _begin(stream: AnsweringStruck, *, holds: bool) -> Framing:
    """Cut packets from here on."""
    terms = stream.terms
    stream._framing = framing = begun(terms.spec, stream.counters.probing, terms.wall_ns)
    framing.holds = holds
    framing.most = sys.maxsize  # as of all struck streams
    return framing


def greet(stream: AnsweringStruck) -> None:
    """Have what a rule says that a stream begins with wait before all answers; TLS sends it after the handshake."""
    rule = stream.terms.answers.greeting()
    if rule is not None and rule.octets:
        due = stream._streams.clock() + rule.delay
        stream.struck.waiting.add(rule.octets, round(due * 1e9), 0)
    stream.struck.settle_soon()
