"""5 000 handshakes that nobody ends: the system holds them, and neither the server nor anyone's stream is the worse."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import BIN, PATIENCE, Daemon, Start, run

SYNS = 5000
PACKETS, STREAMS = 20_000, 4

#: By how much the server's resident memory may differ for reasons of its own: a buffer, a table that is made larger.
MEMORY_BYTES = 8 << 20

#: ``st`` of /proc/net/tcp.
SYN_RECEIVED = "03"

Flood = Callable[[Daemon], int]


@pytest.fixture
def flood(inside: list[str]) -> Iterator[Flood]:
    """Send the SYNs to the daemon's listener, and give the number of those answered; they stay half open."""
    running: list[subprocess.Popen[str]] = []

    def begin(daemon: Daemon) -> int:
        program = (sys.executable, "-m", "tests.integration.half_open", str(daemon.ports["data"]), str(SYNS))
        root, pipe = Path(__file__).parents[2], subprocess.PIPE
        crowd = subprocess.Popen([*inside, *program], cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        running.append(crowd)
        assert crowd.stdout is not None
        if not (line := crowd.stdout.readline()):
            wrong = crowd.communicate(timeout=PATIENCE)[1].strip().splitlines()
            pytest.skip(f"no TUN device here: {wrong[-1] if wrong else 'no word'}")
        return int(line)

    yield begin
    for crowd in running:
        crowd.communicate(timeout=PATIENCE)


def resident_bytes(daemon: Daemon) -> int:
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def half_open(daemon: Daemon) -> int:
    """Handshakes that the system of the daemon's namespace remembers."""
    lines = Path(f"/proc/{daemon.process.pid}/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[3] == SYN_RECEIVED for line in lines)


def tcp_counters(daemon: Daemon) -> dict[str, int]:
    """``TcpExt`` of the daemon's namespace, as ``nstat`` shows it."""
    lines = Path(f"/proc/{daemon.process.pid}/net/netstat").read_text().splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("TcpExt:"))
    return dict(zip(names, map(int, values), strict=True))


def send(daemon: Daemon, inside: list[str]) -> None:
    """A whole load through the listener; it ends with 0 only where all was taken."""
    target = f"127.0.0.1:{daemon.ports['data']}"
    done = run(*inside, BIN / "ctrlload", "run", target, "-n", str(PACKETS), "-P", str(STREAMS))
    assert 0 == done.returncode, done


def test_half_open_connections_cost_the_server_nothing(
    start: Start, inside: list[str], flood: Flood, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(
        f'run_gap = "100ms"\n[[listener]]\nendpoint = "tcp:0"\n[[admin]]\nendpoint = "unix:{tmp_path}/admin.sock"\n'
    )
    daemon = start("--config", "x.toml", launcher=inside)
    send(daemon, inside)  # what the server takes once for its first streams, it has
    daemon.log.wait(r"run 1\b")
    lines, memory, streams = len(daemon.log.lines), resident_bytes(daemon), daemon.ask_json("stats")["streams_total"]

    assert SYNS == flood(daemon)
    # The kernel remembers as many as the backlog has room for; the others' whole state is in the cookie it sent them.
    assert SYNS == half_open(daemon) + tcp_counters(daemon)["SyncookiesSent"]
    assert half_open(daemon) > SYNS / 2
    assert "OK pong\r\n" == daemon.ask("ping")
    assert daemon.ask_json("stats")["streams_total"] == streams

    send(daemon, inside)
    assert half_open(daemon) > SYNS / 2
    stats = daemon.await_stats(packets_total=2 * PACKETS, streams_total=streams + STREAMS, streams_open=0)
    assert (0, 0) == (stats["rejected_total"], stats["faults_total"])
    assert abs(resident_bytes(daemon) - memory) < MEMORY_BYTES
    daemon.log.wait(r"run 2\b")
    assert len(daemon.log.lines) == lines + 1, daemon.log.text
