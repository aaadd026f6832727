"""What the server's injections explain of a difference between our counts and the server's. PURE.

Rules: of a stream that an injection ended, or keeps the server from reading, fewer packets than were sent are right;
more are not, and a stream without a hit must match exactly. What is explained is counted, and told.

Beware: an open stream with hits may only be late. Whoever asks waits until its counts have rested for a while.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from attrs import evolve, frozen

from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.injections import ServerInjections
from ctrlserver.load.measure.reading import Reading, Record, is_closed, record_number

#: Why a server closes a stream that an injection ended, or that it did not read because of one.
_BY_ORDER: Final = ("injected", "idle")


def may_lack(record: Record) -> bool:
    """Whether an injection ended the stream, or may keep the server from reading it."""
    return record_number(record, "injected") > 0 and (not is_closed(record) or record.get("reason") in _BY_ORDER)


@frozen
class Through:
    """Packets and bytes sent and not received, on the streams, by our numbers, that injections ended or stall."""

    packets: int = 0
    bytes: int = 0
    ended: frozenset[int] = frozenset()
    stalled: frozenset[int] = frozenset()

    def plus(self, stream: StreamCount, packets: int | None, nbytes: int, record: Record) -> Through | None:
        """With what is missing of ``stream``, of which the server counted ``packets``; None if it is not explained.

        ``packets`` is None where the server counts none.
        """
        missing = 0 if packets is None else stream.expected_packets - packets
        rest = stream.bytes - nbytes
        if missing < 0 or rest < 0 or not may_lack(record):
            return None
        more = evolve(self, packets=self.packets + missing, bytes=self.bytes + rest)
        if is_closed(record):
            return evolve(more, ended=self.ended | {stream.stream})
        return evolve(more, stalled=self.stalled | {stream.stream})

    def told_in(self, injections: ServerInjections) -> ServerInjections:
        """What the server's injections did, with what they explain."""
        return evolve(
            injections,
            unreceived_packets=self.packets,
            unreceived_bytes=self.bytes,
            ended_streams=len(self.ended),
            stalled_streams=len(self.stalled),
        )


#: Where nothing is missing by order.
NOTHING: Final = Through()


def all_ended(reading: Reading, before: Reading, streams: Collection[StreamCount]) -> bool:
    """Whether injections ended as many streams as ours since ``before``."""
    name = "closed_injected_total"
    return record_number(reading.stats, name) - record_number(before.stats, name) >= len(streams)
