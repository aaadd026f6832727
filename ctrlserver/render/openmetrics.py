r"""Records as metrics: the text that Prometheus and whoever speaks OpenMetrics scrapes. PURE.

The families are made of the schema of ``stats``: each counter and gauge of it is ``ctrlserver_`` and its own name, so a
new field is a metric without a line here. Three kinds of fields have another place:

- what each listener counts has the label ``listener``; what each worker counts, other names and the label ``worker``;
- the counters of each closing reason, and of each rejection, are one counter with the label ``reason``;
- rates, and what ``reset`` sets to 0, are no metrics: whoever scrapes computes rates from counters.

Rules: the sum over the labels of a counter is the field of ``stats``; what earlier starts had counted (``keep_totals``)
is there without a label. Names are a contract and never renamed. A counter ends in ``_total``, and is at no time less
than before. Numbers are in seconds and bytes.

Beware: the two forms differ in how a counter is announced: with its ``_total`` (``PROMETHEUS``, the text format 0.0.4)
or without it (``OPENMETRICS`` 1.0). Both end with ``# EOF``, to which the former is a comment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Final, NamedTuple

from attrs import frozen

from ctrlserver.stats.counters import REASONS, REJECTIONS, Sums
from ctrlserver.stats.records import StatsRecord, Value, WorkerRecord, describe

OPENMETRICS: Final = "openmetrics"
PROMETHEUS: Final = "prometheus"

CONTENT_TYPES: Final = {
    OPENMETRICS: "application/openmetrics-text; version=1.0.0; charset=utf-8",
    PROMETHEUS: "text/plain; version=0.0.4; charset=utf-8",
}

END: Final = "# EOF"

_UNITS: Final = ("seconds", "bytes")

_BY_LISTENER: Final = {
    "streams_open": "streams open now",
    "streams_total": "streams opened",
    "packets_total": "whole packets received, or sent as a source",
    "bytes_total": "bytes received, or sent as a source",
}

_BY_WORKER: Final = {
    "streams_open": ("streams_open", "streams that the worker serves now"),
    "streams_total": ("streams_total", "streams that the worker has served"),
    "packets_total": ("packets_total", "whole packets that the worker received, or sent as a source"),
    "bytes_total": ("bytes_total", "bytes that the worker received, or sent as a source"),
    "cpu_seconds": ("cpu_seconds_total", "time of processors that the worker has used"),
    "memory_bytes": ("resident_memory_bytes", "memory that the process of the worker holds"),
    "restarts": ("restarts_total", "times that the worker ended or hung, and was replaced"),
}


@frozen
class Process:
    """The process that answers, which is the parent of the workers where there are some."""

    cpu_seconds: float
    resident_bytes: int


class Sample(NamedTuple):
    """One number of a family."""

    value: int | float
    labels: Mapping[str, str]


@frozen
class Family:
    """``name`` is without ``_total``; ``kind`` is counter, gauge or info."""

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]

    @property
    def sample_name(self) -> str:
        """That of its samples."""
        return self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")

    def rows(self) -> Iterator[dict[str, Value]]:
        """Its samples, for JSON."""
        for each in self.samples:
            yield {"name": self.sample_name, "value": each.value, **each.labels}

    def lines(self, form: str) -> Iterator[str]:
        """Its lines in a form."""
        name = self.sample_name
        yield from _head(self.name, name, self.kind, self.help, form)
        for value, labels in self.samples:
            if labels:
                shown = ",".join([f'{label}="{_escaped(content)}"' for label, content in labels.items()])
                yield f"{name}{{{shown}}} {value!r}"
            else:
                yield f"{name} {value!r}"


def families(
    stats: StatsRecord,
    listeners: Mapping[str, Sums],
    workers: Sequence[WorkerRecord],
    process: Process,
    *,
    ready: bool,
) -> list[Family]:
    """All of them, of one instant; ``listeners`` by their names, those too that are gone."""
    started = datetime.fromisoformat(stats.started).timestamp()
    return [
        _one("ctrlserver_build", "info", "the version that runs", 1, {"version": stats.version}),
        _one("ctrlserver_ready", "gauge", "1 if new streams are welcome, 0 if not: health says why", int(ready)),
        *(_of_listeners(name, listeners, stats) for name in _BY_LISTENER),
        *_of_stats(stats),
        _by_reason("ctrlserver_streams_closed", "streams closed, by reason", "closed", REASONS, stats),
        _by_reason(
            "ctrlserver_rejected", "connections and datagrams rejected, by reason", "rejected", REJECTIONS, stats
        ),
        *(_of_workers(name, workers, stats) for name in _BY_WORKER),
        _one("process_start_time_seconds", "gauge", "when the server started, in seconds since 1970", started),
        _one("process_cpu_seconds", "counter", "time of processors that the server used", process.cpu_seconds),
        _one("process_resident_memory_bytes", "gauge", "memory that the server holds", process.resident_bytes),
    ]


def text(families: Sequence[Family], form: str) -> Iterator[str]:
    """All lines, made one by one."""
    for family in families:
        yield from family.lines(form)
    yield END


@cache
def _head(name: str, sample_name: str, kind: str, help: str, form: str) -> Sequence[str]:
    """The lines above the samples; made once, for they are most of a text."""
    unit = name.rpartition("_")[2]
    if form == PROMETHEUS:
        kind, name = "gauge" if kind == "info" else kind, sample_name
    lines = [f"# HELP {name} {_escaped(help) if form == OPENMETRICS else help}", f"# TYPE {name} {kind}"]
    return [*lines, f"# UNIT {name} {unit}"] if form == OPENMETRICS and unit in _UNITS else lines


def _one(name: str, kind: str, help: str, value: int | float, labels: Mapping[str, str] | None = None) -> Family:
    return Family(name, kind, help, [Sample(value, labels or {})])


def _split(name: str) -> tuple[str, str]:
    """The name of a family, and its kind."""
    return (name.removesuffix("_total"), "counter") if name.endswith("_total") else (name, "gauge")


def _of_stats(stats: StatsRecord) -> Iterator[Family]:
    for field, name, kind, help in _FIELDS:
        if (value := getattr(stats, field)) is not None:
            yield _one(name, kind, help, value)


def _is_metric(name: str, kind: str) -> bool:
    """Whether a field of stats is a metric by itself."""
    if name in _BY_LISTENER or name in ("rejected_total", "worker_restarts_total", "uptime_seconds"):
        return False
    if name.startswith(("closed_", "rejected_")) or "_per_second" in name or name in ("packets", "bytes"):
        return False
    return kind in ("counter", "gauge")


_FIELDS: Final = [
    (each.name, *_split(f"ctrlserver_{each.name}"), each.help)
    for each in describe()
    if each.record == "stats" and _is_metric(each.name, each.kind)
]
"""Those of stats that are metrics by themselves: field, name, kind and help."""


def _of_listeners(field: str, listeners: Mapping[str, Sums], stats: StatsRecord) -> Family:
    name, kind = _split(f"ctrlserver_{field}")
    own = field.removeprefix("streams_") if field == "streams_open" else field.removesuffix("_total")
    samples = [Sample(getattr(sums, own), {"listener": listener}) for listener, sums in listeners.items()]
    return Family(name, kind, _BY_LISTENER[field], _with_the_rest(samples, getattr(stats, field)))


def _of_workers(field: str, workers: Sequence[WorkerRecord], stats: StatsRecord) -> Family:
    called, help = _BY_WORKER[field]
    name, kind = _split(f"ctrlserver_worker_{called}")
    samples = [Sample(getattr(each, field), {"worker": str(each.worker)}) for each in workers]
    if field == "restarts":
        samples = _with_the_rest(samples, stats.worker_restarts_total)
    return Family(name, kind, help, samples)


def _with_the_rest(samples: list[Sample], whole: int) -> list[Sample]:
    """With one more, without a label, for what earlier starts counted (``keep_totals``): nobody knows of whom."""
    rest = whole - sum([each.value for each in samples])
    return [*samples, Sample(rest, {})] if rest > 0 else samples


def _by_reason(name: str, help: str, prefix: str, reasons: Sequence[str], stats: StatsRecord) -> Family:
    fields = {reason: f"{prefix}_{reason.replace('-', '_')}_total" for reason in reasons}
    return Family(
        name, "counter", help, [Sample(getattr(stats, field), {"reason": reason}) for reason, field in fields.items()]
    )


def _escaped(content: str) -> str:
    if content.isalnum():
        return content
    return content.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
