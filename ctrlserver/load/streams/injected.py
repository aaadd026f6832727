"""Streams that misbehave by ``--inject``: they send what a ``Flow`` gives, at the pace, and with the end, ordered.

Model: one class for modes send and request, with or without a schedule, that gives up speed for exactness. ``sent``
stays a number of bytes of the pattern, so that limits, replies and schedules are as ever; ``wire_bytes`` are those that
went, and ``Recount`` says what a server makes of them.

==========  ===========================================================================================================
drip        the next part leaves by a timer; at the end of the time what is left goes at once
slow-read   from when its packet goes, the target is read at the rate, until another packet goes or all is sent
stall       nothing is sent or read any more: until the time of the run is up, or else the stream is done
half-close  our side closes after the packet; in request mode the replies are still awaited
close,      once the target's system has acknowledged all, or after a second; a reset may lose what is not then,
reset       and how much that is, is told (streams/departure.py)
==========  ===========================================================================================================

Rules: a target that ends a stream after it was struck has its reasons, and the run goes on; which stream and how is
noted, and ``--admin`` holds the server's reason to ours. A target that makes no progress fails the run as ever.
"""

from __future__ import annotations

import select

from attrs import Factory, define, field

from ctrlserver.inject.strikes import Strike
from ctrlserver.lane.due import Due
from ctrlserver.load.measure.injections import Struck, Tally
from ctrlserver.load.plan.pieces import Flow, Piece
from ctrlserver.load.plan.recount import Recount
from ctrlserver.load.streams.answers import Answers
from ctrlserver.load.streams.departure import Departure
from ctrlserver.load.streams.ear import Ear
from ctrlserver.load.streams.outgoing import derived
from ctrlserver.load.streams.sender import BURST_PACKETS, Sender
from ctrlserver.load.streams.wire import CLOSED, INJECTED, REPLY_FAULT, RESET, STALLED, SURPLUS, Connection
from ctrlserver.words import counted

#: How a target may end a stream that was struck.
EXCUSED = (RESET, CLOSED, REPLY_FAULT, SURPLUS)

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


