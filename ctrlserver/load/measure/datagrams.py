"""Our datagrams compared with a server's records of them.

Rules: missing datagrams are loss, which is a finding and no difference. A difference is only more than we sent, or a
server that knows none of our streams. What has not come may be on a long way: it is lost if the last datagrams have
arrived, by the span of the server's counts, and no others have for a while.

Beware: a server ends a UDP stream for silence and the next datagram begins another, so a peer may have several records.
It may also still hold a stream of whoever had our port before us, whose counts are subtracted (``earlier``). Peers past
its limit share one stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from attrs import define, field

from ctrlserver.addresses import plain_address
from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.reading import (
    Reading,
    Record,
    Sum,
    host_in,
    is_closed,
    peer_of,
    record_number,
    record_seconds,
    sum_of,
)
from ctrlserver.load.measure.reconciling import (
    Delivery,
    Reconciliation,
    behind,
    closed_unseen,
    elsewhere,
    found_words,
    received_of,
    sent_in,
)
from ctrlserver.words import counted

#: Seconds without news after which missing datagrams are lost, once the last ones have been seen to arrive: many times
#: what a network delays one datagram more than another.
QUIET_SECONDS = 0.5

#: Of the time that the admin port takes to answer: a datagram on the same way may take as long.
_QUIET_ANSWERS = 2

#: What a server calls the peer of the one stream of all UDP peers past its limit.
SHARED_PEER = "*"


@define
class OfDatagrams:
    """Datagrams, by our address; ``before`` is what the server had before the first of ours."""

    streams: Sequence[StreamCount]
    before: Reading
    began: float
    ended: float
    earlier: Mapping[int, tuple[int, int]] = field(init=False)
    _packets: int = -1
    _since: float = 0.0

    @earlier.default
    def _earlier(self) -> Mapping[int, tuple[int, int]]:
        return {
            record_number(record, "stream"): (record_number(record, "packets"), record_number(record, "bytes"))
            for record in self.before.records
            if not is_closed(record)
        }

    def compare(self, reading: Reading) -> Reconciliation:
        """Settled once every datagram has arrived or was dropped, as far as is known, or no news came for a while."""
        new = [
            self._ours(record)
            for record in reading.records
            if record_number(record, "stream") > self.before.newest or record_number(record, "stream") in self.earlier
        ]
        by_peer: dict[str, list[Record]] = {}
        for theirs in new:
            by_peer.setdefault(peer_of(theirs), []).append(theirs)
        found = [by_peer.get(plain_address(stream.local), []) for stream in self.streams]
        matched = [record for records in found for record in records]
        remark = None
        if not matched and (there := self._behind_another(new)) is not None:
            host, matched = there
            remark = f"{behind(host, self.streams[0])}; all were compared in their sums"
        wanted, got = sent_in(self.streams), sum_of(matched)
        sums = {stream.stream: sum_of(records) for stream, records in zip(self.streams, found, strict=True)}
        lost = sum(
            max(0, stream.expected_packets - sums[stream.stream].packets + _duplicates(records))
            for stream, records in zip(self.streams, found, strict=True)
        )
        if remark is not None:
            lost = max(0, wanted.packets - got.packets + _duplicates(matched))
        elif got.packets < wanted.packets and (more := self._unseen(reading, matched, new)).packets > 0:
            got += more
            lost = max(0, wanted.packets - got.packets + _duplicates(matched))
            remark = "the server does not show all of our streams: all were compared in their sums"
            if got.packets > wanted.packets:
                words = f"{remark}, and there are others from our address among them: not reconciled"
                return Reconciliation(None, False, None, None, unclear=words)
        difference = self._difference(sums) if remark is None else None
        if not matched and wanted.packets:
            ours = self.streams[0].local
            difference = f"the server has no stream from {ours}; is --admin the port of the server at the target?"
        if got.packets != self._packets:
            self._packets, self._since = got.packets, reading.at
        dropped = _new_drops(reading, self.before)
        whole = (got.packets, got.bytes) == (wanted.packets, wanted.bytes) and difference is None
        known = wanted.packets == got.packets + (dropped or 0)
        return Reconciliation(
            reconciled=whole,
            settled=bool(matched) and (known or self._quiet(reading, matched)),
            received=received_of(got, matched, self.ended - self.began, reading.at - self.began),
            difference=difference,
            counted={number: (each.packets, each.bytes) for number, each in sums.items()}
            if remark is None and matched
            else {},
            delivery=_delivery(lost, dropped, matched) if matched else None,
            remark=remark,
        )

    def _quiet(self, reading: Reading, records: Sequence[Record]) -> bool:
        """Whether what is missing is lost: the end of the sending has arrived, and nothing has for a while.

        If the end has not been seen, it may be on a long way.
        """
        span = _span(records)
        quiet = max(QUIET_SECONDS, _QUIET_ANSWERS * reading.answer_seconds)
        return span >= (self.ended - self.began) - QUIET_SECONDS and reading.at - self._since >= quiet

    def _difference(self, sums: Mapping[int, Sum]) -> str | None:
        """The first stream of which the server counted more than was sent, or other bytes."""
        for stream in self.streams:
            packets, nbytes = sums[stream.stream].packets, sums[stream.stream].bytes
            fewer = nbytes < stream.bytes or not (nbytes or stream.bytes)
            fits = (packets, nbytes) == _size(stream) or (fewer and packets < stream.expected_packets)
            if not fits:
                sent = f"sent {counted(stream.expected_packets, 'datagram')} of {stream.bytes} bytes"
                return found_words(stream, sent, packets, nbytes)
        return None

    def _behind_another(self, new: Sequence[Record]) -> tuple[str, list[Record]] | None:
        """The host and its streams, if only one has sent, and no more than we have."""
        wanted, there = sent_in(self.streams), elsewhere(new, True)
        if there is None or there[0] == SHARED_PEER:
            return None
        got = sum_of(there[1])
        return there if got.streams <= wanted.streams and got.packets <= wanted.packets else None

    def _unseen(self, reading: Reading, ours: Sequence[Record], new: Sequence[Record]) -> Sum:
        """Of our host: closed streams that are not on view, and datagrams in the stream that many peers share."""
        hosts = {host_in(stream.local) for stream in self.streams}
        unseen = closed_unseen(reading, self.before, ours, new, hosts)
        begun = [
            self.earlier[number]
            for record in new
            if (number := record_number(record, "stream")) in self.earlier
            if is_closed(record)
        ]
        unseen -= Sum(0, sum(packets for packets, _ in begun), sum(nbytes for _, nbytes in begun))
        shared = sum_of(record for record in new if record.get("peer") == SHARED_PEER)
        more = unseen if unseen.streams > 0 else Sum()
        return more + shared if reading.shared_since(self.before) > 0 else more

    def _ours(self, record: Record) -> Record:
        packets, nbytes = self.earlier.get(record_number(record, "stream"), (0, 0))
        more = {"packets": record_number(record, "packets") - packets, "bytes": record_number(record, "bytes") - nbytes}
        return {**record, **more}


def _size(stream: StreamCount) -> tuple[int, int]:
    return stream.expected_packets, stream.bytes


def _duplicates(records: Iterable[Record]) -> int:
    return sum(record_number(record, "duplicate") for record in records)


def _new_drops(reading: Reading, before: Reading) -> int | None:
    """Datagrams that the server's kernel has dropped since ``before``; None if it does not say."""
    return None if reading.dropped is None or before.dropped is None else reading.dropped - before.dropped


def _span(records: Sequence[Record]) -> float:
    """Seconds from the first to the last data of all ``records``."""
    longest = max(map(record_seconds, records))
    try:
        begun = [datetime.fromisoformat(str(record.get("opened"))).timestamp() for record in records]
    except ValueError:
        return longest
    ended = [at + record_seconds(record) for at, record in zip(begun, records, strict=True)]
    return max(longest, max(ended) - min(begun))


def _delivery(lost: int, dropped: int | None, records: Sequence[Record]) -> Delivery:
    """The receiver's report; only streams that look for probe packets report duplicates, order and jitter."""
    probing = [record for record in records if record.get("lost") is not None]
    if not probing:
        return Delivery(lost, None, None, None, dropped)
    return Delivery(
        lost=lost,
        duplicate=_duplicates(probing),
        out_of_order=sum(record_number(record, "out_of_order") for record in probing),
        jitter_seconds=max(record_seconds(record, "jitter_seconds") for record in probing),
        dropped_by_receiver=dropped,
    )
