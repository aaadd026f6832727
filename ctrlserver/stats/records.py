"""The schema of all published records.

Rules: a record is a frozen reading; its fields stand in the order in which they are published, and each one says in
its annotation its kind, its unit and what it means. Counters only grow; gauges move; a text names something, and
may do so by a number; timestamps are ISO 8601 in UTC with milliseconds; what is not known is ``None``, never NaN.
Seconds are rounded to 6 digits, rates to 1.

Beware: the names are a contract with scripts and checks. A new field goes to the end of its part, none is renamed here
(``rename.py`` is for the reader's own names).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, TypeAlias, get_type_hints

from attrs import AttrsInstance, asdict, field, frozen

from ctrlserver.stats.counters import Label

Value: TypeAlias = str | int | float | bool | None


@frozen
class StatsRecord:
    """The whole server at one instant."""

    version: Annotated[str, "text", None, "the server's version"]
    started: Annotated[str, "timestamp", None, "when the server started"]
    uptime_seconds: Annotated[float, "gauge", "seconds", "time since the start"]
    streams_open: Annotated[int, "gauge", "streams", "streams open now"]
    streams_total: Annotated[int, "counter", "streams", "streams opened since the start"]
    packets_total: Annotated[int, "counter", "packets", "whole packets received, or sent as a source"]
    bytes_total: Annotated[int, "counter", "bytes", "bytes received, or sent as a source"]
    packets: Annotated[int, "gauge", "packets", "whole packets received since the last reset"]
    bytes: Annotated[int, "gauge", "bytes", "bytes received since the last reset"]
    incomplete_bytes_total: Annotated[int, "counter", "bytes", "bytes of packets that were incomplete at the close"]
    faults_total: Annotated[int, "counter", "streams", "streams that broke their framing"]
    rejected_total: Annotated[int, "counter", "streams", "connections and datagrams rejected at a limit"]
    replies_total: Annotated[int, "counter", "packets", "replies given since the start"]
    packets_per_second: Annotated[float, "gauge", "packets/s", "packet rate over the last second"]
    packets_per_second_10s: Annotated[float, "gauge", "packets/s", "packet rate over the last 10 s"]
    packets_per_second_60s: Annotated[float, "gauge", "packets/s", "packet rate over the last 60 s"]
    bits_per_second: Annotated[float, "gauge", "bits/s", "bit rate over the last second"]
    bits_per_second_10s: Annotated[float, "gauge", "bits/s", "bit rate over the last 10 s"]
    bits_per_second_60s: Annotated[float, "gauge", "bits/s", "bit rate over the last 60 s"]
    runs_total: Annotated[int, "counter", "runs", "runs begun since the start, the active one included"]
    resets_total: Annotated[int, "counter", "resets", "resets since the start"]
    loop_lag_seconds: Annotated[float, "gauge", "seconds", "longest delay of the server's loop in the last 10 s"]
    closed_eof_total: Annotated[int, "counter", "streams", "streams ended by their peer"]
    closed_reset_total: Annotated[int, "counter", "streams", "streams cut off by their peer"]
    closed_fault_total: Annotated[int, "counter", "streams", "streams closed for breaking their framing"]
    closed_idle_total: Annotated[int, "counter", "streams", "streams closed for silence"]
    closed_limit_total: Annotated[int, "counter", "streams", "streams closed at a limit"]
    closed_slow_reader_total: Annotated[int, "counter", "streams", "streams closed because their peer read no replies"]
    closed_kicked_total: Annotated[int, "counter", "streams", "streams closed by an operator"]
    closed_drain_total: Annotated[int, "counter", "streams", "streams closed as the server stopped"]
    closed_handshake_total: Annotated[int, "counter", "streams", "streams whose TLS handshake failed"]
    closed_timeout_total: Annotated[int, "counter", "streams", "streams whose peer's machine no longer answered"]
    closed_injected_total: Annotated[int, "counter", "streams", "streams closed by an injection"]
    closed_worker_total: Annotated[int, "counter", "streams", "streams lost with the worker process that served them"]
    rejected_max_streams_total: Annotated[int, "counter", "streams", "connections rejected: max_streams were open"]
    rejected_max_streams_per_peer_total: Annotated[
        int, "counter", "streams", "connections rejected: their host had its most streams"
    ]
    rejected_not_allowed_total: Annotated[int, "counter", "streams", "connections rejected: not in a network of allow"]
    rejected_udp_streams_total: Annotated[int, "counter", "packets", "datagrams counted in *, past max_udp_streams"]
    rejected_proxy_header_total: Annotated[
        int, "counter", "streams", "connections rejected: no PROXY header, or a wrong one, on a haproxy: endpoint"
    ]
    rejected_draining_total: Annotated[int, "counter", "streams", "connections and datagrams rejected: draining"]
    dropped_total: Annotated[int, "counter", "packets", "datagrams the kernel dropped before they were read"]
    dropped_in_batches_total: Annotated[
        int, "counter", "packets", "of dropped_total, what may be batches counted as one; 0: received + dropped = sent"
    ]
    unanswered_loops_total: Annotated[
        int, "counter", "packets", "datagrams not answered, duplicates not sent: their peer would answer them"
    ]
    memory_bytes: Annotated[int, "gauge", "bytes", "held for all peers: unfinished and kept packets, replies owed"]
    kept_given_up_total: Annotated[int, "counter", "packets", "kept packets given up because memory_limit was reached"]
    config_reloads_total: Annotated[int, "counter", "reloads", "times that the config was read again and applied"]
    config_reload_failures_total: Annotated[
        int, "counter", "reloads", "times that the config was read again and refused; the old one stayed"
    ]
    admin_refused_total: Annotated[
        int, "counter", "commands", "commands refused for their level, and wrong answers to a challenge"
    ]
    injections_active: Annotated[int, "gauge", "injections", "injections in force now"]
    injected_total: Annotated[int, "counter", "hits", "hits of all injections since the start"]
    swallowed_total: Annotated[
        int, "counter", "packets", "packets whose replies injections swallowed, or whose answer by a rule is empty"
    ]
    duplicated_total: Annotated[int, "counter", "packets", "packets whose replies injections sent twice"]
    workers: Annotated[int, "gauge", "workers", "processes that serve streams; 1 if the server is one process"] = 1
    workers_late: Annotated[
        int, "gauge", "workers", "workers that have not answered in time: their numbers are some older"
    ] = 0
    worker_restarts_total: Annotated[int, "counter", "restarts", "workers that ended or hung, and were replaced"] = 0
    history_lost_total: Annotated[int, "counter", "runs", "runs that could not be written to the history file"] = 0


@frozen
class StreamRecord:
    """One stream at one instant; the listener's labels follow the fields when it is published."""

    stream: Annotated[int, "text", None, "number of the stream, from 1 in order of opening"]
    listener: Annotated[str, "text", None, "name of the listener that took the stream"]
    peer: Annotated[str, "text", None, "address of the other side, host:port"]
    protocol: Annotated[str, "text", None, "transport of the stream, or the listener's own word for it"]
    framing: Annotated[str, "text", None, "rule by which bytes are cut into packets"]
    mode: Annotated[str, "text", None, "what the server does with a packet"]
    size: Annotated[float | None, "gauge", "bytes", "the fixed packet size, else mean bytes per packet"]
    state: Annotated[str, "text", None, "open or closed"]
    reason: Annotated[str | None, "text", None, "why the stream was closed"]
    packets: Annotated[int, "counter", "packets", "whole packets received, or sent as a source"]
    bytes: Annotated[int, "counter", "bytes", "bytes received, or sent as a source"]
    incomplete_bytes: Annotated[int, "gauge", "bytes", "bytes of the packet that was incomplete at the close"]
    seconds: Annotated[float, "gauge", "seconds", "time from first data to last data; 0 if one read brought it all"]
    packets_per_second: Annotated[float | None, "gauge", "packets/s", "packets / seconds; null if seconds is 0"]
    bits_per_second: Annotated[float | None, "gauge", "bits/s", "bytes * 8 / seconds; null if seconds is 0"]
    opened: Annotated[str, "timestamp", None, "when the stream was opened"]
    run: Annotated[int | None, "text", None, "number of the run in which its first data arrived"]
    lost: Annotated[int | None, "gauge", "packets", "probe packets missing by their sequence, as of now"] = None
    duplicate: Annotated[int | None, "counter", "packets", "probe packets that arrived again"] = None
    out_of_order: Annotated[int | None, "counter", "packets", "probe packets that arrived after a later one"] = None
    jitter_seconds: Annotated[float | None, "gauge", "seconds", "jitter of the probe packets, by RFC 3550"] = None
    delay_p50_seconds: Annotated[float | None, "gauge", "seconds", "median delay from intended send to read"] = None
    delay_p99_seconds: Annotated[float | None, "gauge", "seconds", "delay not exceeded by 99 % of the packets"] = None
    rtt_seconds: Annotated[
        float | None, "gauge", "seconds", "the kernel's round trip time of what the server sends; TCP on Linux only"
    ] = None
    retransmits: Annotated[int | None, "counter", "segments", "segments sent again; TCP on Linux only"] = None
    injected: Annotated[int, "counter", "hits", "hits of injections on this stream"] = 0
    worker: Annotated[int, "text", None, "number of the worker that serves it; 1 if the server is one process"] = 1
    labels: Mapping[str, Label] = field(factory=dict)


