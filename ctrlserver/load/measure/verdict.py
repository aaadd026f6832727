"""Whether the figures of an open loop can be believed: who, if anybody, kept packets from going when they were due.

Rules, in this order:

- ``none``: 99 of 100 packets were sent at most ``LATE_SECONDS`` after they were due, and of those that were due at most
  one of 100 was not sent at all.
- ``generator``: it was not, and the pacer itself released more than one of 100 packets more than ``LATE_SECONDS`` late,
  which were at least ``ITS_PART`` of those that went late or not at all; or the process was busy for at least ``BUSY``
  of the time. What was measured is ctrlload, not the target.
- ``target``: it was not, and the generator was in time and had time to spare. The packets waited for room: the target
  took no bytes, or did not answer those in flight.

Of fewer than 100 packets one may be late all the same, because a single one tells nothing of the others; unless it is
the only one.

Beware: a generator that shares its cores with the target is kept waiting by it, and that is ``generator`` too: the
figures are no better for it.
"""

from __future__ import annotations

from attrs import frozen

from ctrlserver.stats.latency import Histogram

#: A packet sent so long after it was due is late.
LATE_SECONDS = 0.001
LATE = 1_000_000

#: The part of the time from which on a process that runs on one core has none to spare.
BUSY = 0.9

#: The part of the packets that may be late, or unsent, in a run to be believed.
TOLERATED = 0.01

#: The part of the late and unsent packets from which on the pacer's own lateness is what made them so: of a target that
#: takes nothing, nearly all are unsent, and a few late wake-ups are not why.
ITS_PART = 0.1

GENERATOR = "generator"
TARGET = "target"
NONE = "none"


@frozen
class Slip:
    """How long after it was due a packet was sent, in seconds."""

    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float

    @classmethod
    def of(cls, histogram: Histogram) -> Slip:
        """From the total."""
        return cls(*histogram.at((50, 90, 99, 99.9, 100)))


@frozen
class Scheduled:
    """The result's ``schedule``.

    ``planned_packets`` were due by the end of the sending. ``achieved_packets_per_second`` is over the plan's time,
    or over the time that the sending took where that was longer. ``dropped_ticks`` are wake-ups of the pacer more than
    ``LATE_SECONDS`` late.
    """

    target_packets_per_second: float
    achieved_packets_per_second: float | None
    planned_packets: int
    sent_packets: int
    late_packets: int
    dropped_ticks: int
    slip: Slip
    bottleneck: str


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
    """The record and its verdict. ``busy`` is the process's time on a core, as part of the time that passed."""
    span = max(plan_seconds, seconds)
    late = slip.count_above(LATE)
    its_own = too_many_late(delay) and delay.count_above(LATE) >= ITS_PART * (late + planned - sent)
    return Scheduled(
        target_packets_per_second=round(target, 3),
        achieved_packets_per_second=round(sent / span, 3) if span > 0 else None,
        planned_packets=planned,
        sent_packets=sent,
        late_packets=late,
        dropped_ticks=dropped_ticks,
        slip=Slip.of(slip),
        bottleneck=bottleneck(planned, sent, too_many_late(slip), its_own, busy),
    )


def too_many_late(times: Histogram) -> bool:
    """Whether more of ``times`` than is tolerated are longer than ``LATE_SECONDS``."""
    late, count = times.count_above(LATE), len(times)
    return late > TOLERATED * count and (late > 1 or count == 1)


def bottleneck(planned: int, sent: int, slipped: bool, delayed: bool, busy: float) -> str:
    """The verdict: whether too many packets were sent late, and by the pacer's fault.

    ``busy`` is from 0 to 1 or, of several threads, a little more.
    """
    if not slipped and planned - sent <= TOLERATED * planned:
        return NONE
    if delayed or busy >= BUSY:
        return GENERATOR
    return TARGET
