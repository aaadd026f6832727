"""Our streams compared with a server's records of them, by the kind of stream.

Rules: ctrlload asks and compares again and again, until the counts agree or until asking again cannot change them.
Each kind of stream has its own comparison:

- ``ByAddress``: packets and bytes of each stream against the newest record whose peer is our address. Where the server
  counts no packets (framing ``raw``) bytes alone decide.
- ``OfDatagrams`` (datagrams.py): the same, but what is missing is lost.
- ``OverUnix`` (unix.py): these streams have no address. If the server has as many new ones as we opened, both are
  compared by size.

A server keeps only its last closed streams on view. Streams of ours that are not among them are compared in all, with
its sums for our host (``peers``). So are streams whose peers are not our addresses, because a proxy or NAT stands
between, as long as nobody else sent: those of one host, as many as ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import evolve, field, frozen

from ctrlserver.addresses import plain_address
from ctrlserver.load.measure.counts import Received, StreamCount, per_second
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
from ctrlserver.load.measure.through import NOTHING, Through, all_ended
from ctrlserver.words import counted

#: The limits of a server by the names of the reasons for which it rejects a connection.
_LIMITS = {"not_allowed": "allow"}


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
    our stream. ``delivery`` is of datagrams alone. ``remark``: how they were compared, if not stream by stream.
    ``through``: what is missing and the server's injections explain; of streams that they stall it may yet come.
    """

    reconciled: bool | None
    settled: bool
    received: Received | None
    difference: str | None
    counted: dict[int, tuple[int, int]] = field(factory=dict)
    delivery: Delivery | None = None
    unclear: str | None = None
    remark: str | None = None
    through: Through = NOTHING


class Comparison(Protocol):
    """A way to compare what a server says with our streams."""

    @property
    def streams(self) -> Sequence[StreamCount]:
        """Our counts."""

    @property
    def before(self) -> Reading:
        """What the server said before our streams were opened."""

    def compare(self, reading: Reading) -> Reconciliation:
        """The outcome by ``reading``."""


#: The outcome where no server was asked.
NOT_COMPARED = Reconciliation(None, False, None, None)


def received_of(total: Sum, records: Sequence[Record], least_seconds: float, most_seconds: float) -> Received | None:
    """What a server counted in ``total``, which took from ``least_seconds`` to ``most_seconds``; None without streams.

    ``records`` are those of its streams that are known. What came in one read has the time 0: the server does not know
    how long it took. A rate over the most that it can have taken is none that the link cannot carry. A single packet
    has none.
    """
    if total.streams <= 0:
        return None
    packets, nbytes = total.packets, total.bytes
    timed = max(map(record_seconds, records), default=0.0)
    seconds = round(max(least_seconds, timed or most_seconds), 6)
    rates = per_second(packets, seconds), per_second(nbytes * 8, seconds)
    if packets == 1:
        rates = None, rates[1] if timed else None
    return Received(packets, nbytes, seconds, *rates)


def _by(more: int, what: str) -> str:
    if more == 0:
        return f"the same {what}s"
    return f"{counted(abs(more), what)} {'more' if more > 0 else 'fewer'}"


def _more(theirs: Sum, ours: Sum) -> str:
    return f"{_by(theirs.packets - ours.packets, 'packet')}, {_by(theirs.bytes - ours.bytes, 'byte')}"


def sent_in(streams: Sequence[StreamCount]) -> Sum:
    """The sum of what a server counts of our streams; a reset may have lost some of it."""
    return Sum(len(streams), sum(each.expected_packets for each in streams), sum(each.bytes for each in streams))


def lost_in(streams: Sequence[StreamCount]) -> Sum:
    """What of that a reset, or a framing that was broken, may have lost."""
    struck = [(each.injected, each.bytes) for each in streams if each.injected is not None]
    packets = sum(one.expected_packets - one.least_packets for one, _ in struck)
    return Sum(0, packets, sum(nbytes if one.faulty else one.unconfirmed_bytes for one, nbytes in struck))


def closed_unseen(
    reading: Reading, before: Reading, ours: Sequence[Record], new: Sequence[Record], hosts: set[str]
) -> Sum:
    """Closed streams of ``hosts`` that are not on view any more, and began or ended after ``before``.

    Of the listener that has ``ours``, if any is known.
    """
    listener = ours[0].get("listener") if ours else None
    shown = sum_of(
        record
        for record in new
        if is_closed(record)
        and host_in(str(record.get("peer"))) in hosts
        and listener in (None, record.get("listener"))
    )
    return reading.closed_since(before, hosts, listener) - shown


def elsewhere(new: Sequence[Record], data: bool) -> tuple[str, list[Record]] | None:
    """The one host and listener that all new streams belong to, and these streams; None if there are several.

    ``data``: only streams that have brought some, for health checks bring none.
    """
    found = [record for record in new if record_number(record, "bytes") or not data]
    hosts = {(host_in(str(record.get("peer"))), record.get("listener")) for record in found}
    return (next(iter(hosts))[0], found) if len(hosts) == 1 else None