@frozen
class RunRecord:
    """One measured run, active or ended.

    The labels of its streams' listeners follow the fields when it is published, each with its values.
    """

    run: Annotated[int, "text", None, "number of the run, from 1"]
    name: Annotated[str | None, "text", None, "the operator's name for it; none if it began by itself"]
    state: Annotated[str, "text", None, "active, ended, or interrupted by the end of its server"]
    started: Annotated[str, "timestamp", None, "when the run began"]
    seconds: Annotated[float, "gauge", "seconds", "time from first data to last data; 0 if one read brought it all"]
    streams: Annotated[int, "counter", "streams", "streams that sent data in the run"]
    packets: Annotated[int, "counter", "packets", "whole packets received in the run"]
    bytes: Annotated[int, "counter", "bytes", "bytes received in the run"]
    packets_per_second: Annotated[float | None, "gauge", "packets/s", "packets / seconds; null if seconds is 0"]
    bits_per_second: Annotated[float | None, "gauge", "bits/s", "bytes * 8 / seconds; null if seconds is 0"]
    incomplete_bytes: Annotated[int, "counter", "bytes", "bytes of packets incomplete at a close in the run"]
    faults: Annotated[int, "counter", "streams", "streams that broke their framing in the run"]
    expected_packets: Annotated[int | None, "gauge", "packets", "packets the run was to bring"]
    complete: Annotated[bool | None, "flag", None, "packets equals expected_packets"]
    listeners: Annotated[str | None, "text", None, "names of the listeners that took its streams"] = None
    labels: Mapping[str, Sequence[Label]] = field(factory=dict)

    @property
    def listener_names(self) -> Sequence[str]:
        """Those of ``listeners``."""
        return self.listeners.split(",") if self.listeners else ()


