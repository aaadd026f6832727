"""What flags need and forbid, where several flags or conditions share it.

Rules: each looks only at an ``Asked``. A rule of one flag alone stands beside the flag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctrlserver.client.target import TLS, UDP
from ctrlserver.errors import UsageError
from ctrlserver.load.plan.cluster import Cluster
from ctrlserver.load.plan.flag import Rule
from ctrlserver.load.plan.modes import CONNECT, RECEIVE, REQUEST
from ctrlserver.load.plan.schedule import LEAST_RATE
from ctrlserver.load.plan.shard import Shard
from ctrlserver.units import BitRate
from ctrlserver.wire.datagram import DATAGRAM, LONGEST_DATAGRAM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ctrlserver.load.results.thresholds import Path, Threshold


def over_udp(asked: Any) -> bool:
    """Whether each packet is a datagram."""
    return bool(asked.target.transport == UDP)


def over_plain_tls(asked: Any) -> bool:
    """Whether the target is ``ssl:HOST:PORT``, whose peer we verify; an endpoint string says itself whom to trust."""
    return bool(asked.target.transport == TLS)


def _parts(asked: Any, part: Any) -> int:
    """Into how many parts ``--shard``, ``--processes`` or ``--dask`` divide the load; the most where that is open."""
    if isinstance(part, Cluster):
        return int(asked.shards or asked.streams)
    return int(part.of if isinstance(part, Shard) else part.of(asked.streams, asked.streams))


def in_bits(rate: Any) -> bool:
    """Whether a rate or a profile is in bits per second, not in packets."""
    return isinstance(rate, BitRate) or getattr(rate, "in_bits", False) is True


REQUESTING = Rule(lambda asked, _: asked.mode == REQUEST, "needs --mode request")
TIMING = Rule(lambda asked, _: asked.mode in (REQUEST, CONNECT), "needs --mode request or connect")
SCHEDULED = Rule(lambda asked, _: asked.rate is not None or asked.profile is not None, "needs --rate or --profile")

POSITIVE = Rule(lambda _, value: value > 0, "must be more than 0")
NOT_TOO_SLOW = Rule(lambda _, value: not 0 < value < LEAST_RATE, f"must be at least {LEAST_RATE:f}/s, one in 11 days")
NOT_CONNECTING = Rule(lambda asked, _: asked.mode != CONNECT, "not with --mode connect, which sends no packets")
NOT_RECEIVING = Rule(lambda asked, _: asked.mode != RECEIVE, "not with --mode receive, where the target says how fast")
PACKETS_IF_CONNECTING = Rule(
    lambda asked, rate: asked.mode != CONNECT or not in_bits(rate),
    "not in bits with --mode connect, which sends no packets",
)
ONLY_DATAGRAMS = Rule(
    lambda asked, spec: not over_udp(asked) or spec is DATAGRAM,
    "over UDP each packet is a datagram; leave the flag out",
    shows=True,
)
NO_DATAGRAMS = Rule(
    lambda asked, spec: over_udp(asked) or spec is not DATAGRAM,
    "needs a target of datagrams, such as udp:127.0.0.1:22222",
    shows=True,
)
FITS_A_DATAGRAM = Rule(
    lambda asked, value: not over_udp(asked) or value.most <= LONGEST_DATAGRAM,
    f"{{value.most}} bytes are too many, a datagram holds at most {LONGEST_DATAGRAM}",
)
OF_SEVERAL_PROCESSES = (
    Rule(lambda asked, _: asked.shard is None, "not with --shard, which is the part of one process"),
    Rule(
        lambda asked, _: asked.start_at is None or asked.start_at.is_known,
        "not with --start-at -, which one process reads; give the time itself",
    ),
)
NOT_BY_NUMBER = Rule(
    lambda asked, _: asked.mode != RECEIVE or not asked.asks_for_packets,
    "in mode receive needs --duration, because the source is asked for a number of packets beforehand",
)
NO_PAYLOAD = Rule(
    lambda asked, _: asked.payload is None or asked.mode == RECEIVE, "not with --payload, which has a size of its own"
)
LASTING = (
    Rule(lambda asked, _: asked.packets is None, "not with --packets, which ends the run itself"),
    Rule(lambda asked, _: asked.total_bytes is None, "not with --bytes, which ends the run itself"),
    Rule(lambda asked, _: asked.profile is None, "not with --profile: a rate that changes has no one figure"),
    Rule(lambda asked, _: asked.shard is None, "not with --shard: each shard would end at a time of its own"),
    Rule(lambda asked, _: asked.processes is None, "not with --processes: each would end at a time of its own"),
    Rule(lambda asked, _: asked.dask is None, "not with --dask: each worker would end at a time of its own"),
)
UNTIL = Rule(lambda asked, _: bool(asked.until), "needs --until")
NOT_BELOW_THE_LEAST = Rule(
    lambda asked, most: asked.duration is None or most >= asked.duration,
    "must be at least --duration, {asked.duration:g} s",
)
NEEDS_PLAIN_TLS = Rule(lambda asked, _: over_plain_tls(asked), "needs a plain TLS target, such as ssl:localhost:22222")

A_STREAM_EACH = Rule(
    lambda asked, processes: (processes.number or 1) <= asked.streams,
    "a process has at least one stream, and --streams is {asked.streams}; "
    "did you mean --processes {asked.streams}, or --streams {value.number}?",
    shows=True,
)
A_STREAM_FOR_EACH_SHARD = Rule(
    lambda asked, shards: shards <= asked.streams,
    "a shard has at least one stream, and --streams is {asked.streams}; "
    "did you mean --shards {asked.streams}, or --streams {value}?",
    shows=True,
)
SHARDS_STRIKE_ALONE = Rule(
    lambda asked, part: _parts(asked, part) == 1 or asked.inject is None or not asked.inject.over_all_streams,
    'not with --inject "{asked.inject.over_all_streams[0].text}", which counts over all streams of the whole',
)
SHARDS_HAVE_ADDRESSES = Rule(
    lambda asked, part: _parts(asked, part) == 1 or not asked.admin or asked.target.word != "unix",
    "not with --admin over a unix socket, where streams of several processes cannot be told apart",
)

#: What a condition on a section of the result document needs; the other sections are always known.
_SECTION_NEEDS = {
    "start": Rule(
        lambda asked, _: asked.start_at is not None or asked.by_others, "needs --start-at, --processes or --dask"
    ),
    "received": Rule(lambda asked, _: bool(asked.admin), "needs --admin"),
    "replies": REQUESTING,
    "warm_up": Rule(lambda asked, _: asked.warm_up > 0, "needs --warm-up"),
    "downloaded": Rule(lambda asked, _: asked.mode == RECEIVE, "needs --mode receive"),
    "latency": TIMING,
    "connections": Rule(lambda asked, _: asked.mode == CONNECT, "needs --mode connect"),
    "schedule": SCHEDULED,
    "injections": Rule(lambda asked, _: asked.inject is not None, "needs --inject"),
    "server_injections": Rule(lambda asked, _: bool(asked.admin), "needs --admin"),
    "until": UNTIL,
    "delivery": Rule(
        lambda asked, _: over_udp(asked) and bool(asked.admin), "needs a udp:HOST:PORT target and --admin"
    ),
}


#: The same of a goal: it is about what changes, and in the other modes nothing is sent.
_GOAL_NEEDS = {
    **_SECTION_NEEDS,
    "sent": Rule(lambda asked, _: asked.mode not in (RECEIVE, CONNECT), "needs --mode send or request"),
}


def check_conditions(asked: Any, conditions: tuple[Threshold, ...]) -> None:
    """UsageError for a condition on what this run will not measure: a mistake, not a failure."""
    for condition in conditions:
        if unmet := _unmet(asked, condition.paths, _SECTION_NEEDS):
            raise UsageError(f"--fail-if: {condition.expression}: {unmet}")


def check_goals(asked: Any) -> None:
    """UsageError for a goal of a figure that this run will not measure."""
    for goal in asked.until:
        if unmet := _unmet(asked, goal.paths, _GOAL_NEEDS):
            raise UsageError(f"--until: {goal.expression}: {unmet}")


def measured_path(asked: Any, paths: tuple[Path, ...]) -> Path:
    """The first of a goal's ``paths`` that the run measures."""
    return next((path for path in paths if _unmet(asked, (path,), _GOAL_NEEDS) is None), paths[0])


def _unmet(asked: Any, paths: tuple[Path, ...], sections: Mapping[str, Rule]) -> str | None:
    """What the run lacks to measure any of ``paths``; None if it measures one."""
    needs = [_needs(asked, path, sections) for path in paths]
    unmet = [need for need in needs if need is not None and not need.holds(asked, None)]
    return unmet[0].why if len(unmet) == len(needs) else None


def _needs(asked: Any, path: Path, sections: Mapping[str, Rule]) -> Rule | None:
    if path[:2] == ("latency", "response") and TIMING.holds(asked, None):
        return SCHEDULED
    return sections.get(path[0])
