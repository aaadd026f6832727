"""Whether the figures of an open loop can be believed: who, if anybody, kept packets from being sent when due.

A packet is late if it was sent more than ``LATE`` after it was due, and unsent if it was due and never sent.

Rules, in this order:

- ``none``: at most 1 of 100 packets sent was late, and at most 1 of 100 packets due was unsent (``TOLERATED``).
- ``generator``: more were, and ctrlload is the cause. Either the pacer itself released more than 1 of 100 packets late,
  and these are at least ``LEAST_BLAME`` of all late and unsent packets; or the process was busy for at least ``BUSY``
  of the time. The run measured ctrlload, not the target.
- ``target``: more were, although ctrlload released them on time and had time to spare. The packets waited for room: the
  target did not read, or did not answer those in flight.
- ``injection``: the same, where ``--inject`` held packets back or ended streams: it says nothing about the target.

Of fewer than 100 packets one may be late all the same, because a single one says nothing about the others; unless it is
the only one.

Beware: if generator and target share cores, the target slows the generator down, and the verdict is ``generator`` too:
the figures are no better for it.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import evolve, frozen

from ctrlserver.stats.latency import Histogram

#: A packet sent so many nanoseconds after it was due is late.
LATE = 1_000_000

#: A process that is on its core for at least this part of the time has none to spare.
BUSY = 0.9

#: In a run to be believed, at most this part of the packets is late, and at most this part unsent.
TOLERATED = 0.01

#: The generator is blamed only if its pacer released at least this part of the late and unsent packets late. A target
#: that reads nothing leaves nearly all packets unsent, and a few late wake-ups are not the cause of that.
LEAST_BLAME = 0.1


class Bottleneck(StrEnum):
    """Who kept packets from being sent when they were due."""

    NONE = "none"
    GENERATOR = "generator"
    TARGET = "target"
    INJECTION = "injection"


@frozen
class Slip:
    """How long after it was due a packet was sent, in seconds; ``hdr`` is the histogram, as that of a latency.

    All are None if nobody knows.
    """

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    p99_9: float | None = None
    max: float | None = None
    hdr: str | None = None

    @classmethod
    def of(cls, times: Histogram) -> Slip:
        """The summary of ``times``."""
        p50, p90, p99, p99_9, longest = times.at((50, 90, 99, 99.9, 100))
        return cls(p50, p90, p99, p99_9, longest, times.encoded())


@frozen
class Scheduled:
    """The result's ``schedule``.

    ``planned_packets`` were due by the end of the sending. ``achieved_packets_per_second`` is over the plan's time
    or, where that is longer, the time that the sending took; None if nothing was sent, or a single packet.
    ``dropped_ticks`` are wake-ups of the pacer that came more than ``LATE`` too late. ``plan_seconds``: the time that
    the schedule gave the packets that were due.
    """

    target_packets_per_second: float
    achieved_packets_per_second: float | None
    planned_packets: int
    sent_packets: int
    late_packets: int
    dropped_ticks: int
    slip: Slip
    bottleneck: Bottleneck
    plan_seconds: float | None = None

    @property
    def planned_seconds(self) -> float:
        """``plan_seconds``, or of a document of an earlier version, which has none, by the rate."""
        target, plan = self.target_packets_per_second, self.plan_seconds
        return plan if plan is not None else self.planned_packets / target if target else 0.0

    def held_back(self) -> Scheduled:
        """The same of a run whose packets ``--inject`` has held back."""
        return evolve(self, bottleneck=Bottleneck.INJECTION) if self.bottleneck is Bottleneck.TARGET else self


def scheduled(
    *,
    target: float,
    planned: int,
    sent: int,
    plan_seconds: float,
    seconds: float,
    busy: float,
    slip: Histogram,
    delay: Histogram,
    dropped_ticks: int,
) -> Scheduled:
    """The record and its verdict. ``target`` is in packets per second; ``busy`` is the part of the time that the
    process had on a core.
    """
    span = max(plan_seconds, seconds)
    late = slip.count_above(LATE)
    its_own = too_many_late(delay) and delay.count_above(LATE) >= LEAST_BLAME * (late + planned - sent)
    return Scheduled(
        target_packets_per_second=round(target, 3),
        achieved_packets_per_second=round(sent / span, 3) if sent > 1 and span > 0 else None,
        planned_packets=planned,
        sent_packets=sent,
        late_packets=late,
        dropped_ticks=dropped_ticks,
        slip=Slip.of(slip),
        bottleneck=bottleneck(planned, sent, too_many_late(slip), its_own, busy),
        plan_seconds=round(plan_seconds, 6),
    )


def too_many_late(times: Histogram) -> bool:
    """Whether more of ``times`` than is tolerated are longer than ``LATE``."""
    late, count = times.count_above(LATE), len(times)
    return late > TOLERATED * count and (late > 1 or count == 1)


def bottleneck(planned: int, sent: int, slipped: bool, delayed: bool, busy: float) -> Bottleneck:
    """The verdict. ``slipped``: too many packets were sent late; ``delayed``: the pacer is to blame for that.

    ``busy`` is from 0 to 1 or, of several threads, a little more.
    """
    if not slipped and planned - sent <= TOLERATED * planned:
        return Bottleneck.NONE
    if delayed or busy >= BUSY:
        return Bottleneck.GENERATOR
    return Bottleneck.TARGET
