"""What the command line asks of a run: every flag of ``ctrlload run`` but those of its outputs, declared once.

A field of ``Asked`` is a flag: its names, help, default, rules and place in the result's ``options`` stand there. To
add a flag, add a field here and use it, then add it to ``result.schema.json``, to the guide and to the tests. The
fields stand in the order of the document and of the help. ``options.prepared`` makes a run's ``Options`` of them.

Rules: ``parse`` reads a value alone; ``needs`` and ``rules`` say what else must have been asked. Every error names its
flag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from ctrlserver.client.target import Target, parse_admin
from ctrlserver.load.plan.flag import Rule, flag, text_of
from ctrlserver.load.plan.modes import ARRIVALS, CONNECT, MODES, RECEIVE, REQUEST, SEND
from ctrlserver.load.plan.pattern import Sizes, parse_sizes
from ctrlserver.load.plan.rules import (
    NEEDS_PLAIN_TLS,
    NO_DATAGRAMS,
    NOT_CONNECTING,
    NOT_RECEIVING,
    ONLY_DATAGRAMS,
    POSITIVE,
    REQUESTING,
    SCHEDULED,
    over_plain_tls,
    over_udp,
)
from ctrlserver.load.plan.values import (
    Payload,
    as_labels,
    read_arrival,
    read_condition,
    read_cut,
    read_framing,
    read_label,
    read_mode,
    read_payload,
    read_profile,
    read_seed,
)
from ctrlserver.units import parse_count, parse_duration, parse_rate, parse_size
from ctrlserver.wire.datagram import LONGEST_DATAGRAM
from ctrlserver.wire.framing import FramingSpec
from ctrlserver.wire.probe import HEADER_SIZE

if TYPE_CHECKING:
    from ctrlserver.load.plan.profile import Profile
    from ctrlserver.load.results.thresholds import Threshold


#: Modes that run over every transport.
_EVERYWHERE = (SEND, REQUEST)


def _cut_by_size(spec: FramingSpec) -> bool:
    """Whether a download in this framing is counted by its bytes."""
    return spec.size is not None or not spec.counts_packets


@frozen(kw_only=True)
class Asked:
    """One field a flag; times are in seconds, rates in packets per second over all streams.

    ``packets``, ``total_bytes`` and ``duration`` may each be None; the first one reached ends the run.
    """

    target: Target
    packets: int | None = flag(
        "-n --packets",
        "Number of packets to send or ask for, or of connections to make. [default: 10000]",
        "N",
        parse_count,
        shared=False,
        rules=(
            POSITIVE,
            Rule(
                lambda asked, _: asked.mode != RECEIVE or asked.framing is None or asked.framing.counts_packets,
                "framing raw has no packets; use --bytes or --duration",
            ),
        ),
    )
    total_bytes: int | None = flag(
        "--bytes",
        "Bytes to send over all streams, rounded up to whole packets.",
        "N",
        parse_size,
        key="bytes",
        shared=False,
        rules=(
            POSITIVE,
            NOT_CONNECTING,
            Rule(
                lambda asked, _: asked.mode != RECEIVE or asked.framing is None or _cut_by_size(asked.framing),
                "in mode receive needs --framing fixed:N or raw, not {asked.framing.text}",
            ),
        ),
    )
    duration: float | None = flag(
        "-t --duration",
        "How long to send; the last packet is sent whole.",
        "T",
        parse_duration,
        key="duration_seconds",
        search_help="Time of each run.",
        search_default="5s",
        rules=(POSITIVE,),
    )
    size: Sizes | None = flag(
        "-l --size",
        "Payload bytes of a packet; a range is random. [default: 1024]",
        "N|N..M",
        parse_sizes,
        write=Sizes.as_option,
        rules=(
            NOT_CONNECTING,
            Rule(
                lambda asked, _: asked.payload is None or asked.mode == RECEIVE,
                "not with --payload, which has a size of its own",
            ),
            Rule(
                lambda asked, size: asked.mode != RECEIVE or size.least == size.most,
                "one size in mode receive, that of the source's packets",
                shows=True,
            ),
            Rule(
                lambda asked, size: not over_udp(asked) or size.most <= LONGEST_DATAGRAM,
                f"{{value.most}} bytes are too many, a datagram holds at most {LONGEST_DATAGRAM}",
            ),
        ),
    )
    seed: int = flag("--seed", "Seed of random sizes and arrivals.", "N", read_seed, default="1")
    framing: FramingSpec | None = flag(
        "-f --framing",
        "How packets are framed, as on the server. [default: fixed, of the size]",
        "SPEC",
        read_framing,
        write=text_of,
        rules=(NOT_CONNECTING, ONLY_DATAGRAMS, NO_DATAGRAMS),
    )
    payload: Payload | None = flag(
        "--payload",
        r"What each packet holds, with the escapes \r \n \t \0 \xHH, or the bytes of a file.",
        "TEXT|@FILE",
        read_payload,
        write=text_of,
        rules=(
            NOT_CONNECTING,
            Rule(
                lambda asked, payload: not over_udp(asked) or payload.size <= LONGEST_DATAGRAM,
                f"{{value.size}} bytes are too many, a datagram holds at most {LONGEST_DATAGRAM}",
            ),
        ),
    )
    reply_framing: FramingSpec | None = flag(
        "--reply-framing",
        "How replies are framed, in request mode. [default: as --framing]",
        "SPEC",
        read_cut,
        write=text_of,
        needs=REQUESTING,
        rules=(ONLY_DATAGRAMS, NO_DATAGRAMS),
    )
    greeting: FramingSpec | None = flag(
        "--greeting",
        "How the target's greeting is framed, such as line: the run waits for it, and does not count it.",
        "SPEC",
        read_cut,
        write=text_of,
        rules=(
            Rule(lambda asked, _: not over_udp(asked), "not over UDP, where nobody speaks first"),
            Rule(lambda asked, _: not asked.target.over_tls, "not over TLS"),
            NO_DATAGRAMS,
            Rule(
                lambda _, spec: spec.counts_packets,
                "framing raw has no end; say how the greeting ends, such as --greeting line",
            ),
        ),
    )
    streams: int = flag("-P --streams", "Parallel streams.", "N", parse_count, default="1", rules=(POSITIVE,))
    mode: str = flag(
        "-m --mode",
        "One way; request and reply; download from a source; connect and reset.",
        "|".join(MODES),
        read_mode,
        default=SEND,
        rules=(
            Rule(
                lambda asked, mode: mode != CONNECT or not over_plain_tls(asked),
                "not over TLS; a handshake is not timed yet, HOST:PORT times the connection",
                shows=True,
            ),
            Rule(
                lambda asked, mode: mode in _EVERYWHERE or not over_udp(asked),
                "not over UDP; use send or request",
                True,
            ),
            Rule(
                lambda asked, mode: mode in _EVERYWHERE or not asked.target.over_tls,
                "not over TLS; use send or request",
                shows=True,
            ),
        ),
    )
    in_flight: int | None = flag(
        "-q --in-flight",
        "Requests in flight on each stream, in request mode. [default: 1]",
        "N",
        parse_count,
        needs=REQUESTING,
        rules=(Rule(lambda _, value: value >= 1, "must be at least 1"),),
    )
    write_combine: bool = flag(
        "--write-combine/--no-write-combine",
        "Many packets in one write, or one write for each packet.",
        default=True,
        rules=(
            NOT_CONNECTING,
            Rule(lambda asked, _: asked.mode != RECEIVE, "not with --mode receive, which writes nothing"),
        ),
    )
    rate: float | None = flag(
        "-r --rate",
        "Packets per second over all streams, such as 5k/s, sent when they are due. [default: as fast as possible]",
        "R",
        parse_rate,
        key="rate_packets_per_second",
        shared=False,
        rules=(
            POSITIVE,
            Rule(lambda asked, _: asked.profile is None, "not with --profile, which has its own rates"),
            NOT_RECEIVING,
        ),
    )
    arrival: str | None = flag(
        "--arrival",
        "Space packets evenly, or at random (see --seed), with --rate or --profile. [default: constant]",
        "|".join(ARRIVALS),
        read_arrival,
        needs=SCHEDULED,
    )
    profile: Profile | None = flag(
        "--profile",
        "Rates over time, such as '10s@1k,60s@1k..50k,sine(30s,5k,20k)', or a table of seconds,rate.",
        "P|FILE.csv|@FILE",
        read_profile,
        write=text_of,
        shared=False,
        rules=(NOT_RECEIVING,),
    )
    interval: float = flag(
        "-i --interval",
        "Time between reports; 0: no reports.",
        "T",
        parse_duration,
        default="1s",
        key="interval_seconds",
        shared=False,
    )
    warm_up: float = flag(
        "-O --warm-up",
        "Extra time at the start, which the summary leaves out.",
        "T",
        parse_duration,
        default="0s",
        key="warm_up_seconds",
        rules=(
            Rule(
                lambda asked, _: asked.mode != RECEIVE or not asked.asks_for_packets,
                "in mode receive needs --duration, because the source is asked for a number of packets beforehand",
            ),
        ),
    )
    admin: Target | None = flag(
        "--admin",
        "The server's admin port: compare its counts with ours, stream by stream.",
        "HOST:PORT",
        parse_admin,
        write=text_of,
        rules=(NOT_CONNECTING,),
    )
    fail_if: tuple[Threshold, ...] = flag(
        "--fail-if",
        "Exit 4 if this holds, such as 'packets_per_second<500k' or 'received.packets<100'; repeatable.",
        "EXPR",
        read_condition,
        repeats=True,
        write=lambda conditions: [condition.expression for condition in conditions],
        search_help="A rate at which this holds is not good, such as 'p99>2ms'; repeatable.",
    )
    labels: dict[str, str] = flag(
        "--label",
        "Copied into the result document; repeatable.",
        "K=V",
        read_label,
        repeats=True,
        converter=as_labels,
        write=dict,
    )
    probe: bool = flag(
        "--probe",
        "Number and time each packet, so that a server that reads probes reports loss, order and jitter; over UDP.",
        default=False,
        rules=(
            Rule(lambda asked, _: over_udp(asked), "needs a target of datagrams, such as udp:127.0.0.1:22222"),
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
        ),
    )
    cafile: str | None = flag(
        "--cafile",
        "Over TLS (ssl:HOST:PORT): trust the authorities in this PEM file instead of the system's.",
        "FILE",
        str,
        rules=(NEEDS_PLAIN_TLS,),
    )
    insecure: bool = flag(
        "--insecure",
        "Over TLS: do not verify the peer; anybody in between can then read along and answer in its place.",
        default=False,
        rules=(
            NEEDS_PLAIN_TLS,
            Rule(lambda asked, _: asked.cafile is None, "not with --cafile, which says whom to trust"),
        ),
    )
    connect_timeout: float = flag(
        "--connect-timeout",
        "Longest wait for a connection.",
        "T",
        parse_duration,
        default="10s",
        key="connect_timeout_seconds",
        rules=(POSITIVE,),
    )
    stall_timeout: float = flag(
        "--stall-timeout",
        "Longest time without progress on any stream; then the run has failed.",
        "T",
        parse_duration,
        default="10s",
        key="stall_timeout_seconds",
        rules=(POSITIVE,),
    )

    @property
    def asks_for_packets(self) -> bool:
        """Whether a number of packets ends the run: the one asked for, or the default if nothing else ends it."""
        others = (self.total_bytes, self.duration, self.profile)
        return self.packets is not None or all(other is None for other in others)
