"""A shard: the part of a load that one of several processes sends, so that all of them together send exactly the whole.

Model: the whole has streams 1 to P, and deals its packets to them in turn. Shard I of N has every N-th stream, from
number I on, and with a stream all that is the stream's: its share of packets and bytes, its due packets, its
injections. So packet k of the whole, which goes on stream k mod P + 1, belongs to one shard, and no shard has to know
of the others.

::

    P = 5, N = 2     packet of the whole    0  1  2  3  4  5  6  7  8  9
                     its stream             1  2  3  4  5  1  2  3  4  5
                     shard 1 numbers it     0     1     2  3     4     5
                     shard 2 numbers it        0     1        2     3

Rules: all flags speak of the whole. A shard draws what the whole draws (Poisson, sizes, chances), from the same seed.
"""

from __future__ import annotations

import re
from fractions import Fraction

from attrs import frozen

from ctrlserver.errors import UsageError
from ctrlserver.load.plan.schedule import Schedule
from ctrlserver.words import quoted

_FORM = re.compile(r" *(\d{1,9}) */ *(\d{1,9}) *", re.ASCII)


@frozen
class Shard:
    """Shard ``index``, from 1, of ``of``."""

    index: int
    of: int

    @property
    def text(self) -> str:
        """``2/4``."""
        return f"{self.index}/{self.of}"

    def numbers(self, streams: int) -> range:
        """Which of the whole's ``streams`` are this shard's."""
        return range(self.index, streams + 1, self.of)


#: All of a load.
WHOLE = Shard(1, 1)


def parse_shard(text: str) -> Shard:
    """``"2/4"``; UsageError for anything else."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise UsageError(f'{quoted(text)}: expected I/N, such as "1/4"')
    index, of = map(int, form.groups())
    if of < 1:
        raise UsageError(f'{quoted(text)}: there is at least 1 shard; did you mean "1/1"?')
    if not 1 <= index <= of:
        raise UsageError(f'{quoted(text)}: shards count from 1 to {of}; did you mean "{min(max(1, index), of)}/{of}"?')
    return Shard(index, of)


class Dealt:
    """A shard's packets of the ``whole`` schedule, numbered from 0, due when they are there.

    ``numbers``: the shard's of the whole's ``streams`` streams.
    """

    def __init__(self, whole: Schedule, numbers: range, streams: int) -> None:
        self.curve = whole.curve.part(Fraction(len(numbers), streams))
        self._whole = whole
        self._first = numbers.start - 1
        self._step = numbers.step
        self._own = len(numbers)
        self._streams = streams

    def due(self, at: int) -> int:
        """Packets due by ``at``, which never falls from one call to the next."""
        rounds, rest = divmod(self._whole.due(at), self._streams)
        return rounds * self._own + len(range(self._first, rest, self._step))

    def time_of(self, packet: int) -> int:
        """Time at which ``packet`` is due, ``NEVER`` if it is not; it must not be forgotten."""
        return self._whole.time_of(self.number_of(packet))

    def number_of(self, packet: int) -> int:
        """The whole's number of ``packet``."""
        rounds, place = divmod(packet, self._own)
        return rounds * self._streams + self._first + place * self._step

    def forget(self, packets: int) -> None:
        """Nobody will ask for the first ``packets`` packets again."""
        if packets:
            self._whole.forget(self.number_of(packets - 1) + 1)
