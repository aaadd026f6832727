"""Our streams compared with a server's records of them, by the kind of stream.

Rules: ctrlload asks and compares again and again, until the counts agree or until asking again cannot change them.
Each kind of stream has its own comparison:

- ``ByAddress``: packets and bytes of each stream against the newest record whose peer is our address. Where the server
  counts no packets (framing ``raw``) bytes alone decide.
- ``OfDatagrams``: the same, but missing datagrams are loss, which is a finding and no difference. A difference is only
  more than we sent, or a server that knows none of our streams.
- ``OverUnix``: these streams have no address. If the server has as many new ones as we opened, both are compared in
  order of size.

Beware: a server ends a UDP stream for silence and the next datagram begins another, so a peer may have several records.
It may also still hold a stream of whoever had our port before us, whose counts are subtracted (``earlier``). A record
is what another program says: a field that is missing, of another type, negative or NaN counts as 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, cast

from attrs import define, field, frozen

from ctrlserver.addresses import plain_address
from ctrlserver.load.measure.counts import Received, StreamCount, per_second
from ctrlserver.words import counted

Record = Mapping[str, object]

#: Seconds without news after which missing datagrams are lost: many times what any network delays them.
QUIET_SECONDS = 0.5

#: What a server calls the peer of a stream over a unix socket.
UNIX_PEER = "unix"

#: No server has counted more than this.
_MOST = 1 << 63


@frozen
class Delivery:
    """What became of our datagrams, as the receiver reports it.

    ``lost``: those that it did not count, duplicates aside. ``duplicate``, ``out_of_order`` and ``jitter_seconds`` are
    None if it looks for no probe packets. ``dropped_by_receiver``: what its kernel dropped during the run, None if it
    does not report that; other senders' datagrams are in it, and the kernel may count a batch as one.
    """

    lost: int
    duplicate: int | None
    out_of_order: int | None
    jitter_seconds: float | None
    dropped_by_receiver: int | None


@frozen
class Reconciliation:
    """The outcome of one comparison.

    ``reconciled`` is None if nobody can know, and ``unclear`` says why. ``settled``: asking again cannot change it.
    ``received`` is None if the server knows none of our streams. ``difference`` names the first stream that differs,
    and by how much; lost datagrams are no difference. ``counted`` has the server's packets and bytes by the number of
    our stream. ``delivery`` is of datagrams alone.
    """

    reconciled: bool | None
    settled: bool
    received: Received | None
    difference: str | None
    counted: dict[int, tuple[int, int]] = field(factory=dict)
    delivery: Delivery | None = None
    unclear: str | None = None


#: The outcome where no server was asked.
NOT_COMPARED = Reconciliation(None, False, None, None)


def received_of(records: Sequence[Record], least_seconds: float, most_seconds: float) -> Received | None:
    """The sum of a server's ``records``, which took from ``least_seconds`` to ``most_seconds``; None without records.

    What came in one read has the time 0: the server does not know how long it took. A rate over the most that it can
    have taken is none that the link cannot carry. A single packet has none.
    """
    if not records:
        return None
    packets = sum(record_number(record, "packets") for record in records)
    nbytes = sum(record_number(record, "bytes") for record in records)
    timed = max(map(record_seconds, records))
    seconds = round(max(least_seconds, timed or most_seconds), 6)
    rates = per_second(packets, seconds), per_second(nbytes * 8, seconds)
    if packets == 1:
        rates = None, rates[1] if timed else None
    return Received(packets, nbytes, seconds, *rates)


def _by(more: int, what: str) -> str:
    if more == 0:
        return f"the same {what}s"
    return f"{counted(abs(more), what)} {'more' if more > 0 else 'fewer'}"


def record_number(record: Record, name: str) -> int:
    """A count of a server's record; 0 if it is missing or no count."""
    value = record.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else 0


def record_seconds(record: Record, name: str = "seconds") -> float:
    """A time of a server's record; 0 if it is missing or no time."""
    value = record.get(name)
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST
    return float(cast("float", value)) if known else 0.0