def rejection_words(rejected: Mapping[str, int]) -> str:
    """``"3 connections (max_streams)"``: how many, and the limits that they met."""
    limits = ", ".join(_LIMITS.get(reason, reason) for reason in rejected)
    return f"{counted(sum(rejected.values()), 'connection')} ({limits})"


def closing_words(reason: object) -> str:
    """``"it closed the stream with reason fault"``, and what to do about a TLS listener."""
    hint = ": it expects TLS, as in tls:HOST:PORT" if reason == "handshake" else ""
    return f"it closed the stream with reason {reason}{hint}"


def behind(host: str, stream: StreamCount) -> str:
    """Why none of the server's streams has an address of ours."""
    return f"the server's new streams come from {host}, not from {stream.local}: a proxy or NAT stands between"


@frozen
class ByAddress:
    """Stream by stream, by our address.

    ``framing`` is ours, and ``verb`` says what we did with the packets: both are for the words of a difference.
    ``before`` is what the server had when our streams were opened. Our first data went at ``began``. Our last went at
    ``ended``, or the schedule gave it time up to then.
    """

    streams: Sequence[StreamCount]
    framing: str
    before: Reading
    began: float
    ended: float
    verb: str = "sent"

    def compare(self, reading: Reading) -> Reconciliation:
        """Settled once everything has arrived, or the streams that differ are closed."""
        new = self._new(reading)
        by_peer: dict[str, Record] = {}
        for theirs in new:
            by_peer.setdefault(peer_of(theirs), theirs)
        matched = [by_peer.get(plain_address(stream.local)) for stream in self.streams]
        outcome = self._compared(self.streams, matched, reading)
        ours = [record for record in matched if record is not None]
        if len(ours) == len(self.streams) or outcome.unclear is not None:
            return outcome
        hosts = {host_in(stream.local) for stream in self.streams}
        unseen = closed_unseen(reading, self.before, ours, new, hosts)
        return self._with_unseen(outcome, ours, unseen, new, reading)

    def _new(self, reading: Reading) -> list[Record]:
        return [record for record in reading.records if record_number(record, "stream") > self.before.newest]

    def _compared(
        self, streams: Sequence[StreamCount], matched: Sequence[Record | None], reading: Reading
    ) -> Reconciliation:
        """Compare each of ``streams`` with its record, which is None if the server has none."""
        known = [record for record in matched if record is not None]
        mode = next((record["mode"] for record in known if record.get("mode", "source") != "source"), None)
        if self.verb == "received" and mode is not None:
            words = f"the mode of its listener is {mode}, so the server counted what we said, not what it sent"
            return Reconciliation(None, True, None, None, unclear=f"{words}: not reconciled")
        differences: list[str] = []
        missing: list[str] = []
        settled = True
        counted: dict[int, tuple[int, int]] = {}
        through = NOTHING
        for stream, record in zip(streams, matched, strict=True):
            if record is None:
                missing.append(f"stream {stream.stream}: the server has no stream from {stream.local}")
                continue
            packets, nbytes = record_number(record, "packets"), record_number(record, "bytes")
            counted[stream.stream] = packets, nbytes
            whole = None if self._uncounted(record) else packets
            same, strange = stream.counts_as(whole, nbytes), unlike(stream, record)
            if same and strange is None:
                continue
            more = through.plus(stream, whole, nbytes, record) if self.verb == "sent" else None
            if more is not None:
                through = more
            elif not same:
                settled = settled and (nbytes >= stream.bytes or is_closed(record))
                differences.append(self._difference(stream, packets, nbytes, record))
            elif strange is not None:
                settled = settled and is_closed(record)
                differences.append(strange)
        lost = lost_in(streams)
        return Reconciliation(
            reconciled=not differences and not missing,
            settled=settled and not missing,
            received=received_of(sum_of(known), known, self.ended - self.began, reading.at - self.began),
            difference=next(iter(differences + missing), None),
            counted=counted,
            remark=lost_words(sent_in(streams), lost) if lost.packets else None,
            through=through,
        )

    def _with_unseen(
        self, outcome: Reconciliation, ours: Sequence[Record], unseen: Sum, new: Sequence[Record], reading: Reading
    ) -> Reconciliation:
        """What is known if the server shows only ``ours``, and has closed the ``unseen`` ones as well."""
        wanted, shown = sent_in(self.streams), sum_of(ours)
        lacking = wanted.streams - shown.streams - unseen.streams
        if lacking == 0 and len(outcome.counted) < wanted.streams and unseen.streams:
            words = (
                f"the server has {counted(shown.streams, 'stream')} of ours on view: all were compared in their sums"
            )
            return self._in_all(outcome, shown + unseen, ours, words, reading)
        if lacking < 0:
            words = f"the server has closed {unseen.streams} more streams from our address, not all of them ours"
            return evolve(outcome, reconciled=None, difference=None, unclear=f"{words}: not reconciled")
        rejected = reading.rejected_since(self.before)
        missing = {stream.stream for stream in self.streams} - outcome.counted.keys()
        if lacking <= sum(rejected.values()) and missing <= reading.over:
            words = f"{outcome.difference}: it has rejected {rejection_words(rejected)}"
            return evolve(outcome, settled=True, difference=words)
        if ours or unseen.streams > 0:
            return outcome
        return self._of_another_host(outcome, new, reading)

    def _of_another_host(self, outcome: Reconciliation, new: Sequence[Record], reading: Reading) -> Reconciliation:
        """None of the server's streams has an address of ours."""
        wanted = sent_in(self.streams)
        there = elsewhere(new, wanted.bytes > 0)
        if there is None:
            if not any(record_number(record, "bytes") for record in new):
                return outcome
            words = f"{outcome.difference}, but new ones of several hosts: a proxy or NAT may stand between"
            return evolve(outcome, reconciled=None, difference=None, unclear=f"{words}: not reconciled")
        host, shown = there
        found = sum_of(shown)
        if found.streams < wanted.streams:
            found += closed_unseen(reading, self.before, shown, new, {host})
        words = behind(host, self.streams[0])
        fits = found.streams == wanted.streams and found.bytes <= wanted.bytes
        if fits or (found.packets, found.bytes) == (wanted.packets, wanted.bytes):
            words = f"{words}; all were compared in their sums"
            return self._in_all(evolve(outcome, counted={}), found, shown, words, reading)
        words = f"{words}. They are {found.streams} of {found.bytes} bytes, ours {wanted.streams} of {wanted.bytes}"
        return evolve(outcome, reconciled=None, difference=None, unclear=f"{words}: not reconciled")

    def _in_all(
        self, outcome: Reconciliation, found: Sum, records: Sequence[Record], remark: str, reading: Reading
    ) -> Reconciliation:
        """Compare the sums alone."""
        wanted = sent_in(self.streams)
        uncounted = any(map(self._uncounted, records))
        lost = wanted - found
        through, most = NOTHING, lost_in(self.streams)
        if self.verb == "sent" and all_ended(reading, self.before, self.streams):
            through, most = Through(lost.packets, lost.bytes, frozenset(each.stream for each in self.streams)), wanted
        same = 0 <= lost.bytes <= most.bytes and (uncounted or 0 <= lost.packets <= most.packets)
        words = f"{self.verb} {counted(wanted.packets, 'packet')} of {wanted.bytes} bytes on {wanted.streams} streams"
        words += f", the server counted {found.packets} of {found.bytes} bytes: {_more(found, wanted)}"
        return evolve(
            outcome,
            reconciled=same,
            settled=same or all(map(is_closed, records)),
            received=received_of(found, records, self.ended - self.began, reading.at - self.began),
            difference=None if same else f"{words} ({remark})",
            remark=remark if same else None,
            through=through,
        )

    def _uncounted(self, record: Record) -> bool:
        return record.get("framing") == "raw" or (self.verb == "received" and self.framing == "raw")

    def _difference(self, stream: StreamCount, packets: int, nbytes: int, record: Record) -> str:
        sent = f"{self.verb} {counted(stream.packets, 'packet')} of {stream.bytes} bytes"
        if stream.injected is not None and stream.expected_packets != stream.packets:
            sent += f", which --inject made {stream.expected_packets}"
        more = _more(Sum(1, packets, nbytes), Sum(1, stream.expected_packets, stream.bytes))
        theirs, reason = str(record.get("framing", self.framing)), record.get("reason")
        words = f"{found_words(stream, sent, packets, nbytes)}: {more}"
        if theirs != self.framing:
            words += f"; its framing is {theirs}, ours {self.framing}"
        return words if reason in (None, "eof") else f"{words}; {closing_words(reason)}"


def unlike(stream: StreamCount, record: Record) -> str | None:
    """What is wrong with how the server closed a stream that we have ended; None if it is as it should be."""
    struck, reason = stream.injected, record.get("reason")
    wanted = () if struck is None else struck.closing_reasons(over_unix=not stream.local)
    if struck is None or not wanted or (is_closed(record) and reason in wanted):
        return None
    done = "broke its framing" if struck.faulty else f"did a {struck.end}"
    found = f"closed it with reason {reason}" if is_closed(record) else "has not closed it"
    return f"stream {stream.stream} ({stream.local}): --inject {done}, the server {found}, expected {wanted[0]}"


def lost_words(sent: Sum, lost: Sum) -> str:
    """Between which numbers the server's counts are right."""
    packets = f"{sent.packets - lost.packets} to {sent.packets} packets"
    return f"of what was not confirmed before streams ended, any part may be lost: {packets} are right"


def found_words(stream: StreamCount, sent: str, packets: int, nbytes: int) -> str:
    """What we sent and what the server counted."""
    return f"stream {stream.stream} ({stream.local}): {sent}, the server counted {packets} of {nbytes} bytes"
