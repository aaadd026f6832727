"""What was sent, what came back, and whether the server counted the same.

Rules: all counts are exact integers; a rate without a duration is None, never a division by zero. Streams are counted
whole; the total leaves the warm-up out and the warm-up has a total of its own, so the two add up to the streams.
``reconcile`` compares packets and bytes of each stream with the server's record of the stream that has our address as
its peer, the newest one; where the server counts no packets (framing ``raw``) bytes alone decide.

Beware: a server's record is what another program said: a field may be missing or of another type, negative or no
number at all (NaN), and counts as 0.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from attrs import field, frozen

#: Intervals kept: more than a day of seconds. The oldest go first.
INTERVALS_KEPT = 100_000

#: A number past this, or one that is none (NaN), no server has counted.
_MOST = 1 << 63


def per_second(number: float, seconds: float) -> float | None:
    """To one digit; None where no time has passed."""
    return round(number / seconds, 1) if seconds > 0 else None


def counted(number: int, one: str, many: str = "") -> str:
    """``"1 packet"``, ``"2 packets"``, for a person."""
    return f"{number} {one if number == 1 else many or one + 's'}"


@frozen
class Counts:
    """Running totals over all streams at one moment. ``replies`` and ``reply_bytes`` stay 0 where none are awaited."""

    packets: int = 0
    bytes: int = 0
    writes: int = 0
    replies: int = 0
    reply_bytes: int = 0

    def since(self, earlier: Counts) -> Counts:
        """What has come on top of ``earlier``."""
        return Counts(
            packets=self.packets - earlier.packets,
            bytes=self.bytes - earlier.bytes,
            writes=self.writes - earlier.writes,
            replies=self.replies - earlier.replies,
            reply_bytes=self.reply_bytes - earlier.reply_bytes,
        )


@frozen
class Volume:
    """What was sent, or downloaded, in a part of the run; what came has no writes."""

    packets: int
    bytes: int
    writes: int
    seconds: float
    packets_per_second: float | None
    bits_per_second: float | None

    @classmethod
    def of(cls, counts: Counts, seconds: float) -> Volume:
        """The volume of ``counts``, sent in ``seconds``."""
        seconds = round(max(0.0, seconds), 6)
        return cls(
            packets=counts.packets,
            bytes=counts.bytes,
            writes=counts.writes,
            seconds=seconds,
            packets_per_second=per_second(counts.packets, seconds),
            bits_per_second=per_second(counts.bytes * 8, seconds),
        )


@frozen
class Received:
    """What the server counted of our streams.

    ``seconds`` is the longest of theirs, and of several streams no less than the sending took: those that came one
    after another each took a moment, together they took as long as it took to send them.
    """

    packets: int
    bytes: int
    seconds: float
    packets_per_second: float | None
    bits_per_second: float | None


@frozen
class Connected:
    """What connect mode came to: connections ``opened`` in ``seconds``, and ``failed``, in ``failures`` by reason."""

    opened: int
    failed: int
    seconds: float
    connections_per_second: float | None
    failures: dict[str, int]

    @classmethod
    def of(cls, opened: int, failures: Mapping[str, int], seconds: float) -> Connected:
        """With its rate."""
        seconds = round(max(0.0, seconds), 6)
        return cls(opened, sum(failures.values()), seconds, per_second(opened, seconds), dict(failures))


@frozen
class Replies:
    """What came back in request mode."""

    packets: int
    bytes: int


@frozen
class Gauge:
    """What there is to tell of a slice besides its counts: the schedule's rate, and times in seconds; or None."""

    target_packets_per_second: float | None = None
    response_p50: float | None = None
    response_p99: float | None = None
    service_p50: float | None = None
    service_p99: float | None = None


@frozen
class Interval:
    """One reporting slice; ``start_seconds`` counts from the first send of the run, the warm-up included."""

    start_seconds: float
    seconds: float
    packets: int
    bytes: int
    packets_per_second: float | None
    bits_per_second: float | None
    warm_up: bool
    target_packets_per_second: float | None = None
    response_p50: float | None = None
    response_p99: float | None = None
    service_p50: float | None = None
    service_p99: float | None = None


