"""Our streams over unix sockets compared with a server's records of them. PURE."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.reading import Reading, Record, is_closed, record_number
from ctrlserver.load.measure.reconciling import ByAddress, Reconciliation, closed_unseen
from ctrlserver.load.measure.through import may_lack
from ctrlserver.words import counted

#: What a server calls the peer of a stream over a unix socket.
UNIX_PEER = "unix"


@frozen
class OverUnix(ByAddress):
    """New streams without an address: if they are as many as ours, compared by size.

    Each is paired with one of ours of just its size, if there is one; those that an order may have cut short come last,
    so that they take what the others leave. The rest is compared in order of size.
    """

    def compare(self, reading: Reading) -> Reconciliation:
        """``unclear`` if there are more, because nobody knows which of them are ours."""
        theirs = [record for record in self._new(reading) if record.get("peer") == UNIX_PEER]
        number = len(self.streams)
        if len(theirs) > number:
            words = f"the server has {len(theirs)} new streams over unix sockets, ours are {number} of them"
            return Reconciliation(None, True, None, None, unclear=f"{words}: not reconciled")
        if len(theirs) < number:
            words = f"the server has {counted(len(theirs), 'new stream')} over unix sockets, we opened {number}"
            outcome = Reconciliation(False, False, None, words)
            unseen = closed_unseen(reading, self.before, theirs, theirs, {UNIX_PEER})
            return self._with_unseen(outcome, theirs, unseen, (), reading)
        pairs = self._pairs(theirs)
        return self._compared([ours for ours, _ in pairs], [record for _, record in pairs], reading)

    def _pairs(self, theirs: Sequence[Record]) -> list[tuple[StreamCount, Record]]:
        raw = any(map(self._uncounted, theirs))
        left: dict[tuple[int, int], list[StreamCount]] = {}
        for stream in sorted(self.streams, key=_to_be_closed, reverse=True):
            left.setdefault((stream.bytes, 0 if raw else stream.expected_packets), []).append(stream)
        pairs, unlike = [], []
        for record in sorted(theirs, key=lambda record: (may_lack(record), is_closed(record))):
            alike = left.get(_size(record))
            if alike:
                pairs.append((alike.pop(), record))
            else:
                unlike.append(record)
        others = [stream for size in sorted(left) for stream in left[size]]
        return pairs + list(zip(others, sorted(unlike, key=_size), strict=True))


def _to_be_closed(stream: StreamCount) -> bool:
    return stream.injected is not None and bool(stream.injected.closing_reasons(over_unix=True))


def _size(record: Record) -> tuple[int, int]:
    return record_number(record, "bytes"), record_number(record, "packets")
