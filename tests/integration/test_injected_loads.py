"""ctrlload misbehaves by --inject, and its counts and the server's agree on what came of it."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import BIN, Daemon, Start, needs, run
from tests.integration.test_reconciling import with_listener
from tests.integration.test_udp import udp_port


def load(daemon: Daemon, *flags: str, to: str = "", codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """The result of a run, and as ``said`` what stands on stderr."""
    target = to or f"127.0.0.1:{daemon.ports['data']}"
    done = run(BIN / "ctrlload", "run", target, "-J", "-i", "0", "--admin", daemon.admin, *flags)
    assert done.returncode in codes, done
    return {**json.loads(done.stdout), "said": done.stderr.decode()}


def counted(daemon: Daemon, result: dict[str, Any]) -> list[dict[str, Any]]:
    """The server's records of the streams of a run, in the order of ours."""
    return daemon.streams_of(*(stream["local"] for stream in result["streams"]))


@pytest.mark.parametrize("mode", ["sink", "echo"])
def test_the_server_counts_each_duplicate(shared: Start, mode: str) -> None:
    result = load(shared("--mode", mode), "-n", "1000", "-P", "3", "--inject", "10th*duplicate")
    doubled = 3 * 33
    assert (True, 1000, 1000 + doubled) == (
        result["reconciled"],
        result["sent"]["packets"],
        result["received"]["packets"],
    )
    assert (doubled, doubled) == (result["injections"]["hits"], result["injections"]["duplicated"])
    assert f"{1000 + doubled} received = 1000 sent + {doubled} duplicates" in result["said"]


@pytest.mark.parametrize(
    ("spec", "packets"), [("4th*reset", 4), ("3*ok->close", 4), ("2KiB*ok->half-close", 3), ("3*ok->stall", 3)]
)
@pytest.mark.parametrize("mode", ["send", "request"])
def test_what_ends_each_stream_ends_it_after_its_packet_and_for_the_right_reason(
    shared: Start, mode: str, spec: str, packets: int
) -> None:
    daemon = shared("--mode", "echo")
    result = load(daemon, "-n", "100", "-P", "4", "-m", mode, "--inject", spec)
    assert (True, 4 * packets) == (result["reconciled"], result["received"]["packets"])
    assert {("injected", packets)} == {(stream["reason"], stream["packets"]) for stream in result["streams"]}
    assert 4 == result["injections"]["hits"]
    if "reset" in spec:
        assert {"reset"} == {row["reason"] for row in counted(daemon, result)}


@pytest.mark.parametrize("spec", ["2*ok->reset", "4096B*ok->3*reset"])
def test_without_an_admin_port_a_reset_is_one_too(start: Start, spec: str) -> None:
    daemon = start()
    done = run(BIN / "ctrlload", "run", f"127.0.0.1:{daemon.ports['data']}", "-n", "90", "-P", "3", "--inject", spec)
    assert 0 == done.returncode, done
    stats = daemon.await_stats(streams_open=0, streams_total=3)
    assert (3, 0) == (stats["closed_reset_total"], stats["closed_eof_total"])


def test_two_resets_of_all_streams_are_two_and_the_others_send_all(shared: Start) -> None:
    daemon = shared()
    result = load(daemon, "-n", "400", "-P", "4", "--inject", "3*ok->2*reset->off")
    assert (True, [4, 4, 100, 100]) == (result["reconciled"], [each["packets"] for each in result["streams"]])
    assert ["reset", "reset", "eof", "eof"] == [row["reason"] for row in daemon_closed(daemon, result)]


def daemon_closed(daemon: Daemon, result: dict[str, Any]) -> list[dict[str, Any]]:
    """The records once the server has closed all."""
    daemon.await_stats(streams_open=0)
    return counted(daemon, result)


@pytest.mark.parametrize(
    ("framing", "spec"),
    [
        *(("fixed:1000", spec) for spec in ("7th*truncate(100)", "5%*corrupt(3 bits)")),
        *(("int32", spec) for spec in ("7th*truncate(100)", "3*ok->10%*truncate(1)->9th*duplicate")),
        *((framing, "5%*corrupt(3 bits)") for framing in ("line", "varint", "netstring")),
    ],
)
def test_what_is_made_of_packets_is_counted_alike_by_every_framing(shared: Start, framing: str, spec: str) -> None:
    flags = ("-n", "500", "-P", "3", "-l", "1000", "-f", framing, "--seed", "5", "--inject", spec)
    result = load(shared("--framing", framing), *flags)
    assert result["reconciled"] is True
    assert result["injections"]["hits"] > 0
    assert [row["received_packets"] for row in result["streams"]] == [
        row["injected"]["expected_packets"] for row in result["streams"]
    ]


