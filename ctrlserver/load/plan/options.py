"""What a run is asked to do: every effective option, checked against the others.

Rules: options are frozen and complete before anything is opened; ``prepared`` raises ``UsageError`` in one line, with
the flag at fault, for what does not go together. ``as_options`` is what goes into the result document.
"""

from __future__ import annotations

from attrs import field, frozen

from ctrlserver.client.target import TLS, UDP, Target
from ctrlserver.errors import FramingSpecError, UsageError
from ctrlserver.load.plan.checks import check_datagrams, check_known, check_probe, check_tls
from ctrlserver.load.plan.modes import CONNECT, RECEIVE, REQUEST, SEND
from ctrlserver.load.plan.pattern import Pattern, Sizes, payload_pattern, size_pattern
from ctrlserver.load.plan.profile import Profile
from ctrlserver.load.plan.schedule import ARRIVALS, CONSTANT, SECOND, Curve
from ctrlserver.load.results.thresholds import Threshold
from ctrlserver.wire.datagram import DATAGRAM
from ctrlserver.wire.framing import FramingSpec, parse_framing
from ctrlserver.words import did_you_mean, quoted

DEFAULT_PACKETS = 10_000
DEFAULT_SIZE = 1024


@frozen(kw_only=True)
class Options:
    """One run. ``packets``, ``total_bytes``, ``duration`` (seconds) may each be None; the first one reached ends it.

    ``strict``: the number of packets was asked for, so in receive mode fewer are a failure.
    """

    target: Target
    admin: Target | None = None
    packets: int | None = None
    total_bytes: int | None = None
    duration: float | None = None
    size: Sizes | None = None
    seed: int = 1
    framing: FramingSpec
    reply_framing: FramingSpec | None = None
    greeting: FramingSpec | None = None
    payload: bytes | None = None
    payload_text: str | None = None
    strict: bool = False
    pattern: Pattern = field(repr=False)
    streams: int = 1
    mode: str = SEND
    in_flight: int = 1
    write_combine: bool = True
    rate: float | None = None
    arrival: str = CONSTANT
    profile: Profile | None = None
    interval: float = 1.0
    warm_up: float = 0.0
    fail_if: tuple[Threshold, ...] = ()
    labels: dict[str, str] = field(factory=dict)
    probe: bool = False
    cafile: str | None = None
    insecure: bool = False
    connect_timeout: float = 10.0
    stall_timeout: float = 10.0

    @property
    def curve(self) -> Curve | None:
        """The rate over time that is asked for, None for as fast as it goes."""
        if self.profile is not None:
            return self.profile.curve
        return None if self.rate is None else Curve.constant(self.rate)

    @property
    def longest(self) -> float | None:
        """Seconds after which the sending ends at the latest, by the clock or by the schedule."""
        curve = self.curve
        if curve is None or curve.endless:
            return self.duration
        return curve.until(self.duration).end / SECOND

    def as_options(self) -> dict[str, object]:
        """By their flags' names, durations in seconds."""
        return {
            "packets": self.packets,
            "bytes": self.total_bytes,
            "duration_seconds": self.duration,
            "size": None
            if self.size is None
            else self.size.most
            if self.size.least == self.size.most
            else str(self.size),
            "seed": self.seed,
            "framing": self.framing.text,
            "payload": self.payload_text,
            "reply_framing": None if self.reply_framing is None else self.reply_framing.text,
            "greeting": None if self.greeting is None else self.greeting.text,
            "streams": self.streams,
            "mode": self.mode,
            "in_flight": self.in_flight if self.mode == REQUEST else None,
            "write_combine": self.write_combine,
            "rate_packets_per_second": self.rate,
            "arrival": None if self.curve is None else self.arrival,
            "profile": None if self.profile is None else self.profile.text,
            "interval_seconds": self.interval,
            "warm_up_seconds": self.warm_up,
            "admin": None if self.admin is None else self.admin.text,
            "fail_if": [threshold.expression for threshold in self.fail_if],
            "labels": dict(self.labels),
            "probe": self.probe,
            "cafile": self.cafile,
            "insecure": self.insecure,
            "connect_timeout_seconds": self.connect_timeout,
            "stall_timeout_seconds": self.stall_timeout,
        }


