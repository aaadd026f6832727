from __future__ import annotations

from typing import Any

import pytest

from ctrlserver.client.target import TLS, UDP, Target, parse_target
from ctrlserver.errors import UsageError
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.pattern import Sizes
from ctrlserver.load.plan.values import read_mode
from ctrlserver.load.results.schemas import shipped_schema
from ctrlserver.load.results.thresholds import parse_threshold
from tests.load.asking import options_for

TARGET = Target("127.0.0.1:22222", "127.0.0.1", 22222)

OVER_TLS = Target("ssl:localhost:22222", "localhost", 22222, TLS)
OVER_UDP = Target("udp:127.0.0.1:22222", "127.0.0.1", 22222, UDP)


def made(**flags: Any) -> Options:
    return options_for(TARGET, **flags)


@pytest.mark.parametrize(
    ("target", "flags", "words"),
    [
        (TARGET, {"mode": "connect"}, "--inject: needs --mode send or request, in which packets are sent"),
        (TARGET, {"mode": "receive"}, "--inject: needs --mode send or request, in which packets are sent"),
        (OVER_UDP, {"probe": True, "inject": "duplicate"}, "--inject: not with --probe"),
        (TARGET, {"inject": "3*dealy(1s)"}, '--inject: "dealy" at 3; did you mean "delay"?'),
        (TARGET, {"inject": "swallow"}, '--inject: "swallow" is for a server; ctrlload can stall, slow-read,'),
        (
            TARGET,
            {"inject": "truncate(64)", "size": Sizes(64, 64)},
            '--inject: "truncate(64)" leaves packets of 64 bytes',
        ),
        (OVER_UDP, {}, '--inject: "reset" needs a connection, not datagrams; ctrlload can corrupt and duplicate'),
        (
            OVER_TLS,
            {"inject": "half-close"},
            '--inject: "half-close" needs a connection whose sending side can end alone',
        ),
        (OVER_UDP, {"inject": "corrupt", "size": Sizes(0, 0)}, '--inject: "corrupt" needs packets that have bytes'),
        (TARGET, {"inject": "duplicate", "fail_if": (parse_threshold("server_injections.hits>0"),)}, "needs --admin"),
    ],
)
def test_what_no_stream_of_the_run_can_do_is_refused_with_both_flags(
    target: Target, flags: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        options_for(target, **{"inject": "3*ok->reset", **flags})
    assert words in str(caught.value)


def test_an_injection_is_written_as_it_reads() -> None:
    written = made(inject="3 * ok -> RESET", packets=10).as_options()
    assert ("3*ok->reset", 1) == (written["inject"], written["seed"])
    assert made().as_options()["inject"] is None


@pytest.mark.parametrize("text", ["request", "REQUEST", "Request"])
def test_a_mode_is_read_in_any_case(text: str) -> None:
    assert "request" == read_mode(text)


def test_over_udp_each_packet_is_a_datagram() -> None:
    given: list[dict[str, Any]] = [{}, {"framing": "datagram"}, {"mode": "request", "reply_framing": "datagram"}]
    for flags in given:
        options = options_for(OVER_UDP, **flags)
        assert ("datagram", 1024) == (options.framing.text, options.pattern.stride)
    assert "datagram" == options.as_options()["reply_framing"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"framing": "fixed:64"}, "--framing fixed:64: over UDP each packet is a datagram; leave the flag out"),
        ({"mode": "request", "reply_framing": "line"}, "--reply-framing line: over UDP each packet is a datagram"),
        ({"mode": "receive"}, "--mode receive: not over UDP"),
        ({"greeting": "line"}, "--greeting: not over UDP"),
        ({"size": Sizes(1, 65508)}, "--size: 65508 bytes are too many, a datagram holds at most 65507"),
        ({"payload": b"x" * 65508}, "--payload: 65508 bytes are too many"),
        ({"fail_if": (parse_threshold("lost>0"),)}, "--fail-if: lost>0: needs a udp:HOST:PORT target and --admin"),
        ({"probe": True, "mode": "request"}, "--probe: needs --mode send"),
        ({"probe": True, "payload": b"x"}, "--probe: not with --payload"),
        ({"probe": True, "size": Sizes(10, 64)}, "--probe: needs packets of one size, such as --size 24"),
        ({"probe": True, "size": Sizes(23, 23)}, "--probe: a probe packet has at least 24 bytes"),
    ],
)
def test_what_does_not_go_over_udp_is_refused_with_its_flag(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        options_for(OVER_UDP, **flags)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("target", "flags", "words"),
    [
        (TARGET, {"cafile": "x"}, "--cafile: needs a plain TLS target, such as ssl:localhost:22222"),
        (parse_target("tls:a:5:trustRoots=/x"), {"insecure": True}, "--insecure: needs a plain TLS target"),
        (OVER_TLS, {"cafile": "x", "insecure": True}, "--insecure: not with --cafile"),
        (OVER_TLS, {"mode": "receive"}, "--mode receive: not over TLS"),
        (parse_target("ssl:host=a:port=5"), {"greeting": "line"}, "--greeting: not over TLS"),
    ],
)
def test_what_does_not_go_over_tls_is_refused_with_its_flag(target: Target, flags: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        options_for(target, **flags)
    assert words in str(caught.value)


def test_without_flags_it_is_the_test_of_2013() -> None:
    options = made()
    assert (10_000, "fixed:1024", Sizes(1024, 1024), 1024) == (
        options.packets,
        options.framing.text,
        options.size,
        options.pattern.stride,
    )


@pytest.mark.parametrize("flags", [{"duration": 2.0}, {"total_bytes": 100}])
def test_another_end_replaces_the_default_number_of_packets(flags: dict[str, Any]) -> None:
    assert made(**flags).packets is None


@pytest.mark.parametrize(
    ("flags", "framing", "stride"),
    [
        ({"size": Sizes(64, 64)}, "fixed:64", 64),
        ({"framing": "fixed:64"}, "fixed:64", 64),
        ({"framing": "fixed", "size": Sizes(64, 64)}, "fixed:64", 64),
        ({"framing": "fixed"}, "fixed:1024", 1024),
        ({"framing": "int32"}, "int32", 1028),
        ({"payload": b"abc"}, "fixed:3", 3),
        ({"payload": b"abc", "framing": "line"}, "line", 4),
        ({"payload": b"PING\r\n", "framing": "raw"}, "raw", 6),
    ],
)
def test_size_framing_and_payload_find_each_other(flags: dict[str, Any], framing: str, stride: int) -> None:
    options = made(**flags)
    assert (framing, stride) == (options.framing.text, options.pattern.stride)


def test_replies_are_cut_as_packets_are_unless_said_otherwise() -> None:
    assert made().reply_framing is None
    echoed = made(mode="request").reply_framing
    assert echoed is not None
    assert "fixed:1024" == echoed.text
    answered = made(mode="request", framing="raw", payload=b"x", reply_framing="line").reply_framing
    assert answered is not None
    assert "line" == answered.text


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"packets": 0}, "--packets: must be more than 0"),
        ({"total_bytes": 0}, "--bytes: must be more than 0"),
        ({"duration": 0.0}, "--duration: must be more than 0"),
        ({"streams": 0}, "--streams: must be more than 0"),
        ({"connect_timeout": 0.0}, "must be more than 0"),
        ({"rate": 0.0}, "--rate: must be more than 0"),
        ({"rate": 4e-7}, "--rate: must be at least 0.000001/s"),
        ({"rate": "0.001bit/s"}, "--rate: 1.22e-07 packets/s, must be at least 0.000001/s"),
        ({"profile": "1s@0.001bit/s"}, "--profile: no packet is ever due"),
        ({"mode": "connect", "rate": "1Mbit/s"}, "--rate: not in bits with --mode connect, which sends no packets"),
        ({"mode": "connect", "profile": "1s@1Mbit/s"}, "--profile: not in bits with --mode connect"),
        ({"mode": "request", "in_flight": 0}, "--in-flight: must be at least 1"),
        ({"in_flight": 2}, "--in-flight: needs --mode request"),
        ({"reply_framing": "line"}, "--reply-framing: needs --mode request"),
        ({"payload": b"x", "size": Sizes(1, 1)}, "--size: not with --payload"),
        ({"framing": "fxied:1024"}, '--framing: unknown framing "fxied:1024"; did you mean "fixed:1024"?'),
        ({"size": Sizes(0, 0)}, "--size: "),
        ({"size": Sizes(1 << 30, 1 << 30)}, "--size: "),
        ({"size": Sizes(64, 1024)}, "--size 64..1024: random sizes need a framing"),
        ({"size": Sizes(64, 1024), "framing": "fixed:64"}, "--size 64..1024: framing fixed:64 cannot carry it"),
        ({"payload": b""}, "--payload: "),
        ({"mode": "request", "framing": "raw", "payload": b"x"}, "--reply-framing: replies of framing raw"),
        ({"fail_if": (parse_threshold("received.packets<1"),)}, "--fail-if: received.packets<1: needs --admin"),
        ({"fail_if": (parse_threshold("replies.packets<1"),)}, "needs --mode request"),
        ({"fail_if": (parse_threshold("warm_up.packets<1"),)}, "needs --warm-up"),
        ({"fail_if": (parse_threshold("downloaded.packets<1"),)}, "needs --mode receive"),
        ({"framing": "datagram"}, "--framing datagram: needs a target of datagrams, such as udp:127.0.0.1:22222"),
        ({"probe": True}, "--probe: needs a target of datagrams"),
        ({"greeting": "raw"}, "--greeting: framing raw has no end"),
        ({"greeting": "lines"}, '--greeting: unknown framing "lines"; did you mean "line"?'),
        ({"mode": "receive", "size": Sizes(1, 2), "framing": "line"}, "--size 1..2: one size in mode receive"),
        ({"mode": "receive", "write_combine": False}, "--no-write-combine: not with --mode receive"),
        ({"mode": "receive", "warm_up": 1.0}, "--warm-up: in mode receive needs --duration"),
        ({"mode": "receive", "framing": "raw", "packets": 5}, "--packets: framing raw has no packets"),
        ({"mode": "receive", "framing": "line", "total_bytes": 5}, "--bytes: in mode receive needs --framing fixed:N"),
    ],
)
def test_what_does_not_go_together_is_refused_with_its_flag(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        made(**flags)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "rate"),
    [
        ({"size": "1250"}, 1000.0),
        ({"size": "1246", "framing": "int32"}, 1000.0),
        ({"payload": b"x" * 125}, 10_000.0),
        ({"mode": "request", "size": "1250"}, 1000.0),
    ],
)
def test_a_rate_in_bits_counts_whole_packets_with_their_framing(flags: dict[str, Any], rate: float) -> None:
    options = made(rate="10Mbit/s", **flags)
    ramp = made(profile="1s@10Mbit/s", **flags)
    assert options.curve is not None
    assert ramp.curve is not None
    assert (rate, rate, rate) == (options.rate, options.curve.rate(0), ramp.curve.rate(0))
    assert (rate, "1s@10Mbit/s") == (options.as_options()["rate_packets_per_second"], ramp.as_options()["profile"])


