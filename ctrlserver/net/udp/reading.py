"""The three ways in of datagrams, many a call or one on the lane, or one by one from Twisted.

Model::

    Lane.doRead -> ManyReader.ready  recvmmsg, up to 64 messages a call --+
    Lane.doRead -> OneReader.ready   recvmsg, one message a call ---------+--> counters of the peer's stream
    Lane.doRead -> StruckReader.ready  the same, while injections strike -+
    Twisted     -> OrdinaryDatagrams, one datagram a call ----------------+--> Intake.received: the slow path

- A *message* is what one read returns: a datagram or, with ``UDP_GRO``, a batch: up to 64 KiB of equal datagrams of one
  sender, the last of which may be shorter.
- The fast path is for known peers: one look-up in a table of ``Peers``, then three counters of its stream. If all
  messages of a ``recvmmsg`` come from one peer, that is one look-up for all of them.
- ``received`` does everything else for one message: opens the stream, asks the gate, keeps, probes, answers. The fast
  path and ``received`` count the same, so a message may take either.
- Where nobody needs the content, ``MSG_TRUNC`` leaves the bytes uncopied in the kernel: 40 M datagrams of 64 bytes a
  second were seen that way, 15 M with the copy.

Rules: a turn is bounded, so that the lane's other sockets have theirs. What a read put into the lane's buffer is used
before the next read.
- All reads of a turn have one time: what waited in the socket says nothing of how fast it came.

Beware: an error of ``recvmsg`` may belong to an answer sent before (ICMP). Such a turn ends, the next one reads on.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from select import EPOLLIN

from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from ctrlserver.addresses import peer_name
from ctrlserver.lane.lane import Lane
from ctrlserver.linux.recvmmsg import ROOM_BYTES, Messages
from ctrlserver.linux.udp import ANCILLARY_BYTES, GRO_SIZE, Address
from ctrlserver.net.gate import DRAINING, MAX_STREAMS, NOT_ALLOWED, UDP_STREAMS
from ctrlserver.net.udp.answering import Answering
from ctrlserver.net.udp.drops import DropCount
from ctrlserver.net.udp.peers import OTHERS, DatagramStream, Peers
from ctrlserver.stats.probing import Probing
from ctrlserver.wire.datagram import cut, packets_in, packets_in_all
from ctrlserver.wire.probe import HEADER_SIZE, decode

#: Reads before the other sockets of the lane have their turn: some 0.1 ms, so that the poll before costs little each.
READS_A_TURN = 32

#: Calls of ``recvmmsg`` likewise: up to 64 datagrams each take 0.1 ms as well, as many whole batches 1 ms.
CALLS_A_TURN = 4

#: Seconds after which no further call is made where somebody looks into the content: a sender chooses what that costs.
CONTENT_SECONDS = 0.001

#: Seconds after which no further message is read while injections strike: each datagram of a batch may be struck.
STRUCK_SECONDS = 0.0003

log = Logger()


class Intake:
    """What is done with datagrams, however they are read. ``answering`` is None where the port answers nobody."""

    def __init__(self, peers: Peers, answering: Answering | None) -> None:
        self.needs_content = peers.options.needs_content or peers.guests
        self._terms = terms = peers.options.terms
        self._peers = peers
        self._stream_at = peers.by_address.get
        self._counters = terms.book.counters
        self._answering = answering

    def received(
        self,
        address: Address,
        size: int,
        segment: int,
        packets: int,
        content: memoryview | None,
        now: float,
        since: float,
    ) -> None:
        """Count a message of ``packets`` datagrams from one peer; keep, probe and answer them where that is asked for.

        ``size``: bytes in all; ``segment``: bytes of each datagram but the last. ``since``: when the message was seen.
        Where memory is wanting for more, it is counted; if not even a stream can be had, as rejected.
        """
        stream = self._stream_at(address)
        if stream is None:
            if not self._terms.gate.allows(peer_name(address)):
                self._reject(NOT_ALLOWED, packets, address)
                return
            if self._terms.gate.seats.draining:
                self._reject(DRAINING, packets, address)
                return
            try:
                stream = self._peers.open(address, now, since)
                if self._answering is not None:
                    self._answering.begin(stream)
            except MemoryError:
                log.failure("UDP peer {peer} gets no stream", event="bug", peer=peer_name(address))
                self._reject(MAX_STREAMS, packets, address)
                return
        counters = stream.counters
        counters.packets += packets
        counters.bytes += size
        counters.last = now
        if counters.peer == OTHERS:
            self._reject(UDP_STREAMS, packets, address)
        if content is not None:
            unanswered = packets if stream.answer is not None else 0
            try:
                if counters.kept is not None:
                    counters.kept.add(cut(content, segment) if packets > 1 else [bytes(content)])
                    self._terms.book.memory.hold(stream, counters.kept.memory + stream.held)
                if counters.probing is not None:
                    self._probe(content, segment, counters.probing)
                if stream.answer is not None:
                    unanswered -= stream.answer(content, segment, packets, address)
            except MemoryError:
                self._only_counted(stream)
            counters.unanswered += unanswered

    def _only_counted(self, stream: DatagramStream) -> None:
        """There was no memory for what is done with datagrams beside counting them: log it, and keep none."""
        counters = stream.counters
        if counters.kept is not None:
            counters.kept.clear()
            counters.kept.total = counters.packets
            self._terms.book.memory.hold(stream, stream.held)
        log.failure("datagrams of {peer} were counted and no more", event="bug", peer=counters.peer)

    def _reject(self, reason: str, packets: int, address: Address) -> None:
        self._terms.book.counters.rejected(reason, packets)
        self._terms.gate.seats.last_refused = peer_name(address)

    def _probe(self, content: memoryview, segment: int, probing: Probing) -> None:
        """Enter the probe headers of a batch, whose last datagram may be shorter than the others."""
        whole, rest = divmod(len(content), segment) if segment else (0, 0)
        arrived = self._terms.wall_ns()
        last = decode(content, rest, 1, whole * segment) if rest else []
        for session, sequences, sent in decode(content, segment, whole) + last:
            probing.take_all(session, sequences, sent, arrived)


class OneReader(Intake):
    """Reads a socket on the lane with ``recvmsg``: one message a call. The base of ``ManyReader``."""

    def __init__(
        self, peers: Peers, answering: Answering | None, sock: socket.socket, lane: Lane, drops: DropCount
    ) -> None:
        super().__init__(peers, answering)
        self._socket = sock
        self._lane = lane
        self._drops = drops
        self._flags = 0 if self.needs_content else socket.MSG_TRUNC
        self._into = [lane.copy_view if self.needs_content else lane.view[:0]]

    def start(self) -> None:
        """Have the lane call ``ready``."""
        self._lane.watch(self._socket.fileno(), self, EPOLLIN)

    failed = start  # after an exception of ours, for which the lane has dropped the socket

    def stop(self) -> None:
        """Read no more."""
        self._lane.forget(self._socket.fileno())

    def ready(self, events: int) -> None:
        """Read some datagrams or batches."""
        lane, counted = self._lane, self._drops
        read, into, flags, now = self._socket.recvmsg_into, self._into, self._flags, lane.clock()
        stream_at, needs_content = self._stream_at, self.needs_content
        for _ in range(READS_A_TURN):
            try:
                size, ancillary, _, address = read(into, ANCILLARY_BYTES, flags)
            except OSError:  # nothing more; or an error that belongs to an answer sent before
                return
            counted.messages_read += 1
            if ancillary:
                segment = GRO_SIZE.unpack_from(ancillary[0][2])[0]
                packets = packets_in(size, segment)
                counted.beyond_read += packets - 1
            else:
                segment, packets = size, 1
            stream = stream_at(address)
            if stream is None or needs_content:
                content = lane.copy_view[:size] if needs_content else None
                self.received(address, size, segment, packets, content, now, lane.round_began)
                continue
            counters = stream.counters
            counters.packets += packets
            counters.bytes += size
            counters.last = now


#: A message that is read: its sender, its bytes, those of each datagram but the last, its datagrams, when it was seen.
Message = tuple[Address, memoryview, int, int, float]


class StruckReader(OneReader):
    """Reads the same way while the answers are struck, and has a message answered in parts: each datagram has its cost.

    ``most(segment)``: how many datagrams of so many bytes make a part. What the time of a turn leaves over of a message
    is copied, and answered in a later turn before another is read.
    """

    def __init__(
        self,
        peers: Peers,
        answering: Answering,
        sock: socket.socket,
        lane: Lane,
        drops: DropCount,
        most: Callable[[int], int],
    ) -> None:
        super().__init__(peers, answering, sock, lane, drops)
        self._most = most
        self._left: Message | None = None

    def ready(self, events: int) -> None:
        """Answer what is left, then read some datagrams or batches."""
        clock = self._lane.clock
        now = clock()
        message, self._left = self._left or self._read(), None
        reads = READS_A_TURN
        while message is not None:
            message = self._answer_part(message, now)
            if clock() > now + STRUCK_SECONDS:
                break
            if message is None and (reads := reads - 1):
                message = self._read()
        if message is not None:
            address, content, segment, packets, since = message
            self._left = (address, memoryview(bytes(content)), segment, packets, since)
            self._lane.again(self._socket.fileno(), EPOLLIN)

    def stop(self) -> None:
        """Answer what is left, and read no more."""
        message, self._left = self._left, None
        while message is not None:
            message = self._answer_part(message, self._lane.clock())
        super().stop()

    def _read(self) -> Message | None:
        """The next message, None where there is none or an error that belongs to an answer sent before."""
        lane, counted = self._lane, self._drops
        try:
            size, ancillary, _, address = self._socket.recvmsg_into(self._into, ANCILLARY_BYTES)
        except OSError:
            return None
        segment, packets = size, 1
        counted.messages_read += 1
        if ancillary:
            segment = GRO_SIZE.unpack_from(ancillary[0][2])[0]
            packets = packets_in(size, segment)
            counted.beyond_read += packets - 1
        return address, lane.copy_view[:size], segment, packets, lane.round_began

    def _answer_part(self, message: Message, now: float) -> Message | None:
        """Count and answer the first datagrams of ``message``; returns the others."""
        address, content, segment, packets, since = message
        part = 1 if packets == 1 else min(packets, self._most(segment))
        first = content if part == packets else content[: part * segment]
        self.received(address, len(first), segment, part, first, now, since)
        return None if part == packets else (address, content[len(first) :], segment, packets - part, since)


class ManyReader(OneReader):
    """Reads a socket on the lane with ``recvmmsg``: up to 64 messages a call."""

    def __init__(
        self,
        peers: Peers,
        answering: Answering | None,
        sock: socket.socket,
        lane: Lane,
        drops: DropCount,
        table: Messages,
    ) -> None:
        super().__init__(peers, answering, sock, lane, drops)
        terms = peers.options.terms
        self._table = table
        self._stream_named = peers.by_name.get
        #: Looks into all rows together and returns True; False sends them row by row. None: nobody looks into them.
        self._at_once: Callable[[DatagramStream, Messages, list[int]], bool] | None = None
        if self.needs_content:
            only_answers = answering is not None and not terms.probe and not terms.keep
            only_probes = answering is None and not terms.keep
            self._at_once = self._answered if only_answers else self._probed if only_probes else self._neither
            if peers.guests:
                self._at_once = self._neither

    def ready(self, events: int) -> None:
        """Read some tables full."""
        table, lane, counted = self._table, self._lane, self._drops
        stream_named, at_once, now = self._stream_named, self._at_once, lane.clock()
        for _ in range(CALLS_A_TURN):
            rows = table.read()
            if not rows:
                return
            sizes, segments = table.sizes(rows), table.segments(rows)
            packets = rows
            counted.messages_read += rows
            if segments is not None:
                packets = packets_in_all(sizes, segments)
                counted.beyond_read += packets - rows
            stream = stream_named(table.name(0)) if table.alike(rows) else None
            if (
                at_once is not None
                and stream is not None
                and (segments is not None or not at_once(stream, table, sizes))
            ):
                stream = None
            if stream is not None:
                counters = stream.counters
                counters.packets += packets
                counters.bytes += sum(sizes)
                counters.last = now
            else:
                self._take_rows(table, sizes, segments, now)
            if rows < table.rows or (at_once is not None and lane.clock() > now + CONTENT_SECONDS):
                return

    def _answered(self, stream: DatagramStream, table: Messages, sizes: list[int]) -> bool:
        """Answer many datagrams of one size and peer as the batch that they make; False where they make none."""
        size, rows, address = sizes[0], len(sizes), stream.address
        if stream.answer is None or not size or min(sizes) != max(sizes):
            return False
        contents = [content for row in range(rows) if (content := table.content(row, size)) is not None]
        try:
            batch = memoryview(b"".join(contents))
        except MemoryError:
            return False
        accepted = stream.answer(batch, size, rows, address)
        stream.counters.unanswered += rows - accepted
        return True

    def _probed(self, stream: DatagramStream, table: Messages, sizes: list[int]) -> bool:
        """Enter the probe headers of many datagrams at once; False where more is to be done than that."""
        probing = stream.counters.probing
        content = table.contents(len(sizes)) if min(sizes) >= HEADER_SIZE else None
        if content is None or probing is None:
            return False
        try:
            self._probe(content, ROOM_BYTES, probing)
        except MemoryError:
            self._only_counted(stream)
        return True

    def _neither(self, stream: DatagramStream, table: Messages, sizes: list[int]) -> bool:
        """More is to be done than one of the two."""
        return False

    def _take_rows(self, table: Messages, sizes: list[int], segments: list[int] | None, now: float) -> None:
        """Row by row: of several senders, of a new one, or where content is needed."""
        stream_named, since, needs_content = self._stream_named, self._lane.round_began, self.needs_content
        for row, size in enumerate(sizes):
            segment = segments[row] if segments is not None else 0
            packets = packets_in(size, segment) if segment else 1
            name = table.name(row)
            stream = stream_named(name)
            if stream is None or needs_content:
                address = table.address(name) if stream is None else stream.address
                self.received(address, size, segment or size, packets, table.content(row, size), now, since)
                if stream is None and (stream := self._stream_at(address)) is not None:
                    stream.name = name
                    self._peers.by_name[name] = stream
                continue
            counters = stream.counters
            counters.packets += packets
            counters.bytes += size
            counters.last = now


class OrdinaryDatagrams(DatagramProtocol):
    """Twisted hands over one datagram at a time. ``intake`` is set once the port is bound, and where no lane reads."""

    noisy = False
    intake: Intake

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Count it."""
        intake = self.intake
        now = self._clock()
        content = memoryview(datagram) if intake.needs_content else None
        intake.received(addr, len(datagram), len(datagram), 1, content, now, now)