@frozen
class ByAddress:
    """Stream by stream, by our address.

    ``framing`` is ours, and ``verb`` says what we did with the packets: both are for the words of a difference. Records
    numbered up to ``newer_than`` are of streams that began before ours. Our first data went at ``began``. Our last went
    at ``ended``, or the schedule gave it time up to then.
    """

    streams: Sequence[StreamCount]
    framing: str
    newer_than: int
    began: float
    ended: float
    verb: str = "sent"

    needs_drops: ClassVar = False

    def compare(self, records: Iterable[Record], dropped: int | None, now: float) -> Reconciliation:
        """Settled once everything has arrived, or the streams that differ are closed."""
        by_peer: dict[str, Record] = {}
        for theirs in records:
            if record_number(theirs, "stream") > self.newer_than:
                by_peer.setdefault(plain_address(str(theirs.get("peer", ""))), theirs)
        matched = [by_peer.get(plain_address(stream.local)) for stream in self.streams]
        return self._compared(self.streams, matched, now)

    def _compared(self, streams: Sequence[StreamCount], matched: Sequence[Record | None], now: float) -> Reconciliation:
        """Compare each of ``streams`` with its record, which is None if the server has none."""
        differences: list[str] = []
        settled = True
        counted: dict[int, tuple[int, int]] = {}
        for stream, record in zip(streams, matched, strict=True):
            if record is None:
                settled = False
                differences.append(f"stream {stream.stream}: the server has no stream from {stream.local}")
                continue
            packets, nbytes = record_number(record, "packets"), record_number(record, "bytes")
            counted[stream.stream] = packets, nbytes
            uncounted = record.get("framing") == "raw" or (self.verb == "received" and self.framing == "raw")
            same_packets = packets == stream.packets or uncounted
            if not (same_packets and nbytes == stream.bytes):
                settled = settled and (nbytes >= stream.bytes or record.get("state") == "closed")
                differences.append(self._difference(stream, packets, nbytes, record))
        return Reconciliation(
            reconciled=not differences,
            settled=settled,
            received=received_of(
                [known for known in matched if known is not None], self.ended - self.began, now - self.began
            ),
            difference=differences[0] if differences else None,
            counted=counted,
        )

    def _difference(self, stream: StreamCount, packets: int, nbytes: int, record: Record) -> str:
        sent = f"{self.verb} {counted(stream.packets, 'packet')} of {stream.bytes} bytes"
        more = f"{_by(packets - stream.packets, 'packet')}, {_by(nbytes - stream.bytes, 'byte')}"
        theirs, reason = str(record.get("framing", self.framing)), record.get("reason")
        words = f"{_found(stream, sent, packets, nbytes)}: {more}"
        if theirs != self.framing:
            words += f"; its framing is {theirs}, ours {self.framing}"
        return words if reason in (None, "eof") else f"{words}; it closed the stream with reason {reason}"


@frozen
class OverUnix(ByAddress):
    """New streams without an address: if they are as many as ours, compared in order of size."""

    def compare(self, records: Iterable[Record], dropped: int | None, now: float) -> Reconciliation:
        """``unclear`` if there are more, because nobody knows which of them are ours."""
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
        return self._compared(ours, theirs, now)


@define
class OfDatagrams:
    """Datagrams, by our address; ``dropped_before`` is the server's count before the first of ours, None if unknown."""

    streams: Sequence[StreamCount]
    newer_than: int
    began: float
    ended: float
    earlier: Mapping[int, tuple[int, int]] = field(factory=dict)
    dropped_before: int | None = None
    _packets: int = -1
    _since: float = 0.0

    needs_drops: ClassVar = True

    def compare(self, records: Iterable[Record], dropped: int | None, now: float) -> Reconciliation:
        """Settled once every datagram has arrived or was dropped, as far as is known, or no news came for a while."""
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
            fewer = nbytes < stream.bytes or not (nbytes or stream.bytes)
            fits = (packets, nbytes) == _size(stream) or (fewer and packets < stream.packets)
            if not fits and difference is None:
                sent = f"sent {counted(stream.packets, 'datagram')} of {stream.bytes} bytes"
                difference = _found(stream, sent, packets, nbytes)
        new_drops = None if dropped is None or self.dropped_before is None else dropped - self.dropped_before
        got = sum(packets for packets, _ in sums.values())
        if got != self._packets:
            self._packets, self._since = got, now
        whole = all(sums[stream.stream] == _size(stream) for stream in self.streams)
        wanted = sum(stream.packets for stream in self.streams)
        if not matched and wanted:
            ours = self.streams[0].local
            difference = f"the server has no stream from {ours}; is --admin the port of the server at the target?"
        known = wanted == got + (new_drops or 0)
        return Reconciliation(
            reconciled=whole,
            settled=bool(matched and known) or now - self._since >= QUIET_SECONDS,
            received=received_of(matched, self.ended - self.began, now - self.began),
            difference=difference,
            counted=sums if matched else {},
            delivery=_delivery(lost, new_drops, matched) if matched else None,
        )

    def _ours(self, record: Record) -> Record:
        packets, nbytes = self.earlier.get(record_number(record, "stream"), (0, 0))
        more = {"packets": record_number(record, "packets") - packets, "bytes": record_number(record, "bytes") - nbytes}
        return {**record, **more}


#: A way to compare. ``compare`` takes the server's records, newest first, and its count of dropped datagrams, which it
#: needs where ``needs_drops`` says so; both were read at ``now``.
Comparison = ByAddress | OfDatagrams


def _size(stream: StreamCount) -> tuple[int, int]:
    return stream.packets, stream.bytes


def _found(stream: StreamCount, sent: str, packets: int, nbytes: int) -> str:
    return f"stream {stream.stream} ({stream.local}): {sent}, the server counted {packets} of {nbytes} bytes"


def _delivery(lost: int, dropped: int | None, records: Sequence[Record]) -> Delivery:
    """The receiver's report; only streams that look for probe packets report duplicates, order and jitter."""
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
