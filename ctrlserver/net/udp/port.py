"""UDP: one port, its peers as streams, one read for a whole batch of datagrams.

Rules:

- Each datagram is a packet (framing ``datagram``). A stream is a peer address; it ends after ``idle_timeout`` without
  data. Beyond ``max_streams`` at once, the datagrams of further peers are counted in one stream of the port, whose peer
  is ``*``: the totals stay exact, and each of those datagrams is also counted as rejected, with reason ``udp-streams``.
- Work is per read. With ``UDP_GRO`` one read brings up to 64 KiB of equal datagrams of one sender and their size, where
  the sender or the network card batches them. Where no content is needed, ``MSG_TRUNC`` leaves the bytes uncopied:
  40 M datagrams of 64 bytes a second were seen that way, 15 M with the copy.
- On the lane one call brings many of either (``linux/recvmmsg.py``), where the system has that call; else ``recvmsg``
  brings one. What comes in is counted, kept, probed and answered by the same lines.
- Answers go out at once, a batch in one call (``UDP_SEGMENT``). What the socket does not take is not kept: it is lost
  as datagrams are, and counted as unanswered.
- What the kernel dropped is asked for when somebody asks us (``SO_MEMINFO``): the counter that ``SO_RXQ_OVFL`` sends
  along and that ``/proc/net/udp`` shows, without the wait for a next datagram and without a price on every read. It
  counts a dropped batch as one drop. Where ``UDP_GRO`` is on and we may, what comes is therefore counted on the socket
  (``linux/arrivals.py``), and the drops are told in datagrams (``stats/drops.py``): exact once the port is read empty.
- On the lane the port's socket is read here; the ordinary way in, Twisted reads it and hands over each datagram.

Beware: without the privilege for that, a dropped batch is one drop. What was dropped on a port that has been given a
batch is then told as well (``dropped_in_batches_total``): where that is 0, received + dropped = sent. Where drops must
be exact, senders batch and there is no privilege, ``gro`` is to be off: then the kernel cuts batches before it queues
them, and the sum holds whatever the sender does.
Beware: whoever answers datagrams answers forged addresses too; echo and reply are for a test network.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from select import EPOLLIN
from typing import Any

from attrs import field, frozen
from twisted.internet.interfaces import IListeningPort, IReactorSocket, IReactorUDP
from twisted.internet.protocol import DatagramProtocol

from ctrlserver.addresses import peer_name
from ctrlserver.lane.lane import Lane
from ctrlserver.linux.arrivals import Arrivals, arrivals, charged_and_drops
from ctrlserver.linux.recvmmsg import ROOM_BYTES, Messages, messages
from ctrlserver.linux.udp import (
    ANCILLARY_BYTES,
    GRO_SIZE,
    SEGMENT,
    SEGMENTS_A_CALL,
    SOL_UDP,
    UDP_GRO,
    UDP_SEGMENT,
    try_option,
    widen,
)
from ctrlserver.net.gate import NOT_ALLOWED, UDP_STREAMS
from ctrlserver.net.terms import Terms
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.drops import Drops
from ctrlserver.stats.kept import KeptPackets
from ctrlserver.stats.probing import Probing
from ctrlserver.wire.datagram import LONGEST_DATAGRAM, cut, packets_in, packets_in_all
from ctrlserver.wire.probe import HEADER_SIZE, decode

#: Reads before the other sockets of the lane have their turn: some 0.1 ms, so that the poll before costs little each.
READS_A_TURN = 32

#: As many calls of ``recvmmsg``: of up to 64 datagrams that is 0.1 ms as well, of as many whole batches 1 ms.
CALLS_A_TURN = 4

#: The longest UDP datagram and one more: what Twisted is to read at once.
READ_BYTES = 65536

#: Seconds between two walks over the streams for idle ones: 10 000 of them cost about half a millisecond.
SWEEP_SECONDS = 0.25

#: The peer of the stream that counts what has no stream of its own.
OTHERS = "*"

Address = tuple[Any, ...]


@frozen
class DatagramTerms:
    """What a UDP port needs to know beside its ``terms``, whose origin says ``datagram``.

    ``max_streams`` bounds the table: a stream costs about 600 bytes, and a sender may forge any number of addresses.
    ``receive_buffer`` is what the kernel may queue for us in bytes, 0 to leave it as it is. ``many``: read many
    messages a call where that can be. ``count_arrivals``: count what comes, where we may, so that a dropped batch is
    told in datagrams.
    """

    terms: Terms
    idle_timeout: float = 10.0
    max_streams: int = 10_000
    receive_buffer: int = 4 << 20
    gro: bool = True
    many: bool = True
    count_arrivals: bool = True
    needs_content: bool = field(init=False)

    @needs_content.default
    def _needs_content(self) -> bool:
        terms = self.terms
        return terms.origin.mode != "sink" or terms.keep > 0 or terms.probe


class DatagramStream:
    """One peer of a UDP port."""

    __slots__ = ("_port", "address", "counters", "name")

    def __init__(self, port: DatagramPort, address: Address | None, counters: StreamCounters) -> None:
        self.counters = counters
        self.address = address
        self.name: bytes | None = None  # the address as recvmmsg writes it, once it has
        self._port = port

    def abort(self, reason: str, now: float) -> None:
        """End the stream; a next datagram of its peer begins another one."""
        if self.counters.state == "open":
            self._port.forget(self)
            self._port.terms.book.stream_closed(self.counters, reason, 0, now)

    finish = abort


class DatagramPort:
    """A bound UDP socket and the streams of its peers. ``lane`` is None where Twisted reads the socket."""

    def __init__(self, options: DatagramTerms, lane: Lane | None, reactor: object, clock: Callable[[], float]) -> None:
        self.terms = options.terms
        self.port: IListeningPort | None = None
        self._options = options
        self._lane = lane
        self._reactor = reactor
        self._clock = clock
        self._socket: socket.socket | None = None
        self._streams: dict[Address | None, DatagramStream] = {}
        self._by_name: dict[bytes, DatagramStream] = {}
        self._messages: Messages | None = None
        self._batches_came = False
        self._swept = clock()
        self._drops = Drops()
        self._arrivals: Arrivals | None = None
        self._messages_read = 0  # and what of them was beyond one datagram each: what arrivals are compared with
        self._beyond_read = 0
        self._flags = 0
        self._into: list[memoryview] = []
        if lane is not None and options.needs_content:
            self._into = [lane.copy_view]
        elif lane is not None:
            self._flags = socket.MSG_TRUNC
            self._into = [lane.view[:0]]
        answers = {"echo": self._send, "reply": self._reply}
        self._answer = answers.get(self.terms.origin.mode)
        self._only_probes = self.terms.probe and not self.terms.keep and self._answer is None
        self._only_answers = self._answer is not None and not self.terms.probe and not self.terms.keep
        self.terms.book.counters.drops.append(self.dropped)

    # The port

    def listen(self, number: int, interface: str) -> IListeningPort:
        """Bind; ``CannotListenError`` where that cannot be."""
        protocol = OrdinaryDatagrams(self)
        return self._listening(IReactorUDP(self._reactor).listenUDP(number, protocol, interface, READ_BYTES))

    def adopt(self, descriptor: int, family: socket.AddressFamily) -> IListeningPort:
        """Take a bound socket over; ``descriptor`` is closed, its like is the port's from now on."""
        protocol = OrdinaryDatagrams(self)
        port = IReactorSocket(self._reactor).adoptDatagramPort(descriptor, family, protocol, READ_BYTES)
        os.close(descriptor)
        return self._listening(port)

    def _listening(self, port: IListeningPort) -> IListeningPort:
        self.port = port
        self._socket = sock = port.socket  # type: ignore[attr-defined]
        sock.setblocking(False)  # one taken over may block, and Twisted leaves it so
        self._drops = Drops(charged_and_drops(sock)[1])  # of one taken over, those before us are not ours
        widen(sock, self._options.receive_buffer)
        if self._lane is not None:
            if self._options.gro and self._options.count_arrivals:
                self._arrivals = arrivals(sock)  # before batches can come
            gro = self._options.gro and try_option(sock, SOL_UDP, UDP_GRO, 1)
            if self._options.many:
                self._messages = messages(sock, self._lane.view if self._options.needs_content else None, gro)
            port.stopReading()  # type: ignore[attr-defined]
            self._lane.watch(sock.fileno(), self, EPOLLIN)
        return port

    @property
    def way(self) -> str:
        """What brings the datagrams in: ``recvmmsg`` or ``recvmsg`` on the lane, else ``twisted``."""
        return "twisted" if self._lane is None else "recvmsg" if self._messages is None else "recvmmsg"

    def stop_listening(self) -> object:
        """Close the port; its streams stay until they are ended."""
        self.dropped()
        if self._arrivals is not None:
            self._arrivals.close()
            self._arrivals = None
        port, self.port, sock, self._socket, self._messages = self.port, None, self._socket, None, None
        if port is None or sock is None:
            return None
        if self._lane is not None:
            self._lane.forget(sock.fileno())
        return port.stopListening()

    def dropped(self) -> tuple[int, int]:
        """What the kernel dropped since the start, and how much of it may have been whole batches.

        The queue was full, or a checksum was wrong.
        """
        if self._arrivals is not None:
            self._drops.weighed(self._arrivals.look(), self._messages_read, self._beyond_read)
        elif self._socket is not None:
            self._drops.told(charged_and_drops(self._socket)[1], self._batches_came)
        return self._drops.total, self._drops.in_batches

    # The streams

    def streams(self) -> Iterable[DatagramStream]:
        """The open ones."""
        return list(self._streams.values())

    def sweep(self, now: float) -> None:
        """End the streams that are idle."""
        if now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        before = now - self._options.idle_timeout
        for stream in [stream for stream in self._streams.values() if stream.counters.last <= before]:
            stream.abort("idle", now)

    def forget(self, stream: DatagramStream) -> None:
        """It has ended."""
        self._streams.pop(stream.address, None)
        if stream.name is not None:
            self._by_name.pop(stream.name, None)

    def _stream_of(self, address: Address, now: float, since: float) -> DatagramStream:
        """A new stream for a peer, or the common one where there are too many."""
        key: Address | None = address
        if len(self._streams) >= self._options.max_streams:
            key = None
            others = self._streams.get(None)
            if others is not None:
                return others
        peer = OTHERS if key is None else peer_name(address)
        book, terms = self.terms.book, self.terms
        counters = book.stream_opened(terms.origin, peer, since)
        book.first_data(counters, since)
        counters.last = now
        if terms.keep:
            counters.kept = KeptPackets(terms.keep, terms.keep_bytes)
        if terms.probe and key is not None:
            counters.probing = Probing()
        self._streams[key] = stream = DatagramStream(self, key, counters)
        return stream

    # What comes in

    def ready(self, events: int) -> None:
        """Read some datagrams or batches: the lane's way in."""
        if self._messages is not None:
            self._ready_many(self._messages)
            return
        lane, sock = self._lane, self._socket
        assert lane is not None
        assert sock is not None
        read, into, flags, clock = sock.recvmsg_into, self._into, self._flags, lane.clock
        stream_of, needs_content = self._streams.get, self._options.needs_content
        others = len(self._streams) >= self._options.max_streams
        for _ in range(READS_A_TURN):
            try:
                size, ancillary, _, address = read(into, ANCILLARY_BYTES, flags)
            except OSError:  # nothing more; or an error that belongs to an answer sent before
                return
            now = clock()
            self._messages_read += 1
            if ancillary:
                segment = GRO_SIZE.unpack_from(ancillary[0][2])[0]
                packets = packets_in(size, segment)
                self._beyond_read += packets - 1
                self._batches_came = True
            else:
                segment, packets = size, 1
            stream = stream_of(address)
            if stream is None or needs_content or others:
                content = lane.copy_view[:size] if needs_content else None
                self.took(address, size, segment, packets, content, now, lane.round_began)
                continue
            counters = stream.counters
            counters.packets += packets
            counters.bytes += size
            counters.last = now

    def _ready_many(self, table: Messages) -> None:
        """As ``ready``, many messages a call."""
        lane = self._lane
        assert lane is not None
        stream_of, needs_content = self._by_name.get, self._options.needs_content
        for _ in range(CALLS_A_TURN):
            rows = table.read()
            if not rows:
                return
            now = lane.clock()
            sizes, segments = table.sizes(rows), table.segments(rows)
            packets = rows
            self._messages_read += rows
            if segments is not None:
                packets = packets_in_all(sizes, segments)
                self._beyond_read += packets - rows
                self._batches_came = True
            stream = stream_of(table.name(0)) if table.alike(rows) else None
            if stream is not None and needs_content:
                at_once = self._answered if self._only_answers else self._probed
                if segments is not None or not at_once(stream, table, sizes):
                    stream = None
            if stream is not None:
                counters = stream.counters
                counters.packets += packets
                counters.bytes += sum(sizes)
                counters.last = now
            else:
                self._take_rows(table, sizes, segments, now)
            if rows < table.rows:
                return

    def _answered(self, stream: DatagramStream, table: Messages, sizes: list[int]) -> bool:
        """Answer many datagrams of one size and peer as the batch that they make; False where they do not."""
        size, rows, address = sizes[0], len(sizes), stream.address
        if self._answer is None or address is None or not size or min(sizes) != max(sizes):
            return False
        contents = [content for row in range(rows) if (content := table.content(row, size)) is not None]
        stream.counters.unanswered += rows - self._answer(memoryview(b"".join(contents)), size, rows, address)
        return True

    def _probed(self, stream: DatagramStream, table: Messages, sizes: list[int]) -> bool:
        """Enter the probe headers of many datagrams at once; False where more is to be done than that."""
        probing = stream.counters.probing
        content = table.contents(len(sizes)) if self._only_probes and min(sizes) >= HEADER_SIZE else None
        if content is None or probing is None:
            return False
        self._probe(content, ROOM_BYTES, probing)
        return True

    def _take_rows(self, table: Messages, sizes: list[int], segments: list[int] | None, now: float) -> None:
        """Row by row: of several senders, of a new one, or where content is needed."""
        stream_of, since = self._by_name.get, self._lane.round_began if self._lane is not None else now
        needs_content = self._options.needs_content
        for row, size in enumerate(sizes):
            segment = segments[row] if segments is not None else 0
            packets = packets_in(size, segment) if segment else 1
            name = table.name(row)
            stream = stream_of(name)
            if stream is None or needs_content:
                address = table.address(name) if stream is None or stream.address is None else stream.address
                self.took(address, size, segment or size, packets, table.content(row, size), now, since)
                if stream is None and (stream := self._streams.get(address)) is not None:
                    stream.name = name
                    self._by_name[name] = stream
                continue
            counters = stream.counters
            counters.packets += packets
            counters.bytes += size
            counters.last = now

    def took(
        self,
        address: Address,
        size: int,
        segment: int,
        packets: int,
        content: memoryview | None,
        now: float,
        since: float,
    ) -> None:
        """Count a batch of ``packets`` datagrams from one peer; keep and answer them where that is asked for."""
        stream = self._streams.get(address)
        if stream is None:
            if not self.terms.gate.allows(peer_name(address)):
                self._reject(NOT_ALLOWED, packets, address)
                return
            stream = self._stream_of(address, now, since)
        counters = stream.counters
        counters.packets += packets
        counters.bytes += size
        counters.last = now
        if counters.peer == OTHERS:
            self._reject(UDP_STREAMS, packets, address)
        if content is not None:
            if counters.kept is not None:
                counters.kept.add(cut(content, segment) if packets > 1 else [bytes(content)])
            if counters.probing is not None:
                self._probe(content, segment, counters.probing)
            if self._answer is not None:
                counters.unanswered += packets - self._answer(content, segment, packets, address)

    def _reject(self, reason: str, packets: int, address: Address) -> None:
        self.terms.book.counters.rejected(reason, packets)
        self.terms.gate.seats.last_refused = peer_name(address)

    def _probe(self, content: memoryview, segment: int, probing: Probing) -> None:
        """Enter the probe headers of a batch, whose last datagram may be shorter than the others."""
        whole, rest = divmod(len(content), segment) if segment else (0, 0)
        arrived = self.terms.wall_ns()
        last = decode(content, rest, 1, whole * segment) if rest else []
        for session, sequences, sent in decode(content, segment, whole) + last:
            probing.take_all(session, sequences, sent, arrived)

    def failed(self) -> None:
        """The lane dropped the socket after an exception: take it up again."""
        if self._lane is not None and self._socket is not None:
            self._lane.watch(self._socket.fileno(), self, EPOLLIN)

    # What goes out

    def _reply(self, content: memoryview, segment: int, packets: int, address: Address) -> int:
        """Send a reply for each datagram; gives the number that the socket took."""
        canned = self.terms.canned
        if canned is None:
            return 0
        size = len(canned.reply)
        most = max(1, min(SEGMENTS_A_CALL, LONGEST_DATAGRAM // size))
        sent = 0
        while sent < packets:
            now = min(most, packets - sent)
            took = self._send(canned.span(0, now * size), size, now, address)
            sent += took
            if took < now:
                break
        return sent

    def _send(self, content: memoryview, segment: int, packets: int, address: Address) -> int:
        """Send a batch; gives the number of its datagrams that the socket took."""
        sock = self._socket
        if sock is None:
            return 0
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


class OrdinaryDatagrams(DatagramProtocol):
    """Twisted's hand-over of one datagram; never called for a port on the lane."""

    noisy = False

    def __init__(self, port: DatagramPort) -> None:
        self._port = port

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Count it."""
        port = self._port
        now = port._clock()
        content = memoryview(datagram) if port._options.needs_content else None
        port.took(addr, len(datagram), len(datagram), 1, content, now, now)
