"""What a stream under ``--inject`` sends of its pattern: piece by piece, with what is done to each. PURE.

Model: ``Pieces`` belongs to one stream and has its ``Course``. ``next`` gives the bytes from where the stream stands: a
stretch of packets that nothing strikes, of any length, or one packet that is struck, as the strike makes it.

Rules: a stretch may be sent in parts, and is asked for again from where the stream stands then. A packet that is struck
is given once, when its first byte is about to be sent, and is counted as a hit then. Packets are counted from the
stream's first. ``stall`` strikes before its packet, so its piece has no bytes; all that end a stream otherwise strike
once their packet is sent.

Beware: over UDP a piece is one datagram, and a duplicate a second one. On a stream the two are one piece.
"""

from __future__ import annotations

from attrs import frozen

from ctrlserver.inject.answers import dripped
from ctrlserver.inject.arguments import Drip, Rate
from ctrlserver.inject.strikes import Course, Strike
from ctrlserver.load.plan.pattern import Pattern

#: Actions that leave a stream's bytes as they are.
_SAME_BYTES = ("drip", "slow-read", "reset", "close", "half-close", "stall")


@frozen(eq=False)
class Piece:
    """``octets`` to send, ``copies`` times; ``end`` is the byte of the pattern at which the stream stands then.

    ``strike`` is None for a stretch of packets that nothing strikes.
    """

    octets: memoryview
    end: int
    strike: Strike | None = None
    copies: int = 1

    @property
    def action(self) -> str:
        """The name of what is done to it, empty for nothing."""
        return "" if self.strike is None else self.strike.action.name

    @property
    def changed(self) -> bool:
        """Whether other bytes than the pattern's are sent."""
        return self.strike is not None and self.strike.action.name not in _SAME_BYTES

    @property
    def drip(self) -> Drip | None:
        """The pace at which it leaves."""
        argument = None if self.strike is None else self.strike.action.argument
        return argument if isinstance(argument, Drip) else None

    @property
    def rate(self) -> int | None:
        """Bytes a second at which the target is read once it is sent; None: as fast as it answers."""
        argument = None if self.strike is None else self.strike.action.argument
        return argument.nbytes if isinstance(argument, Rate) else None