@frozen
class StreamCount:
    """One stream, whole. ``replies`` is None where none are awaited, ``received_*`` where no server was asked."""

    stream: int
    local: str
    target: str
    packets: int
    bytes: int
    seconds: float
    incomplete_bytes: int
    writes: int
    replies: int | None
    received_packets: int | None
    received_bytes: int | None
    reason: str


def no_gauge(*_slice: float) -> Gauge:
    """Nothing but counts."""
    return Gauge()


class Intervals:
    """Cuts running totals into slices that join without a gap.

    ``gauge`` is asked at the end of a slice, with its start and end, and whether it joins the slice before it.
    """

    def __init__(self, began: float, gauge: Callable[[float, float, bool], Gauge] = no_gauge) -> None:
        self._gauge = gauge
        self._began = began
        self._from = began
        self._counts = Counts()
        self.kept: deque[Interval] = deque(maxlen=INTERVALS_KEPT)

    def cut(self, now: float, counts: Counts, *, warm_up: bool) -> Interval:
        """The slice up to ``now``."""
        interval = self._slice(self._from, now, counts.since(self._counts), warm_up, False)
        self._from, self._counts = now, counts
        self.kept.append(interval)
        return interval

    def end(self, now: float, counts: Counts, *, warm_up: bool, shortest: float) -> Interval | None:
        """The last slice; None where it is shorter than ``shortest`` seconds and was added to the one before it."""
        before = self.kept[-1] if self.kept else None
        seconds = now - self._from
        if before is None or before.warm_up != warm_up or seconds >= shortest:
            return self.cut(now, counts, warm_up=warm_up) if seconds > 0 else None
        news = counts.since(self._counts)
        whole = Counts(before.packets + news.packets, before.bytes + news.bytes)
        self.kept[-1] = self._slice(self._began + before.start_seconds, now, whole, warm_up, True)
        self._from, self._counts = now, counts
        return None

    def _slice(self, start: float, end: float, news: Counts, warm_up: bool, join: bool) -> Interval:
        seconds = end - start
        gauge = self._gauge(start, end, join)
        return Interval(
            start_seconds=round(start - self._began, 6),
            seconds=round(seconds, 6),
            packets=news.packets,
            bytes=news.bytes,
            packets_per_second=per_second(news.packets, seconds),
            bits_per_second=per_second(news.bytes * 8, seconds),
            warm_up=warm_up,
            target_packets_per_second=gauge.target_packets_per_second,
            response_p50=gauge.response_p50,
            response_p99=gauge.response_p99,
            service_p50=gauge.service_p50,
            service_p99=gauge.service_p99,
        )


@frozen
class Delivery:
    """What became of our datagrams, as the receiver says.

    ``lost`` are those that it did not count, duplicates aside. ``duplicate``, ``out_of_order`` and ``jitter_seconds``
    are None where it looks for no probe packets. ``dropped_by_receiver`` is what its kernel dropped meanwhile, None
    where it does not tell; the kernel may count a batch as one, and those of other senders are in it.
    """

    lost: int
    duplicate: int | None
    out_of_order: int | None
    jitter_seconds: float | None
    dropped_by_receiver: int | None


@frozen
class Reconciliation:
    """The outcome of one comparison.

    ``reconciled`` is None where it cannot be told, and ``unclear`` says why. ``settled``: asking again cannot change
    it. ``received`` is None where the server knows none of our streams. ``difference`` names the first stream that
    differs, and by how much; lost datagrams are none. ``counted`` has the server's packets and bytes by our stream's
    number. ``delivery`` is None but for datagrams.
    """

    reconciled: bool | None
    settled: bool
    received: Received | None
    difference: str | None
    counted: dict[int, tuple[int, int]] = field(factory=dict)
    delivery: Delivery | None = None
    unclear: str | None = None


