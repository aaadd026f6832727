"""The classes of streams while they are struck: a sink, and one that answers.

Model: see ``net/injected/striking.py``. A cutter hands over stretches of packets that fare alike (``took``); the stream
counts them as ever, and makes of each packet's answer what its strikes say.

Rules:

- All answers go through ``Waiting``, those that nothing delays too: they are due at once, and leave before ``received``
  returns. So order is kept, and what a socket does not take stays there.
- ``close`` lets the answers before it leave, each when it is due, and then ends the stream; ``half-close`` ends our
  sending then, and packets from the struck one on are unanswered. ``reset`` sends the answers before it that are due,
  which its peer may read, and gives up all that waits: unanswered.
- Bytes of an echo leave before their packet is whole only if nothing may strike the packet.
- Where several orders strike one packet, one that swallows it decides; else the answer is changed in the order of the
  orders, and the copies are made of what comes of it. A copy counts once it has left whole.

Beware: ``raw`` has no packets. There the courses count bytes, a stretch of them is one answer, and nothing is counted
as swallowed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from ctrlserver.inject.arguments import Drip
from ctrlserver.net.injected.cutting import Strikes
from ctrlserver.net.injected.struck import BLOCKED, FREED, Struck
from ctrlserver.net.injected.waiting import Waiting
from ctrlserver.net.modes import EchoStream
from ctrlserver.net.stream import BLOCKS_A_TURN, AnsweringStream, Stream


class SinkStruck(Stream):
    """A sink that is struck."""

    __slots__ = ()
    struck: Struck

    def received(self, chunk: memoryview, now: float) -> int:
        """Count what may be taken."""
        struck = self.struck
        left = struck.cutter.received(self, chunk, now)
        if self._framing.fault is not None:
            self.finish("fault", now)
        struck.settle(now)
        return left

    def skipped(self, nbytes: int, now: float) -> None:
        """Its link skips nothing."""
        raise AssertionError("a stream that is struck is read")

    def took(self, chunk: memoryview, start: int, ends: Sequence[int], strikes: Strikes, now: float) -> bool:
        """Count packets; an action at the packet point follows."""
        self._count(chunk[start : ends[-1]], now)
        if strikes and strikes[0][1].last:
            name = strikes[0][1].action.name
            self.counters.injected = self.struck.cutter.hits
            if name == "half-close":
                self._link.end_sending()  # type: ignore[attr-defined]
                return True
            self._end("injected", now, self._link.reset if name == "reset" else self._link.close)  # type: ignore[attr-defined]
            return False
        return True

    def took_part(self, octets: memoryview, held_back: bool, now: float) -> None:
        """Count them."""
        self._count(octets, now)

    def most(self) -> int:
        """Any number."""
        return sys.maxsize

    def is_full(self) -> bool:
        """Never: it has no answers."""
        return False

    def due(self, now: float) -> None:
        """Read on."""
        self.struck.settle(now)

    def waited(self, now: float) -> None:
        """By order: that is no fault of its peer's."""

    def _end(self, reason: str, now: float, part: Any) -> None:
        end_struck(self)
        super()._end(reason, now, part)


