"""What the command line asks of a run or a search: every flag but those of the outputs, declared once.

A field of ``Asked`` is a flag: its names, help, default, rules and place in the result's ``options`` stand there. To
add a flag, add a field here and use it, then add it to ``result.schema.json``, to the guide and to the tests. The
fields stand in the order of the document and of the help. ``options.prepared`` makes a run's ``Options`` of them.

``sought.py`` has the flags of ``ctrlload search`` alone.

Rules: ``parse`` reads a value alone; ``needs`` and ``rules`` say what else must be asked. Errors name the flag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from ctrlserver.client.target import Target, parse_admin
from ctrlserver.load.plan import rules, values
from ctrlserver.load.plan.cluster import LOCAL, Cluster, parse_cluster
from ctrlserver.load.plan.flag import Rule, flag
from ctrlserver.load.plan.modes import ARRIVALS, CONNECT, MODES, RECEIVE, REQUEST, SEND
from ctrlserver.load.plan.pattern import Sizes, parse_sizes
from ctrlserver.load.plan.processes import Processes, parse_processes
from ctrlserver.load.plan.shard import Shard, parse_shard
from ctrlserver.load.plan.start import StartAt, parse_start
from ctrlserver.units import parse_count, parse_duration, parse_rate, parse_size
from ctrlserver.wire.framing import EXAMPLES, FramingSpec
from ctrlserver.wire.probe import HEADER_SIZE

if TYPE_CHECKING:
    from ctrlserver.inject.spec import Spec
    from ctrlserver.load.plan.profile import Profile
    from ctrlserver.load.results.goals import Goal
    from ctrlserver.load.results.thresholds import Threshold


#: Modes that run over every transport.
_EVERYWHERE = (SEND, REQUEST)


def _cut_by_size(spec: FramingSpec) -> bool:
    """Whether a download in this framing is counted by its bytes."""
    return spec.size is not None or not spec.counts_packets


@frozen(kw_only=True)
class Asked:
    """One field a flag; times are in seconds, rates in packets per second over all streams.

    ``packets``, ``total_bytes`` and ``duration`` may each be None; the first one reached ends the run. With
    ``until`` the run lasts ``duration`` at least.
    """

    target: Target
    packets: int | None = flag(
        "-n --packets N",
        "Number of packets to send or ask for, or of connections to make. [default: 10000]",
        parse_count,
        rules.POSITIVE,
        Rule(
            lambda asked, _: asked.mode != RECEIVE or asked.framing is None or asked.framing.counts_packets,
            "framing raw has no packets; use --bytes or --duration",
        ),
        search=None,
    )
    total_bytes: int | None = flag(
        "--bytes N",
        "Bytes to send over all streams, such as 10M (by 1024), rounded up to whole packets.",
        parse_size,
        rules.POSITIVE,
        rules.NOT_CONNECTING,
        Rule(
            lambda asked, _: asked.mode != RECEIVE or asked.framing is None or _cut_by_size(asked.framing),
            "in mode receive needs --framing fixed:N or raw, not {asked.framing.text}",
        ),
        key="bytes",
        search=None,
    )
    duration: float | None = flag(
        "-t --duration T",
        "How long to send; the last packet is sent whole.",
        parse_duration,
        rules.POSITIVE,
        search={"help": "Time of each run.", "default": "5s"},
    )
    until: tuple[Goal, ...] = flag(
        "--until GOAL",
        "Send until a figure's 95% confidence interval is so narrow, such as 'p99+-5%' or 'mean+-0.2ms': any rate, "
        "mean or percentile that --fail-if takes; repeatable. -t is then the least time. [default of -t: 20 intervals]",
        values.read_goal,
        *rules.LASTING,
        repeats=True,
        write=lambda goals: [goal.expression for goal in goals],
        search=None,
    )
    at_most: float | None = flag(
        "--at-most T",
        "With --until: the longest time. [default: 10 times the least, -t]",
        parse_duration,
        rules.POSITIVE,
        rules.NOT_BELOW_THE_LEAST,
        needs=rules.UNTIL,
        search=None,
    )
    size: Sizes | None = flag(
        "-l --size N|N..M",
        "Payload bytes of a packet, such as 64K (65536); a range is random. [default: 1024]",
        parse_sizes,
        rules.NOT_CONNECTING,
        rules.NO_PAYLOAD,
        Rule(
            lambda asked, size: asked.mode != RECEIVE or size.least == size.most,
            "one size in mode receive, that of the source's packets",
            shows=True,
        ),
        rules.FITS_A_DATAGRAM,
        write=Sizes.as_option,
    )
    seed: int = flag(
        "--seed N", "Seed of random sizes and arrivals, and of the chances of --inject.", values.read_seed, default="1"
    )
    framing: FramingSpec | None = flag(
        "-f --framing SPEC",
        "How packets are framed, as on the server. [default: fixed, of the size]",
        values.read_framing,
        rules.NOT_CONNECTING,
        rules.ONLY_DATAGRAMS,
        rules.NO_DATAGRAMS,
        values=EXAMPLES,
    )
    payload: values.Payload | None = flag(
        "--payload TEXT|@FILE",
        r"What each packet holds, with the escapes \r \n \t \0 \xHH, or the bytes of a file.",
        values.read_payload,
        rules.NOT_CONNECTING,
        rules.FITS_A_DATAGRAM,
    )
    reply_framing: FramingSpec | None = flag(
        "--reply-framing SPEC",
        "How replies are framed, in request mode. [default: as --framing]",
        values.read_cut,
        rules.ONLY_DATAGRAMS,
        rules.NO_DATAGRAMS,
        needs=rules.REQUESTING,
        values=EXAMPLES,
    )
    greeting: FramingSpec | None = flag(
        "--greeting SPEC",
        "How the target's greeting is framed, such as line: the run waits for it, and does not count it.",
        values.read_cut,
        Rule(lambda asked, _: not rules.over_udp(asked), "not over UDP, where nobody speaks first"),
        Rule(lambda asked, _: not asked.target.over_tls, "not over TLS"),
        rules.NO_DATAGRAMS,
        Rule(
            lambda _, spec: spec.counts_packets,
            "framing raw has no end; say how the greeting ends, such as --greeting line",
        ),
        values=EXAMPLES,
    )
    streams: int = flag("-P --streams N", "Parallel streams.", parse_count, rules.POSITIVE, default="1")
    shard: Shard | None = flag(
        "--shard I/N",
        "Send shard I of N of this load, every N-th stream of it; the N shards together send exactly the whole.",
        parse_shard,
        Rule(
            lambda asked, shard: shard.of <= asked.streams,
            "a shard has at least one stream, and the whole has {asked.streams}; did you mean --streams {value.of}?",
            shows=True,
        ),
        rules.SHARDS_STRIKE_ALONE,
        search=None,
    )
    processes: Processes | None = flag(
        "--processes N|auto",
        "Send from N processes, each with every N-th stream, and give one result; auto: one for each core.",
        parse_processes,
        rules.A_STREAM_EACH,
        *rules.OF_SEVERAL_PROCESSES,
        rules.SHARDS_STRIKE_ALONE,
        rules.SHARDS_HAVE_ADDRESSES,
        search=None,
        values=("auto",),
    )
    dask: Cluster | None = flag(
        "--dask ADDRESS|local",
        "Send from the workers of a Dask cluster, by the address of its scheduler, and give one result; local: from a "
        "cluster of this machine.",
        parse_cluster,
        Rule(lambda asked, _: asked.processes is None, "not with --processes; --dask local has processes of its own"),
        *rules.OF_SEVERAL_PROCESSES,
        rules.SHARDS_STRIKE_ALONE,
        rules.SHARDS_HAVE_ADDRESSES,
        search=None,
        values=(LOCAL,),
    )
    shards: int | None = flag(
        "--shards N",
        "With --dask: from how many processes. [default: one for each thread of the workers]",
        parse_count,
        rules.POSITIVE,
        rules.A_STREAM_FOR_EACH_SHARD,
        needs=Rule(lambda asked, _: asked.dask is not None, "needs --dask"),
        search=None,
    )
    mode: str = flag(
        f"-m --mode {'|'.join(MODES)}",
        "One way; request and reply; download from a source; connect and reset.",
        values.read_mode,
        Rule(
            lambda asked, mode: mode != CONNECT or not rules.over_plain_tls(asked),
            "not over TLS; a handshake is not timed yet, HOST:PORT times the connection",
            shows=True,
        ),
        Rule(
            lambda asked, mode: mode in _EVERYWHERE or not rules.over_udp(asked),
            "not over UDP; use send or request",
            shows=True,
        ),
        Rule(
            lambda asked, mode: mode in _EVERYWHERE or not asked.target.over_tls,
            "not over TLS; use send or request",
            shows=True,
        ),
        default=SEND,
        values=MODES,
    )
    in_flight: int | None = flag(
        "-q --in-flight N",
        "Requests in flight on each stream, in request mode. [default: 1]",
        parse_count,
        Rule(lambda _, value: value >= 1, "must be at least 1"),
        needs=rules.REQUESTING,
    )
    write_combine: bool = flag(
        "--write-combine/--no-write-combine",
        "Many packets in one write, or one write for each packet.",
        None,
        rules.NOT_CONNECTING,
        Rule(lambda asked, _: asked.mode != RECEIVE, "not with --mode receive, which writes nothing"),
        default=True,
    )
    rate: float | None = flag(
        "-r --rate R",
        "Packets per second over all streams, such as 5k/s, or bits, such as 10Mbit/s, sent when they are due. "
        "[default: as fast as possible]",
        parse_rate,
        rules.POSITIVE,
        rules.PACKETS_IF_CONNECTING,
        rules.NOT_TOO_SLOW,
        Rule(lambda asked, _: asked.profile is None, "not with --profile, which has its own rates"),
        rules.NOT_RECEIVING,
        search=None,
    )
    arrival: str | None = flag(
        f"--arrival {'|'.join(ARRIVALS)}",
        "Space packets evenly, or at random (see --seed), with --rate or --profile. [default: constant]",
        values.read_arrival,
        needs=rules.SCHEDULED,
        values=ARRIVALS,
    )
    profile: Profile | None = flag(
        "--profile P|FILE.csv|@FILE",
        "Rates over time, such as '10s@1k,60s@1k..50k,sine(30s,5k,20k)', or a table of seconds,rate.",
        values.read_profile,
        rules.PACKETS_IF_CONNECTING,
        rules.NOT_RECEIVING,
        search=None,
    )
    busy_poll: bool = flag(
        "--busy-poll",
        "With --rate or --profile: poll without a sleep until the next packet is due, for exact times; takes a core.",
        None,
        rules.SCHEDULED,
    )
    interval: float = flag(
        "-i --interval T", "Time between reports; 0: no reports.", parse_duration, default="1s", search=None
    )
    warm_up: float = flag(
        "-O --warm-up T",
        "Extra time at the start, which the summary leaves out.",
        parse_duration,
        rules.NOT_BY_NUMBER,
        default="0s",
    )
    start_at: StartAt | None = flag(
        "--start-at TIME",
        "Connect, then wait for this moment to begin: a time such as 2026-11-26T16:00:00Z, seconds since 1970, or +5s; "
        "-: stdin says when, once all streams are open.",
        parse_start,
        search=None,
    )
    admin: tuple[Target, ...] = flag(
        "--admin HOST:PORT",
        "The server's admin port: compare its counts with ours, stream by stream; repeatable, for several servers.",
        parse_admin,
        rules.NOT_CONNECTING,
        repeats=True,
        converter=values.each_once,
        write=values.one_or_list,
    )
    fail_if: tuple[Threshold, ...] = flag(
        "--fail-if EXPR",
        "Exit 4 if this holds, such as 'rate<500k', 'p95>10ms' or 'received.packets<100': packets, bytes, rate, "
        "bits_per_second, errors, lost, mean, max, any percentile, any path of the result document; repeatable.",
        values.read_condition,
        repeats=True,
        write=lambda conditions: [condition.expression for condition in conditions],
        search={"help": "A rate at which this holds is not good, such as 'p99>2ms'; repeatable."},
    )
    labels: dict[str, str] = flag(
        "--label K=V",
        "Copied into the result document; repeatable.",
        values.read_label,
        repeats=True,
        converter=values.as_labels,
    )
    probe: bool = flag(
        "--probe",
        "Number and time each packet, so that a server that reads probes reports loss, order and jitter; over UDP.",
        None,
        Rule(lambda asked, _: rules.over_udp(asked), "needs a target of datagrams, such as udp:127.0.0.1:22222"),
        Rule(lambda asked, _: asked.mode == SEND, "needs --mode send"),
        Rule(lambda asked, _: asked.payload is None, "not with --payload; the packets have a header of their own"),
        Rule(
            lambda asked, _: asked.size is None or asked.size.least == asked.size.most,
            f"needs packets of one size, such as --size {HEADER_SIZE}",
        ),
        Rule(
            lambda asked, _: asked.size is None or asked.size.most >= HEADER_SIZE,
            f"a probe packet has at least {HEADER_SIZE} bytes; --size {{asked.size}} is too small",
        ),
    )
    inject: Spec | None = flag(
        "--inject SPEC",
        "Misbehave: what is done to which packets of each stream, such as '10th*duplicate', "
        "'3*ok->reset' or '5%*corrupt(1 bit)'; chance is drawn by --seed.",
        values.read_spec,
        Rule(lambda asked, _: asked.mode in (SEND, REQUEST), "needs --mode send or request, in which packets are sent"),
        Rule(lambda asked, _: not asked.probe, "not with --probe, whose packets are numbered by the run"),
        search=None,
    )
    cafile: str | None = flag(
        "--cafile FILE",
        "Over TLS (ssl:HOST:PORT): trust the authorities in this PEM file instead of the system's.",
        str,
        rules.NEEDS_PLAIN_TLS,
    )
    insecure: bool = flag(
        "--insecure",
        "Over TLS: do not verify the peer; anybody in between can then read along and answer in its place.",
        None,
        rules.NEEDS_PLAIN_TLS,
        Rule(lambda asked, _: asked.cafile is None, "not with --cafile, which says whom to trust"),
    )
    connect_timeout: float = flag(
        "--connect-timeout T", "Longest wait for a connection.", parse_duration, rules.POSITIVE, default="10s"
    )
    stall_timeout: float = flag(
        "--stall-timeout T",
        "Longest time without progress on any stream; then the run has failed.",
        parse_duration,
        rules.POSITIVE,
        default="10s",
    )

    @property
    def by_others(self) -> bool:
        """Whether other processes send it, and this one sums up."""
        return self.processes is not None or self.dask is not None

    @property
    def asks_for_packets(self) -> bool:
        """Whether a number of packets ends the run: the one asked for, or the default if nothing else ends it."""
        others = (self.total_bytes, self.duration, self.profile, self.until or None)
        return self.packets is not None or all(other is None for other in others)