@frozen
class PeerRecord:
    """What the closed streams of one host came to at one listener."""

    peer: Annotated[str, "text", None, "host of the other side"]
    listener: Annotated[str, "text", None, "name of the listener that took the streams"]
    streams: Annotated[int, "counter", "streams", "closed streams of the host"]
    packets: Annotated[int, "counter", "packets", "whole packets received in these streams, or sent as a source"]
    bytes: Annotated[int, "counter", "bytes", "bytes received in these streams, or sent as a source"]


@frozen
class ListenerRecord:
    """One data listener at one instant; ``udp_address`` where it takes datagrams."""

    name: Annotated[str, "text", None, "name of the listener"]
    endpoint: Annotated[str, "text", None, "where it listens, as configured"]
    address: Annotated[str, "text", None, "where it listens, as bound"]
    udp_address: Annotated[str | None, "text", None, "where it takes datagrams, as bound"]
    framing: Annotated[str, "text", None, "rule by which bytes are cut into packets"]
    mode: Annotated[str, "text", None, "what the server does with a packet"]
    streams_open: Annotated[int, "gauge", "streams", "streams open now"]
    streams_total: Annotated[int, "counter", "streams", "streams opened since the start"]
    packets_total: Annotated[int, "counter", "packets", "whole packets received, or sent as a source"]
    bytes_total: Annotated[int, "counter", "bytes", "bytes received, or sent as a source"]
    draining: Annotated[bool, "flag", None, "takes no new streams"]
    injections: Annotated[int, "gauge", "injections", "injections active"] = 0


@frozen
class IntervalRecord:
    """What came between two instants; ``watch`` pushes them."""

    time: Annotated[str, "timestamp", None, "when the interval ended"]
    seconds: Annotated[float, "gauge", "seconds", "length of the interval"]
    packets: Annotated[int, "gauge", "packets", "whole packets received, or sent as a source, in the interval"]
    bytes: Annotated[int, "gauge", "bytes", "bytes received, or sent as a source, in the interval"]
    packets_per_second: Annotated[float | None, "gauge", "packets/s", "packets / seconds"]
    bits_per_second: Annotated[float | None, "gauge", "bits/s", "bytes * 8 / seconds"]
    streams_open: Annotated[int, "gauge", "streams", "streams open at its end"]
    streams_opened: Annotated[int, "gauge", "streams", "streams opened in the interval"]
    streams_closed: Annotated[int, "gauge", "streams", "streams closed in the interval"]
    rejected: Annotated[int, "gauge", "streams", "connections and datagrams rejected in the interval"]
    replies: Annotated[int, "gauge", "packets", "replies given in the interval"]
    loop_lag_seconds: Annotated[float, "gauge", "seconds", "longest delay of the server's loop in the last 10 s"]


