"""One connection of the admin port, and the factory that makes it: the Twisted shell.

Who calls whom::

    transport -- dataReceived --> AdminConnection -- receive, next_event --> Dialogue   bytes to requests, no socket
                                    |       |     -- carry_out ------------> commands   a request to a reply
                                    |       +----- serve ------------------> Turns ---> carry_on, when there is time
                                    |       +----- wait_for -------------> Call  -----> _serve, when figures are of now
    transport <-- write -- _send ---+
                                            AdminPorts: admit, may_linger, forget

``AdminConnection`` alone knows the transport. ``Turns`` alone calls ``carry_on``; who wakes us calls ``_serve``.

A connection is in one ``Stage`` and never goes back::

    OPEN      lines are carried out         until ``quit``, HTTP, idleness, a rejection, or the answered end of input
    HUNG_UP   the transport is to end       until the peer has been sent all output, and our end
    ENDED     input is read and dropped     until the peer's own end, or ``linger_seconds``

Three things slow an OPEN connection down. If the peer does not read, the transport pauses us, and we carry out, make
and read nothing until ``resumeProducing``. If others ask too, it queues in ``Turns`` and reads nothing until its turn.
If figures of now are to be had of workers, it carries out and reads nothing until they are there; nor while workers do
not yet go by what a line has ordered. What one read brought (``read_bytes``) stays in the dialogue meanwhile.

Rules:

- Replies go out in the order of their lines, and in slices: a peer that reads makes progress within one long reply.
- A list is made row by row, each row of its own instant, as the peer reads it: what is not read is not made. If it
  fails half-way, a text ends with an ERR line, and a line of JSON has no end: the connection is closed.
- The peer's end of input (``nc -N``, ``socat``, also over TLS) ends nothing before all lines received are answered.
- We linger where we can (not over TLS): closed with input unread, a socket resets, and the peer may lose the reply.
- One timer a connection (``Patience``). Output unread for ``stall_seconds`` without progress aborts the connection.
- A seat is for those who use it: only a whole line renews ``idle_seconds``. A line begun that does not end within
  ``line_seconds`` ends the connection, and so does a TLS handshake after ``handshake_seconds``.

What must never happen: two replies mixed; a reply without its status line; a line carried out after ``quit``; memory
that grows with what a peer does not read; a turn that a flood makes longer than ``turn_seconds`` and one step.

Beware: below ``read_bytes`` Twisted pauses no producer; whether a small reply is unread is asked of the reactor.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Any, Final

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    ISSLTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.admin import transports
from ctrlserver.admin.commands.command import Command
from ctrlserver.admin.commands.table import call_of, carry_out
from ctrlserver.admin.dialogue import Answer, Dialogue, Event, Fault, Interrupt, More, Request
from ctrlserver.admin.limits import Limits
from ctrlserver.admin.making import SLICE, Making, wrong
from ctrlserver.admin.patience import Awaited, Patience
from ctrlserver.admin.ports import AdminPorts
from ctrlserver.admin.refreshing.calls import Call
from ctrlserver.admin.replies import Long, Reply, encode_error, encode_in_steps
from ctrlserver.admin.session import LOOKING_ONLY, Access, Session
from ctrlserver.admin.waiting import Later
from ctrlserver.desk import of_now
from ctrlserver.errors import CommandError

UNREAD: Final = Limits().read_bytes + SLICE
"""Bytes that wait for a peer which does not read: up to the transport's mark, and a slice that went past it."""

LINES_AHEAD: Final = 4
"""Lines that are read while a reply is waited for, so that a Ctrl-C behind them is seen."""


class Stage(IntEnum):
    """How far a connection has come, as the module says; one that is lost has ENDED."""

    OPEN = 1
    HUNG_UP = 2
    ENDED = 3


