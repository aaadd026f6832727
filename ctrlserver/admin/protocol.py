"""The Twisted shell around the dialogue: one connection of the admin port, and the factory that bounds how many.

Rules:

- Replies go out as they are made, in order. What the transport does not take is kept here and given on in slices, so
  that a peer that reads is seen to make progress even within one long reply.
- While more than ``Limits.unread_bytes`` are unread, no further line is carried out and nothing more is read; what one
  read had brought stays in the dialogue.
- One turn of the reactor carries out lines for ``Limits.turn_seconds`` at most, over all connections of the factory, so
  that the data streams have their turn too, however many ask. Where several connections have lines, each has a slice
  (``Limits.slice_seconds``, or one line) before any has its next, and who has had none yet comes first: who asks one
  question at a time waits for no flood. Seen with 60 that flood: 1.8 ms at the median, 4.3 ms at p99; where each had a
  whole turn, 69 and 126 ms.
- A list is made row by row, and a turn may end after each: a reply of 9 000 streams is 0.5 s of work. Its rows are of
  the instants at which they were made.
- The peer's end of input (``nc -N``, ``socat``) is no end of the connection: all that was received is answered first.
- A close by us lingers where it can: the reply and our end of the stream go out, and until the peer's own end has come,
  or ``Limits.linger_seconds`` have passed, its input is read and dropped. A socket closed with input unread would reset
  the connection, and the peer might lose the reply.

Beware: Twisted pauses a producer past 64 KiB and resumes it once its buffer is empty; below that it tells nothing, so
whether a small reply is still unread is asked of the reactor.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final, cast

from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorFDSet,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.admin.commands.table import carry_out
from ctrlserver.admin.dialogue import Answer, Dialogue, Event, Request
from ctrlserver.admin.limits import Boundless, Limits, Reserve
from ctrlserver.admin.replies import Long, encode_error, encode_in_steps
from ctrlserver.admin.transports import can_half_close, is_reset, take_urgent_data_in_line
from ctrlserver.admin.turns import Turns
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError

SLICE: Final = 16 * 1024
"""Bytes given to the transport at once from what is kept."""

IN_TRANSPORT: Final = 64 * 1024 + SLICE
"""Bytes that a transport which has paused us may hold: its own mark, and the slice that went past it."""

_EARLY: Final = 0.001
"""Seconds by which a timer may come early, through rounding."""


class Stage(IntEnum):
    """How far a connection has come; it only ever goes on."""

    OPEN = 1
    """Lines are carried out."""
    CLOSING = 2
    """No further line is carried out; the transport has not been given all output."""
    HUNG_UP = 3
    """The transport has all output, and the order to end it."""
    ENDED = 4
    """The peer has been sent all output and its end, or the connection is lost."""


@define
class _Making:
    """A reply in the making."""

    request: Request
    steps: Iterator[bytes]
    octets: bytearray = field(factory=bytearray)


@implementer(IHalfCloseableProtocol, IPushProducer)
class AdminConnection(Protocol):
    """One peer of the admin port."""

    log = Logger()

    def __init__(self, factory: AdminFactory) -> None:
        self._factory = factory
        self._desk = factory.desk
        self._limits = factory.limits
        self._turns = factory.turns
        self._reactor = factory.reactor
        self._dialogue = Dialogue()
        self._kept = bytearray()  # output that the transport has not been given yet
        self._paused = False  # the transport has enough
        self._reading = True
        self._input_ended = False
        self._stage = Stage.OPEN
        self._progress = 0.0  # when lines were carried out last, or while output waits, when some of it went
        self._timer: IDelayedCall | None = None
        self._making: _Making | None = None  # the reply that is not whole yet

    # What the transport tells

    def connectionMade(self) -> None:
        """Register, and turn the peer away where there are too many."""
        transport = self._transport()
        self._progress = self._reactor.seconds()
        self._timer = self._reactor.callLater(min(self._limits.stall_seconds, self._limits.idle_seconds), self._look)
        if ITCPTransport.providedBy(transport) and isinstance(transport.getHost(), IPv4Address | IPv6Address):
            transport.setTcpNoDelay(True)
            take_urgent_data_in_line(transport)
        transport.registerProducer(self, True)
        spare = self._limits.spare if isinstance(transport.getHost(), UNIXAddress) else 0
        wrong = self._factory.admit(self, spare)
        if wrong is not None:
            self._send(encode_error(CommandError(503, "too-many-connections", wrong), json=False))
            self._close()

    def dataReceived(self, data: bytes) -> None:
        """Carry out what has become whole."""
        if self._stage is Stage.OPEN:
            self._dialogue.receive(data)
            self._serve()

    def readConnectionLost(self) -> None:
        """The peer sends no more: answer what has been received, then close."""
        self._input_ended = True
        self._dialogue.finish()
        if self._stage >= Stage.HUNG_UP:
            self._transport().loseConnection()
        elif self._stage is Stage.OPEN:
            self._serve()

    def writeConnectionLost(self) -> None:
        """All output and its end are on their way; now the peer's end is awaited."""
        self._stage = Stage.ENDED
        self._advance()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let go of everything."""
        del reason
        self._stage = Stage.ENDED
        self._making = None
        self._kept.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._factory.forget(self)

    def pauseProducing(self) -> None:
        """The transport has enough: from now on the peer has to read."""
        if not self._paused:
            self._paused = True
            self._advance()

    def resumeProducing(self) -> None:
        """The transport has nothing left."""
        self._paused = False
        self._advance()
        self._flush()
        if self._stage is not Stage.OPEN:
            self._hang_up()
        else:
            self._serve()

    def stopProducing(self) -> None:
        """The connection is lost; ``connectionLost`` follows."""
        self._kept.clear()

    # Lines

    def _serve(self) -> None:
        if not self._turns.serve(self):
            self._stop_reading()

    def carry_on(self) -> bool:
        """Carry out lines while the peer reads and there is time; True where more is left for another slice."""
        if self._making is not None and is_reset(self._transport()):
            self._transport().abortConnection()
            return False
        if not self._paused:
            self._advance()
        while self._stage is Stage.OPEN:
            if self._paused and len(self._kept) + IN_TRANSPORT > self._limits.unread_bytes:
                self._stop_reading()
                return False
            if self._making is not None:
                self._make(self._making)
            elif event := self._dialogue.next_event():
                self._take(event)
            elif self._input_ended:
                self._close()
            else:
                self._read_on()
                return False
            if self._stage is Stage.OPEN and not self._turns.has_time():
                return True
        return False

    def _take(self, event: Event) -> None:
        if isinstance(event, Answer):
            self._send(event.octets)
        elif isinstance(event, Request):
            self._answer(event)
        else:
            self._send(encode_error(event.error, json=event.json))
            if event.closes:
                self._close()

    def _answer(self, request: Request) -> None:
        octets, closes = b"", False
        try:
            command, reply = carry_out(request, self._desk)
            steps = encode_in_steps(command, reply, json=request.json)
            if isinstance(reply, Long):
                self._making = _Making(request, steps)
                return
            octets, closes = b"".join(steps), reply.closes
        except CommandError as error:
            octets = encode_error(error, json=request.json)
        except Exception:
            octets = self._failed(request)
        self._send(octets)
        if closes:
            self._close()

    def _make(self, making: _Making) -> None:
        """One step of a reply that may be long; sent when it is whole, so that a failure half-way is one clear line."""
        try:
            piece = next(making.steps, None)
        except Exception:
            making.octets[:] = self._failed(making.request)
            piece = None
        if piece is not None:
            making.octets += piece
            return
        self._making = None
        self._send(bytes(making.octets))

    def _failed(self, request: Request) -> bytes:
        self.log.failure("admin command {command!r} failed", command=request.words[0])
        wrong = f'"{request.words[0].casefold()}" failed; the log of the server says why'
        return encode_error(CommandError(500, "internal", wrong), json=request.json)

    # Output

    def _send(self, octets: bytes) -> None:
        if not self._paused and not self._kept and len(octets) <= SLICE:
            self._transport().write(octets)
        else:
            self._kept += octets
            self._flush()

    def _flush(self) -> None:
        while self._kept and not self._paused:
            octets = bytes(self._kept[:SLICE])
            del self._kept[:SLICE]
            self._transport().write(octets)

    def _is_unread(self) -> bool:
        """Some output has not been taken by the system yet."""
        if self._paused or self._kept:
            return True
        return IReactorFDSet.providedBy(self._reactor) and self._transport() in self._reactor.getWriters()

    def _stop_reading(self) -> None:
        if self._reading and not self._input_ended:
            self._reading = False
            self._transport().pauseProducing()

    def _read_on(self) -> None:
        if not self._reading and not self._input_ended:
            self._reading = True
            self._transport().resumeProducing()

    # The end

    def _close(self) -> None:
        """Carry out nothing more; send what is left, then end."""
        self._stage = max(self._stage, Stage.CLOSING)
        self._hang_up()

    def _hang_up(self) -> None:
        """End the output, once the transport has all of it."""
        if self._kept or self._stage >= Stage.HUNG_UP:
            return
        self._stage = Stage.HUNG_UP
        self._advance()
        transport = self._transport()
        transport.unregisterProducer()
        if self._input_ended or not can_half_close(transport) or not self._factory.may_linger(self):
            transport.loseConnection()
        else:
            self._read_on()
            transport.loseWriteConnection()

    def close(self) -> None:
        """The server ends: what the transport has goes out, nothing more is made."""
        self._kept.clear()
        if self._stage < Stage.HUNG_UP:
            self._stage = Stage.HUNG_UP
            self._transport().unregisterProducer()
        self._transport().loseConnection()

    # Time

    def _advance(self) -> None:
        """Something went on: patience begins anew."""
        now = self._progress = self._reactor.seconds()
        soonest = now + (self._limits.linger_seconds if self._stage is Stage.ENDED else self._limits.stall_seconds)
        if self._timer is not None and self._timer.active() and self._timer.getTime() > soonest:
            self._timer.reset(soonest - now)

    def _look(self) -> None:
        """Nothing may have gone on for too long."""
        if self._stage is Stage.ENDED:
            patience = self._limits.linger_seconds
        elif self._stage is not Stage.OPEN or self._is_unread():
            patience = self._limits.stall_seconds
        else:
            patience = self._limits.idle_seconds
        left = self._progress + patience - self._reactor.seconds()
        if left > _EARLY:
            self._timer = self._reactor.callLater(left, self._look)
        elif self._stage is Stage.ENDED:
            self._transport().loseConnection()  # what the system still has to send is sent
        elif self._stage is not Stage.OPEN or self._is_unread():
            self._transport().abortConnection()
        else:
            self._timer = self._reactor.callLater(self._limits.stall_seconds, self._look)
            self._close()

    def _transport(self) -> Any:
        return cast(Any, self.transport)


class AdminFactory(Factory):
    """Makes the connections of one or more admin ports; the bounds hold for all of them together."""

    noisy = False

    def __init__(
        self, desk: Desk, reactor: IReactorTime, *, limits: Limits | None = None, reserve: Reserve | None = None
    ) -> None:
        self.desk = desk
        self.reactor = reactor
        self.limits = limits or Limits()
        self.turns = Turns(reactor, self.limits)
        self._reserve = reserve or Boundless()
        self._open: set[AdminConnection] = set()
        self._refused: set[AdminConnection] = set()

    def buildProtocol(self, addr: IAddress | None) -> AdminConnection:
        """A connection; whether it is one too many is seen when it is made."""
        del addr
        return AdminConnection(self)

    def admit(self, connection: AdminConnection, spare: int) -> str | None:
        """Count a new connection, one of ``spare`` more than usual; why it cannot be one, where it cannot."""
        most = self.limits.connections + spare
        wrong = None
        if len(self._open) >= most:
            wrong = f"{most} connections are open, which is the most; try again later"
        elif not self._reserve.enter(spare):
            wrong = f"{len(self._open)} connections are open, and no descriptor is left for another; try again later"
        (self._open if wrong is None else self._refused).add(connection)
        return wrong

    def may_linger(self, connection: AdminConnection) -> bool:
        """Those turned away may not linger in any number."""
        return connection in self._open or len(self._refused) <= self.limits.refused

    def forget(self, connection: AdminConnection) -> None:
        """A connection is gone."""
        if connection in self._open:
            self._open.remove(connection)
            self._reserve.leave()
        self._refused.discard(connection)
        self.turns.forget(connection)

    def close(self) -> None:
        """End all connections."""
        self.turns.stop()
        for connection in [*self._open, *self._refused]:
            connection.close()