class UnderWay:
    """A piece, from its first byte on: how much of it may go, and when.

    ``start``: the byte of the pattern at which it begins. Moments are nanoseconds.
    """

    __slots__ = ("_copies", "_rest", "_taken", "began", "piece", "start")

    def __init__(self, piece: Piece, start: int) -> None:
        self.piece = piece
        self.start = start
        self.began = 0  # when its first byte was offered
        self._rest = piece.octets
        self._copies = piece.copies
        self._taken = 0

    @property
    def whole(self) -> bool:
        """Whether all of it has gone."""
        return not self._rest

    @property
    def stands(self) -> int:
        """The byte of the pattern at which its stream stands."""
        end, taken = self.piece.end, self._taken
        if self.whole:
            return end
        return self.start + (taken if self.piece.strike is None else min(taken, end - self.start - 1))

    @property
    def due(self) -> int:
        """When the next part of a drip may go; of a whole one, when the next packet may."""
        drip = self.piece.drip
        return self.began if drip is None else self.began + -(-self._taken // drip.nbytes) * drip.ns

    def part(self, now: int, *, hurried: bool) -> memoryview:
        """What may go at ``now``: a part of a drip that is not ``hurried``, else all; empty before ``due``."""
        if not self._taken:
            self.began = now
        drip = self.piece.drip
        if drip is None or hurried:
            return self._rest
        may = dripped(len(self.piece.octets), drip.nbytes, drip.ns, (now - self.began) / 1e9) - self._taken
        return self._rest[: max(0, min(drip.nbytes - self._taken % drip.nbytes, may))]

    def took(self, nbytes: int) -> None:
        """So many bytes of that went."""
        self._taken += nbytes
        self._rest = self._rest[nbytes:]
        if not self._rest and self._copies > 1:
            self._rest, self._copies = self.piece.octets, self._copies - 1


class Pieces:
    """The pieces of one stream. ``most``: bytes of a stretch; ``single``: a piece is one packet."""

    __slots__ = ("_course", "_datagrams", "_free", "_most", "_pattern", "_sendable", "_single", "_sized")

    def __init__(
        self, course: Course, pattern: Pattern, sendable: memoryview, *, most: int, single: bool, datagrams: bool
    ) -> None:
        self._course = course
        self._pattern = pattern
        self._sendable = sendable
        self._most = most
        self._single = single
        self._datagrams = datagrams
        self._sized = course.injection.spec.needs_sizes
        self._free = 0  # the byte of the pattern up to which nothing strikes

    @property
    def hits(self) -> int:
        """Packets struck so far."""
        return self._course.hits

    def next(self, sent: int, allowed: int) -> Piece:
        """The piece that begins at byte ``sent`` of the pattern, before ``allowed``, where a packet ends."""
        if sent >= self._free:
            struck = self._look(sent, allowed)
            if struck is not None:
                return struck
        end = min(self._free, allowed, sent + self._most)
        if self._single:
            end = min(end, self._pattern.bytes_of(self._pattern.packets_in(sent) + 1))
        return Piece(self._bytes(sent, end), end)

    def _look(self, sent: int, allowed: int) -> Piece | None:
        """The packet that begins at ``sent`` if it is struck; None, and how far nothing strikes, if it is not."""
        pattern, course = self._pattern, self._course
        packet = pattern.packets_in(sent)
        end = pattern.bytes_of(packet + 1)
        size = 0 if pattern.empty else end - sent
        alike = not (self._sized and pattern.stride == 0)
        packets, strike = course.look(pattern.packets_in(allowed) - packet if alike else 1, size)
        if strike is None:
            course.take(packets, size)
            self._free = pattern.bytes_of(packet + packets)
            return None
        course.take(1, size)
        octets = self._bytes(sent, end)
        if strike.action.name == "stall":
            return Piece(octets[:0], sent, strike)
        if strike.action.name == "duplicate" and self._datagrams:
            return Piece(octets, end, strike, copies=2)
        if strike.action.name not in _SAME_BYTES:
            octets = memoryview(course.changed(strike, course.packets, bytes(octets)))
        return Piece(octets, end, strike)

    def _bytes(self, start: int, end: int) -> memoryview:
        offset = start % len(self._pattern.block)
        return self._sendable[offset : offset + end - start]


class Flow:
    """What goes next, and when. ``piece`` is the latest, ``stands`` the byte of the pattern at which the stream stands.

    A packet that is struck is ended once it is begun; a stretch that nothing strikes is not.
    """

    __slots__ = ("_not_before", "_pieces", "_under_way", "piece", "stands")

    def __init__(self, pieces: Pieces) -> None:
        self.piece = Piece(memoryview(b""), 0)
        self.stands = 0
        self._pieces = pieces
        self._under_way: UnderWay | None = None
        self._not_before = 0

    @property
    def hits(self) -> int:
        """Packets struck, that under way included."""
        return self._pieces.hits

    @property
    def begun(self) -> bool:
        """Whether a packet that is struck is under way."""
        return self._under_way is not None and self._under_way.piece.strike is not None

    def offer(self, allowed: int, now: int, *, hurried: bool) -> memoryview | int:
        """Bytes that may go at ``now``, up to byte ``allowed`` of the pattern, or the moment when some may.

        Of a ``stall`` there are none, nor ever any more.
        """
        if self._under_way is None or not self.begun:
            if now < self._not_before and not hurried:
                return self._not_before
            self.piece = piece = self._pieces.next(self.stands, allowed)
            self._under_way = UnderWay(piece, self.stands)
        part = self._under_way.part(now, hurried=hurried)
        return part if part or self._under_way.whole else self._under_way.due

    def took(self, nbytes: int) -> Piece | None:
        """So many of the bytes offered went; the piece, if all of it has."""
        under_way = self._under_way
        assert under_way is not None
        under_way.took(nbytes)
        self.stands = under_way.stands
        if not under_way.whole:
            return None
        self._under_way, self._not_before = None, under_way.due
        return under_way.piece