def test_a_framing_that_is_broken_closes_the_stream_as_a_fault_and_fails_no_run(shared: Start) -> None:
    daemon = shared("--framing", "int64")
    flags = ("-n", "2000", "-P", "2", "-l", "1", "-f", "int64", "--inject", "20*ok->corrupt(60 bits)")
    result = load(daemon, *flags)
    assert (True, [20, 20]) == (result["reconciled"], [each["received_packets"] for each in result["streams"]])
    assert {"fault"} == {row["reason"] for row in counted(daemon, result)}


def test_the_same_seed_strikes_the_same_packets(shared: Start) -> None:
    flags = ("-n", "3000", "-P", "2", "--inject", "2%*duplicate", "--seed", "9")
    first, second = (load(shared(), *flags, *more) for more in ((), ("--no-write-combine",)))
    assert first["injections"] == second["injections"]
    assert [each["received_packets"] for each in first["streams"]] == [
        each["received_packets"] for each in second["streams"]
    ]


def test_a_drip_and_a_schedule_are_injected_too(shared: Start) -> None:
    began = time.monotonic()
    result = load(shared(), "-n", "3", "--inject", "drip(256B/20ms)")
    assert time.monotonic() - began >= 0.2
    assert (True, 3, 12) == (result["reconciled"], result["injections"]["dripped"], result["sent"]["writes"])
    paced = load(shared(), "-n", "100", "-r", "1k/s", "-P", "2", "--inject", "5th*duplicate->7th*reset")
    assert (True, 2) == (paced["reconciled"], paced["injections"]["reset_streams"])


def test_a_reader_that_is_slow_waits_for_its_answers(shared: Start) -> None:
    result = load(shared("--mode", "echo"), "-m", "request", "-n", "4", "--inject", "slow-read(10KiB/s)")
    assert (True, 4, 4) == (result["reconciled"], result["replies"]["packets"], result["injections"]["slowed"])
    assert result["sent"]["seconds"] >= 0.2


def test_a_stall_lasts_until_the_time_is_up(shared: Start) -> None:
    result = load(shared("--mode", "echo"), "-t", "500ms", "--inject", "5*ok->stall")
    assert (True, 5) == (result["reconciled"], result["received"]["packets"])
    assert result["sent"]["seconds"] >= 0.5


@pytest.mark.parametrize("spec", ["5th*reset", "5th*half-close", "5th*truncate(9)"])
def test_streams_over_a_unix_socket_are_injected_too(start: Start, tmp_path: Path, spec: str) -> None:
    path = tmp_path / "data.sock"
    daemon = start("--data", f"unix:{path}")
    assert load(daemon, "-n", "90", "-P", "3", "--inject", spec, to=f"unix:{path}")["reconciled"] is True


@pytest.mark.parametrize("mode", ["send", "request"])
def test_datagrams_are_doubled_and_corrupted(shared: Start, mode: str) -> None:
    daemon = shared("--mode", "echo", "--udp")
    flags = ("-n", "300", "-P", "3", "-r", "2k/s", "-m", mode, "--inject", "10th*duplicate->7th*corrupt")
    result = load(daemon, *flags, to=f"udp:127.0.0.1:{udp_port(daemon)}")
    assert (True, 330) == (result["reconciled"], result["received"]["packets"])
    assert 0 == result["delivery"]["lost"]


@needs("openssl")
@pytest.mark.skipif(find_spec("OpenSSL") is None, reason="pyOpenSSL is not installed: ctrlserver[tls]")
@pytest.mark.parametrize("mode", ["send", "request"])
@pytest.mark.parametrize(
    ("spec", "packets", "reason"),
    [("5th*reset", 10, "reset"), ("5th*close", 10, "eof"), ("5th*duplicate", 48, "eof"), ("drip(512B/1ms)", 40, "eof")],
)
def test_streams_over_tls_are_injected_too(
    shared: Start, certificate: Path, spec: str, packets: int, reason: str, mode: str
) -> None:
    daemon = shared("--data", f"ssl:0:privateKey={certificate}:interface=127.0.0.1", "--mode", "echo")
    to = f"ssl:127.0.0.1:{daemon.ports['data']}"
    result = load(daemon, "--insecure", "-n", "40", "-P", "2", "-m", mode, "--inject", spec, to=to)
    assert (True, packets) == (result["reconciled"], result["received"]["packets"])
    assert {reason} == {row["reason"] for row in daemon_closed(daemon, result)}


def test_a_stall_that_the_server_ends_as_idle_is_still_counted_exactly(start: Start, tmp_path: Path) -> None:
    daemon = with_listener(start, tmp_path, 'idle_timeout = "1s"')
    result = load(daemon, "-t", "4s", "--inject", "5*ok->stall")
    assert (True, ["idle"]) == (result["reconciled"], [row["reason"] for row in counted(daemon, result)])


