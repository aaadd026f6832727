"""The result document: one record for all outputs.

Rules: the document is whole and valid even if the run was refused, failed or interrupted. Its fields and their order
are a contract: ``schema`` names its version, ``load/result.schema.json`` defines it for programs. It has no NaN and no
infinity: null stands for an unknown value. ``sent`` excludes the warm-up, ``warm_up`` holds it, ``streams`` include it.

Beware: ``latency`` is null if no reply was timed, ``schedule`` if neither a rate nor a profile was asked for.
"""

from __future__ import annotations

import json
import os
import platform
from functools import partial
from importlib.metadata import version

import attrs
from attrs import field, frozen

import ctrlserver
from ctrlserver.console.exit_codes import gravest
from ctrlserver.load.measure.confidence import Until
from ctrlserver.load.measure.counts import Connected, Received, Replies, StreamCount, Volume
from ctrlserver.load.measure.injections import Injections, ServerInjections
from ctrlserver.load.measure.intervals import Interval
from ctrlserver.load.measure.reconciling import Delivery
from ctrlserver.load.measure.timing import Latencies
from ctrlserver.load.measure.verdict import Scheduled
from ctrlserver.load.results.shards import Merged, ShardOf, Start
from ctrlserver.load.results.thresholds import Judgement

SCHEMA = "ctrlload/1"


@frozen
class Environment:
    """Where the load came from; ``server`` is the version that the admin port reported, None if none was asked."""

    python: str = field(factory=platform.python_version, kw_only=True)
    twisted: str = field(factory=partial(version, "twisted"), kw_only=True)
    ctrlserver: str = field(default=ctrlserver.__version__, kw_only=True)
    platform: str = field(factory=platform.platform, kw_only=True)
    cpus: int = field(factory=lambda: os.cpu_count() or 1, kw_only=True)
    server: str | None = None


@frozen(kw_only=True)
class Result:
    """The outcome of a run, its fields in the document's order.

    ``started`` and ``began`` are ISO 8601 UTC: when the run was begun, and its sending, None if it was not. ``shard``
    and ``merged`` are None for a load that is not divided. ``error`` is one line, None if nothing failed.
    """

    schema: str = SCHEMA
    started: str
    began: str | None = None
    start: Start | None = None
    shard: ShardOf | None = None
    merged: Merged | None = None
    target: str
    options: dict[str, object]
    labels: dict[str, str]
    environment: Environment
    intervals: list[Interval]
    sent: Volume
    warm_up: Volume | None
    replies: Replies | None
    downloaded: Volume | None = None
    connections: Connected | None = None
    received: Received | None
    reconciled: bool | None
    difference: str | None
    delivery: Delivery | None = None
    injections: Injections | None = None
    server_injections: ServerInjections | None = None
    latency: Latencies | None = None
    schedule: Scheduled | None = None
    streams: list[StreamCount]
    until: Until | None = None
    thresholds: list[Judgement] = field(factory=list)
    interrupted: bool
    error: str | None

    @property
    def mismatch(self) -> str | None:
        """The error line for counts that differ, else None; lost datagrams are no difference."""
        if self.reconciled is not False or self.difference is None:
            return None
        if self.interrupted:
            return f"interrupted, and the counts up to then differ: {self.difference}"
        return f"the counts do not reconcile: {self.difference}"

    @property
    def exit_code(self) -> int:
        """0 good, 1 failed, 3 not reconciled, 4 a threshold held, 130 interrupted; the gravest one that applies."""
        return gravest(
            interrupted=self.interrupted,
            failed=self.error is not None,
            unreconciled=self.mismatch is not None,
            held=any(judgement.failed for judgement in self.thresholds),
        )


def as_document(result: attrs.AttrsInstance) -> dict[str, object]:
    """The result of a run or a search as plain dicts, lists, strings, numbers and None."""
    return attrs.asdict(result)


def as_json(result: attrs.AttrsInstance) -> str:
    """The document as JSON text that ends with a newline."""
    return json.dumps(as_document(result), indent=2, allow_nan=False) + "\n"
