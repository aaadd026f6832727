"""Real processes: ``twistd -n ctrlserver`` on free ports, asked by real clients.

``CTRLSERVER_TEST_WORKERS=4`` in the environment has every daemon serve by four workers. Without it a test or file with
the mark ``workers_too`` runs twice: over one process and over four workers. A claim about the one process has the mark
``one_process(reason)``, and is skipped over workers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.clients import connected

#: Seconds after which a wait fails: only ever reached by a failure.
PATIENCE = 30.0
BIN = Path(sys.executable).parent

#: So many workers serve each daemon that does not say it; 0: one process, and more of them in some tests.
WORKERS = int(os.environ.get("CTRLSERVER_TEST_WORKERS", "0"))

#: So many serve the daemons of a test that runs over workers, too.
MANY = 4

LISTENING = re.compile(r'listening (\S+) (?:tcp (?:\S+):(\d+)|unix (\S+?))(?:"})?$')


def pytest_itemcollected(item: pytest.Item) -> None:
    """Every test of this folder; pytest asks for no other."""
    item.add_marker("integration")
    if WORKERS > 1 and (mark := item.get_closest_marker("one_process")) is not None:
        item.add_marker(pytest.mark.skip(reason=f"of one process: {mark.args[0]}"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that runs over workers, too, runs twice."""
    if not WORKERS and metafunc.definition.get_closest_marker("workers_too") is not None:
        metafunc.parametrize("server_workers", [1, MANY], indirect=True, scope="module", ids=["one", "workers"])


@pytest.fixture(scope="module", autouse=True)
def server_workers(request: pytest.FixtureRequest) -> Iterator[None]:
    """How many workers serve the daemons that begin meanwhile."""
    before, Daemon.workers = Daemon.workers, getattr(request, "param", WORKERS)
    yield
    Daemon.workers = before


class Log:
    """Lines of a process as they come; ``wait`` blocks until one matches."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._process = process
        self._more = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def wait(self, pattern: str) -> re.Match[str]:
        """The first line that matches, of those there are and those to come."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            found.extend(match for line in self.lines if (match := re.search(pattern, line)))
            return bool(found) or self._ended

        with self._more:
            self._more.wait_for(look, PATIENCE)
        assert found, f"no line matches {pattern!r}:\n{self.text}"
        return found[0]

    def join(self) -> None:
        """Until the process has closed its output."""
        self._thread.join(PATIENCE)

    def end(self) -> None:
        """SIGTERM to the process, unless it has ended; all it says until it has is there then."""
        process = self._process
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
        self.join()
        assert process.stdout is not None
        process.stdout.close()

    @property
    def text(self) -> str:
        """All so far."""
        return "\n".join(self.lines)


