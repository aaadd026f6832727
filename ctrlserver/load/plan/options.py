"""What a run does: what was asked, with every default filled in and the pattern of its packets made.

``Asked`` (the command line) -> ``prepared`` -> ``Options`` -> a run; ``Options.as_options`` -> the result document.

Rules: options are frozen and complete before anything is opened. ``prepared`` raises ``UsageError`` in one line that
begins with the flag: first by the rules beside the flags, then where framing, size and payload do not fit each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from attrs import field, frozen

from ctrlserver.errors import FramingSpecError, InjectionError, UsageError
from ctrlserver.inject.places import check_sender
from ctrlserver.load.plan.asked import Asked
from ctrlserver.load.plan.flag import UNITS, check, flags_of
from ctrlserver.load.plan.modes import CONSTANT, RECEIVE, REQUEST
from ctrlserver.load.plan.pattern import SENDS_NOTHING, Pattern, Sizes, payload_pattern, shares, size_pattern
from ctrlserver.load.plan.rules import check_conditions, check_goals, over_udp
from ctrlserver.load.plan.schedule import LEAST_RATE, SECOND, Curve, Schedule, schedule
from ctrlserver.load.plan.shard import WHOLE, Dealt
from ctrlserver.load.plan.values import DEFAULT_SIZE, FIXED
from ctrlserver.units import BitRate
from ctrlserver.wire.datagram import DATAGRAM
from ctrlserver.wire.framing import FramingSpec, parse_framing

if TYPE_CHECKING:
    from ctrlserver.inject.spec import Spec
    from ctrlserver.load.plan.profile import Profile

DEFAULT_PACKETS = 10_000

#: A run with ``--until`` lasts so many intervals at least, and so many times its least time at most.
LEAST_INTERVALS, MOST_TIMES = 20, 10


@frozen(kw_only=True)
class Options(Asked):
    """One run. ``strict``: a number was asked for, so in receive mode fewer are a failure.

    ``curve`` is the rate over time, None to send as fast as possible.
    """

    framing: FramingSpec
    in_flight: int
    arrival: str
    strict: bool
    pattern: Pattern = field(repr=False)
    curve: Curve | None = field(init=False, repr=False)

    @curve.default
    def _curve(self) -> Curve | None:
        if self.profile is not None:
            return self.profile.curve
        return None if self.rate is None else Curve.constant(self.rate)

    @property
    def numbers(self) -> range:
        """Which of the ``streams`` this run opens: all, or those of its shard."""
        return (self.shard or WHOLE).numbers(self.streams)

    def shares(self, total: int) -> list[int]:
        """What each of the run's own streams has of ``total``, which is that of all ``streams``."""
        every = shares(total, self.streams)
        return [every[number - 1] for number in self.numbers]

    def part(self, total: int | None) -> int | None:
        """What the run has of ``total``; None stays None."""
        return None if total is None else sum(self.shares(total))

    def limits(self, starts: Sequence[int]) -> list[int] | None:
        """The byte up to which each own stream sends, from its first, where it has sent ``starts`` packets before.

        None without a limit.
        """
        pattern = self.pattern
        wanted: list[list[int]] = []
        if self.packets is not None:
            wanted.append(self.shares(self.packets))
        if self.total_bytes is not None and pattern.stride:
            wanted.append(self.shares(pattern.packets_to_cover(self.total_bytes)))
        elif self.total_bytes is not None:
            wanted.append(list(map(pattern.packets_to_cover, self.shares(self.total_bytes), starts)))
        if not wanted:
            return None
        most = [min(each) for each in zip(*wanted, strict=True)]
        return [pattern.bytes_of(start + more) for start, more in zip(starts, most, strict=True)]

    def plan(self, curve: Curve) -> Schedule | Dealt:
        """When the run's own packets are due, where all of them come at the rates of ``curve``."""
        whole = schedule(curve, self.arrival, self.seed)
        return whole if self.shard is None else Dealt(whole, self.numbers, self.streams)

    @property
    def longest(self) -> float | None:
        """Seconds after which the sending ends at the latest, by the clock or by the schedule."""
        if self.curve is None or self.curve.endless:
            return self.most
        return self.curve.until(self.most).end / SECOND

    @property
    def most(self) -> float | None:
        """Seconds after which the clock ends the sending."""
        return self.at_most if self.until else self.duration

    def as_options(self) -> dict[str, object]:
        """For the result document: by the flags' names, times in seconds; null if a flag is unused."""
        document: dict[str, object] = {}
        for name, flag in flags_of(Asked):
            value = getattr(self, name)
            unused = value is None or (flag.needs is not None and not flag.needs.holds(self, value))
            document[flag.key or name + UNITS.get(flag.parse, "")] = None if unused else flag.write(value)
        return document


