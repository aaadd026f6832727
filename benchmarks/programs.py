"""The processes of a benchmark: servers that say their port, loads that say their counts.

Rules: a server binds port 0 and its port is read back from its own output (iperf3 cannot, so a free port is sought for
it); every process is ended by its id and waited for; nothing is slept for that can be awaited. The C peers are built
into `benchmarks/build/` when their source is newer.

Beware: a server's output is read by a thread of its own for as long as it lives, so that it
never blocks on a full pipe.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from attrs import frozen

from benchmarks.pairs import MissingError

HERE = Path(__file__).parent
BUILD = HERE / "build"
BIN = Path(sys.executable).parent
START_SECONDS = 20.0
END_SECONDS = 10.0
LISTENING = "0A"  # in /proc/net/tcp


class ProgramFailedError(Exception):
    """A program of the benchmark ended badly or did not answer in time; the message holds its last words."""


class Server:
    """A running server process and the lines it has printed so far."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.name = " ".join([Path(argv[0]).name, *argv[1:]])
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, output: IO[str]) -> None:
        for line in output:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def line(self, pattern: str, since: int = 0, seconds: float = START_SECONDS) -> re.Match[str]:
        """The first line after number `since` with the pattern in it; ProgramFailedError when none comes."""

        def match() -> re.Match[str] | None:
            return next((found for line in self.lines[since:] if (found := re.search(pattern, line))), None)

        with self._news:
            self._news.wait_for(lambda: match() or self._ended, seconds)
            found = match()
        if found is None:
            last = " | ".join(self.lines[-5:]) or "(no output)"
            raise ProgramFailedError(f"{self.name}: no line with {pattern!r}: {last}")
        return found

    def port(self, pattern: str = r"listening 127\.0\.0\.1:(\d+)") -> int:
        """The port that the server says it listens on."""
        return int(self.line(pattern).group(1))

    @property
    def process_id(self) -> int:
        """Of the running server."""
        return self._process.pid

    def end(self) -> None:
        """SIGTERM, then SIGKILL for one that does not go."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(END_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def server(*argv: str) -> Iterator[Server]:
    """A server for the length of the block."""
    running = Server(argv)
    try:
        yield running
    finally:
        running.end()


@frozen
class Daemon:
    """Our server: its ports and its process."""

    data_port: int
    admin_port: int
    process_id: int

    @property
    def ports(self) -> tuple[int, int]:
        """The data port and the admin port."""
        return self.data_port, self.admin_port


@contextmanager
def daemon(mode: str, *flags: str, framing: str = "fixed:1024") -> Iterator[Daemon]:
    """Our daemon with one listener, of 1 KiB packets unless told otherwise."""
    local = "tcp:0:interface=127.0.0.1"
    options = ["--data", local, "--admin", local, "--framing", framing, "--mode", mode, *flags]
    with server(str(BIN / "twistd"), "-n", "--pidfile=", "ctrlserver", "--history", "off", *options) as running:
        yield Daemon(
            running.port(r"listening data tcp \S+:(\d+)"),
            running.port(r"listening admin tcp \S+:(\d+)"),
            running.process_id,
        )


@contextmanager
def ctrlserver(mode: str, *flags: str) -> Iterator[tuple[int, int]]:
    """As `daemon`: its data port and its admin port."""
    with daemon(mode, *flags) as ours:
        yield ours.ports


def asked_for(admin_port: int, command: str) -> Any:
    """What a command of the admin port tells, asked for as any client would."""
    with socket.create_connection(("127.0.0.1", admin_port), timeout=10) as connection:
        connection.sendall(f"{command} json\n".encode())
        with connection.makefile("rb") as replies:
            return json.loads(replies.readline())["data"]


def stats(admin_port: int) -> dict[str, Any]:
    """The stats record."""
    record: dict[str, Any] = asked_for(admin_port, "stats")
    return record


def output_of(*argv: str, seconds: float = 120.0) -> str:
    """What a program prints on stdout; ProgramFailedError with its last words when it does not exit with 0 in time."""
    name = " ".join([Path(argv[0]).name, *argv[1:]])
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ProgramFailedError(f"{name}: not done after {seconds:g} s") from None
    if done.returncode != 0:
        words = " | ".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise ProgramFailedError(f"{name}: exit {done.returncode}: {words}")
    return done.stdout


def json_of(*argv: str) -> dict[str, Any]:
    """The JSON document that a program prints on stdout."""
    text = output_of(*argv)
    try:
        document: dict[str, Any] = json.loads(text)
    except ValueError:
        raise ProgramFailedError(f"{Path(argv[0]).name}: not a JSON document: {text[:200]!r}") from None
    return document


def tool(name: str, package: str) -> str:
    """The path of an installed program; MissingError with its Debian package otherwise."""
    path = shutil.which(name)
    if path is None:
        raise MissingError(f"{name} (Debian package {package})")
    return path


def c_peer(name: str) -> str:
    """The path of a C peer, built when its source is newer; MissingError when there is no C compiler."""
    source, header, program = HERE / "peers" / f"{name}.c", HERE / "peers" / "peer.h", BUILD / name
    newest = max(source.stat().st_mtime, header.stat().st_mtime)
    if not program.exists() or program.stat().st_mtime < newest:
        compiler = shutil.which("cc")
        if compiler is None:
            raise MissingError(f"{name}: no C compiler (Debian packages gcc and libc6-dev)")
        BUILD.mkdir(exist_ok=True)
        output_of(compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source))
    return str(program)


def python_peer(*parts: str) -> tuple[str, str]:
    """The command of a Python program under `benchmarks/`."""
    return sys.executable, str(HERE.joinpath(*parts))


def free_port() -> int:
    """A port that was free a moment ago, for a server that cannot take port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    """Until a program that does not say so listens there. A connection would be a client to it, so the system's table
    of sockets is read instead."""
    end = time.monotonic() + START_SECONDS
    tables = [table for name in ("tcp", "tcp6") if (table := Path(f"/proc/net/{name}")).exists()]
    while not any(
        int(words[1].rpartition(":")[2], 16) == port and words[3] == LISTENING
        for table in tables
        for words in map(str.split, table.read_text().splitlines()[1:])
    ):
        if time.monotonic() > end:
            raise ProgramFailedError(f"nobody listens on port {port}")
        time.sleep(0.01)
