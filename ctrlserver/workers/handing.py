"""Accepted connections, from the parent to a worker.

Model::

    Hander.hand(...) -> waiting -> sendmsg: up to 64 descriptors and what is said of each -> Taker -> handed(...)

The two ends are a pair of sequenced packet sockets, so a batch is one message: it arrives whole or not at all. What is
handed goes out as soon as it is a full batch, or when whoever hands has no more for now and calls ``flush``.

Rules:

- A descriptor that is handed is the hander's. It is closed once the kernel has taken the batch, so the connection ends
  when the worker closes its own. What a taker has given to ``handed`` is no more the taker's.
- A worker that does not keep up fills its socket. The hander then holds what it is given, up to ``MOST_WAITING``, and
  goes on when there is room. Its owner asks ``has_room`` before it accepts.
- The hander keeps the worker's end open too. So what a worker had not taken when it died is still there: ``rest`` gives
  it back, with what is not sent, and others take it.
- The kernel cuts off a batch what there are no descriptors for. So who is near its limit, which may be lowered at any
  time, looks first at each batch, and takes it once there are descriptors for all of it. A worker pauses meanwhile, as
  an acceptor does; the parent has the rest of a dead worker later. What is cut off all the same is lost, and told.

Beware: only once the worker is dead may the rest be had: two who take would each get a part.
"""

from __future__ import annotations

import array
import marshal
import os
import socket
from collections.abc import Callable, Iterator
from select import EPOLLIN
from typing import Any

from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.lane.lane import Lane
from ctrlserver.linux.descriptors import descriptor_limit, descriptors_in_use
from ctrlserver.logs.sparing import Sparing

#: Connections in one message: as many as an acceptor accepts in a turn. The kernel takes 253 at most.
BATCH = 64

#: Connections that a hander holds for a worker that does not keep up. The rest of a turn of accepts comes on top.
MOST_WAITING = 256

#: Seconds of a pause after the kernel ran out of descriptors, as ``net/links.py`` has it.
PAUSE_SECONDS = 0.1

#: Bytes of the longest message: what is said of a connection is shorter than 400 bytes.
_MESSAGE_BYTES = BATCH * 1024
_ROOM_FOR_DESCRIPTORS = socket.CMSG_SPACE(4 * BATCH)

_MESSAGE = bytearray(_MESSAGE_BYTES)
"""Where one is read: what is said of it is taken out at once."""

Said = tuple[int, int, Any, str, float]
"""What is said of a connection: ``generation``, ``listener``, ``peer``, ``strike``, ``at``.

The generation counts the reloads; the listener is its place among the listeners then. The peer is made of text, numbers
and tuples. The strike is the name of what strikes its handshake, if something does. It was accepted at that time.
"""

Handed = tuple[int, Said]
"""The descriptor of a connection, and what is said of it."""


@implementer(IWriteDescriptor)
class Hander:
    """The parent's end. ``other``: the worker's. ``room``: called when there is room again after there was none."""

    def __init__(
        self, sock: socket.socket, other: socket.socket, reactor: Any, room: Callable[[], object] = lambda: None
    ) -> None:
        for each in (sock, other):
            each.setblocking(False)
        self._socket = sock
        self._other = other
        self._reactor = reactor
        self._room = room
        self._descriptors = array.array("i")
        self._said: list[Said] = []
        self._due: Any = None
        self._stuck = False
        self._open = True

    @property
    def has_room(self) -> bool:
        """Whether it may be given more."""
        return self._open and len(self._said) < MOST_WAITING

    def hand(self, descriptor: int, said: Said) -> bool:
        """Have a connection sent, with others; whether there is room for another."""
        self._descriptors.append(descriptor)
        self._said.append(said)
        if len(self._said) < BATCH:
            return self._open
        self.flush()
        return self.has_room

    def flush(self) -> None:
        """Send what waits."""
        if self._said and self._open and not self._stuck:
            self.doWrite()

    def doWrite(self) -> None:
        """Send what waits, as far as there is room."""
        try:
            while self._said:
                self._send_batch()
        except BlockingIOError:
            if not self._stuck:
                self._stuck = True
                self._reactor.addWriter(self)
            return
        except OSError:  # the kernel has no room for descriptors on their way
            self._stuck = True
            self._reactor.removeWriter(self)
            self._due = self._reactor.callLater(PAUSE_SECONDS, self._try_again)
            return
        if self._stuck:
            self._stuck = False
            self._reactor.removeWriter(self)
            self._room()

    def _try_again(self) -> None:
        self._due = None
        self.doWrite()

    def _send_batch(self) -> None:
        descriptors = self._descriptors[:BATCH]
        said = marshal.dumps(self._said[:BATCH])
        self._socket.sendmsg([said], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        del self._descriptors[:BATCH], self._said[:BATCH]
        for each in descriptors:
            os.close(each)

    def rest(self) -> tuple[list[Handed], bool]:
        """What the worker, which is dead, did not take: it is the caller's again. Hand no more.

        False if there are no descriptors for all of it now: then call it again.
        """
        if self._open:
            self._open = False
            self._reactor.removeWriter(self)
            if self._due is not None:
                self._due.cancel()
            self._socket.close()
        found: list[Handed] = []
        while self._other.fileno() >= 0:
            if not is_whole(self._other):
                return found, False
            try:
                batch = next_batch(self._other)
            except EOFError:
                batch = None
            if batch is None:
                self._other.close()
            else:
                found += zip(*batch, strict=False)
        found += zip(self._descriptors, self._said, strict=True)
        del self._descriptors[:], self._said[:]
        return found, True

    def connectionLost(self, reason: Failure) -> None:
        """Twisted found that the socket is no good."""
        self._stuck = True
        self._reactor.removeWriter(self)

    def fileno(self) -> int:
        """For the reactor."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return type(self).__name__


def next_batch(sock: socket.socket) -> tuple[list[int], list[Said]] | None:
    """The next batch on a worker's end: its descriptors and what is said of them; None: there is none now.

    More may be said than there are descriptors. ``EOFError``: there is none, and never will be.
    """
    try:
        descriptors, said = _received(sock, socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        return None
    except OSError:
        raise EOFError from None
    if not said:
        raise EOFError
    return descriptors, said


def is_whole(sock: socket.socket) -> bool:
    """Whether there are descriptors for the batch that waits on a worker's end: it is looked at, and stays."""
    try:
        descriptors, said = _received(sock, socket.MSG_CMSG_CLOEXEC | socket.MSG_PEEK)
    except OSError:
        return True  # the read will find out
    for each in descriptors:
        os.close(each)
    return len(said) == len(descriptors)


def _received(sock: socket.socket, flags: int) -> tuple[list[int], list[Said]]:
    size, ancillary, _, _ = sock.recvmsg_into([_MESSAGE], _ROOM_FOR_DESCRIPTORS, flags)
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % 4])
    return descriptors.tolist(), marshal.loads(_MESSAGE) if size else []


