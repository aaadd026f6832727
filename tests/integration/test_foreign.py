"""ctrlload against servers that are not ours: Redis, memcached, an SMTP server, netcat and socat.

Each runs on loopback on a port of its own and ends with its test; where it is not installed the test is skipped.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import BIN, PATIENCE, needs, needs_openbsd_netcat, run
from tests.ports import free_port

SMTP = """
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.mail.smtp import SMTP

class Server(SMTP):
    def do_NOOP(self, rest):
        self.sendCode(250, b"OK")

port = reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")
print(port.getHost().port, flush=True)
reactor.run()
"""

Serve = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """``serve("redis-server", ...)`` runs a server until the end of the test."""
    running: list[subprocess.Popen[str]] = []

    def begin(*command: str, stdin: Path | None = None) -> subprocess.Popen[str]:
        given = subprocess.DEVNULL if stdin is None else stdin.open("rb")
        process = subprocess.Popen(
            command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path
        )
        if not isinstance(given, int):
            given.close()
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE)


def listening(port: int) -> int:
    """``port``, once it is listened on; seen in the kernel's table, because netcat takes one connection only."""
    wanted, end = f"0100007F:{port:04X}", time.monotonic() + PATIENCE
    while time.monotonic() < end:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        if any(row[1] == wanted and row[3] == "0A" for row in rows):
            return port
        time.sleep(0.01)
    raise AssertionError(f"nothing listens on {port}")


def load(port: int, *flags: str, code: int = 0) -> dict[str, Any]:
    """The result document of a run, its exit code as expected and its last line on stderr as ``said``."""
    done = run(BIN / "ctrlload", "run", f"127.0.0.1:{port}", "-J", "-i", "0", *flags)
    assert code == done.returncode, done
    assert b"Traceback" not in done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document | {"said": done.stderr.decode()}


def answered(document: dict[str, Any], packets: int, nbytes: int) -> bool:
    """Whether so many packets were sent and answered with so many bytes."""
    sent, replies = document["sent"]["packets"], document["replies"]
    return (sent, replies) == (packets, {"packets": packets, "bytes": nbytes})


@needs("redis-server")
def test_redis_answers_every_ping_on_every_stream(serve: Serve) -> None:
    port = free_port()
    serve("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "")
    flags = ("-m", "request", "--payload", r"PING\r\n", "--framing", "raw", "--reply-framing", "line")
    assert answered(load(listening(port), *flags, "-P", "50", "-q", "2", "-n", "5000"), 5000, 5000 * len("+PONG\r\n"))
    told = run("redis-cli", "-p", str(port), "info", "commandstats").stdout.decode()
    assert "cmdstat_ping:calls=5000," in told


@needs("memcached")
def test_memcached_tells_its_version_as_often_as_it_is_asked(serve: Serve) -> None:
    port = free_port()
    serve("memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody")
    with socket.create_connection(("127.0.0.1", listening(port)), PATIENCE) as client:
        client.sendall(b"version\r\n")
        version = client.recv(100)
    assert version.startswith(b"VERSION ")
    flags = ("-m", "request", "--payload", r"version\r\n", "--framing", "raw", "--reply-framing", "line")
    assert answered(load(port, *flags, "-P", "10", "-n", "1000"), 1000, 1000 * len(version))


def test_an_smtp_server_answers_every_noop_after_its_greeting(serve: Serve) -> None:
    process = serve(sys.executable, "-c", SMTP)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    flags = ("-m", "request", "--payload", r"NOOP\r\n", "--framing", "raw", "--reply-framing", "line", "-P", "4")
    document = load(port, *flags, "-n", "200", "--greeting", "line")
    assert answered(document, 200, 200 * len("250 OK\r\n"))
    early = load(port, *flags, "-n", "200", code=1)
    assert re.search(r"the target spoke before it was asked: .220 .*--greeting line", early["error"])


@needs_openbsd_netcat()
def test_a_file_sent_by_netcat_is_counted_and_its_end_is_told(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1_000_500))
    port = free_port()
    serve("nc", "-lN", "127.0.0.1", str(port), stdin=tmp_path / "file")
    document = load(listening(port), "-m", "receive")
    assert (977, 1_000_500) == (document["downloaded"]["packets"], document["streams"][0]["bytes"])
    assert "the target ended the download, 977 packets and 52 bytes of another had come" in document["said"]
    assert document["error"] is None


@needs_openbsd_netcat()
def test_a_netcat_that_waits_for_our_end_after_its_file_is_no_stall(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"line\n" * 700)
    port = free_port()
    serve("nc", "-l", "127.0.0.1", str(port), stdin=tmp_path / "file")
    document = load(listening(port), "-m", "receive", "-f", "line", "--stall-timeout", "2s")
    assert (700, 3500) == (document["downloaded"]["packets"], document["downloaded"]["bytes"])


@needs_openbsd_netcat()
def test_a_file_shorter_than_asked_for_is_a_failure(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(5 * 1024))
    port = free_port()
    serve("nc", "-lN", "127.0.0.1", str(port), stdin=tmp_path / "file")
    document = load(listening(port), "-m", "receive", "-n", "7", code=1)
    assert document["error"].endswith("the target closed the connection early: 5 packets had come, 7 were asked for")


@needs_openbsd_netcat()
def test_netcat_takes_all_that_is_sent(serve: Serve) -> None:
    port = free_port()
    serve("sh", "-c", f"exec nc -lkd 127.0.0.1 {port} >/dev/null")
    for _ in range(2):
        assert 2000 == load(listening(port), "-n", "2000")["sent"]["packets"]


@needs("socat")
def test_an_echo_of_socat_answers_every_packet(serve: Serve) -> None:
    port = free_port()
    serve("socat", f"tcp-listen:{port},bind=127.0.0.1,fork,reuseaddr", "PIPE")
    document = load(listening(port), "-m", "request", "-P", "3", "-q", "4", "-n", "600")
    assert answered(document, 600, 600 * 1024)


@needs("socat")
def test_an_endless_sender_is_read_up_to_the_number_asked_for(serve: Serve) -> None:
    port = free_port()
    serve("socat", "-u", "OPEN:/dev/zero", f"tcp-listen:{port},bind=127.0.0.1")
    document = load(listening(port), "-m", "receive", "-n", "5000", "--payload", "")
    assert (5000, 5000 * 1024) == (document["downloaded"]["packets"], document["downloaded"]["bytes"])
    assert "complete" == document["streams"][0]["reason"]