@define(eq=False)
class Injected(Sender):
    """A sender of a ``flow``; in request mode it awaits ``answers``. ``moments`` calls it later.

    ``stays``: the run has a time, for which a stall lasts. ``connection`` is None over UDP, where no action ends a
    stream.
    """

    metered = True

    struck: Tally = Factory(Tally)
    wire_bytes: int = 0
    _flow: Flow = field(kw_only=True)
    _answers: Answers | None = field(default=None, kw_only=True)
    _moments: Due = field(kw_only=True)
    _recount: Recount = field(kw_only=True)
    _connection: Connection | None = field(kw_only=True)
    _stays: bool = field(kw_only=True)
    counts_replies: bool = derived(lambda self: self._answers is not None)
    _ear: Ear = derived(lambda self: Ear(self.socket, self._moments, lambda: self._watch(self._events())))
    _begun_at: int = 0  # nanoseconds, the latest packet
    _filling: bool = False
    _held: bool = False  # nothing goes until a moment comes
    _hurried: bool = False  # the time is up: drips go out whole
    _departure: Departure | None = None  # waits until all that was sent has arrived
    _frozen: bool = False  # by a stall

    # What the run asks

    @property
    def moved(self) -> int:
        """Bytes sent, as they went."""
        return self.wire_bytes

    @property
    def progress(self) -> int:
        """A number that grows as long as the target reads or answers."""
        return self.wire_bytes + self.sent + self.reply_bytes + self.replies

    @property
    def idle(self) -> bool:
        """Whether no progress is expected: a moment is waited for, or nothing is due and nothing awaited."""
        if self._held and not self._hurried:
            return True
        return self.releases is not None and self.sent >= self._allowed and not self.in_flight

    @property
    def in_flight(self) -> int:
        """Packets that are not answered."""
        return 0 if self._answers is None else self._answers.outstanding

    def outcome(self) -> Struck:
        """What was done to the stream."""
        lost = self.struck.unconfirmed_bytes
        least = expected = self._recount.packets(self.packets)
        if lost:
            least = max(0, expected - lost) if self._recount.changed else self._pattern.packets_in(self.sent - lost)
        return self.struck.published(expected, least, self._recount.faulty)

    def so_far(self) -> str:
        """For the line that says why the stream is over."""
        came = f" and {counted(self.replies, 'reply', 'replies')} had come" if self._answers is not None else ""
        return super().so_far() + came

    # What the run orders

    def start(self, limit: int) -> None:
        """Send up to byte ``limit`` from now on; nothing if the stream has ended, or stalls."""
        self._hurried = False
        if self.over or self.half_closed or self._frozen:
            self.reason = INJECTED
            self.observer.stream_done(self)
        else:
            super().start(limit)

    def bound(self, limit: int) -> None:
        """Another limit while sending."""
        super().bound(limit)
        self._allowed = min(self._allowed, self.limit)

    def release(self, count: int, first: int, last: int) -> None:
        """Send so many packets more, unless the stream stalls."""
        if self.active and not self._frozen and self.releases is not None:
            self.releases.add(count, first, last, self._pattern.packets_in(self.limit))
            if not self._blocked:
                self._fill()

    def end_at_packet(self, reason: str) -> None:
        """Begin no further packet; what drips goes out whole."""
        if not self.active:
            return
        if self._frozen:
            self.reason = INJECTED
            self._done()
            return
        if self._answers is not None:
            packets_in, whole = self._pattern.packets_in, self._pattern.whole(self.sent)
            self._answers.outstanding -= packets_in(self._allowed) - packets_in(whole)
        super().end_at_packet(reason)
        if self.active and self._departure is None:
            self._hurried, self._held = True, False
            self._fill()

    def half_close(self) -> None:
        """Close our side, unless an injection has."""
        if not self.half_closed:
            super().half_close()

    def relent(self) -> None:
        """All is sent: read as it comes, so that the target can get rid of what it owes."""
        self._ear.rate = None
        if self._ear.deaf and not self.over:
            self._ear.deaf = False
            self._watch(_IN)

    def leave(self) -> None:
        """Leave the lane, and wait for no moment any more."""
        self._moments.forget(self)
        self._moments.forget(self._ear)
        if self._departure is not None:
            self._moments.forget(self._departure)
        super().leave()

    def fail(self, reason: str, message: str) -> None:
        """End the stream; the run goes on if the target ended it after it was struck."""
        if self._flow.hits and reason in EXCUSED:
            self.struck.said = self.struck.said or message
            self._be_over(reason)
        else:
            super().fail(reason, message)

    def stall(self, seconds: float) -> None:
        """The watchdog saw no progress for so long: fail."""
        reading = self._answers is None or self.sent < self._allowed
        words = "the target does not read" if reading else f"the target does not answer any more; {self.so_far()}"
        self.fail(STALLED, f"no progress on {self} for {seconds:g} s: {words}")

    # What the lane and the timer call

    def ready(self, events: int) -> None:
        """Read what the target says, then send on."""
        if events & ~_OUT and not self._drop():
            return
        if self.active and events & _OUT:
            self._fill()

    def due(self, now: int) -> None:
        """The moment has come."""
        if self.active:
            self._held = False
            self._fill()

    # Sending

    def _go(self) -> None:
        self._fill()

    def _fill(self) -> None:
        """Send what is allowed, piece by piece, as far as the kernel takes it and no moment has to come first."""
        if self._filling:
            return
        self._filling = True
        for _ in range(BURST_PACKETS):
            if self._held or not self.active:
                break
            if not self._flow.begun and self.sent >= self._allowed and not self._allow_more():
                break
            if not self._send_some():
                break
        self._filling = False
        if self.over:
            return
        blocked = self.active and not self._held and (self._flow.begun or self.sent < self._allowed)
        if blocked != self._blocked:
            self._blocked = blocked
            self._watch(self._events())
        self._check_done()

    def _allow_more(self) -> bool:
        """Allow what the limit, the schedule and the replies awaited have room for; whether that is more."""
        pattern, answers = self._pattern, self._answers
        begun = pattern.packets_in(self._allowed)
        more = pattern.packets_in(self.limit) - begun
        if self.releases is not None:
            more = min(more, self.releases.packets - begun)
        if answers is not None:
            more = min(more, answers.most - answers.outstanding)
            answers.outstanding += max(0, more)
        if more > 0:
            self._allowed = pattern.bytes_of(begun + more)
        return more > 0

    def _send_some(self) -> bool:
        """Offer the kernel something once; False if that was all for now."""
        now = self._clock()
        part = self._flow.offer(self._allowed, now, hurried=self._hurried)
        piece = self._flow.piece
        if isinstance(part, int):
            self._held = True
            self._moments.at(self, part)
            return False
        if piece.action == "stall":
            self._freeze(piece)
            return False
        self._ear.rate = piece.rate
        if piece.changed:
            self._recount.begin(self.packets)
        try:
            taken = self._send(part)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lost(error)
            return False
        gone = self._flow.took(taken)
        self.sent = self._flow.stands
        self._went(part[:taken], now)
        if gone is not None:
            self._gone(gone)
        return taken == len(part)

    def _went(self, octets: memoryview, now: int) -> None:
        """Count what the kernel has taken, which was offered to it at ``now``."""
        self.last = self.lane.clock()
        self.writes += 1
        self.wire_bytes += 0 if self._pattern.empty else len(octets)
        self._recount.went(octets)
        pattern = self._pattern
        begun = pattern.packets_in(pattern.whole(self.sent)) - self._begun_packets
        if begun > 0:
            self._begun_packets += begun
            self._begun_at = now
            if self._answers is None and self.releases is not None:
                self.releases.begun(begun, now)

    def _gone(self, piece: Piece) -> None:
        """All of ``piece`` went; in request mode it is one packet."""
        if self._answers is not None:
            answers = self._recount.answers(2 if piece.action == "duplicate" else 1)
            due = [] if self.releases is None else self.releases.begun(1, self._begun_at)
            self._answers.gone(answers, self._begun_at, due)
        if piece.strike is not None:
            self._carry_out(piece.strike)

    # What ends a stream

    def _carry_out(self, strike: Strike) -> None:
        """The packet that is struck went: do what comes after it."""
        if strike.action.name in ("reset", "close"):
            self._held = True
            self._departure = Departure(self._moments, self._unsent, lambda unsent: self._depart(strike, unsent))
            self._departure.due(self._clock())
            return
        self.struck.strikes[strike] += 1
        if strike.action.name == "half-close":
            super().half_close()
            if self.active:
                self.end_at_packet(INJECTED)

    def _unsent(self) -> int:
        """Bytes not yet acknowledged; a unix socket, without an address, loses nothing."""
        return self.unsent_bytes() + self._connection.unwritten() if self.local and self._connection else 0

    def _depart(self, strike: Strike, unsent: int) -> None:
        self.struck.strikes[strike] += 1
        self.struck.unconfirmed_bytes = min(unsent, self.wire_bytes)
        self.leave()
        if self._connection is not None:
            self._connection.hang_up(reset=strike.action.name == "reset")
        self._be_over(INJECTED)

    def _be_over(self, reason: str) -> None:
        """End, without a failure of the run."""
        self.active = False
        self.over = True
        self.reason = reason
        self.leave()
        self.observer.stream_done(self)
        self.observer.stream_ended(self)

    def _freeze(self, piece: Piece) -> None:
        """Neither send nor read from now on."""
        assert piece.strike is not None
        self.struck.strikes[piece.strike] += 1
        self._frozen = self._held = self._ear.deaf = True
        if self.releases is not None:
            self.releases.end(self.packets)
        self._watch(0)
        if not self._stays:
            self.end_at_packet(INJECTED)

    def _check_done(self) -> None:
        answers = self._answers
        if not self.active or self._departure is not None or self._frozen or self.sent < self.limit or self.in_flight:
            return
        if answers is not None and answers.framing.pending_bytes and not self._recount.changed:
            reason, words = answers.too_many(self.packets)
            self.fail(reason, f"{self}: {words}")  # else it may be of a reply to a packet that lacks its end
        else:
            self._done()

    def _ended(self) -> None:
        """The target has closed its side."""
        if self.active and self._answers is not None:
            self.fail(CLOSED, f"{self}: the target closed the connection early, after {self.so_far()}")
        elif self.active and not self.half_closed:
            self._watch(self._events())
        else:
            super()._ended()
            self.over = self.over or self.half_closed

    # Reading

    def _watch(self, events: int) -> None:
        if self._ear.deaf or self.eof:
            events &= ~_IN
        if events:
            super()._watch(events)
        else:
            super().leave()

    def _drop(self) -> bool:
        """Read one chunk, and count its replies; False if the stream is over by it."""
        view = self.lane.copy_view
        try:
            size = self._ear.receive(view)
        except BlockingIOError:
            return True
        except OSError as error:
            self._lost(error)
            return False
        if not size:
            self._read_nothing()
        elif self._answers is not None and not self._frozen:
            self._heard(self._answers, view[:size])
        return not self.over

    def _read_nothing(self) -> None:
        """The target has closed its side; over UDP it is an empty datagram, which may be a reply."""
        if not self.kind.closes and self._answers is not None:
            self._heard(self._answers, memoryview(b""))
        else:
            super()._read_nothing()

    def _heard(self, answers: Answers, octets: memoryview) -> None:
        """Count replies, and send what may be sent for them."""
        wrong = answers.too_many(self.packets) if not self.half_closed else None
        if self.active:
            wrong = answers.heard(octets, self.packets, self._clock())
            self.replies = answers.replies
            self.reply_bytes += len(octets)
            self.last = self.lane.round_began
        if wrong is not None:
            self.fail(wrong[0], f"{self}: {wrong[1]}")
        elif self.active:
            self._fill()