class Daemon:
    """A running ``twistd -n ctrlserver``, or ``program``; ``ports`` by listener name, read from its log."""

    workers = 0
    """Of those that begin now and do not say it."""

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        listeners: int = 1,
        admins: int = 1,
        launcher: Sequence[str] = (),
        program: Sequence[str | Path] = (BIN / "twistd", "-n", "--pidfile=", "ctrlserver"),
        **options: Any,
    ) -> None:
        if "--history" not in arguments and "STATE_DIRECTORY" not in options.get("env", {}):
            arguments = (*arguments, "--history", "off")
        many = ("--workers", str(self.workers)) if self.workers > 1 and "--workers" not in arguments else ()
        command = [*launcher, *program, *arguments, *many]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, **options
        )
        self.log = Log(self.process)
        self.ports: dict[str, int] = {}
        self.paths: dict[str, str] = {}
        expected = listeners + admins + ("--http" in arguments)
        self.log.wait(rf"(?s)listening {'admin' if admins == 1 else f'admin{admins}'} ")
        if "--http" in arguments:
            self.log.wait("listening http ")
        for number in range(1, self.workers + 1) if many else ():
            self.log.wait(rf"worker {number} is process")  # until then it is not ready, and says so
        for line in self.log.lines:
            if match := LISTENING.search(line):
                if match[2]:
                    self.ports[match[1]] = int(match[2])
                else:
                    self.paths[match[1]] = match[3]
        assert len(self.ports) + len(self.paths) == expected, self.log.text

    @property
    def admin(self) -> str:
        """``host:port`` of the admin port."""
        return f"127.0.0.1:{self.ports['admin']}"

    def connect(self, name: str = "data") -> socket.socket:
        """A plain client socket to a listener or the admin port."""
        if name in self.paths:
            return connected(self.paths[name])
        return connected(("127.0.0.1", self.ports[name]))

    def ask(self, *lines: str) -> str:
        """The whole answer to some admin lines, on a connection of its own."""
        with self.connect("admin") as client:
            client.sendall("".join(f"{line}\n" for line in lines).encode())
            client.shutdown(socket.SHUT_WR)
            got = bytearray()
            while more := client.recv(1 << 16):
                got += more
        return got.decode()

    def ask_json(self, line: str) -> Any:
        """The ``data`` of a command's JSON answer."""
        answer = json.loads(self.ask(f"{line} json"))
        assert answer["ok"] is True, answer
        return answer["data"]

    def streams_of(self, *peers: str) -> list[dict[str, Any]]:
        """The record of the newest stream of each peer. A port may have been that of an earlier stream as well."""
        newest: dict[str, dict[str, Any]] = {}
        for row in self.ask_json("streams"):
            newest.setdefault(row["peer"], row)  # the newest come first
        return [newest[peer] for peer in peers]

    def await_stats(self, **expected: object) -> dict[str, Any]:
        """Ask until the stats record has the expected fields; what a peer sent may still be on its way."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            stats: dict[str, Any] = self.ask_json("stats")
            if all(stats[name] == value for name, value in expected.items()):
                return stats
        raise AssertionError(f"expected {expected}, got {stats}")

    def stop(self) -> str:
        """SIGTERM, and the whole log once it has ended."""
        self.log.end()
        return self.log.text


Start = Callable[..., Daemon]


@contextmanager
def starting(folder: Path) -> Iterator[Start]:
    """``start("--mode", "echo")`` runs a daemon with both ports free; each ends with the block, no traceback logged."""
    running: list[Daemon] = []

    def begin(*arguments: str, **options: Any) -> Daemon:
        given = list(arguments)
        if "--config" not in given:
            for flag in ("--data", "--admin"):
                if flag not in given:
                    given += [flag, "tcp:0:interface=127.0.0.1"]
        daemon = Daemon(*given, folder=folder, **options)
        running.append(daemon)
        return daemon

    yield begin
    for daemon in running:
        log = daemon.stop()
        assert "Traceback" not in log, log


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Run daemons for a test."""
    with starting(tmp_path) as begin:
        yield begin


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """As ``start``, for tests that need no daemon of their own: one begun with the same words serves all of a file."""
    with starting(tmp_path_factory.mktemp("shared")) as begin:
        begun: defaultdict[int, Start] = defaultdict(lambda: cache(begin))
        yield lambda *arguments, **options: begun[Daemon.workers](*arguments, **options)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of localhost with its key; the certificate alone is ``cert.pem`` beside it."""
    folder = tmp_path_factory.mktemp("certificate")
    done = run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost",
        "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
    )  # fmt: skip
    assert 0 == done.returncode, done
    path = folder / "tls.pem"
    path.write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    return path


@pytest.fixture
def inside() -> Iterator[list[str]]:
    """The words before a command that is to run in a network namespace of its own."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    name = f"ctrlserver-{os.getpid()}"
    done = run("ip", "netns", "add", name)
    if done.returncode:
        pytest.skip(f"no network namespaces here: {done.stderr.decode().strip()}")
    try:
        assert 0 == run("ip", "-n", name, "link", "set", "lo", "up").returncode
        yield ["ip", "netns", "exec", name]
    finally:
        run("ip", "netns", "del", name)


@contextmanager
def running(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A program that runs for the length of the block; one that still runs then, as when a test fails, is killed."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def run(*command: str | Path, stdin: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, bounded."""
    return subprocess.run(
        [str(part) for part in command], input=stdin, capture_output=True, timeout=PATIENCE * 2, check=False, **options
    )


def needs(program: str) -> pytest.MarkDecorator:
    """Skip where a program is not installed, and say so."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def needs_openbsd_netcat() -> pytest.MarkDecorator:
    """Skip where nc is missing or another netcat, which knows no -N."""
    found = shutil.which("nc")
    openbsd = found is not None and "openbsd" in os.path.realpath(found)
    return pytest.mark.skipif(not openbsd, reason="netcat-openbsd is not installed")
