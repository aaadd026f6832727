"""ctrlload over UDP against a real daemon, netcat, and a port where nobody is."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.integration.conftest import BIN, PATIENCE, Daemon, Start, needs_openbsd_netcat, run
from tests.integration.test_transports import needs_ipv6
from tests.integration.test_udp import ADMIN, skip_where_arrivals_are_not_counted, udp_port
from tests.load.documents import validated
from tests.ports import free_port

UDP = "udp:0:interface=127.0.0.1"


def load(*arguments: str, code: int = 0) -> dict[str, Any]:
    """The valid document of a run that ends with ``code``."""
    done = run(BIN / "ctrlload", "run", *arguments, "-J")
    assert done.returncode == code, done
    return validated(done.stdout.decode())


Listening = Callable[..., Daemon]


@pytest.fixture(scope="module")
def listening(shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Listening:
    """``listening("probe = true")`` is a daemon with one UDP listener that has these keys."""

    def begin(*keys: str, endpoint: str = UDP) -> Daemon:
        path = tmp_path_factory.mktemp("config") / "x.toml"
        path.write_text(f'[[listener]]\nendpoint = "{endpoint}"\n' + "\n".join(keys) + f"\n{ADMIN}")
        return shared("--config", str(path), listeners=0)

    return cache(begin)


@pytest.mark.parametrize("flags", [(), ("-r", "1k"), ("-P", "3"), ("-m", "request"), ("-m", "request", "-r", "1k")])
def test_empty_datagrams_are_sent_answered_and_reconciled_by_their_number(
    listening: Listening, flags: tuple[str, ...]
) -> None:
    daemon = listening('mode = "echo"')
    document = load(f"udp:127.0.0.1:{udp_port(daemon)}", "-n", "60", "-l", "0", *flags, "--admin", daemon.admin)
    counts = [document[part][what] for part in ("sent", "received") for what in ("packets", "bytes")]
    assert ([60, 0, 60, 0], True) == (counts, document["reconciled"])
    if "request" in flags:
        assert {"packets": 60, "bytes": 0} == document["replies"]
    assert [60, 0] == [sum(i[what] for i in document["intervals"]) for what in ("packets", "bytes")]


@pytest.mark.parametrize("limit", [("--bytes", "1k"), ("-r", "1kbit/s")])
def test_packets_of_no_bytes_are_not_counted_in_bytes_or_bits(limit: tuple[str, ...]) -> None:
    done = run(BIN / "ctrlload", "run", "udp:127.0.0.1:9", "-l", "0", *limit)
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert b"packets of no bytes make no bytes and no bits" in done.stderr


@pytest.mark.parametrize(
    "flags",
    [(), ("--no-write-combine",), ("-P", "3"), ("-l", "10..300"), ("--probe",), ("--probe", "-r", "1k", "-P", "2")],
)
def test_a_bounded_burst_arrives_whole_and_is_reconciled(listening: Listening, flags: tuple[str, ...]) -> None:
    """150 datagrams fit into the receiver's buffer whatever its pace."""
    daemon = listening("probe = true")
    target = f"udp:127.0.0.1:{udp_port(daemon)}"
    document = load(target, "-n", "150", "-l", "100", *flags, "--admin", daemon.admin)
    assert (150, True, 0) == (document["received"]["packets"], document["reconciled"], document["delivery"]["lost"])
    assert ("datagram", None) == (document["options"]["framing"], document["difference"])
    probed, newest = "--probe" in flags, daemon.ask_json("streams")[: len(document["streams"])]
    assert probed == document["options"]["probe"]
    assert probed == any(stream["delay_p50_seconds"] is not None for stream in newest)
    if probed:
        assert all(stream["delay_p50_seconds"] > 0 for stream in newest)
    if "-r" in flags:  # a batch has one delay: meanwhile its jitter fades to less than the published microsecond
        assert any(stream["jitter_seconds"] > 0 for stream in newest)


