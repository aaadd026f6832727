"""The links of streams that are struck: what a plain link does, and to rest, to reset and to end the sending.

Model: while a stream is struck (``net/injected/streams.py``), its link is of a class of this module; the object stays
the same. A link that *rests* neither reads nor waits for room: the kernel's buffers fill, and the peer's window closes.

Rules:

- On the lane a struck stream is asked before each read how many bytes it may bring. So a stalled stream reads nothing.
  A Twisted transport is paused once it has brought something.
- A link that rests notices a reset of its peer on the lane only.
- ``reset`` sends RST, whatever is unsent or unread. A unix socket has none: its peer sees ECONNRESET if we have not
  read all it sent, else the end.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from select import EPOLLERR, EPOLLOUT
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ctrlserver.lane.lane import UNWATCHED
from ctrlserver.linux.transfers import ROW_BYTES
from ctrlserver.net.echoes import join
from ctrlserver.net.links import LEFTOVER_READS, LaneLink, SkippingLink
from ctrlserver.net.modes import EchoStream
from ctrlserver.net.protocol import StreamProtocol

#: SO_LINGER of a socket whose close is a reset.
RESETS = struct.pack("ii", 1, 0)


class StruckLink(LaneLink):
    """A link on the lane."""

    __slots__ = ()

    stream: Any

    def ready(self, events: int) -> None:
        """Read as much as the stream may, or send on. What that costs is not judged: orders are kept in time."""
        lane, stream = self._lane, self.stream
        if events & EPOLLOUT:
            stream.writable(lane.clock())
            return
        struck = stream.struck
        if struck.rests:
            if events & EPOLLERR:
                if struck.cutter.stalled_by is not None:
                    stream.lost(lane.clock())
                else:
                    stream.gone()
            return
        into = self._into
        if struck.cutter.reads and not self._left:
            now = lane.clock()
            room = struck.room(now)
            if room == 0:
                return
            if room < 0:
                if self._has_data():
                    struck.stall(now)
                    return
            elif room < len(into):
                into = into[:room]
        try:
            size = self._read_left(into) if self._left else self._socket.recv_into(into)
        except BlockingIOError:
            return
        except OSError:
            stream.lost(lane.clock())
            return
        if size:
            left: int = stream.received(lane.view[:size], lane.clock())
            if left:
                self._keep(bytes(lane.view[size - left : size]))
        else:
            stream.ended(lane.clock())

    def _has_data(self) -> bool:
        """Whether there is a byte to read, not the end or an error."""
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def go_back(self, link: type[LaneLink], rested: bool) -> None:
        """Be a ``link`` again, and read."""
        self.__class__ = link  # type: ignore[assignment]
        if self._left and isinstance(self, SkippingLink):
            self.stream.skipped(self._read_left(self._into), self._lane.clock())
        if isinstance(self.stream, EchoStream) and len(self._into) >= ROW_BYTES:
            join(self._lane, self._fd, self.stream)
        if rested:
            self.release()

    def rest(self) -> None:
        """Neither read nor wait for room."""
        self._held = True
        self._lane.change(self._fd, UNWATCHED)

    def reset(self) -> None:
        """Close by RST."""
        if self._socket.family != socket.AF_UNIX:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
        self.drop()

    def end_sending(self) -> None:
        """Send FIN after the data that the socket has taken."""
        with suppress(OSError):  # the peer is gone: the next read tells
            self._socket.shutdown(socket.SHUT_WR)


class StruckProtocol(StreamProtocol):
    """A link on a Twisted transport."""

    transport: Any

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is lost: a slow reader first takes at once what TLS had handed over, unless it stalls."""
        struck = self.stream.struck  # type: ignore[attr-defined]
        if struck.cutter.stalled_by is None and self.stream.counters.state == "open":
            struck.cutter.hurries = True
            self.stream.gone()
            more = len(self._rest) + 1
            while self.stream.counters.state == "open" and 0 < len(self._rest) < more:
                more = len(self._rest)
                self._held = False
                self._go_on()
        StreamProtocol.connectionLost(self, reason)

    def go_back(self, link: type[StreamProtocol], rested: bool) -> None:
        """Be a ``link`` again, and read."""
        self.__class__ = link  # type: ignore[assignment]
        if rested:
            self.release()

    def rest(self) -> None:
        """Read nothing."""
        self.hold()

    def reset(self) -> None:
        """Close by RST, which is how Twisted aborts a connection, once TLS has made records of what was sent."""
        self.transport.pauseProducing()
        self._reactor.callLater(0, self._reset)

    def _reset(self) -> None:
        if self._below is not None and self._below.connected:
            self._below.doWrite()
        self.drop()

    def end_sending(self) -> None:
        """Send FIN after the data that the transport has taken."""
        self.transport.loseWriteConnection()

    def close(self) -> None:
        """Close once the write buffer is empty, TLS without waiting for the peer's farewell.

        Unread input would have the kernel reset the connection, so it is dropped first.
        """
        super().close()
        below = self._below
        if below is not None and below.connected:
            with suppress(OSError):
                for _ in range(LEFTOVER_READS):
                    if not below.socket.recv(1 << 16, socket.MSG_TRUNC):
                        break
            below.loseConnection()


STRUCK_LINKS: dict[type, type] = {LaneLink: StruckLink, SkippingLink: StruckLink, StreamProtocol: StruckProtocol}
"""The class of each link while its stream is struck."""
