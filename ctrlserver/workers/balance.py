"""Which worker takes the next connection: the one with the least load. PURE.

Model: the load of a worker is its share of all packets and of all bytes of the last second, in the mean. A connection
that was handed to it since then counts as the mean load of a stream. Loads that differ by less than ``NEAR`` of a
worker's mean load are equal. Of equal ones the worker with the fewest open streams has the next connection, then the
one with the lowest number. A worker without streams has no load any more, whatever its last ones sent.

Rules: a worker without room has none. One with as many streams as it has descriptors for (``most``) has one only if all
have. Where nothing is counted yet, the numbers of streams decide alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf

from attrs import define, field, frozen

#: Of the mean load of a worker: by so much loads may differ that are taken for equal.
NEAR = 0.1


@frozen
class Seen:
    """What was seen of a worker: packets and bytes a second over the last second, and its open streams.

    ``coming``: connections that were handed to it and that it had not taken by then. ``most``: streams for which it has
    descriptors.
    """

    packets: float = 0.0
    bytes: float = 0.0
    streams: int = 0
    coming: int = 0
    most: float = inf


@define(eq=False)
class _Load:
    number: int
    share: float = 0.0
    """Of all load, and what connections handed since then are taken for."""
    streams: int = 0
    most: float = inf

    def take(self, streams: int, each: float) -> None:
        """Count streams that are handed to it."""
        self.streams += streams
        self.share += streams * each


@define(eq=False)
class Balance:
    """The loads of workers, by their numbers."""

    shares: Mapping[int, float] = field(factory=dict, init=False)
    """The load of each, as it was seen: of 1 together, or of a half if only packets without content came."""
    _loads: list[_Load] = field(factory=list, init=False)
    _near: float = field(default=0.0, init=False)
    _of_a_stream: float = field(default=0.0, init=False)

    def saw(self, seen: Mapping[int, Seen]) -> None:
        """The figures of all workers that there are."""
        packets = sum(each.packets for each in seen.values()) or 1.0
        octets = sum(each.bytes for each in seen.values()) or 1.0
        self.shares = {
            number: (each.packets / packets + each.bytes / octets) / 2 for number, each in sorted(seen.items())
        }
        self._loads = [
            _Load(number, share if seen[number].streams else 0.0, seen[number].streams, seen[number].most)
            for number, share in self.shares.items()
        ]
        whole, streams = sum(each.share for each in self._loads), sum(each.streams for each in self._loads)
        self._near = NEAR * whole / max(1, len(self._loads))
        self._of_a_stream = whole / streams if streams else 0.0
        for load in self._loads:
            load.take(seen[load.number].coming, self._of_a_stream)

    def choose(self, full: Collection[int] = ()) -> int | None:
        """The worker that takes the next connection, which counts from now on; None if all are ``full``."""
        loads = [each for each in self._loads if each.number not in full] if full else self._loads
        chosen = self._least(loads) or self._least(loads, past_most=True)
        if chosen is None:
            return None
        chosen.streams += 1  # as ``take`` does
        chosen.share += self._of_a_stream
        return chosen.number

    def _least(self, loads: Sequence[_Load], *, past_most: bool = False) -> _Load | None:
        least = fewest = inf  # plain loops: this is asked for each connection
        for each in loads:
            if each.share < least and (each.streams < each.most or past_most):
                least = each.share
        near, chosen = least + self._near, None
        for each in loads:
            if each.share <= near and each.streams < fewest and (each.streams < each.most or past_most):
                chosen, fewest = each, each.streams
        return chosen