class AnsweringStruck(AnsweringStream):
    """An echo or a stream of canned replies that is struck."""

    __slots__ = ()
    struck: Struck

    def received(self, chunk: memoryview, now: float) -> int:
        """Count what may be taken, and have the answers leave that are due."""
        struck = self.struck
        if struck.cutter.alike is not None and self._took_alike(struck, chunk, now):
            return 0
        looking = struck.looking
        part = chunk if looking is None else looking.part_of(self, chunk)
        left = len(chunk) - len(part) + struck.cutter.received(self, part, now)
        if struck.waiting.moment <= now * 1e9:
            self._send_due(now)
        if self._framing.fault is not None:
            self.finish("fault", now)
        struck.settle(now)
        return left

    def _took_alike(self, struck: Struck, chunk: memoryview, now: float) -> bool:
        """Take whole packets whose echoes wait alike, by one step; False if it takes more than that."""
        counters, waiting, nbytes = self.counters, struck.waiting, len(chunk)
        size = counters.origin.size
        if (
            size is None
            or nbytes % size
            or not counters.bytes
            or counters.bytes % size
            or not self.terms.uncut
            or struck.plain[0] is not EchoStream
            or struck.looking is not None
            or struck.half
            or self._closing is not None
            or waiting.bytes + nbytes >= self.terms.reply_buffer
        ):
            return False
        cutter, packets = struck.cutter, nbytes // size
        counters.bytes += nbytes
        counters.last = now
        cutter.alike.take_all(packets)  # type: ignore[union-attr]
        cutter.hits += packets
        counters.injected = cutter.hits
        waiting.add(bytes(chunk), round(now * 1e9) + cutter.ns, size)
        struck.added(now)
        return True

    def took(self, chunk: memoryview, start: int, ends: Sequence[int], strikes: Strikes, now: float) -> bool:
        """Count packets, and answer them as they are struck."""
        piece = chunk[start : ends[-1]]
        counters, struck = self.counters, self.struck
        if struck.looking is None:
            self._count(piece, now)
        else:
            struck.looking.count(self, piece, now)
        packets = len(ends) if self.terms.spec.counts_packets else 0
        if strikes and strikes[0][1].last:
            counters.unanswered += packets
            struck.begun.clear()
            counters.injected = struck.cutter.hits
            return self._ends_by(strikes[0][1].action.name, now)
        if self._closing is not None or struck.half:
            counters.unanswered += packets
            struck.begun.clear()
            return True
        moment = round(now * 1e9)
        answering: Strikes = []  # what changes answers; only delays of a fixed time change none
        for each in strikes:
            moment += each[1].ns
            if each[1].changes:
                answering.append(each)
        if struck.looking is not None:
            struck.looking.answer(self, packets, answering, moment)
        elif not answering:
            self._answer_plainly(piece, chunk, start, ends, moment)
        elif not packets:
            if struck.plain[0] is EchoStream:
                self._answer_struck(bytes(piece), 0, answering, 0, moment)
        elif all(strike.action.name == "swallow" for _, strike in answering):
            struck.begun.clear()
            counters.swallowed += packets
        else:
            for place, end in enumerate(ends):
                answer = self._reply(chunk[start:end])
                start = end
                self._answer_struck(answer, len(ends) - 1 - place, answering, 1, moment)
        if struck.waiting.bytes >= self.terms.reply_buffer:
            self._send_due(now)
        return self.counters.state == "open" and (struck.looking is None or struck.looking.tries > 0)

    def _reply(self, packet: memoryview) -> bytes:
        """What answers ``packet``, whole on the wire, if nothing changes it."""
        struck = self.struck
        if struck.plain[0] is EchoStream:
            begun = bytes(struck.begun)
            struck.begun.clear()
            return begun + packet
        assert self.terms.canned is not None, "mode reply has a reply"
        return self.terms.canned.reply

    def _answer_plainly(
        self, piece: memoryview, chunk: memoryview, start: int, ends: Sequence[int], moment: int
    ) -> None:
        """Nothing changes the answers."""
        struck = self.struck
        waiting = struck.waiting
        canned = self.terms.canned
        if struck.plain[0] is not EchoStream:
            if canned is not None and self.terms.spec.counts_packets:
                waiting.add_canned(canned, len(ends), moment)
            return
        size = self.counters.origin.size
        octets = bytes(piece)
        if struck.begun:
            octets = bytes(struck.begun) + octets
            struck.begun.clear()
        if size is not None or not self.terms.spec.counts_packets:
            waiting.add(octets, moment, size or 0)
            return
        at = 0
        first = len(octets) - len(piece) - start
        for end in ends:
            waiting.add(octets[at : end + first], moment, end + first - at)
            at = end + first

    def _answer_struck(self, answer: bytes, behind: int, strikes: Strikes, packets: int, moment: int) -> None:
        """Change the answer to a packet as its strikes say; ``behind``: packets of the stretch that follow it."""
        drip: Drip | None = None
        copies = 0
        for course, strike in strikes:
            number = course.packets - behind
            argument = strike.action.argument
            if isinstance(argument, Drip):
                drip = argument
                continue
            if strike.action.name == "duplicate":
                copies += 1
                continue
            moment += round(course.seconds(strike, number) * 1e9)
            answer = course.changed(strike, number, answer)
            if not answer:
                self.counters.swallowed += packets
                return
        waiting = self.struck.waiting
        waiting.add(answer, moment, len(answer) if packets else 0, drip)
        for _ in range(copies):
            waiting.add(answer, moment, 0, drip, copy=True)

    def took_part(self, octets: memoryview, held_back: bool, now: float) -> None:
        """Count them; an echo sends them, unless their packet may be struck."""
        struck = self.struck
        if struck.looking is None:
            self._count(octets, now)
        else:
            struck.looking.count(self, octets, now)
        if self._closing is not None or struck.half or struck.plain[0] is not EchoStream:
            return
        struck.begun += octets
        if not held_back:
            struck.waiting.add(bytes(struck.begun), round(now * 1e9), 0)
            struck.begun.clear()

    def _ends_by(self, name: str, now: float) -> bool:
        """Carry out an action of the packet point; whether more is to be taken."""
        struck = self.struck
        self._send_due(now)
        if self.counters.state != "open":
            return False
        if name == "reset":
            self._forfeit()
            self._end("injected", now, self._link.reset)  # type: ignore[attr-defined]
            return False
        if name == "close":
            self.finish("injected", now)
            return False
        struck.half = True
        if not struck.waiting:
            self._end_sending()
        return True

    def _end_sending(self) -> None:
        self.struck.half = False
        if self._closing is None:
            self._closing = "eof"
            self._link.end_sending()  # type: ignore[attr-defined]

    def most(self) -> int:
        """As many as their answers have room for: one at least, unless as much waits as may."""
        room = self.terms.reply_buffer - self.struck.waiting.bytes
        if room <= 0:
            return 0
        canned, looking = self.terms.canned, self.struck.looking
        if looking is not None:
            return looking.most(self, room)
        size = self.counters.origin.size or 1 if canned is None else len(canned.reply)
        return max(1, room // size)

    def is_full(self) -> bool:
        """Whether it reads nothing for what waits: too much, or an end that has come."""
        waiting = self.struck.waiting
        return waiting.bytes >= self.terms.reply_buffer or (self._closing is not None and bool(waiting))

    # The answers leave

    def due(self, now: float) -> None:
        """Something is due."""
        self._send_due(now)
        self.struck.sent(now)

    def writable(self, now: float) -> None:
        """The socket has room."""
        self.struck.unblock()
        self.due(now)

    def _send_due(self, now: float) -> None:
        """Send what is due, a bounded part; what comes after the last answer follows."""
        struck = self.struck
        waiting = struck.waiting
        moment = round(now * 1e9)
        if struck.state is BLOCKED or waiting.moment > moment:
            return
        for _ in range(BLOCKS_A_TURN):
            block = waiting.block_at(moment)
            if not block:
                break
            sent = self._offer(block)
            if struck.waiting is not waiting:  # the peer is gone
                return
            if sent:
                self.counters.duplicated += waiting.taken(sent)
            if sent < len(block):
                if sent or struck.state is not FREED:
                    self._blocked_since = now
                struck.block()
                break
            if waiting.moment > moment:
                break
        if waiting:
            return
        if self._closing is not None:
            Stream.finish(self, self._closing, now)
        elif struck.half:
            self._end_sending()

    # The end

    def ended(self, now: float) -> None:
        """The peer will send no more; what waits still leaves."""
        self.struck.begun.clear()
        if self.struck.state is BLOCKED:
            self.abort("reset", now)
            return
        self.finish("reset" if self._closing == "reset" else "eof", now)

    def finish(self, reason: str, now: float) -> None:
        """End the stream, after the answers that wait are sent."""
        if not self.struck.waiting:
            Stream.finish(self, reason, now)
            return
        if self._closing is None:
            self._closing = reason
        self.struck.settle(now)

    def waited(self, now: float) -> None:
        """The peer does not take what is due: after the stall timeout it is a slow reader."""
        if self.struck.state is BLOCKED:
            super().waited(now)

    def gone(self) -> None:
        """The peer takes no more answers: read what it sent before, then end with ``reset``."""
        if self.counters.state == "open":
            self._closing = "reset"
            self.struck.unblock()
            self._forfeit()
            self.struck.settle(self._streams.clock())

    def _forfeit(self) -> bool:
        """Give up the answers that wait; their packets are unanswered."""
        struck = self.struck
        owed, struck.waiting = struck.waiting, Waiting()
        struck.begun.clear()
        struck.half = False
        self.counters.unanswered += owed.packets(self.counters.bytes)
        self.hold()
        return bool(owed)

    def _owed_bytes(self) -> int:
        return self.struck.held()

    def _end(self, reason: str, now: float, part: Any) -> None:
        end_struck(self)
        super()._end(reason, now, part)


def end_struck(stream: Any) -> None:
    """``stream`` is about to end."""
    if stream.counters.state == "open":
        stream.counters.injected = stream.struck.cutter.hits
        stream._streams.waiting.discard(stream)
        stream.struck.over()
