"""What was sent and received, in exact integers.

Rules: a rate without a duration is None, never a division by zero. A stream's count is of the whole run. The total
leaves the warm-up out, and the warm-up has a total of its own: the two add up to the streams. The packets of a schedule
take as long as the schedule gives them, up to when the next one would be due. One packet has no rate.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import astuple, frozen

from ctrlserver.load.measure.injections import Struck


def per_second(number: float, seconds: float) -> float | None:
    """``number`` / ``seconds``, to one digit; None if no time has passed."""
    return round(number / seconds, 1) if seconds > 0 else None


@frozen
class Counts:
    """Running totals over all streams at one moment; in connect mode ``packets`` are connections, and all else is 0.

    ``replies`` and ``reply_bytes`` are 0 unless in request mode.
    """

    packets: int = 0
    bytes: int = 0
    writes: int = 0
    replies: int = 0
    reply_bytes: int = 0

    def since(self, earlier: Counts) -> Counts:
        """The difference to ``earlier``."""
        return Counts(*(now - then for now, then in zip(astuple(self), astuple(earlier), strict=True)))


def part_rates(counts: Counts, seconds: float) -> tuple[float | None, float | None]:
    """Packets and bits per second of a whole part of the run; a single packet, or write, gives none."""
    single = counts.packets == 1
    return (
        None if single else per_second(counts.packets, seconds),
        None if single and counts.writes <= 1 else per_second(counts.bytes * 8, seconds),
    )


@frozen
class Volume:
    """What was sent or downloaded in a part of the run; a download has no writes."""

    packets: int
    bytes: int
    writes: int
    seconds: float
    packets_per_second: float | None
    bits_per_second: float | None

    @classmethod
    def of(cls, counts: Counts, seconds: float, plan_seconds: float = 0.0) -> Volume:
        """The volume of ``counts``, sent in ``seconds``; the schedule gave them ``plan_seconds``."""
        seconds = round(max(0.0, seconds), 6)
        rates = part_rates(counts, max(seconds, plan_seconds))
        return cls(counts.packets, counts.bytes, counts.writes, seconds, *rates)


@frozen
class Received:
    """What the server counted of our streams.

    ``seconds`` is the longest time of a stream and at least the time that the sending took, or that the schedule gave:
    nothing arrives faster than it is sent. If the server got all of each stream in one read it knows no time. Then it
    is the time from the first byte sent to the server's answer that has the counts: the rates are at least so high.
    """

    packets: int
    bytes: int
    seconds: float
    packets_per_second: float | None
    bits_per_second: float | None


@frozen
class Connected:
    """The connections ``opened`` in ``seconds`` of connect mode, and those that failed, in ``failures`` by reason."""

    opened: int
    failed: int
    seconds: float
    connections_per_second: float | None
    failures: dict[str, int]

    @classmethod
    def of(cls, opened: int, failures: Mapping[str, int], seconds: float, plan_seconds: float = 0.0) -> Connected:
        """With the rate of ``opened``, for which the schedule gave ``plan_seconds``."""
        seconds = round(max(0.0, seconds), 6)
        rate = None if opened == 1 else per_second(opened, max(seconds, plan_seconds))
        return cls(opened, sum(failures.values()), seconds, rate, dict(failures))


@frozen
class Replies:
    """The replies of request mode."""

    packets: int
    bytes: int


@frozen
class StreamCount:
    """One stream, the whole run. ``replies`` is None unless in request mode, ``received_*`` if no server was asked.

    ``injected``: what ``--inject`` did to it; None without the flag. ``shard``: whose it is, in a merged result.
    """

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
    injected: Struck | None = None
    shard: int | None = None

    @property
    def expected_packets(self) -> int:
        """What a server of our framing counts of the bytes sent."""
        return self.packets if self.injected is None else self.injected.expected_packets

    def counts_as(self, packets: int | None, nbytes: int) -> bool:
        """Whether a server that counts ``packets`` (None: it counts none) of ``nbytes`` got what was sent."""
        struck = self.injected
        if struck is None:
            return packets in (None, self.packets) and nbytes == self.bytes
        least = 0 if struck.faulty else self.bytes - struck.unconfirmed_bytes
        whole = packets is None or struck.least_packets <= packets <= struck.expected_packets
        return whole and least <= nbytes <= self.bytes
