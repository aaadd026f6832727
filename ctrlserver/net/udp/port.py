"""A UDP port: its datagrams are packets, its peers are streams.

Model: ``DatagramPort`` binds a socket and wires what works on it; it is on no datagram's way.

    kernel --> reader (reading.py) --> Peers (peers.py): finds or opens the peer's stream; the reader counts in it
                                   --> Answering (answering.py) --> kernel; by order later (injected/datagrams.py)
                                   --> DropCount (drops.py): what was read <-- the book, when somebody asks

- A reader is ``ManyReader`` on the lane; ``OneReader`` on the lane where there is no ``recvmmsg``; else Twisted's. On
  the lane it is ``StruckReader`` while an order is in force that may strike answers of the port.
- The reader calls the other three, and none of them calls back or knows another. The listener calls ``sweep`` now and
  then, which ends idle streams.

Rules:

- Each datagram is a packet (framing ``datagram``); an empty one is too.
- Closing the port leaves its streams open: whoever drains the server ends them.
- The number of drops is settled before the socket is closed, and the book keeps it.

Beware: batches (``UDP_GRO``) may only be switched on once arrivals are counted, or those that wait already would be
counted by nobody.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.internet.interfaces import IListeningPort, IReactorSocket, IReactorUDP

from ctrlserver.lane.due import Due
from ctrlserver.lane.lane import Lane
from ctrlserver.linux.recvmmsg import messages
from ctrlserver.linux.udp import SOL_UDP, UDP_GRO, try_option, widen
from ctrlserver.net.injected.datagrams import Later
from ctrlserver.net.injected.orders import Order
from ctrlserver.net.terms import DatagramTerms
from ctrlserver.net.udp.answering import Answering
from ctrlserver.net.udp.drops import DropCount
from ctrlserver.net.udp.peers import Peers
from ctrlserver.net.udp.reading import Intake, ManyReader, OneReader, OrdinaryDatagrams, StruckReader

#: The longest UDP datagram and one more: what Twisted is to read at once.
READ_BYTES = 65536


class DatagramPort:
    """A bound UDP socket and the streams of its peers.

    ``lane`` is None where Twisted reads the socket. ``due``: the timer of answers that wait by order.
    """

    def __init__(
        self, options: DatagramTerms, lane: Lane | None, reactor: object, clock: Callable[[], float], due: Due
    ) -> None:
        self.port: IListeningPort | None = None
        self._lane = lane
        self._reactor = reactor
        self._protocol = OrdinaryDatagrams(clock)
        self.peers = Peers(options, clock())
        self.reader: OneReader | None = None
        self.drops: DropCount | None = None
        self._batches = False
        self.inherited = False  # from systemd
        self.drops_since: int | None = None
        """The kernel's count of drops from which ours begins, of a socket taken over; None: that of the moment."""
        self._later = Later(due)
        self._answering: Answering | None = None
        options.terms.orders.watch(self.ordered)
        options.terms.answers.watch(self.ruled)

    def listen(self, number: int, interface: str) -> IListeningPort:
        """Bind; ``CannotListenError`` if that fails."""
        return self._listening(IReactorUDP(self._reactor).listenUDP(number, self._protocol, interface, READ_BYTES))

    def adopt(self, descriptor: int, family: socket.AddressFamily) -> IListeningPort:
        """Take a bound socket over. The port has a duplicate; ``descriptor`` stays, for a later config may name it."""
        reactor = IReactorSocket(self._reactor)
        self.inherited = True
        return self._listening(reactor.adoptDatagramPort(descriptor, family, self._protocol, READ_BYTES))

    def take_over(self, old: DatagramPort) -> None:
        """Go on with the socket of ``old`` and the streams of its peers. Whether the kernel batches stays as it is."""
        port, old.port, reader, old.reader, self.drops, old.drops = old.port, None, old.reader, None, old.drops, None
        if port is None:
            return
        self._later = old._later
        if reader is not None:
            reader.stop()
        self.peers.adopt(old.peers)
        self.inherited, self._batches = old.inherited, old._batches
        old._protocol.doStop()  # type: ignore[no-untyped-call]
        self._protocol.makeConnection(port)  # type: ignore[arg-type]
        port.protocol = self._protocol  # type: ignore[attr-defined]
        self._serve(port)

    def _listening(self, port: IListeningPort) -> IListeningPort:
        options, lane = self.peers.options, self._lane
        sock: socket.socket = port.socket  # type: ignore[attr-defined]
        sock.setblocking(False)  # a socket taken over may block, and Twisted leaves it so
        self.drops = DropCount(sock, lane is not None and options.gro and options.count_arrivals, self.drops_since)
        options.terms.book.counters.drops.append(self.drops.dropped)
        self._batches = lane is not None and options.gro and try_option(sock, SOL_UDP, UDP_GRO, 1)
        self._serve(port)
        return port

    def _serve(self, port: IListeningPort) -> None:
        options, lane = self.peers.options, self._lane
        self.port = port
        sock: socket.socket = port.socket  # type: ignore[attr-defined]
        number = port.getHost().port  # type: ignore[attr-defined]
        widen(sock, options.receive_buffer)
        if options.terms.origin.answers:
            options.answering.add(number)
        else:
            options.answering.discard(number)
        self._answering = Answering(options, sock, self._later) if options.terms.origin.answers else None
        if lane is None:
            self._protocol.intake = Intake(self.peers, self._answering)
        else:
            port.stopReading()  # type: ignore[attr-defined]
            self._read_on(lane, sock)

    def _read_on(self, lane: Lane, sock: socket.socket) -> None:
        """Read by the reader that is right now."""
        options, peers, answering, drops = self.peers.options, self.peers, self._answering, self.drops
        assert drops is not None
        if self.reader is not None:
            self.reader.stop()
        if answering is not None and self._is_struck():
            self.reader = StruckReader(peers, answering, sock, lane, drops, answering.most)
        else:
            content = lane.view if options.needs_content or peers.guests else None
            table = messages(sock, content, self._batches) if options.many else None
            if table is None:
                self.reader = OneReader(peers, answering, sock, lane, drops)
            else:
                self.reader = ManyReader(peers, answering, sock, lane, drops, table)
        self.reader.start()

    def _is_struck(self) -> bool:
        """Whether orders may strike answers of the port, or rules decide on them."""
        if self._answering is None:
            return False
        orders = self.peers.options.terms.orders.active
        return self._answering.rules.of_packets or any(strikes_datagrams(order) for order in orders)

    def ordered(self, order: Order, began: bool) -> None:
        """An order of the listener begins, or ends: tell the open streams that it concerns."""
        if not strikes_datagrams(order):
            return
        self._choose_reader()
        for stream in list(self.peers.by_address.values()):
            if not began and stream.struck is not None:
                stream.struck.end(order)
            elif began and order.everybody and stream.answers is not None and order.concerns(stream.counters.peer):
                stream.answers.strike(stream, [order.injection.stream("udp")])

    def ruled(self) -> None:
        """The rules of the listener have changed, and perhaps whether there are any for packets."""
        self._choose_reader()
        port, answering = self.port, self._answering
        if self._lane is None and port is not None and answering is not None:  # bytes that Twisted reads in one go
            most = 1 if answering.rules.of_packets else type(port).maxThroughput  # type: ignore[attr-defined]
            port.maxThroughput = most  # type: ignore[attr-defined]
        for stream in list(self.peers.by_address.values()):
            if stream.answers is not None:
                stream.answers.ruled(stream)

    def _choose_reader(self) -> None:
        lane, port, reader = self._lane, self.port, self.reader
        if lane is not None and port is not None and isinstance(reader, StruckReader) != self._is_struck():
            self._read_on(lane, port.socket)  # type: ignore[attr-defined]

    def stop_listening(self) -> object:
        """Close the port; its streams stay until they are ended, and get no answer that waits."""
        port, self.port, reader, self.reader = self.port, None, self.reader, None
        if port is None:
            return None
        for stream in self.peers.by_address.values():
            if stream.struck is not None:
                stream.struck.give_up()
        self.peers.options.answering.discard(port.getHost().port)  # type: ignore[attr-defined]
        if self.drops is not None:
            self.drops.close()
            self.peers.options.terms.book.counters.drops_end(self.drops.dropped)
        if reader is not None:
            reader.stop()
        return port.stopListening()


def strikes_datagrams(order: Order) -> bool:
    """Whether ``order`` can strike datagrams."""
    return not order.of_connections and order.strikes_on("udp")
