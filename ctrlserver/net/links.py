"""The lane's way in: plain sockets, accepted, read and written on the lane.

Model:

``LaneAcceptor`` owns a listening socket, and a ``LaneLink`` each accepted one. Both are owners on the lane; a link is
also the ``Link`` of its stream::

    LaneAcceptor.ready --accept--> Links.take: admits(peer)? --no--> closed at once, counted as rejected
                                       | yes
                                       v
                                   LaneLink --open_stream--> Stream        SkippingLink, if no content is needed
                                       |
    lane --ready(EPOLLIN)--> LaneLink: one read --> received(chunk), ended(), lost()
    lane --ready(EPOLLOUT)-> LaneLink           --> writable()

A link watches its socket either for input or, while its stream owes replies, for room: ``hold`` and ``release`` change
from one to the other. While it has bytes that its stream left for a later turn, it watches for neither, and reads
these bytes first. The stream ends a link by ``close`` (what the socket took is still sent) or ``drop``; both take
the socket off the lane, then close it. Nobody else closes it.

Echo streams also join ``net/echoes.py``, which serves many of them together. A link then serves what that leaves.

Rules:

- A link reads once for each ``ready``. The lane calls it again while there is more.
- A link reads before it believes an error: data that the peer sent before its reset is still in the socket and counts.
- ``recv_into`` and ``send`` are bound once. An echo took 2 % less processor time with them than with ``readv`` and
  ``write``, which take fewer instructions here and a longer way in the kernel.
- An urgent byte is a byte of the stream (SO_OOBINLINE): else the kernel would leave it out. TCP connections inherit
  the option from the listening socket: what comes before the accept is in line too.
- An accept is that of the C class (``_accept``): the one of ``socket.socket`` asks for family, type and protocol each
  time, and for their names, which takes as long as the rest twice. So an accepted connection is a descriptor, and
  whoever has it closes it. A link makes a socket of it, of the C class too: that takes half the time.
- An acceptor that finds no descriptor or no memory pauses; else the ready socket would keep the lane spinning.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ctrlserver.addresses import NO_ADDRESS, peer_name
from ctrlserver.lane.lane import COPY_BYTES, UNWATCHED, Lane
from ctrlserver.linux.keepalive import unanswered_seconds
from ctrlserver.linux.tcp_info import tcp_figures
from ctrlserver.linux.transfers import ROW_BYTES
from ctrlserver.logs.sparing import Sparing
from ctrlserver.net.echoes import join, serve_together
from ctrlserver.net.modes import EchoStream, open_stream
from ctrlserver.net.stream import OpenStreams
from ctrlserver.stats.counters import TcpFigures

#: Connections accepted before the other sockets have their turn.
ACCEPTS_A_TURN = 64

#: Seconds of a pause after the kernel ran out of descriptors or memory.
ACCEPT_PAUSE_SECONDS = 0.1

#: Connections that the kernel queues for us. Twisted asks for 50, too few if a thousand peers connect at once.
BACKLOG = 4096

#: Reads of data beyond the end of a stream, before the close. If a socket is closed with unread input, the kernel
#: resets the connection and throws away unsent data: the last replies, or the last packets of a source. This many reads
#: of up to 1 MiB are more than the kernel queues for a socket that nobody reads, unless the peer goes on sending.
LEFTOVER_READS = 16

#: What the kernel lacks, by the error of an accept.
OUT_OF = {errno.EMFILE: "descriptors", errno.ENFILE: "descriptors", errno.ENOBUFS: "memory", errno.ENOMEM: "memory"}


log = Logger()


def tell_pause(lines: Sparing, lacking: str, listener: str, now: float) -> None:
    """Log that ``listener`` accepts nothing for a moment: a line a second at most, with the number of pauses."""
    if lines.may_write(now):
        log.warn(
            "out of {lacking}: {listener} accepts nothing for {seconds} s at a time until some are free; "
            "pauses since the last such line: {number}",
            event="accept-paused",
            lacking=lacking,
            listener=listener,
            seconds=ACCEPT_PAUSE_SECONDS,
            number=1 + lines.left_out,
        )
        lines.left_out = 0


class LaneLink:
    """One accepted socket: an ``Owner`` to the lane, a ``Link`` to its stream."""

    __slots__ = ("_fd", "_held", "_into", "_lane", "_left", "_socket", "stream")

    #: Whether the lane may let data gather: nobody waits for an answer.
    patient = False

    def __init__(self, lane: Lane, sock: socket.SocketType, streams: OpenStreams, peer: str) -> None:
        room = streams.terms.reply_buffer
        self._lane = lane
        self._socket = sock
        self._fd = sock.fileno()
        self._into = lane.copy_view if room >= COPY_BYTES else lane.view[:room]
        self._left = b""
        self._held = False
        self.stream = open_stream(streams, self, peer, lane.clock())
        if peer != NO_ADDRESS:
            self.stream.counters.path = self
        try:
            lane.watch(self._fd, self, EPOLLIN, patient=self.patient)
        except OSError:
            self.stream.failed(lane.clock())
            raise
        if isinstance(self.stream, EchoStream) and len(self._into) >= ROW_BYTES:
            join(lane, self._fd, self.stream)

    def ready(self, events: int) -> int | None:
        """Read one chunk, or send on. Returns the bytes counted."""
        lane = self._lane
        if events & EPOLLOUT:
            self.stream.writable(lane.clock())
            return None
        try:
            size = self._read_left(self._into) if self._left else self._socket.recv_into(self._into)
        except BlockingIOError:
            return None
        except OSError:
            self.stream.lost(lane.clock())
            return None
        if size:
            left = self.stream.received(lane.view[:size], lane.clock())
            if left:
                self._keep(bytes(lane.view[size - left : size]))
                return size - left
        else:
            self.stream.ended(lane.clock())
        return size

    def _keep(self, left: bytes) -> None:
        """Keep what the stream left; it is read before anything else, in a later turn."""
        self._left = left
        self.stream.beside = len(left)
        self.stream.hold()
        if not self._held and self.stream.counters.state == "open":
            self.release()

    def _read_left(self, into: memoryview) -> int:
        """As the socket's ``recv_into``."""
        left, self._left = self._left, b""
        into[: len(left)] = left
        self.stream.beside = 0
        self.stream.hold()
        self._lane.change(self._fd, EPOLLIN)
        return len(left)

    def failed(self) -> None:
        """The lane dropped this socket after an exception; it may be handling it."""
        if isinstance(sys.exc_info()[1], MemoryError):
            self.stream.abort("limit", self._lane.clock())
        else:
            self.stream.failed(self._lane.clock())

    def since(self, now: float) -> float:
        """The time at which the lane saw the socket ready: before the read, so a stream of one chunk has a duration."""
        return self._lane.round_began

    def tcp_figures(self) -> TcpFigures | None:
        """Round trip and retransmissions, from the kernel."""
        return tcp_figures(self._socket)

    def unanswered_seconds(self) -> float:
        """For how long the peer's machine has owed an answer, from the kernel."""
        return unanswered_seconds(self._socket)

    def sender(self) -> Callable[[bytes | memoryview], int]:
        """The socket's own ``send``, with no Python call between."""
        return self._socket.send

    def hold(self) -> None:
        """Wait for room instead of input."""
        self._held = True
        self._lane.change(self._fd, EPOLLOUT)

    def release(self) -> None:
        """Wait for input again; first comes what the stream left."""
        self._held = False
        self._lane.change(self._fd, UNWATCHED if self._left else EPOLLIN)
        if self._left:
            self._lane.again(self._fd, EPOLLIN)

    def close(self) -> None:
        """Leave the lane and close. The kernel sends what the socket took, provided that no input is left unread."""
        for _ in range(LEFTOVER_READS):
            try:
                if not self._socket.recv_into(self._lane.view, 0, socket.MSG_TRUNC):
                    break
            except OSError:
                break
        self.drop()

    def drop(self) -> None:
        """Leave the lane and close."""
        self._lane.forget(self._fd)
        self._socket.close()