@frozen
class InjectionRecord:
    """An injection, in force or over."""

    injection: Annotated[int, "text", None, "number of the injection, from 1"]
    listener: Annotated[str, "text", None, "name of the listener that it was ordered of"]
    spec: Annotated[str, "text", None, "what it does, and when"]
    hits: Annotated[int, "counter", "hits", "times that it struck"]
    active: Annotated[bool, "flag", None, "in force; otherwise it is over"]
    since: Annotated[str, "timestamp", None, "when it began"]
    until: Annotated[str | None, "timestamp", None, "when it ends by itself, or ended"]
    seed: Annotated[int, "text", None, "what chance depends on: equal seeds strike the same packets"]
    peer: Annotated[str, "text", None, "networks of the peers that it concerns, or all"]
    streams: Annotated[str, "text", None, "new: those that open while it is in force; all: those open before, too"]
    by: Annotated[str, "text", None, "who ordered it: a peer of the admin port, or config"]


@frozen
class WorkerRecord:
    """One process that serves streams, with what all that had its number before have counted."""

    worker: Annotated[int, "text", None, "number of the worker, from 1"]
    pid: Annotated[int, "text", None, "number of its process"]
    state: Annotated[str, "text", None, "running, starting, or late: it has not answered in time"]
    streams_open: Annotated[int, "gauge", "streams", "streams open now"]
    streams_total: Annotated[int, "counter", "streams", "streams opened since the start"]
    packets_total: Annotated[int, "counter", "packets", "whole packets received, or sent as a source"]
    bytes_total: Annotated[int, "counter", "bytes", "bytes received, or sent as a source"]
    share: Annotated[float, "gauge", "of 1", "its part of the packets and bytes of the last second"]
    cpu_seconds: Annotated[float, "counter", "seconds", "time of processors that it has used"]
    memory_bytes: Annotated[int, "gauge", "bytes", "memory that its process holds"]
    restarts: Annotated[int, "counter", "restarts", "times that its process ended or hung, and was replaced"]


PROBE_FIELDS = ("lost", "duplicate", "out_of_order", "jitter_seconds", "delay_p50_seconds", "delay_p99_seconds")
"""Fields of a stream's record if its listener looks for probe packets; otherwise ``lost`` is ``None``."""

TCP_FIELDS = ("rtt_seconds", "retransmits")
"""Fields of TCP streams if the kernel reports them; otherwise ``rtt_seconds`` is ``None``."""


@frozen
class Field:
    """A published field: ``record`` is the word of ``_RECORDS``."""

    name: str
    record: str
    kind: str
    unit: str | None
    help: str


_RECORDS: Mapping[str, type[AttrsInstance]] = {
    "stats": StatsRecord,
    "stream": StreamRecord,
    "run": RunRecord,
    "peer": PeerRecord,
    "listener": ListenerRecord,
    "interval": IntervalRecord,
    "injection": InjectionRecord,
    "worker": WorkerRecord,
}

_FIELDS = tuple(
    Field(name, record, *about.__metadata__)
    for record, kind in _RECORDS.items()
    for name, about in get_type_hints(kind, include_extras=True).items()
    if name != "labels"
)
_NAMES = frozenset(described.name for described in _FIELDS)


Published: TypeAlias = (
    StatsRecord
    | StreamRecord
    | RunRecord
    | PeerRecord
    | ListenerRecord
    | IntervalRecord
    | InjectionRecord
    | WorkerRecord
)
"""What is published, each under the word that ``describe`` has for it."""


def as_mapping(record: Published | Field) -> dict[str, Value]:
    """The published fields in order, a stream's labels after them.

    Fields that only some streams have (of probe packets, of TCP) are left out of the records of the others. A label
    never hides a field of the same name, and one that is not a finite number is ``None``.
    Several values of one label of a run are one text.
    """
    mapping: dict[str, Value] = asdict(record, recurse=False)
    if isinstance(record, RunRecord):
        del mapping["labels"]
        for name, values in record.labels.items():
            mapping.setdefault(name, _plain(values[0]) if len(values) == 1 else ",".join(map(str, values)))
    if isinstance(record, StreamRecord):
        del mapping["labels"]
        if record.rtt_seconds is None:
            for name in TCP_FIELDS:
                del mapping[name]
        if record.lost is None:
            for name in PROBE_FIELDS:
                del mapping[name]
        for name, label in record.labels.items():
            mapping.setdefault(name, _plain(label))
    return mapping


def _plain(label: Label) -> Value:
    return None if isinstance(label, float) and not isfinite(label) else label


def describe(name: str | None = None) -> list[Field]:
    """All published fields, or those of this name in whatever record; empty where there is none."""
    return [described for described in _FIELDS if name is None or described.name == name]


def field_names() -> frozenset[str]:
    """The names of all published fields, labels not included."""
    return _NAMES


def timestamp(epoch: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, cut to milliseconds."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def seconds_figure(seconds: float) -> float:
    """A time as published."""
    return round(seconds, 6)


def rate_figure(count: float, seconds: float) -> float | None:
    """A rate as published; ``None`` where no time has passed."""
    return round(count / seconds, 1) if seconds > 0 else None
