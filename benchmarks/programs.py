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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from benchmarks.pairs import MissingError

HERE = Path(__file__).parent
BUILD = HERE / "build"
BIN = Path(sys.executable).parent
START_SECONDS = 20.0
END_SECONDS = 10.0


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


@contextmanager
def ctrlserver(mode: str, *flags: str) -> Iterator[tuple[int, int]]:
    """Our daemon with one listener of 1 KiB packets: its data port and its admin port."""
    local = "tcp:0:interface=127.0.0.1"
    options = ["--data", local, "--admin", local, "--framing", "fixed:1024", "--mode", mode, *flags]
    with server(str(BIN / "twistd"), "-n", "--pidfile=", "ctrlserver", *options) as daemon:
        yield daemon.port(r"listening data tcp \S+:(\d+)"), daemon.port(r"listening admin tcp \S+:(\d+)")


def stats(admin_port: int) -> dict[str, Any]:
    """The stats record, asked for as any client would."""
    with socket.create_connection(("127.0.0.1", admin_port), timeout=10) as connection:
        connection.sendall(b"stats json\n")
        with connection.makefile("rb") as replies:
            record: dict[str, Any] = json.loads(replies.readline())["data"]
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
