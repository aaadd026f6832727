"""How our streams are compared with a server's records of them, by the kind of stream.

Rules: a comparison is asked again and again until it agrees, or says that asking again cannot change it. Streams with
an address are compared one by one (``ByAddress``). Datagrams too, and what did not arrive is loss, which is a finding
and no difference: only more than was sent, or no stream at all, is one (``OfDatagrams``). Streams over a unix socket
have no address; where the server has as many new ones as we opened they are compared in order of size (``OverUnix``).

Beware: a server ends a UDP stream for silence and a next datagram begins another, so a peer may have several records;
and it may still have one open of somebody who had our port before us, whose counts are taken off (``earlier``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from attrs import define, field, frozen

from ctrlserver.load.measure.counts import (
    Delivery,
    Reconciliation,
    StreamCount,
    compared,
    counted,
    plain_address,
    received_of,
    reconcile,
    record_number,
    record_seconds,
)

Record = Mapping[str, object]

#: Seconds without news after which datagrams that have not arrived are lost: many times the way through any network.
QUIET_SECONDS = 0.5

#: What a server calls the peer of a stream over a unix socket.
UNIX_PEER = "unix"


class Comparison(Protocol):
    """One way of comparing."""

    @property
    def streams(self) -> Sequence[StreamCount]:
        """Ours."""

    @property
    def needs_drops(self) -> bool:
        """Whether the server's count of dropped datagrams is wanted."""

    def compare(self, records: Iterable[Record], dropped: int | None, now: float) -> Reconciliation:
        """With what the server says at ``now``: its records, newest first, and its count of dropped datagrams."""


@frozen
class ByAddress:
    """Stream by stream, by our address; see ``ledger.reconcile``."""

    streams: Sequence[StreamCount]
    framing: str
    newer_than: int
    sending_seconds: float
    verb: str = "sent"
    needs_drops: bool = False

    def compare(self, records: Iterable[Record], dropped: int | None, now: float) -> Reconciliation:
        """Settled once all have come, or their streams are closed."""
        return reconcile(self.streams, records, self.framing, self.newer_than, self.sending_seconds, self.verb)


@frozen
class OverUnix:
    """As many new streams without an address as we opened, compared in order of size."""

    streams: Sequence[StreamCount]
    framing: str
    newer_than: int
    sending_seconds: float
    verb: str = "sent"
    needs_drops: bool = False

    def compare(self, records: Iterable[Record], dropped: int | None, now: float) -> Reconciliation:
        """``unclear`` where there are more, because those of others cannot be told from ours."""
        theirs = [
            record
            for record in records
            if record.get("peer") == UNIX_PEER and record_number(record, "stream") > self.newer_than
        ]
        number = len(self.streams)
        if len(theirs) > number:
            words = f"the server has {len(theirs)} new streams over unix sockets, ours are {number} of them"
            return Reconciliation(None, True, None, None, unclear=f"{words}: not reconciled")
        if len(theirs) < number:
            words = f"the server has {counted(len(theirs), 'new stream')} over unix sockets, we opened {number}"
            return Reconciliation(False, False, None, words)
        ours = sorted(self.streams, key=lambda stream: (stream.bytes, stream.packets))
        theirs.sort(key=lambda record: (record_number(record, "bytes"), record_number(record, "packets")))
        return compared(ours, theirs, self.framing, self.sending_seconds, self.verb)


@define(slots=True)
class OfDatagrams:
    """Datagrams, by our address; ``dropped_before`` is the server's count before the first of ours, None if unknown."""

    streams: Sequence[StreamCount]
    newer_than: int
    sending_seconds: float
    earlier: Mapping[int, tuple[int, int]] = field(factory=dict)
    dropped_before: int | None = None
    needs_drops: bool = True
    _packets: int = -1
    _since: float = 0.0

    def compare(self, records: Iterable[Record], dropped: int | None, now: float) -> Reconciliation:
        """Settled once all have come or are known to be dropped, or when nothing more has come for a while."""
        by_peer: dict[str, list[Record]] = {}
        for theirs in records:
            number = record_number(theirs, "stream")
            if number > self.newer_than or number in self.earlier:
                by_peer.setdefault(plain_address(str(theirs.get("peer", ""))), []).append(self._ours(theirs))
        matched: list[Record] = []
        sums: dict[int, tuple[int, int]] = {}
        difference: str | None = None
        lost = 0
        for stream in self.streams:
            found = by_peer.get(plain_address(stream.local), [])
            matched += found
            packets = sum(record_number(record, "packets") for record in found)
            nbytes = sum(record_number(record, "bytes") for record in found)
            sums[stream.stream] = packets, nbytes
            lost += max(0, stream.packets - packets + sum(record_number(record, "duplicate") for record in found))
            fits = packets < stream.packets if nbytes < stream.bytes else (packets, nbytes) == _size(stream)
            if not fits and difference is None:
                difference = _more(stream, packets, nbytes)
        new_drops = None if dropped is None or self.dropped_before is None else dropped - self.dropped_before
        got = sum(packets for packets, _ in sums.values())
        if got != self._packets:
            self._packets, self._since = got, now
        whole = all(sums[stream.stream] == _size(stream) for stream in self.streams)
        sent = sum(stream.packets for stream in self.streams)
        if not matched and sent:
            first = self.streams[0]
            difference = (
                f"the server has no stream from {first.local}; is --admin the port of the server at the target?"
            )
        known = sum(stream.packets for stream in self.streams) == got + (new_drops or 0)
        return Reconciliation(
            reconciled=whole,
            settled=bool(matched and known) or now - self._since >= QUIET_SECONDS,
            received=received_of(matched, self.sending_seconds),
            difference=difference,
            counted=sums if matched else {},
            delivery=_delivery(lost, new_drops, matched) if matched else None,
        )

    def _ours(self, record: Record) -> Record:
        packets, nbytes = self.earlier.get(record_number(record, "stream"), (0, 0))
        more = {"packets": record_number(record, "packets") - packets, "bytes": record_number(record, "bytes") - nbytes}
        return {**record, **more}


def _size(stream: StreamCount) -> tuple[int, int]:
    return stream.packets, stream.bytes


def _more(stream: StreamCount, packets: int, nbytes: int) -> str:
    sent = f"sent {counted(stream.packets, 'datagram')} of {stream.bytes} bytes"
    return f"stream {stream.stream} ({stream.local}): {sent}, the server counted {packets} of {nbytes} bytes"


def _delivery(lost: int, dropped: int | None, records: Sequence[Record]) -> Delivery:
    """``records`` that look for probe packets say more than the others."""
    probing = [record for record in records if record.get("lost") is not None]
    if not probing:
        return Delivery(lost, None, None, None, dropped)
    return Delivery(
        lost=lost,
        duplicate=sum(record_number(record, "duplicate") for record in probing),
        out_of_order=sum(record_number(record, "out_of_order") for record in probing),
        jitter_seconds=max(record_seconds(record, "jitter_seconds") for record in probing),
        dropped_by_receiver=dropped,
    )
