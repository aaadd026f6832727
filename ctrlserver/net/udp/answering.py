"""What goes back to the peers of a UDP port that answers.

Rules:

- Answers go out at once and are not queued, unless that is ordered (``net/injected/datagrams.py``). An answer that the
  socket does not accept is lost, as a datagram may be anyway; it counts as unanswered.
- A batch is answered in one call (``UDP_SEGMENT``). If the kernel lacks that option, or the route cannot carry such a
  batch, its datagrams go out one by one.
- A peer is not answered if its port is that of a service which answers whatever it gets, of this server or another: one
  forged datagram would travel between the two for ever. Which peers these are is found out when their streams open.
  A peer on any other port that clients do not have may be one too: some answers are withheld (``withholding.py``).

Beware: a port that answers datagrams answers forged addresses too. Echo and reply are for a test network.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from ctrlserver.inject.rules import Answers
from ctrlserver.inject.strikes import Course
from ctrlserver.linux.udp import SEGMENT, SEGMENTS_A_CALL, SOL_UDP, UDP_SEGMENT, Address, first_client_port
from ctrlserver.net.injected.datagrams import PORTION, Answer, Later, Send, StruckPeer
from ctrlserver.net.terms import DatagramTerms
from ctrlserver.net.udp.peers import OTHERS, DatagramStream
from ctrlserver.net.udp.withholding import FewCopies, Withholding
from ctrlserver.wire.datagram import LONGEST_DATAGRAM

#: Ports of services that answer whatever they get: echo, daytime, quote of the day, chargen, time (RFC 862 to 868).
ANSWERING_PORTS = frozenset({7, 13, 17, 19, 37})


class Answering:
    """Answers for the port ``sock``, by terms whose origin says ``answers``.

    ``later``: what is common to answers that wait by order.
    """

    def __init__(self, options: DatagramTerms, sock: socket.socket, later: Later) -> None:
        terms = options.terms
        self._canned = terms.canned
        self._orders = terms.orders
        self.rules = Answers() if terms.canned is None else terms.answers
        self._later = later
        self._ports = options.answering
        self._socket = sock
        self._counters = terms.book.counters
        self._first_client_port = first_client_port()
        self._answer: Answer = self.reply if terms.origin.mode == "reply" else self.echo

    def begin(self, stream: DatagramStream) -> None:
        """Answer the datagrams of a stream that has just opened, or that has one peer more."""
        if stream.answers is not None:
            return
        stream.answers = self
        stream.answer = self._answer_to(stream, self._answer)
        if self._orders.active or self.rules.of_packets:
            courses = self._orders.courses(stream.counters.peer, "udp")
            if courses or self.rules.of_packets:
                self.strike(stream, courses)

    def strike(self, stream: DatagramStream, courses: Sequence[Course]) -> None:
        """Have ``courses`` strike the answers to ``stream``, and the rules decide on them, if it is answered."""
        plain = stream.answer
        self._counters.struck = True  # a rule may swallow too
        if stream.struck is not None:
            stream.struck.begin(courses)
        elif plain is not None and plain != self._count_loop:
            canned = None if self._canned is None else self._canned.reply
            send = self._send_to(stream)
            copy = FewCopies(send, self._first_client_port, self._counters)
            StruckPeer(stream, courses, plain, send, copy, canned, self._later, self.rules)

    def ruled(self, stream: DatagramStream) -> None:
        """There are rules for packets, or none any more."""
        if self.rules.of_packets:
            self.strike(stream, ())
        elif stream.struck is not None:
            stream.struck.settle()

    def most(self, segment: int) -> int:
        """How many datagrams of ``segment`` bytes may be answered in one go while they are struck."""
        rules = self.rules
        if not rules.of_packets:
            return PORTION
        return max(1, min(PORTION, rules.packets_a_call, rules.bytes_a_call // max(1, segment)))

    def _loops(self, address: Address) -> bool:
        """Whether an answer to ``address`` may be answered, and so on for ever."""
        return address[1] in ANSWERING_PORTS or address[1] in self._ports

    def _answer_to(self, stream: DatagramStream, answer: Answer) -> Answer:
        """How the datagrams of one stream are answered where ``answer`` answers."""
        if stream.counters.peer == OTHERS:
            return self._answer_others(answer)
        if self._loops(stream.address):
            return self._count_loop
        return answer if stream.address[1] >= self._first_client_port else Withholding(answer, self._counters)

    def _send_to(self, stream: DatagramStream) -> Send:
        """How one datagram is sent to a peer of ``stream``."""
        echo = self._answer_to(stream, self.echo)
        if echo == self.echo:
            return self.send
        return lambda answer, address: echo(memoryview(answer), len(answer), 1, address)

    def _answer_others(self, answer: Answer) -> Answer:
        """The same for peers that share a stream."""
        withholding = Withholding(answer, self._counters)

        def answer_one(content: memoryview, segment: int, packets: int, address: Address) -> int:
            if self._loops(address):
                return self._count_loop(content, segment, packets, address)
            chosen = answer if address[1] >= self._first_client_port else withholding
            return chosen(content, segment, packets, address)

        return answer_one

    def _count_loop(self, content: memoryview, segment: int, packets: int, address: Address) -> int:
        """Count what is not answered because it would loop."""
        self._counters.loops += packets
        return 0

    def echo(self, content: memoryview, segment: int, packets: int, address: Address) -> int:
        """Send the batch back; return how many answers the socket accepted."""
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

    def send(self, answer: bytes, address: Address) -> int:
        """Send one datagram; return whether the socket accepted it, 1 or 0."""
        try:
            self._socket.sendto(answer, address)
        except OSError:
            return 0
        return 1

    def reply(self, content: memoryview, segment: int, packets: int, address: Address) -> int:
        """Send the canned reply once for each datagram; return how many the socket accepted."""
        canned = self._canned
        assert canned is not None, "a listener that replies has a reply"
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