@implementer(IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class AdminConnection(Protocol):
    """One peer of the admin port."""

    def __init__(self, ports: AdminPorts, access: Access, *, local: bool, client: str = "") -> None:
        self._ports = ports
        self._session = Session(access=access, readings=ports.readings, journal=ports.journal, ports=ports.accesses)
        self._spare = ports.limits.spare if local else 0
        self._client = client  # whom a proxy announces; it stands for the peer of the socket
        self.weight = ports.limits.connections if local else 1
        self._desk = ports.desk
        self._limits = ports.limits
        self._turns = ports.turns
        self._reactor = ports.reactor
        self._dialogue = Dialogue()
        self._paused = False  # the transport has enough
        self._reading = True
        self._fruitless = False  # the last slice parsed something, and nothing came of it
        self._input_ended = False
        self._stage = Stage.OPEN
        self._patience = Patience(ports.reactor, ports.limits, self._awaited, self._expired)
        self._freshness = None if ports.desk.fresh is of_now else ports.readings.freshness
        self._call: Call | None = None  # the line that waits for figures of now, or its reply for the workers
        self._making: Making | None = None  # the reply that is not whole yet
        self._later: Later | None = None  # the reply that goes on by itself
        self._lines = 0  # of the dialogue when that began
        self._ahead: deque[Event] = deque()  # lines that came meanwhile

    def connectionMade(self) -> None:
        """Register; reject the peer where there are too many."""
        transport = self._transport()
        transports.set_up(transport, self._limits.read_bytes, self.readConnectionLost)
        self._patience.begin(shaking=ISSLTransport.providedBy(transport))
        self._session.peer, self._session.transport = transports.peer_of(transport)
        self._session.peer = self._client or self._session.peer
        transport.registerProducer(self, True)
        if (wrong := self._ports.admit(self, self._spare)) is not None:
            self._send(encode_error(CommandError(503, "too-many-connections", wrong), json=False))
            self._close()

    def handshakeCompleted(self) -> None:
        """The TLS handshake is over."""
        self._patience.handshake_over()

    def dataReceived(self, data: bytes) -> None:
        """Carry out what has become whole."""
        if self._stage is Stage.OPEN:
            self._desk = self._desk.for_questions()
            self._dialogue.receive(data)
            self._serve()

    def readConnectionLost(self) -> None:
        """The peer sends no more: answer what it has sent, then close."""
        self._input_ended = True
        self._desk = self._desk.for_questions()
        self._dialogue.finish()
        if self._stage is Stage.OPEN:
            self._serve()
        else:
            self._transport().loseConnection()

    def writeConnectionLost(self) -> None:
        """All output and its end are on their way; now the peer's end is awaited."""
        self._stage = Stage.ENDED
        self._patience.advance()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let go of everything."""
        self._stage = Stage.ENDED
        self._making = None
        if (pending := self._call or self._later) is not None:
            pending.cancel()
        self._call = self._later = None
        self._patience.end()
        self._ports.forget(self)

    def pauseProducing(self) -> None:
        """The transport has enough: from now on the peer has to read."""
        if not self._paused:
            self._paused = True
            self._patience.advance()

    def resumeProducing(self) -> None:
        """The transport has nothing left."""
        self._paused = False
        self._patience.advance()
        if self._stage is Stage.OPEN:
            self._fruitless = self._fruitless or self._making is not None or self._has_input
            self._serve()

    def stopProducing(self) -> None:
        """The connection is lost; ``connectionLost`` follows."""

    def _serve(self) -> None:
        if not self._turns.serve(self, had_a_slice=self._fruitless):
            self._stop_reading()
        elif self._stage is Stage.OPEN:
            transports.send_now(self._transport(), self._reactor)

    def carry_on(self) -> bool:
        """Carry out lines while the peer reads and there is time; True where more is left for another slice."""
        if self._making is not None and transports.is_reset(self._transport()):
            self._transport().abortConnection()
            return False
        self._fruitless = self._has_input
        while self._stage is Stage.OPEN:
            if self._paused:
                self._stop_reading()
                return False
            if self._call is not None:
                if not self._call.is_ready:
                    self._stop_reading()
                    return False
                self._go_on_with(self._call)
            elif self._making is not None:
                self._make(self._making)
            elif self._later is not None:
                if self._go_on(self._later):
                    return False
            elif event := self._ahead.popleft() if self._ahead else self._dialogue.next_event():
                self._take(event)
            elif self._input_ended:
                self._close()
            else:
                self._read_on()
                self._patience.time_the_line(self._dialogue)
                return False
            if (self._making or self._has_input) and not self._turns.has_time():
                return self._stage is Stage.OPEN
        return False

    def _take(self, event: Event) -> None:
        self._fruitless = self._fruitless and isinstance(event, More | Interrupt)
        if isinstance(event, Request | Fault):
            self._patience.advance()
        if isinstance(event, Answer):
            self._send(event.octets)
        elif isinstance(event, Request):
            self._begin(event)
        elif isinstance(event, Fault):
            self._send(encode_error(event.error, json=event.json))
            if event.closes:
                self._close()

    def _begin(self, request: Request) -> None:
        """Carry the line out, or wait for what it reads to be of now."""
        try:
            command = call_of(request, self._desk, self._session)
            may_wait = self._freshness is not None or command.elsewhere
            if may_wait and (fresh := command.fresh(self._desk, self._ports.readings.freshness)) is not None:
                self._call = Call(request, command)
                self._call.wait_for(fresh, self._serve)
                return
        except Exception as error:
            self._send(wrong(self._ports.journal, request, error))
        else:
            self._answer(request, command)

    def _answer(self, request: Request, command: Command, known: Reply | None = None) -> None:
        closes = False
        try:
            reply = carry_out(command, request, self._desk, self._session) if known is None else known
            if not isinstance(reply, Reply):
                self._later, self._lines = reply, self._dialogue.lines
                reply.begin(self._serve, json=request.json)
                self._patience.watch_over()
                transports.send_probes_to(self._transport(), self._limits.probed_seconds)
                return
            if known is None and not command.only_reads() and (settled := self._desk.settled()) is not None:
                self._call = Call(request, command, reply)
                self._call.wait_for(settled, self._serve)
                return
            steps = encode_in_steps(command.command, reply, json=request.json)
            if isinstance(reply, Long):
                self._making = Making(request, steps, self._ports.journal)
                return
            octets, closes = b"".join(steps), reply.closes
        except Exception as error:
            octets = wrong(self._ports.journal, request, error)
        self._send(octets)
        if closes:
            self._close()

    def _go_on_with(self, call: Call) -> None:
        """What it reads is of now, or could not be had."""
        self._call = None
        if call.failure is None:
            self._answer(call.request, call.command, call.reply)
        else:
            self._send(call.wrong(self._ports.journal))

    def _make(self, making: Making) -> None:
        self._patience.advance()
        self._send(making.more(self._turns.has_time))
        if making.ended:
            self._making = None
        if making.broken:
            self._close()

    def _go_on(self, later: Later) -> bool:
        """Send what a reply has that comes later; True if now it is to be waited for."""
        has_room = len(self._ahead) < LINES_AHEAD
        event = self._dialogue.next_event() if has_room and self._dialogue.is_fed else None
        if isinstance(event, Interrupt):
            later.interrupt()
            event = self._dialogue.next_event()  # telnet shows nothing that comes before the answer to DO TIMING-MARK
        elif later.ends_at_a_line and (isinstance(event, Request | Fault) or self._lines != self._dialogue.lines):
            later.interrupt()
            event = event if isinstance(event, Fault) and event.closes else None
        if isinstance(event, Answer):
            self._send(event.octets)
        elif isinstance(event, Request | Fault):
            self._ahead.append(event)
        self._send(later.more())
        if later.ended:
            self._later = None
            self._patience.advance()
            if later.closes:
                self._close()
        elif not has_room:
            self._stop_reading()
        elif event is None:
            self._read_on()
        return self._later is not None and event is None

    @property
    def _has_input(self) -> bool:
        return bool(self._ahead) or self._dialogue.has_input

    def _send(self, octets: bytes) -> None:
        if octets:
            self._transport().write(octets)

    def _stop_reading(self) -> None:
        if self._reading and not self._input_ended:
            self._reading = False
            self._transport().pauseProducing()

    def _read_on(self) -> None:
        if not self._reading and not self._input_ended:
            self._reading = True
            self._transport().resumeProducing()

    def _close(self) -> None:
        """Carry out nothing more, and end the output once all of it is sent."""
        if self._stage >= Stage.HUNG_UP:
            return
        self._stage = Stage.HUNG_UP
        self._patience.advance()
        transport = self._transport()
        transport.unregisterProducer()
        if self._input_ended or not transports.can_half_close(transport) or not self._ports.may_linger(self):
            transport.loseConnection()
        else:
            self._read_on()
            transport.loseWriteConnection()

    def close(self) -> None:
        """The server ends: what the transport has goes out, nothing more is made."""
        if (pending := self._call or self._later) is not None and self._stage is Stage.OPEN:
            pending.stop()
            self._send(pending.more())
            self._call = self._later = None
        if self._stage < Stage.HUNG_UP:
            self._stage = Stage.HUNG_UP
            self._transport().unregisterProducer()
        self._transport().loseConnection()

    def _awaited(self) -> Awaited:
        if self._stage is Stage.ENDED:
            return Awaited.END
        if self._stage is not Stage.OPEN or self._paused or transports.is_unread(self._transport(), self._reactor):
            return Awaited.READING
        return Awaited.LINE if self._call is None and self._later is None else Awaited.NOTHING

    def _expired(self, awaited: Awaited, is_late: bool) -> None:
        if awaited is Awaited.END:
            self._transport().loseConnection()  # the kernel still sends what it has
        elif awaited is Awaited.NOTHING:
            if transports.is_gone(self._transport()):
                self._transport().abortConnection()
        elif awaited is Awaited.READING or self._patience.is_shaking:
            self._transport().abortConnection()
        else:
            if is_late:
                wrong = f"a line has {self._limits.line_seconds:g} s to end, and this one has not"
                self._send(encode_error(CommandError(408, "timeout", wrong), json=False))
            self._close()

    def _transport(self) -> Any:
        return self.transport


class AdminPort(Factory):
    """One admin port, and what it grants; ``access`` may be replaced, for the connections that follow."""

    noisy = False

    def __init__(self, ports: AdminPorts, access: Access = LOOKING_ONLY) -> None:
        self.access = access
        self._ports = ports
        ports.all.append(self)

    def buildProtocol(self, addr: IAddress | None) -> AdminConnection:
        """A connection. Whether it is one too many is decided when it is made.

        ``addr`` is the peer's own: whoever comes from the network, by a proxy's unix socket, takes no local seat.
        """
        announced = getattr(addr, "peer", "")  # "unix" where a proxy on a unix socket announces nobody
        client = announced if ":" in announced else ""
        return AdminConnection(self._ports, self.access, local=isinstance(addr, UNIXAddress), client=client)
