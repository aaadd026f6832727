"""Loss, delay and reordering, in a network namespace made here: TCP counts exactly, and UDP misses what was dropped.

Two bad networks: the kernel's own (``tc netem`` on the namespace's loopback), and a program of ours behind a TUN device
for kernels without netem. Each needs root; where it cannot be, the tests are skipped with the reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.integration.conftest import BIN, PATIENCE, Daemon, Start, needs, run
from tests.integration.reflecting_link import FAR, NEAR

DELAY_SECONDS = 0.05
NETEM = "delay 50ms reorder 25% 50%"

#: Probe packets, and the seconds between two of them: less than the delay, so that some overtake others.
PROBES, GAP_SECONDS = 1500, 0.001

SENDER = """
import socket, sys, time
from ctrlserver.wire.probe import encode
host, port, first, last, gap = sys.argv[1], *map(float, sys.argv[2:])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.bind(("0.0.0.0", 40404))
    due = time.monotonic()
    for sequence in range(int(first), int(last)):
        out.sendto(encode(sequence, time.time_ns()) + bytes(40), (host, int(port)))
        due += gap
        time.sleep(max(0.0, due - time.monotonic()))
"""


class Network(Protocol):
    """A bad network; ``near`` is where a server listens, ``far`` where clients find it."""

    near: str
    far: str

    def lose(self, *, on: bool) -> int:
        """Turn the loss of one in twenty on or off; gives the UDP packets dropped so far."""


class Netem:
    """The kernel's own, on loopback."""

    near = far = "127.0.0.1"

    def __init__(self, inside: list[str]) -> None:
        self._tc = [*inside, "tc"]
        done = run(*self._tc, *f"qdisc add dev lo root netem limit 100000 {NETEM}".split())
        if done.returncode:
            pytest.skip(f"no netem here: {done.stderr.decode().strip()}")

    def lose(self, *, on: bool) -> int:
        """All that crosses the loopback is dropped alike: only the probes may cross it meanwhile."""
        loss = "loss 5%" if on else ""
        done = run(*self._tc, *f"qdisc change dev lo root netem limit 100000 {NETEM} {loss}".split())
        assert 0 == done.returncode, done
        (qdisc,) = json.loads(run(*self._tc, "-s", "-j", "qdisc", "show", "dev", "lo").stdout)
        drops = qdisc["drops"]
        assert isinstance(drops, int)
        return drops


class Reflecting:
    """The program's; it counts the drops of UDP packets alone."""

    near, far = NEAR, FAR

    def __init__(self, inside: list[str]) -> None:
        program = Path(__file__).with_name("reflecting_link.py")
        self.process = subprocess.Popen(
            [*inside, sys.executable, program, str(DELAY_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self._line() != "ready":
            wrong = self.process.communicate(timeout=PATIENCE)[1].strip().splitlines()
            pytest.skip(f"no TUN device here: {wrong[-1] if wrong else 'no word'}")

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def lose(self, *, on: bool) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write("loss\n" if on else "whole\n")
        self.process.stdin.flush()
        return int(self._line())


@pytest.fixture(params=[Netem, Reflecting])
def network(request: pytest.FixtureRequest, inside: list[str]) -> Iterator[Network]:
    """Delay and reordering are on, loss is off."""
    made = request.param(inside)
    yield made
    if isinstance(made, Reflecting):
        made.process.communicate(timeout=PATIENCE)


Serve = Callable[..., Daemon]


@pytest.fixture
def serve(start: Start, tmp_path: Path, inside: list[str], network: Network) -> Serve:
    """Run a daemon inside, with some keys for its listener; asked by a unix socket, which crosses no network."""

    def begin(keys: str) -> Daemon:
        (tmp_path / "x.toml").write_text(
            f'[[listener]]\nendpoint = "tcp:22222:interface={network.near}"\n{keys}\n'
            f'[[admin]]\nendpoint = "unix:{tmp_path}/admin.sock"\n'
        )
        return start("--config", "x.toml", launcher=inside)

    return begin


@needs("tc")
def test_tcp_counts_are_exact_whatever_the_network_does(serve: Serve, inside: list[str], network: Network) -> None:
    daemon = serve('framing = "int32"')
    network.lose(on=True)
    command = (BIN / "ctrlload", "run", f"{network.far}:22222", "-f", "int32", "-l", "1..2000", "-n", "500", "-P", "10")
    done = run(*inside, *command)
    assert 0 == done.returncode, done
    stats = daemon.await_stats(packets_total=500, streams_open=0)
    assert (0, 0) == (stats["faults_total"], stats["incomplete_bytes_total"])
    assert {"eof"} == {stream["reason"] for stream in daemon.ask_json("streams")}


@needs("tc")
def test_lost_probes_are_those_that_the_network_dropped(serve: Serve, inside: list[str], network: Network) -> None:
    daemon = serve('udp = true\nprobe = true\nudp_idle_timeout = "60s"')

    def send(first: int, last: int) -> None:
        words = [network.far, 22222, first, last, GAP_SECONDS]
        done = run(*inside, sys.executable, "-c", SENDER, *map(str, words))
        assert 0 == done.returncode, done

    send(0, 1)  # loss before the first one seen, and after the last, is not known of: so these two get through
    daemon.await_stats(packets_total=1)
    before = network.lose(on=True)
    send(1, PROBES - 1)
    dropped = network.lose(on=False) - before
    send(PROBES - 1, PROBES)
    stats = daemon.await_stats(packets_total=PROBES - dropped)
    assert 0 == stats["dropped_total"]
    (stream,) = daemon.ask_json("streams")
    assert 0 < dropped < PROBES / 5
    assert (stream["lost"], stream["duplicate"]) == (dropped, 0)
    assert stream["out_of_order"] > 0
    assert stream["delay_p50_seconds"] > DELAY_SECONDS / 6
