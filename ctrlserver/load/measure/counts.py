"""What was sent and what came back, in exact integers.

Rules: a rate without a duration is None, never a division by zero. Streams are counted whole; the total leaves the
warm-up out and the warm-up has a total of its own, so the two add up to the streams.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen


def per_second(number: float, seconds: float) -> float | None:
    """To one digit; None where no time has passed."""
    return round(number / seconds, 1) if seconds > 0 else None


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
