"""Messages between the parent and a worker, both ways, over a pair of stream sockets.

Model::

    send(message) ---frame---> owner.received(message, descriptors)
    ask(message) ----frame---> owner.received(...) -> its answer, or a Deferred of it ---frame---> the asker's Deferred

A frame is a head and a pickle: eight bytes of lengths, then (kind, number, message). Numbers belong to questions.
Descriptors go beside the first byte of a frame, so they are there before it is whole; its head has their number. Of
more than ``MOST_DESCRIPTORS`` the first go with frames of their own, before it.

Rules:

- A frame is sent at once, as far as the socket takes it; the rest follows when there is room. Order is kept.
- Descriptors are duplicated by ``send``: the sender may close its own at once. The owner closes those that it is given.
- What the owner raises, or what its Deferred fails with, is ``Refused`` at the asker, with the text. It is logged where
  it was raised, unless it is one of our own errors.
- The channel is lost once, when the other end is closed or a frame makes no sense: ``owner.lost()``. Questions that are
  open then fail with ``Lost``. After ``close`` nobody is told, and nothing is received.
- What is sent to a lost channel is dropped: who sends need not know.

Beware: a frame is a pickle, for both ends are this program. Nothing that a peer sent is ever unpickled as one.
"""

from __future__ import annotations

import array
import os
import pickle
import socket
import struct
from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.errors import CtrlServerError

#: Bytes of a pickle, descriptors beside it.
HEAD = struct.Struct("!II")

#: The longest pickle that makes sense: figures of a million streams are 100 MB.
LONGEST = 1 << 30

#: Descriptors beside one frame: the kernel takes 253 in one message.
MOST_DESCRIPTORS = 250

#: Bytes of one read.
READ_BYTES = 1 << 18

_SAID, _ASKED, _ANSWERED, _REFUSED, _BESIDE = range(5)
_ROOM_FOR_DESCRIPTORS = socket.CMSG_SPACE(4 * MOST_DESCRIPTORS)

_READ = bytearray(READ_BYTES)
"""What a channel reads into; it goes on to the channel's own at once. A new one for each read costs 14 us."""


