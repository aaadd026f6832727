"""What flags need and forbid, where several flags or conditions share it.

Rules: each looks only at an ``Asked``. A rule of one flag alone stands beside the flag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctrlserver.client.target import TLS, UDP
from ctrlserver.errors import UsageError
from ctrlserver.load.plan.flag import Need, Rule
from ctrlserver.load.plan.modes import CONNECT, RECEIVE, REQUEST
from ctrlserver.wire.datagram import DATAGRAM

if TYPE_CHECKING:
    from ctrlserver.load.results.thresholds import Threshold


def over_udp(asked: Any) -> bool:
    """Whether each packet is a datagram."""
    return bool(asked.target.transport == UDP)


def over_plain_tls(asked: Any) -> bool:
    """Whether the target is ``ssl:HOST:PORT``, whose peer we verify; an endpoint string says itself whom to trust."""
    return bool(asked.target.transport == TLS)


REQUESTING = Need(lambda asked: asked.mode == REQUEST, "--mode request")
RECEIVING = Need(lambda asked: asked.mode == RECEIVE, "--mode receive")
CONNECTING = Need(lambda asked: asked.mode == CONNECT, "--mode connect")
TIMING = Need(lambda asked: asked.mode in (REQUEST, CONNECT), "--mode request or connect")
SCHEDULED = Need(lambda asked: asked.rate is not None or asked.profile is not None, "--rate or --profile")
WARMING_UP = Need(lambda asked: asked.warm_up > 0, "--warm-up")
ASKING = Need(lambda asked: asked.admin is not None, "--admin")
DELIVERING = Need(lambda asked: over_udp(asked) and asked.admin is not None, "a udp:HOST:PORT target and --admin")

POSITIVE = Rule(lambda _, value: value > 0, "must be more than 0")
NOT_CONNECTING = Rule(lambda asked, _: asked.mode != CONNECT, "not with --mode connect, which sends no packets")
NOT_RECEIVING = Rule(lambda asked, _: asked.mode != RECEIVE, "not with --mode receive, where the target says how fast")
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
NEEDS_PLAIN_TLS = Rule(lambda asked, _: over_plain_tls(asked), "needs a plain TLS target, such as ssl:localhost:22222")

#: What a condition on a section of the result document needs; the other sections are always known.
_SECTION_NEEDS = {
    "received": ASKING,
    "replies": REQUESTING,
    "warm_up": WARMING_UP,
    "downloaded": RECEIVING,
    "latency": TIMING,
    "connections": CONNECTING,
    "schedule": SCHEDULED,
    "delivery": DELIVERING,
}


def check_conditions(asked: Any, conditions: tuple[Threshold, ...]) -> None:
    """UsageError for a condition on what this run will not measure: a mistake, not a failure."""
    for condition in conditions:
        needs = [_SECTION_NEEDS.get(path[0]) for path in condition.paths]
        if all(path[:2] == ("latency", "response") for path in condition.paths) and TIMING.holds(asked):
            needs = [SCHEDULED]
        unmet = [need for need in needs if need is not None and not need.holds(asked)]
        if len(unmet) == len(needs):
            raise UsageError(f"--fail-if: {condition.expression}: needs {unmet[0].words}")
