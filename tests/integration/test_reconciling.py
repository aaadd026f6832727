"""ctrlload and ctrlserver agree on what was sent, or say why nobody can know: by sums, behind proxies, at limits."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import BIN, PATIENCE, Daemon, Start, needs, run
from tests.integration.test_foreign import listening
from tests.integration.test_udp import udp_port
from tests.ports import free_port

#: More than a server keeps on view once they are closed.
MANY = 1100


def load(daemon: Daemon, *flags: str, to: str = "", codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """The result of a run, reconciled if it can be, and as ``said`` what stands on stderr."""
    target = to or f"127.0.0.1:{daemon.ports['data']}"
    done = run(BIN / "ctrlload", "run", target, "-J", "-i", "0", "--admin", daemon.admin, *flags)
    assert done.returncode in codes, done
    return {**json.loads(done.stdout), "said": done.stderr.decode()}


def with_listener(start: Start, folder: Path, keys: str, top: str = "") -> Daemon:
    (folder / "x.toml").write_text(
        f'{top}\n[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\n{keys}\n'
        '[[admin]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
    )
    return start("--config", "x.toml")


def test_more_streams_than_the_server_keeps_on_view_reconcile(shared: Start) -> None:
    result = load(shared(), "-n", str(2 * MANY), "-P", str(MANY))
    assert (True, 2 * MANY) == (result["reconciled"], result["received"]["packets"])


@pytest.mark.parametrize("end", [("-n", str(2 * MANY)), ("-t", "100ms")], ids=["number", "time"])
def test_more_downloads_than_the_server_keeps_on_view_reconcile_in_their_sums(
    shared: Start, end: tuple[str, str]
) -> None:
    result = load(shared("--mode", "source"), "-m", "receive", "-P", str(MANY), *end)
    assert result["reconciled"] is True
    assert result["downloaded"]["packets"] == result["received"]["packets"] >= MANY


@pytest.mark.parametrize(
    ("top", "keys", "limit"),
    [
        ("max_streams = 2", "", "(max_streams)"),
        ("", 'allow = ["192.0.2.0/24"]', "(allow)"),
        ("", "max_streams_per_peer = 2", "(max_streams_per_peer)"),
    ],
)
def test_a_rejected_stream_ends_the_run_at_once_and_its_limit_is_named(
    start: Start, tmp_path: Path, top: str, keys: str, limit: str
) -> None:
    """As a failure, or as a difference if all was sent before the kernel told of the reset."""
    daemon = with_listener(start, tmp_path, keys, top)
    began = time.monotonic()
    result = load(daemon, "-n", "9", "-P", "3", "--stall-timeout", "600s", codes=(1, 3))
    assert time.monotonic() - began < PATIENCE
    assert result["reconciled"] is not True
    assert "has rejected" in result["said"]
    assert limit in result["said"]


@needs("socat")
def test_behind_a_proxy_the_sums_are_compared(shared: Start) -> None:
    daemon, port = shared(), free_port()
    proxy = subprocess.Popen(
        ["socat", f"tcp-listen:{port},bind=127.0.0.1,fork,reuseaddr", f"tcp:127.0.0.1:{daemon.ports['data']}"]
    )
    try:
        result = load(daemon, "-n", "300", "-P", "3", to=f"127.0.0.1:{listening(port)}")
    finally:
        proxy.kill()
        proxy.wait(PATIENCE)
    assert (True, 300) == (result["reconciled"], result["received"]["packets"])
    assert "a proxy or NAT stands between; all were compared in their sums" in result["said"]


@contextmanager
def relayed(daemon: Daemon, beside: bytes) -> Iterator[int]:
    """The port of a proxy for one connection; with it another sender connects, whose words are ``beside``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def relay() -> None:
            came, _ = listener.accept()
            with came, daemon.connect() as other, daemon.connect() as there:
                other.sendall(beside)
                while more := came.recv(1 << 16):
                    there.sendall(more)
                there.shutdown(socket.SHUT_WR)
                there.recv(1)

        thread = threading.Thread(target=relay)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE)


def test_behind_a_proxy_with_another_sender_beside_nobody_can_know_and_that_is_no_failure(shared: Start) -> None:
    daemon = shared()
    with relayed(daemon, b"x" * 5000) as port:
        result = load(daemon, "-n", "100", to=f"127.0.0.1:{port}")
    assert result["reconciled"] is None
    assert "a proxy or NAT stands between" in result["difference"]
    assert result["difference"].endswith("not reconciled")
    assert result["difference"] in result["said"]


@pytest.mark.parametrize(
    ("listener", "flags", "words"),
    [
        ("--mode sink", "-m request --stall-timeout 300ms", "the mode of its listener is sink"),
        ("--mode sink", "-m receive -n 5 --stall-timeout 300ms", "the mode of its listener is sink"),
        ("--framing netstring", "-t 20s", "the server says that it closed the stream with reason fault"),
        (
            "--framing netstring",
            "-n 10",
            "its framing is netstring, ours fixed:1024; it closed the stream with reason fault",
        ),
    ],
)
def test_a_run_that_fails_says_what_the_server_knows_of_it(
    shared: Start, listener: str, flags: str, words: str
) -> None:
    result = load(shared(*listener.split()), *flags.split(), codes=(1, 3))
    assert words in result["said"]


@pytest.mark.skipif(find_spec("OpenSSL") is None, reason="pyOpenSSL is not installed: ctrlserver[tls]")
@pytest.mark.parametrize("flags", ["-n 10", "-t 20s", "-m request"])
def test_a_run_without_tls_at_a_listener_with_tls_says_so(shared: Start, certificate: Path, flags: str) -> None:
    daemon = shared("--data", f"ssl:0:privateKey={certificate}:interface=127.0.0.1")
    assert "it expects TLS, as in tls:HOST:PORT" in load(daemon, *flags.split(), codes=(1, 3))["said"]


def test_probe_packets_that_the_server_does_not_look_at_are_told(shared: Start) -> None:
    daemon = shared("--data", "udp:0:interface=127.0.0.1", listeners=0)
    result = load(daemon, "-n", "10", "--probe", to=f"udp:127.0.0.1:{udp_port(daemon)}")
    assert "order and jitter are not known (probe = true in its listener)" in result["said"]