def prepared(
    *,
    target: Target,
    admin: Target | None = None,
    packets: int | None = None,
    total_bytes: int | None = None,
    duration: float | None = None,
    size: Sizes | None = None,
    seed: int = 1,
    framing: str | None = None,
    reply_framing: str | None = None,
    greeting: str | None = None,
    payload: bytes | None = None,
    payload_text: str | None = None,
    streams: int = 1,
    mode: str = SEND,
    in_flight: int | None = None,
    write_combine: bool = True,
    rate: float | None = None,
    arrival: str | None = None,
    profile: Profile | None = None,
    interval: float = 1.0,
    warm_up: float = 0.0,
    fail_if: tuple[Threshold, ...] = (),
    labels: dict[str, str] | None = None,
    probe: bool = False,
    cafile: str | None = None,
    insecure: bool = False,
    connect_timeout: float = 10.0,
    stall_timeout: float = 10.0,
) -> Options:
    """The options with their defaults, and the pattern they ask for; ``framing`` and ``reply_framing`` are specs."""
    for name, value in (
        ("--packets", packets),
        ("--bytes", total_bytes),
        ("--duration", duration),
        ("--streams", streams),
        ("--rate", rate),
        ("--connect-timeout", connect_timeout),
        ("--stall-timeout", stall_timeout),
    ):
        if value is not None and value <= 0:
            raise UsageError(f"{name}: must be more than 0")
    if in_flight is not None and in_flight < 1:
        raise UsageError("--in-flight: must be at least 1")
    strict = packets is not None or total_bytes is not None
    if rate is not None and profile is not None:
        raise UsageError("--rate: not with --profile, which has its own rates")
    if arrival is not None and arrival not in ARRIVALS:
        near = did_you_mean(arrival, ARRIVALS) or f"; known are {' and '.join(ARRIVALS)}"
        raise UsageError(f"--arrival: unknown arrival {quoted(arrival)}{near}")
    if mode == RECEIVE and (rate is not None or profile is not None):
        flag = "--profile" if rate is None else "--rate"
        raise UsageError(f"{flag}: not with --mode receive, where the target says how fast")
    if arrival is not None and rate is None and profile is None:
        raise UsageError("--arrival: needs --rate or --profile")
    if mode == CONNECT and target.transport == TLS:
        raise UsageError("--mode connect: not over TLS; a handshake is not timed yet, HOST:PORT times the connection")
    if mode == CONNECT:
        sends = {
            "--admin": admin is not None,
            "--bytes": total_bytes is not None,
            "--size": size is not None,
            "--framing": framing is not None,
            "--payload": payload is not None,
            "--no-write-combine": not write_combine,
        }
        for flag in (flag for flag, given in sends.items() if given):
            raise UsageError(f"{flag}: not with --mode connect, which sends nothing and takes what it gets")
    if packets is None and total_bytes is None and duration is None and profile is None:
        packets = DEFAULT_PACKETS
    if mode != REQUEST and in_flight is not None:
        raise UsageError("--in-flight: needs --mode request")
    if mode != REQUEST and reply_framing is not None:
        raise UsageError("--reply-framing: needs --mode request")
    if payload is not None and size is not None and mode != RECEIVE:
        raise UsageError("--size: not with --payload, which has a size of its own")
    datagrams = target.transport == UDP
    known = {
        "received": admin is not None,
        "replies": mode == REQUEST,
        "warm_up": warm_up > 0,
        "downloaded": mode == RECEIVE,
        "latency": mode in (REQUEST, CONNECT),
        "connections": mode == CONNECT,
        "schedule": rate is not None or profile is not None,
        "delivery": datagrams and admin is not None,
    }
    check_known(fail_if, known)
    if datagrams:
        check_datagrams(mode, greeting, framing, reply_framing, size, payload)
    check_tls(target, mode, greeting, cafile, insecure)
    if probe:
        check_probe(datagrams, mode, size, payload)
    spec = DATAGRAM if datagrams else _framing(framing, size, None if mode == RECEIVE else payload)
    if mode == RECEIVE:
        if not write_combine:
            raise UsageError("--no-write-combine: not with --mode receive, which writes nothing")
        packets = _receivable(spec, packets, total_bytes, size, strict, warm_up)
        size = Sizes(spec.size, spec.size) if spec.size else None
        pattern = _counted_pattern(spec)
    elif payload is not None:
        pattern = payload_pattern(payload, spec)
    else:
        size = size or Sizes(spec.size or DEFAULT_SIZE, spec.size or DEFAULT_SIZE)
        pattern = size_pattern(size, spec, seed)
    return Options(
        target=target,
        admin=admin,
        packets=packets,
        total_bytes=total_bytes,
        duration=duration,
        size=size,
        seed=seed,
        framing=spec,
        reply_framing=_reply_framing(spec, reply_framing) if mode == REQUEST else None,
        greeting=None if greeting is None else _greeting(greeting),
        strict=strict,
        payload=payload,
        payload_text=payload_text,
        pattern=pattern,
        streams=streams,
        mode=mode,
        in_flight=in_flight or 1,
        write_combine=write_combine,
        rate=rate,
        arrival=arrival or CONSTANT,
        profile=profile,
        interval=interval,
        warm_up=warm_up,
        fail_if=fail_if,
        labels=labels or {},
        probe=probe,
        cafile=cafile,
        insecure=insecure,
        connect_timeout=connect_timeout,
        stall_timeout=stall_timeout,
    )


