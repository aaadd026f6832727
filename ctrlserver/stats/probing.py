"""Loss, duplicates, reordering and delay of one stream, from its probe packets.

Rules, for a packet by its sequence number:

- Ahead of the highest so far: new, and those between are lost until they arrive.
- Behind it and not seen before: ``out_of_order``, and no longer lost. If it is below the first one seen, it becomes the
  first.
- Seen before: ``duplicate``. A bitmap holds which of the last WINDOW sequences were seen. Of those further behind we
  know only how many are missing: while some are, a packet that late counts as one of them, otherwise as a duplicate.

So lost + received once = highest - first + 1, always. Packets lost before the first one seen, or after the last, do
not count.

A sender that starts its sequence again begins a new session, and earlier losses stay counted. We recognise it by its
session number; by a sequence near 0, further behind than the window, with a send time after that of the highest; and by
a step of more than FARTHEST either way. Late packets of the session before the present one are still recognised.

Beware: ``lost`` may fall. A sender that starts again within the window and keeps its session number looks like one
that sends duplicates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ctrlserver.stats.delays import Delays

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW = 4096
"""Sequences up to the highest that the bitmap covers: 512 bytes a session, two sessions a stream.
At a million packets/s they are the last 4 ms."""

FARTHEST = 1 << 32
"""A longer step is a restart, not loss: at a million packets/s it would be an outage of more than an hour."""

FEWEST = 64
"""Packets of a stretch from which arrays cost less than entering them one by one."""

_SEEN = (1 << WINDOW) - 1


class ProbeFigures(NamedTuple):
    """What the probe packets of a stream came to, by the names that are published."""

    lost: int
    duplicate: int
    out_of_order: int
    jitter_seconds: float
    delay_p50_seconds: float | None
    delay_p99_seconds: float | None


class _Session:
    """The sequences of one session; bit ``i`` of ``seen`` is the sequence ``highest - i``. ``unique`` were received.

    ``newest`` is the send time of the highest.
    """

    __slots__ = ("first", "highest", "newest", "number", "seen", "unique")

    def __init__(self, number: int, sequence: int, sent: int) -> None:
        self.number = number
        self.first = sequence
        self.highest = sequence
        self.newest = sent
        self.seen = 1
        self.unique = 1

    @property
    def lost(self) -> int:
        """Missing between the first and the highest."""
        return self.highest - self.first + 1 - self.unique


class Probing:
    """The probe packets of one stream. Times are whole nanoseconds since 1970."""

    __slots__ = ("_before", "_lost", "_session", "delays", "duplicate", "out_of_order", "sessions")

    def __init__(self) -> None:
        self.delays = Delays()
        self.duplicate = 0
        self.out_of_order = 0
        self.sessions = 0
        self._lost = 0
        self._session: _Session | None = None
        self._before: _Session | None = None

    @property
    def lost(self) -> int:
        """Sequences missing between the first and the highest of each session."""
        return self._lost + sum(session.lost for session in (self._session, self._before) if session is not None)

    def figures(self) -> ProbeFigures:
        """All of them now. The delays cost up to some hundred microseconds."""
        p50, p99 = self.delays.seconds((0.5, 0.99))
        return ProbeFigures(self.lost, self.duplicate, self.out_of_order, self.delays.jitter / 1e9, p50, p99)

    def take(self, session: int, sequence: int, sent: int, arrived: int) -> None:
        """One packet."""
        self.delays.take(sent, arrived)
        self._place(session, sequence, sent)

    def take_all(
        self,
        session: int | list[int],
        sequences: list[int] | NDArray[Any],
        sent: list[int] | NDArray[Any],
        arrived: int,
    ) -> None:
        """Packets that arrived together, in order: numbers in lists, or in arrays of uint64 and int64.

        ``session``: that of all, or a list of each one's.

        Arrays are entered a rising stretch of the sequence at a time, where stretches are long; else packet by packet.
        """
        if not len(sequences):
            return
        if isinstance(sequences, list) or isinstance(sent, list):
            for number, sequence, time in zip(_each(session, len(sent)), sequences, sent, strict=True):
                self.take(number, sequence, time, arrived)
            return
        self.delays.take_all(sent, arrived)
        import numpy as np

        # Cut where the sequence does not rise, or by a window and more.
        left, right = sequences[:-1], sequences[1:]
        cuts = np.flatnonzero((right <= left) | (right - left >= WINDOW))
        if isinstance(session, list) or len(cuts) * FEWEST > len(sequences):
            sessions = _each(session, len(sent))
            for number, sequence, time in zip(sessions, sequences.tolist(), sent.tolist(), strict=True):
                self._place(number, sequence, time)
            return
        start = 0
        for end in [*(cuts + 1).tolist(), len(sequences)]:
            while start < end:
                sequence = int(sequences[start])
                into = self._place(session, sequence, int(sent[start]))
                start += 1
                if into is not None and start < end:
                    self._extend(into, sequences[start:end], int(sent[end - 1]))
                    start = end

    @staticmethod
    def _extend(into: _Session, sequences: NDArray[Any], sent: int) -> None:
        """Enter sequences that rise from the highest, each by less than a window."""
        count = len(sequences)
        last = int(sequences[-1])
        span = last - into.highest
        if span == count:
            new = (1 << min(span, WINDOW)) - 1
        else:
            import numpy as np

            bits = np.zeros(WINDOW, np.uint8)
            behind = np.uint64(last) - sequences[-WINDOW:]
            bits[behind[behind < WINDOW].astype(np.int64)] = 1
            new = int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")
        into.seen = (into.seen << span | new) & _SEEN if span < WINDOW else new
        into.highest = last
        into.newest = sent
        into.unique += count

    def _place(self, number: int, sequence: int, sent: int) -> _Session | None:
        """Enter one sequence; return its session if it is now the highest there."""
        session = self._session
        if session is None:
            return self._begin(number, sequence, sent)
        before = self._before
        if number != session.number:
            if before is None or number != before.number:
                return self._begin(number, sequence, sent)
            session = before
        ahead = sequence - session.highest
        if ahead > 0:
            if ahead >= WINDOW:
                # A sequence far ahead may be a late one of the session before.
                if before and before.number == number and sequence <= before.highest and sent < session.newest:
                    self._late(before, sequence)
                    return None
                if ahead > FARTHEST:
                    return self._begin(number, sequence, sent)
            session.seen = (session.seen << ahead | 1) & _SEEN if ahead < WINDOW else 1
            session.highest = sequence
            session.newest = sent
            session.unique += 1
            return session
        if ahead <= -WINDOW:
            restarted = sequence < WINDOW and sent > session.newest
            if restarted or ahead < -FARTHEST:
                return self._begin(number, sequence, sent)
        self._late(session, sequence)
        return None

    def _late(self, session: _Session, sequence: int) -> None:
        """Enter a sequence that is not above the highest."""
        behind = session.highest - sequence
        if behind < WINDOW:
            bit = 1 << behind
            known = session.seen & bit
            session.seen |= bit
        else:
            # Below the window the bitmap ends: compare how many were received with how many there are.
            below = session.highest - WINDOW + 1 - session.first
            known = sequence >= session.first and below <= session.unique - session.seen.bit_count()
        if known:
            self.duplicate += 1
            return
        self.out_of_order += 1
        session.unique += 1
        session.first = min(session.first, sequence)

    def _begin(self, number: int, sequence: int, sent: int) -> _Session:
        if self._before is not None:
            self._lost += self._before.lost
        self._before = self._session
        self._session = session = _Session(number, sequence, sent)
        self.sessions += 1
        return session


def _each(session: int | list[int], packets: int) -> list[int]:
    """The session of each packet."""
    return session if isinstance(session, list) else [session] * packets
