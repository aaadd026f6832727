"""What the live page shows, as one JSON document for all who read it.

Rules: a table has its columns once: ``fields`` by their own names, by which the page knows how to show them, ``names``
as they are published, and ``rows`` of values. A column of which no row knows a value is left out, except of runs.
``total`` says how many rows there are where not all are shown.

Beware: peers choose some of the texts; the page puts them into text nodes only. How large a document becomes depends on
how many records are given; a stream takes about 150 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, Final

from attrs import frozen

from ctrlserver.render.jsonline import octets
from ctrlserver.stats.records import (
    InjectionRecord,
    ListenerRecord,
    Published,
    RunRecord,
    StatsRecord,
    StreamRecord,
    WorkerRecord,
    as_mapping,
)
from ctrlserver.stats.rename import Renames

STREAM_FIELDS: Final = (
    "stream",
    "peer",
    "packets",
    "bytes",
    "packets_per_second",
    "bits_per_second",
    "state",
    "reason",
    "listener",
    "protocol",
    "mode",
    "delay_p50_seconds",
    "delay_p99_seconds",
    "jitter_seconds",
    "lost",
    "rtt_seconds",
    "injected",
    "worker",
    "opened",
)
"""The columns of streams on the page; ``streams`` of the admin port has all."""

RUN_FIELDS: Final = (
    "run",
    "name",
    "state",
    "started",
    "seconds",
    "streams",
    "packets",
    "bytes",
    "packets_per_second",
    "bits_per_second",
    "expected_packets",
    "complete",
    "faults",
    "incomplete_bytes",
    "listeners",
)
"""The columns of runs, all of them always: the page puts runs of earlier starts below those of the document."""

_REPLYING: Final = ("echo", "reply", "source")
"""Modes in which the server sends, so that the kernel measures round trips."""


@frozen
class Seen:
    """All that one document is made of.

    ``charts``: where the page finds the library for its charts; None: it is not installed. ``workers``: None where the
    server is one process. The totals are of what the lists show the first of.
    """

    time: str
    instance: str
    version: str
    charts: str | None
    ready: bool
    reasons: Sequence[str]
    stats: StatsRecord
    streams: Sequence[StreamRecord]
    streams_total: int
    runs: Sequence[RunRecord]
    runs_total: int
    listeners: Sequence[ListenerRecord]
    injections: Sequence[InjectionRecord]
    workers: Sequence[WorkerRecord] | None


def snapshot(seen: Seen, renames: Renames) -> bytes:
    """The document, on one line."""
    return octets(
        {
            "time": seen.time,
            "instance": seen.instance,
            "version": seen.version,
            "charts": seen.charts,
            "ready": seen.ready,
            "reasons": list(seen.reasons),
            "latency": _latency(seen.streams),
            "stats": table([seen.stats], renames),
            "streams": table(seen.streams, renames, STREAM_FIELDS, seen.streams_total),
            "runs": table(seen.runs, renames, RUN_FIELDS, seen.runs_total, whole=True),
            "listeners": table(seen.listeners, renames),
            "injections": table(seen.injections, renames),
            "workers": None if seen.workers is None else table(seen.workers, renames),
        }
    )


def past(seconds: Iterable[tuple[float, float, float]], now: float) -> bytes:
    """What each of the last ``seconds`` brought: how long before ``now`` it ended, packets/s and bits/s."""
    return octets([[round(at - now, 3), round(packets, 1), round(bits, 1)] for at, packets, bits in seconds])


def table(
    records: Sequence[Published],
    renames: Renames,
    fields: Sequence[str] | None = None,
    total: int | None = None,
    *,
    whole: bool = False,
) -> dict[str, Any]:
    """Its columns and rows; the columns are ``fields``, or all that the records have. ``whole``: none is left out."""
    rows = [as_mapping(record) for record in records]
    columns = list(dict.fromkeys(name for row in rows for name in row)) if fields is None else fields
    known = [name for name in columns if whole or not rows or any(row.get(name) is not None for row in rows)]
    return {
        "fields": known,
        "names": [renames.renamed(name) for name in known],
        "rows": [[row.get(name) for name in known] for row in rows],
        "total": len(rows) if total is None else total,
    }


def _latency(streams: Sequence[StreamRecord]) -> dict[str, float | None]:
    """Of the open streams shown: the middle one's median and the slowest one's p99 of probes, the middle round trip."""
    open_ones = [stream for stream in streams if stream.state == "open"]
    medians = [stream.delay_p50_seconds for stream in open_ones if stream.delay_p50_seconds is not None]
    slowest = [stream.delay_p99_seconds for stream in open_ones if stream.delay_p99_seconds is not None]
    trips = [each.rtt_seconds for each in open_ones if each.rtt_seconds is not None and each.mode in _REPLYING]
    return {
        "delay_p50_seconds": median(medians) if medians else None,
        "delay_p99_seconds": max(slowest) if slowest else None,
        "rtt_seconds": median(trips) if trips else None,
    }