@implementer(IReadDescriptor)
class Taker:
    """The worker's end. Its socket does not block. ``handed`` gets each connection, which is its own from then on.

    It is watched by the reactor, and from ``join`` on by a lane: what is taken there is served in the same turn.
    ``lost`` is told the generation, the listener and the peer of one that came without its descriptor.
    """

    log = Logger()

    def __init__(
        self,
        sock: socket.socket,
        handed: Callable[[int, Said], object],
        reactor: Any,
        lost: Callable[[int, int, Any], object] = lambda *_: None,
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self.handed = handed
        self._tell_lost = lost
        self._reactor = reactor
        self._lines = Sparing()
        self._highest = descriptors_in_use()
        self._paused: Any = None
        self._lane: Lane | None = None
        self._open = True
        self.taken = 0
        self.lost = 0
        """Connections that came without their descriptors."""
        self._watch()

    def join(self, lane: Lane) -> None:
        """Be watched by ``lane``."""
        self._leave()
        self._lane = lane
        if self._open and self._paused is None:
            self._watch()

    def _watch(self) -> None:
        if self._lane is None:
            self._reactor.addReader(self)
        else:
            self._lane.watch(self.fileno(), self, EPOLLIN, patient=None)

    def _leave(self) -> None:
        if self._lane is None:
            self._reactor.removeReader(self)
        else:
            self._lane.forget(self.fileno())

    def ready(self, events: int) -> None:
        """Take a batch, on the lane."""
        self.doRead()

    def failed(self) -> None:
        """What was taken could not be served, and the lane has dropped the socket: go on in a moment."""
        if self._open and self._paused is None:
            self._paused = self._reactor.callLater(PAUSE_SECONDS, self._go_on)

    def take_waiting(self) -> None:
        """Take what was handed until now, as far as there are descriptors."""
        before = -1
        while self._open and self._paused is None and before < self.taken:
            before = self.taken
            self.doRead()

    def doRead(self) -> None:
        """Take a batch."""
        if self._highest >= descriptor_limit() - 2 * BATCH and not is_whole(self._socket):
            self.pause()
            return
        try:
            batch = next_batch(self._socket)
        except EOFError:  # the parent is gone, as the channel says too
            self.close()
            return
        if batch is None:
            return
        descriptors, said = batch
        self._highest = max(self._highest, *descriptors, -1)
        self.taken += len(said)
        self._hand_on(zip(descriptors, said, strict=False))
        if lacking := said[len(descriptors) :]:
            self.lost += len(lacking)
            for generation, listener, peer, *_ in lacking:
                self._tell_lost(generation, listener, peer)
            self.pause()

    def _hand_on(self, connections: Iterator[Handed]) -> None:
        handed = self.handed
        try:
            for descriptor, said in connections:
                handed(descriptor, said)
        except BaseException:
            for descriptor, _ in connections:
                os.close(descriptor)
            raise

    def pause(self, seconds: float = PAUSE_SECONDS) -> None:
        """Take nothing for some seconds."""
        if self._lines.may_write(self._reactor.seconds()):
            self.log.warn(
                "out of descriptors: connections wait until some are free; lost since the start: {lost}",
                event="handing-paused",
                lost=self.lost,
            )
        if self._paused is None and self._open:
            self._leave()
            self._paused = self._reactor.callLater(seconds, self._go_on)

    def _go_on(self) -> None:
        self._paused = None
        if self._open:
            self._watch()

    def close(self) -> None:
        """Take nothing more."""
        if self._open:
            self._open = False
            self._leave()
            if self._paused is not None:
                self._paused.cancel()
            self._socket.close()

    def connectionLost(self, reason: Failure) -> None:
        """Twisted found that the socket is no good."""
        self.close()

    def fileno(self) -> int:
        """For the reactor."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return type(self).__name__