def _framing(text: str | None, size: Sizes | None, payload: bytes | None) -> FramingSpec:
    """``text``'s framing; without one, and for ``fixed`` alone, fixed packets of the size or the payload."""
    if text is not None and text.casefold() != "fixed":
        return _parsed("--framing", text)
    if payload is not None:
        return _parsed("--payload", f"fixed:{len(payload)}")
    if size is None:
        return _parsed("--framing", f"fixed:{DEFAULT_SIZE}")
    if size.least != size.most:
        words = "random sizes need a framing that says where a packet ends, such as --framing int32 or line"
        raise UsageError(f"--size {size}: {words}")
    return _parsed("--size", f"fixed:{size.most}")


def _reply_framing(framing: FramingSpec, text: str | None) -> FramingSpec:
    spec = framing if text is None or framing is DATAGRAM else _parsed("--reply-framing", text)
    if not spec.counts_packets:
        words = "replies of framing raw cannot be counted; say how they end, such as --reply-framing line"
        raise UsageError(f"--reply-framing: {words}")
    return spec


def _greeting(text: str) -> FramingSpec:
    spec = _parsed("--greeting", text)
    if not spec.counts_packets:
        raise UsageError("--greeting: framing raw has no end; say how the greeting ends, such as --greeting line")
    return spec


def _receivable(
    spec: FramingSpec, packets: int | None, total_bytes: int | None, size: Sizes | None, strict: bool, warm_up: float
) -> int | None:
    """How many packets are to come; UsageError for what cannot be told of a download."""
    if size is not None and size.least != size.most:
        raise UsageError(f"--size {size}: one size in mode receive, that of the source's packets")
    if warm_up > 0 and packets is not None:
        raise UsageError("--warm-up: in mode receive needs --duration, because a number is asked for beforehand")
    if not spec.counts_packets:
        if packets is not None and strict:
            raise UsageError("--packets: framing raw has no packets; use --bytes or --duration")
        return None
    if total_bytes is not None and spec.size is None:
        raise UsageError(f"--bytes: in mode receive needs --framing fixed:N or raw, not {spec.text}")
    return packets


def _counted_pattern(spec: FramingSpec) -> Pattern:
    """How a download is counted: packets of a fixed size in bytes, all else by one."""
    stride = spec.size or 1
    return Pattern(block=bytes(stride), packets_a_block=1, stride=stride)


def _parsed(flag: str, text: str) -> FramingSpec:
    if text.casefold() == DATAGRAM.text:
        raise UsageError(f"{flag} {text}: needs a target of datagrams, such as udp:127.0.0.1:22222")
    try:
        return parse_framing(text)
    except FramingSpecError as error:
        raise UsageError(f"{flag}: {error}") from None