class SkippingLink(LaneLink):
    """The link of a stream that needs no content: the kernel drops the bytes uncopied (Linux, TCP, MSG_TRUNC)."""

    __slots__ = ()

    patient = True

    def ready(self, events: int) -> None:
        """Have the kernel drop one chunk, and count its length."""
        lane = self._lane
        try:
            size = self._socket.recv_into(lane.view, 0, socket.MSG_TRUNC)
        except BlockingIOError:
            return
        except OSError:
            self.stream.lost(lane.clock())
            return
        if size:
            self.stream.skipped(size, lane.clock())
        else:
            self.stream.ended(lane.clock())


def listen_for_many(sock: socket.socket) -> None:
    """Lengthen the queue of a listening socket, and have what its connections receive before the accept in line."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    sock.listen(BACKLOG)


class Links:
    """Makes a link of each accepted connection of ``family``, whose stream is one of ``streams``."""

    def __init__(self, lane: Lane, streams: OpenStreams, family: int) -> None:
        terms = streams.terms
        self._lane = lane
        self._streams = streams
        self._admits = streams.admits
        self._answers = terms.origin.answers
        self._tcp = family != socket.AF_UNIX
        self._link: type[LaneLink] = SkippingLink if terms.skips and self._tcp else LaneLink
        if terms.origin.mode == "echo" and terms.reply_buffer >= ROW_BYTES:
            serve_together(lane)

    def take(self, descriptor: int, peer: str) -> None:
        """Make a link of a connection, or close it: the gate may reject ``peer``."""
        if self._admits(peer):
            self.serve(descriptor, peer)
        else:
            os.close(descriptor)

    def serve(self, descriptor: int, peer: str) -> None:
        """Make a link of a connection that is admitted."""
        sock = socket.SocketType(-1, socket.SOCK_STREAM, 0, descriptor)  # the call finds the family by itself
        try:
            sock.setblocking(False)
            if not self._tcp:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            elif self._answers:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._link(self._lane, sock, self._streams, peer)
        except OSError:
            sock.close()


class LaneAcceptor:
    """Accepts on the lane, from the socket ``listening`` or what stands in for it (``net/injected/entrance.py``).

    ``take`` gets the descriptor of each connection, and its peer. ``name``: the listener's, for the log.
    """

    def __init__(
        self,
        lane: Lane,
        reactor: IReactorTime,
        sock: socket.socket,
        name: str,
        take: Callable[[int, str], object],
    ) -> None:
        self._lane = lane
        self._reactor = reactor
        self.listening: Any = sock
        self._name = name
        self._take = take
        self._paused: IDelayedCall | None = None
        self.accepted = 0
        """Connections that came in the last turn."""
        self._lines = Sparing()
        sock.setblocking(False)
        listen_for_many(sock)
        lane.watch(sock.fileno(), self, EPOLLIN, patient=None)

    def ready(self, events: int) -> None:
        """Accept connections."""
        take = self._take
        for number in range(ACCEPTS_A_TURN):
            try:
                descriptor, address = self.listening._accept()
            except BlockingIOError:
                self.accepted = number
                return
            except OSError as error:
                if error.errno in OUT_OF:
                    self._pause(OUT_OF[error.errno])
                    return
                continue  # the peer was gone before we accepted it
            take(descriptor, peer_name(address))
        self.accepted = ACCEPTS_A_TURN

    def failed(self) -> None:
        """The lane dropped the listening socket after an exception: accept again after a pause."""
        self._pause("order")

    def _pause(self, lacking: str) -> None:
        """Accept nothing for a moment, for want of ``lacking``."""
        self._lane.forget(self.listening.fileno())
        self._paused = self._reactor.callLater(ACCEPT_PAUSE_SECONDS, self._resume)
        tell_pause(self._lines, lacking, self._name, self._lane.clock())

    def _resume(self) -> None:
        self._paused = None
        self._lane.watch(self.listening.fileno(), self, EPOLLIN, patient=None)

    def take_waiting(self) -> None:
        """Accept those that the kernel has accepted for us, if we are not pausing."""
        if self._paused is None:
            self.ready(EPOLLIN)

    def stop(self) -> None:
        """Accept no more, for now or for ever. The Twisted port closes the listening socket."""
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
        else:
            self._lane.forget(self.listening.fileno())

    def go_on(self) -> None:
        """Accept again after a ``stop``."""
        self._resume()