@pytest.mark.parametrize(
    ("keys", "flags"),
    [
        ("udp_gro = false", ()),
        ("udp_gro = false", ("--probe",)),
        ("udp_gro = true", ()),
        ("udp_gro = true", ("-l", "20..1000", "-P", "3")),
        ("probe = true", ("--probe",)),
        ('mode = "echo"', ("-P", "2")),
    ],
)
def test_what_is_sent_is_received_or_dropped_and_not_one_is_unaccounted(
    listening: Listening, keys: str, flags: tuple[str, ...]
) -> None:
    """Batches are cut before they are queued (``udp_gro = false``), or counted before they are dropped."""
    if keys != "udp_gro = false":
        skip_where_arrivals_are_not_counted()
    daemon = listening(keys, "receive_buffer = 4096")
    target = f"udp:127.0.0.1:{udp_port(daemon)}"
    document = load(target, "-n", "50k", "-l", "1400", *flags, "--admin", daemon.admin, "--fail-if", "lost<0")
    delivery, received = document["delivery"], document["received"]["packets"]
    assert delivery["lost"] > 0
    assert 50_000 == received + delivery["dropped_by_receiver"] == received + delivery["lost"]
    assert (False, None) == (document["reconciled"], document["difference"])
    assert 0 == daemon.ask_json("stats")["dropped_in_batches_total"]


def test_loss_is_a_failure_where_it_is_asked_to_be(listening: Listening) -> None:
    daemon = listening("receive_buffer = 4096")
    target = f"udp:127.0.0.1:{udp_port(daemon)}"
    document = load(target, "-n", "50k", "-l", "1400", "--admin", daemon.admin, "--fail-if", "lost>0", code=4)
    assert document["delivery"]["lost"] == document["thresholds"][0]["value"]


def test_an_admin_port_of_another_server_is_a_difference(start: Start) -> None:
    daemon = start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        document = load(f"udp:127.0.0.1:{other.getsockname()[1]}", "-n", "10", "--admin", daemon.admin, code=3)
    assert "is --admin the port of the server at the target?" in document["difference"]


@needs_ipv6
def test_datagrams_go_by_ipv6(listening: Listening) -> None:
    daemon = listening(endpoint=r"udp:0:interface=\\:\\:1")
    port = daemon.log.wait(r"listening data udp \[::1\]:(\d+)$")[1]
    assert load(f"udp:[::1]:{port}", "-n", "100", "--admin", daemon.admin)["reconciled"] is True


@pytest.mark.parametrize("flags", [(), ("-P", "5", "-q", "4"), ("--no-write-combine", "-q", "8"), ("-r", "5k")])
def test_each_datagram_of_an_echo_is_a_reply(listening: Listening, flags: tuple[str, ...]) -> None:
    daemon = listening('mode = "echo"')
    target = f"udp:localhost:{udp_port(daemon)}"
    document = load(target, "-m", "request", "-n", "2000", *flags, "--admin", daemon.admin)
    assert (2000, True) == (document["replies"]["packets"], document["reconciled"])


def test_a_sink_that_answers_nothing_ends_the_run_in_one_line(listening: Listening) -> None:
    daemon = listening()
    target = f"udp:127.0.0.1:{udp_port(daemon)}"
    document = load(target, "-m", "request", "-n", "5", "--stall-timeout", "300ms", code=1)
    assert "1 request has no reply" in document["error"]


@pytest.mark.parametrize("flags", [("-n", "1"), ("-t", "30s"), ("-m", "request"), ("-n", "1M", "-P", "4")])
def test_a_port_where_nobody_listens_is_one_line_at_once(flags: tuple[str, ...]) -> None:
    document = load(f"udp:127.0.0.1:{free_port()}", *flags, code=1)
    assert "connection refused: nothing listens on that UDP port" in document["error"]
    assert "refused" in {stream["reason"] for stream in document["streams"]}


@needs_openbsd_netcat()
def test_netcat_hears_what_is_sent() -> None:
    port = str(free_port())
    with subprocess.Popen(["nc", "-u", "-l", "127.0.0.1", port], stdout=subprocess.PIPE) as netcat:
        assert netcat.stdout is not None
        try:
            while True:  # it says nothing when it is there
                done = run(BIN / "ctrlload", "run", f"udp:127.0.0.1:{port}", "-n", "3", "--payload", "hello\\n", "-J")
                if done.returncode == 0:
                    break
                assert b"connection refused" in done.stderr
            assert b"hello\nhello\nhello\n" == netcat.stdout.read(18)
        finally:
            netcat.kill()
            netcat.wait(PATIENCE)
    assert json.loads(done.stdout)["reconciled"] is None