def reconcile(
    streams: Sequence[StreamCount],
    records: Iterable[Mapping[str, object]],
    framing: str,
    newer_than: int = 0,
    sending_seconds: float = 0.0,
    verb: str = "sent",
) -> Reconciliation:
    """Compare ``streams`` with a server's stream ``records``, which come newest first.

    ``framing`` is ours, for the words of the difference. Records numbered up to ``newer_than`` are of streams that
    ended before ours began; ``sending_seconds`` is first to last data over all of ours; ``verb`` says what we did with
    the packets.
    """
    by_peer: dict[str, Mapping[str, object]] = {}
    for theirs in records:
        if record_number(theirs, "stream") > newer_than:
            by_peer.setdefault(plain_address(str(theirs.get("peer", ""))), theirs)
    matched = [by_peer.get(plain_address(stream.local)) for stream in streams]
    return compared(streams, matched, framing, sending_seconds, verb)


def compared(
    streams: Sequence[StreamCount],
    matched: Sequence[Mapping[str, object] | None],
    framing: str,
    sending_seconds: float,
    verb: str,
) -> Reconciliation:
    """Compare each of ``streams`` with its record, None where the server has none."""
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
        uncounted = record.get("framing") == "raw" or (verb == "received" and framing == "raw")
        same_packets = packets == stream.packets or uncounted
        if not (same_packets and nbytes == stream.bytes):
            settled = settled and (nbytes >= stream.bytes or record.get("state") == "closed")
            differences.append(_difference(stream, packets, nbytes, record, framing, verb))
    return Reconciliation(
        reconciled=not differences,
        settled=settled,
        received=received_of([known for known in matched if known is not None], sending_seconds),
        difference=differences[0] if differences else None,
        counted=counted,
    )


def plain_address(text: str) -> str:
    """``host:port`` without what differs between two views of one address: brackets, scope, IPv4 mapped into IPv6."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]").partition("%")[0]
    return f"{host.removeprefix('::ffff:') if '.' in host else host}:{port}"


def received_of(records: Sequence[Mapping[str, object]], sending_seconds: float) -> Received | None:
    """The sum of a server's ``records``; None of none."""
    if not records:
        return None
    packets = sum(record_number(record, "packets") for record in records)
    nbytes = sum(record_number(record, "bytes") for record in records)
    seconds = max(record_seconds(record) for record in records)
    if len(records) > 1:
        seconds = max(seconds, round(sending_seconds, 6))
    return Received(
        packets=packets,
        bytes=nbytes,
        seconds=seconds,
        packets_per_second=per_second(packets, seconds),
        bits_per_second=per_second(nbytes * 8, seconds),
    )


def _difference(
    stream: StreamCount, packets: int, nbytes: int, record: Mapping[str, object], framing: str, verb: str
) -> str:
    words = [
        f"stream {stream.stream} ({stream.local}): {verb} {counted(stream.packets, 'packet')} of {stream.bytes} bytes, "
        f"the server counted {packets} of {nbytes} bytes: {_by(packets - stream.packets, 'packet')}, "
        f"{_by(nbytes - stream.bytes, 'byte')}"
    ]
    theirs = str(record.get("framing", framing))
    if theirs != framing:
        words.append(f"its framing is {theirs}, ours {framing}")
    reason = record.get("reason")
    if reason not in (None, "eof"):
        words.append(f"it closed the stream with reason {reason}")
    return "; ".join(words)


def _by(more: int, what: str) -> str:
    if more == 0:
        return f"the same {what}s"
    return f"{counted(abs(more), what)} {'more' if more > 0 else 'fewer'}"


def record_number(record: Mapping[str, object], name: str) -> int:
    """A count of a server's record; 0 where it is missing or none."""
    value = record.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else 0


def record_seconds(record: Mapping[str, object], name: str = "seconds") -> float:
    """A time of a server's record; 0 where it is missing or none."""
    value = record.get(name)
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST
    return float(cast("float", value)) if known else 0.0