class Refused(CtrlServerError):
    """The other end did not carry out a question; the text says why. ``code``: that of the error, if it has one."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Lost(CtrlServerError):
    """The other end is gone."""


class Owner(Protocol):
    """Whose channel it is."""

    def received(self, message: Any, descriptors: list[int]) -> object:
        """A message has come; what is returned answers a question."""

    def lost(self) -> object:
        """The other end is gone."""


@define(eq=False)
class _Frame:
    """What is left to be sent of a frame."""

    left: memoryview
    descriptors: Sequence[int] = field(factory=tuple)


@implementer(IReadWriteDescriptor)
class Channel:
    """One end; ``sock`` is a connected stream socket of the unix family, and the channel's from now on."""

    log = Logger()

    def __init__(self, sock: socket.socket, owner: Owner, reactor: Any) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._owner = owner
        self._reactor = reactor
        self._numbers = count(1)
        self._asked: dict[int, Deferred[Any]] = {}
        self._frames: deque[_Frame] = deque()
        self._got = bytearray()
        self._descriptors: deque[int] = deque()
        self._open = True
        self.waiting = 0
        """Bytes that the socket has not taken yet."""
        reactor.addReader(self)

    # What is sent

    def send(self, message: object, descriptors: Sequence[int] = ()) -> None:
        """Say something."""
        self._send(_SAID, 0, message, descriptors)

    def ask(self, message: object, descriptors: Sequence[int] = ()) -> Deferred[Any]:
        """Ask something; the Deferred has the answer, or fails with ``Refused`` or ``Lost``."""
        answer: Deferred[Any] = Deferred()
        if not self._open:
            answer.errback(Lost())
            return answer
        number = next(self._numbers)
        self._asked[number] = answer
        self._send(_ASKED, number, message, descriptors)
        return answer

    def _send(self, kind: int, number: int, message: object, descriptors: Sequence[int] = ()) -> None:
        if not self._open:
            return
        octets = pickle.dumps((kind, number, message), pickle.HIGHEST_PROTOCOL)
        copies = [os.dup(each) for each in descriptors]
        is_idle = not self._frames
        while len(copies) > MOST_DESCRIPTORS:
            self._queue(pickle.dumps((_BESIDE, 0, None)), 0, copies[:MOST_DESCRIPTORS])
            del copies[:MOST_DESCRIPTORS]
        self._queue(octets, len(descriptors), copies)
        if is_idle:
            self.doWrite()

    def _queue(self, octets: bytes, number: int, beside: Sequence[int]) -> None:
        frame = _Frame(memoryview(HEAD.pack(len(octets), number) + octets), beside)
        self._frames.append(frame)
        self.waiting += len(frame.left)

    def doWrite(self) -> None:
        """Send what the socket takes."""
        frames = self._frames
        try:
            while frames:
                self._send_of(frames[0])
                if not frames[0].left:
                    frames.popleft()
        except BlockingIOError:
            self._reactor.addWriter(self)
            return
        except OSError:
            self._reactor.callLater(0, self._lose)  # not now: the sender is at work
            return
        self._reactor.removeWriter(self)

    def _send_of(self, frame: _Frame) -> None:
        if frame.descriptors:
            rights = array.array("i", frame.descriptors)
            sent = self._socket.sendmsg([frame.left], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            _close(frame.descriptors)
            frame.descriptors = ()
        else:
            sent = self._socket.send(frame.left)
        frame.left = frame.left[sent:]
        self.waiting -= sent

    # What comes

    def doRead(self) -> None:
        """Read once, and pass on the frames that are whole."""
        try:
            size, ancillary, _, _ = self._socket.recvmsg_into([_READ], _ROOM_FOR_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            size, ancillary = 0, []
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._descriptors.extend(array.array("i", content[: len(content) - len(content) % 4]))
        if not size:
            self._lose()
            return
        self._got += memoryview(_READ)[:size]
        self._pass_on()

    def _pass_on(self) -> None:
        at, got = 0, self._got
        self._got = bytearray()
        while self._open and len(got) - at >= HEAD.size:
            size, number = HEAD.unpack_from(got, at)
            if size > LONGEST:
                self._lose()
                return
            begin, end = at + HEAD.size, at + HEAD.size + size
            if len(got) < end:
                break
            at = end
            with memoryview(got) as view, view[begin:end] as part:
                kind, numbered, message = pickle.loads(part)
            there = min(number, len(self._descriptors))
            self._frame(kind, numbered, message, [self._descriptors.popleft() for _ in range(there)])
        if self._open:
            del got[:at]
            self._got = got

    def _frame(self, kind: int, number: int, message: Any, descriptors: list[int]) -> None:
        if kind == _BESIDE:  # they are the next frame's
            return
        if kind in (_ANSWERED, _REFUSED):
            _close(descriptors)
            if (asked := self._asked.pop(number, None)) is not None:
                asked.callback(message) if kind == _ANSWERED else asked.errback(Refused(*message))
            return
        try:
            answer = self._owner.received(message, descriptors)
        except Exception:
            answer = Failure()
        if kind == _SAID:
            answer = None if isinstance(answer, Deferred) else answer
            if isinstance(answer, Failure):
                self._tell(answer, message)
        elif isinstance(answer, Deferred):
            answer.addBoth(self._answer, number, message)
        else:
            self._answer(answer, number, message)

    def _answer(self, answer: object, number: int, message: object) -> None:
        if isinstance(answer, Failure):
            self._tell(answer, message)
            self._send(_REFUSED, number, (answer.getErrorMessage(), getattr(answer.value, "code", None)))
        else:
            self._send(_ANSWERED, number, answer)

    def _tell(self, failure: Failure, message: object) -> None:
        if not failure.check(CtrlServerError):
            self.log.failure("{what} could not be carried out", failure, event="bug", what=type(message).__name__)

    # The end

    def close(self) -> None:
        """Close this end; what is not sent is dropped."""
        if not self._open:
            return
        self._open = False
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._socket.close()
        for frame in self._frames:
            _close(frame.descriptors)
        self._frames.clear()
        _close(self._descriptors)
        self._descriptors.clear()
        asked, self._asked = self._asked, {}
        for each in asked.values():
            each.errback(Lost())

    def _lose(self) -> None:
        if self._open:
            self.close()
            self._owner.lost()

    def connectionLost(self, reason: Failure) -> None:
        """Twisted found that the socket is no good, or the reactor ends."""
        self._lose()

    def fileno(self) -> int:
        """For the reactor."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return type(self).__name__


def _close(descriptors: Any) -> None:
    for each in descriptors:
        os.close(each)