def test_a_rate_in_bits_takes_the_mean_of_random_sizes() -> None:
    options = made(rate="8Mbit/s", size="500..1500", framing="int32")
    packets = options.pattern.packets_a_block
    assert 1e6 / (options.pattern.bytes_of(packets) / packets) == pytest.approx(options.rate)


def test_every_effective_option_is_in_the_document() -> None:
    written = made(mode="request", size=Sizes(64, 64), labels={"site": "lab"}).as_options()
    assert {"packets": 10_000, "size": 64, "framing": "fixed:64", "reply_framing": "fixed:64", "in_flight": 1} == {
        key: written[key] for key in ("packets", "size", "framing", "reply_framing", "in_flight")
    }
    assert {"site": "lab"} == written["labels"]


def test_the_options_of_the_schema_are_the_flags_declared() -> None:
    schema = shipped_schema("result")["properties"]["options"]
    written = list(made().as_options())
    assert written == list(schema["properties"])
    assert written == schema["required"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, (10_000, "fixed:1024", False)),
        ({"size": Sizes(64, 64), "packets": 5}, (5, "fixed:64", True)),
        ({"framing": "raw"}, (None, "raw", False)),
        ({"framing": "line", "payload": b""}, (10_000, "line", False)),
        ({"duration": 1.0}, (None, "fixed:1024", False)),
    ],
)
def test_a_download_has_a_framing_and_a_number_that_is_asked_for_or_not(
    flags: dict[str, Any], expected: tuple[int | None, str, bool]
) -> None:
    options = made(mode="receive", **flags)
    assert expected == (options.packets, options.framing.text, options.strict)


def test_without_a_schedule_there_is_nothing_to_poll_for() -> None:
    for flags in ({}, {"mode": "request"}, {"mode": "receive"}):
        with pytest.raises(UsageError, match=r"^--busy-poll: needs --rate or --profile$"):
            made(busy_poll=True, **flags)


def test_a_run_that_never_sleeps_is_told_as_one() -> None:
    assert made(busy_poll=True, rate="1k").as_options()["busy_poll"] is True
    assert options_for(OVER_UDP, busy_poll=True, rate="1k", probe=True).busy_poll
    assert made(rate="1k").as_options()["busy_poll"] is False