def test_what_the_server_s_injections_did_is_told_and_reconciled_through(start: Start) -> None:
    daemon = start("--mode", "echo")
    assert daemon.ask("inject data 10th*swallow->9th*duplicate").startswith("OK injection")
    result = load(daemon, "-n", "1000", "-P", "2")
    struck = result["server_injections"]
    assert (True, 1000, 100, 100) == (
        result["reconciled"],
        struck["received"],
        struck["swallowed"],
        struck["duplicated"],
    )
    assert (900, 200, 1) == (struck["answered"], struck["hits"], struck["active"])
    assert "1000 received = 900 answered + 100 swallowed; 1000 answers sent = 900 + 100 duplicates" in result["said"]
    assert daemon.ask("inject off").startswith("OK")
    assert load(daemon, "-m", "request", "-n", "100")["server_injections"] is None


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("10th*swallow", "10 received = 9 answered + 1 swallowed"),
        ("10th*duplicate", "11 answers sent = 10 + 1 duplicate"),
        ("10th*reset", "it closed the stream with reason injected"),
    ],
)
def test_requests_that_fail_by_the_server_s_orders_are_told_to(start: Start, order: str, words: str) -> None:
    daemon = start("--mode", "echo")
    assert daemon.ask(f"inject data {order}").startswith("OK injection")
    result = load(daemon, "-m", "request", "-n", "100", "--stall-timeout", "1s", codes=(1,))
    assert words in result["error"]
    assert "the server's injections struck meanwhile: 1 hit, 1 active" in result["error"]
    assert 1 == result["server_injections"]["hits"]


@pytest.mark.parametrize(
    ("order", "code", "missing", "words"),
    [
        ("100*ok->close", 0, 596, "596 packets not received on 4 streams that they ended\n"),
        ("close-at-once", 0, 1000, "1000 packets not received on 4 streams that they ended\n"),
        ("100*ok->reset", 1, 596, "596 packets not received on 4 streams that they ended\n"),
        ("100*ok->stall", 0, 600, "600 packets not received on 4 streams that they stalled: 100*ok->stall\n"),
    ],
)
def test_what_the_server_s_orders_kept_from_being_received_is_explained_and_counted(
    start: Start, order: str, code: int, missing: int, words: str
) -> None:
    daemon = start()
    assert daemon.ask(f"inject data {order}").startswith("OK injection")
    began = time.monotonic()
    result = load(daemon, "-n", "1000", "-P", "4", codes=(code,))
    assert (True, None, 1000 - missing) == (result["reconciled"], result["difference"], result["received"]["packets"])
    struck = result["server_injections"]
    assert ([order], missing, missing * 1024) == (
        struck["orders"],
        struck["unreceived_packets"],
        struck["unreceived_bytes"],
    )
    assert 4 == struck["ended_streams"] + struck["stalled_streams"]
    assert f"reconciled  yes, through the server's injections: {words}" in result["said"]
    assert time.monotonic() - began < 9, "counts that cannot come were waited for"
    if code:
        assert "the target reset the connection after" in result["error"]
        assert f"4 hits, 1 active ({order})" in result["error"]
    else:
        assert result["error"] is None


def test_a_run_that_the_server_s_order_ended_while_it_was_sending_is_reconciled_all_the_same(start: Start) -> None:
    daemon = start("--inject", "1000*ok->1*reset->off")
    result = load(daemon, "-n", "4000000", "-P", "2", codes=(1,))
    assert result["reconciled"] is True
    assert "1 hit, 1 active (1000*ok->1*reset->off)" in result["error"]
    assert {"reset", "aborted"} == {stream["reason"] for stream in result["streams"]}
    assert 1 == result["server_injections"]["ended_streams"]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("10th*swallow", "10 received = 9 answered + 1 swallowed\n"),
        ("10th*duplicate", "10 received = 10 answered; 11 answers sent = 10 + 1 duplicate\n"),
        ("10th*reset", "10 received = 9 answered + 1 not answered\n"),
        ("10*ok->close", "11 received = 10 answered + 1 not answered\n"),
        (
            "10*ok->stall",
            "1 packet not received on 1 stream that they stalled: 10*ok->stall; 10 received = 10 answered\n",
        ),
    ],
)
def test_requests_that_an_order_ended_are_reconciled_up_to_there(start: Start, order: str, words: str) -> None:
    daemon = start("--mode", "echo", "--inject", order)
    result = load(daemon, "-m", "request", "-n", "100", "--stall-timeout", "500ms", codes=(1,))
    assert (True, [order]) == (result["reconciled"], result["server_injections"]["orders"])
    assert f"reconciled  yes, through the server's injections: {words}" in result["said"]
    assert f"({order})" in result["error"]


def test_both_sides_may_inject_at_once(start: Start) -> None:
    daemon = start("--mode", "echo")
    assert daemon.ask("inject data 5th*delay(2ms)").startswith("OK injection")
    flags = ("-m", "request", "-n", "100", "-P", "2", "-q", "4", "--inject", "10th*duplicate->50th*reset")
    result = load(daemon, *flags)
    assert (True, result["injections"]["duplicated"]) == (
        result["reconciled"],
        result["received"]["packets"] - sum(stream["packets"] for stream in result["streams"]),
    )
    assert result["server_injections"]["hits"] > 0