def prepared(asked: Asked) -> Options:
    """The options with their defaults, and the pattern they ask for."""
    check(asked)
    check_conditions(asked, asked.fail_if)
    check_goals(asked)
    packets, size, payload = asked.packets, asked.size, asked.payload
    if asked.asks_for_packets:
        packets = packets or DEFAULT_PACKETS
    framing = DATAGRAM if over_udp(asked) else _framing(asked)
    if asked.mode == RECEIVE:
        packets = packets if framing.counts_packets else None
        size = Sizes(framing.size, framing.size) if framing.size else None
        pattern = SENDS_NOTHING
    elif payload is not None:
        pattern = payload_pattern(payload.content, framing)
    else:
        size = size or Sizes(framing.size or DEFAULT_SIZE, framing.size or DEFAULT_SIZE)
        pattern = size_pattern(size, framing, asked.seed)
    if pattern.empty and (asked.total_bytes is not None or isinstance(asked.rate, BitRate)):
        raise UsageError(
            "--bytes, --rate: packets of no bytes make no bytes and no bits; count them, as -n 100 -r 10/s"
        )
    reply_framing = asked.reply_framing or framing if asked.mode == REQUEST else None
    if reply_framing is not None and not reply_framing.counts_packets:
        words = "replies of framing raw cannot be counted; say how they end, such as --reply-framing line"
        raise UsageError(f"--reply-framing: {words}")
    if asked.inject is not None:
        _check_injection(asked.inject, asked.target.word, pattern)
    filled: dict[str, object] = {
        "packets": packets,
        "size": size,
        "framing": framing,
        "reply_framing": reply_framing,
        "in_flight": asked.in_flight or 1,
        "arrival": asked.arrival or CONSTANT,
    }
    if asked.until:
        filled["duration"], filled["at_most"] = _times(asked)
    if asked.rate is not None:
        filled["rate"] = _fast_enough(pattern.in_packets(asked.rate))
    if asked.profile is not None:
        filled["profile"] = _in_packets(asked.profile, pattern)
    strict = asked.packets is not None or asked.total_bytes is not None
    return Options(**{**attrs.asdict(asked, recurse=False), **filled}, strict=strict, pattern=pattern)


def _times(asked: Asked) -> tuple[float, float]:
    """The least and the most seconds of a run that lasts until it is sure."""
    least = asked.duration or LEAST_INTERVALS * (asked.interval or 1.0)
    if asked.duration is None and asked.at_most is not None:
        least = min(least, asked.at_most)
    return least, asked.at_most or MOST_TIMES * least


def _check_injection(spec: Spec, transport: str, pattern: Pattern) -> None:
    size = 0 if pattern.empty else pattern.stride or None
    try:
        check_sender(spec, transport, size)
    except InjectionError as error:
        raise UsageError(f"--inject: {error}") from None


def _fast_enough(rate: float) -> float:
    if rate < LEAST_RATE:
        raise UsageError(f"--rate: {rate:.3g} packets/s, must be at least {LEAST_RATE:f}/s, one in 11 days")
    return rate


def _in_packets(profile: Profile, pattern: Pattern) -> Profile:
    try:
        return profile.in_packets(pattern.in_packets(BitRate(1)))
    except UsageError as error:
        raise UsageError(f"--profile: {error}") from None


def _framing(asked: Asked) -> FramingSpec:
    """The framing asked for; without one, and for ``fixed`` alone, fixed packets of the size or the payload."""
    if asked.framing is not None and asked.framing is not FIXED:
        return asked.framing
    size = asked.size
    if asked.payload is not None and asked.mode != RECEIVE:
        return _fixed("--payload", asked.payload.most)
    if size is None:
        return _fixed("--framing", DEFAULT_SIZE)
    if size.least != size.most:
        words = "random sizes need a framing that says where a packet ends, such as --framing int32 or line"
        raise UsageError(f"--size {size}: {words}")
    return _fixed("--size", size.most)


def _fixed(flag: str, size: int) -> FramingSpec:
    try:
        return parse_framing(f"fixed:{size}")
    except FramingSpecError as error:
        raise UsageError(f"{flag}: {error}") from None
