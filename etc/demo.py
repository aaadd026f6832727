"""The demo: a real daemon of two workers, three real loads, the admin port asked by netcat, and all counts compared.

    make demo        or, with an environment that has ctrlserver installed: python etc/demo.py

Rules: standard library only. The demo prints every command as `$ ...` before it runs it; no line of its own is wider
than 80 columns. It never sleeps: it waits for the daemon's log lines, each for a bounded time. It runs the programs
installed beside this interpreter. Exit 0 when all counts agree, 1 when one does not or a program failed, 130 after
Ctrl-C.

Beware: daemon and loads have sessions of their own, so a Ctrl-C at the terminal reaches the demo only. The demo then
ends the load, then the daemon, and removes its files. While it ends them it cannot be interrupted.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

BIN = Path(sys.executable).parent
START_SECONDS = 20
LOAD_SECONDS = 120
RUN_END_SECONDS = 15
END_SECONDS = 10
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COLUMNS = 79

#: What is loaded, how, and at which listener; the last one is answered.
LOADS = (
    ("the first test, from 2013: 10 000 packets of 1 KiB", "sink", ()),
    ("bulk: 5 000 000 packets of 1 KiB on 4 streams", "sink", ("-n", "5M", "-P", "4")),
    (
        "requests and replies: 200 000 packets of 1 KiB on 50 streams",
        "echo",
        ("-m", "request", "-n", "200k", "-P", "50"),
    ),
)

WORKERS = 2

CONFIG = f"""\
workers = {WORKERS}

[[listener]]
name = "sink"
endpoint = "tcp:0:interface=127.0.0.1"
framing = "fixed:1024"
mode = "sink"

[[listener]]
name = "echo"
endpoint = "tcp:0:interface=127.0.0.1"
framing = "fixed:1024"
mode = "echo"

[[admin]]
endpoint = "tcp:0:interface=127.0.0.1"
"""


NEXT = """
Next: two terminals in this folder. In the first:
  . .venv/bin/activate
  ctrlserver

In the second:
  . .venv/bin/activate
  ctrlload run 127.0.0.1:22222 --admin 127.0.0.1:22223
  echo stats | nc -N 127.0.0.1 22223"""


class DemoFailedError(Exception):
    """A step did not do what it should; the text is one line."""


def say(words: str) -> None:
    print(words, flush=True)


def shown(command: Sequence[str]) -> None:
    """Prints the command as a person would type it, programs by their names."""
    words = shlex.join([Path(command[0]).name, *command[1:]])
    lines = textwrap.wrap(words, COLUMNS - 4, break_long_words=False, break_on_hyphens=False)
    say("\n$ " + " \\\n    ".join(lines))


class Daemon:
    """`ctrlserver` and the log lines it has written so far."""

    def __init__(self, config: Path) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        command = [str(BIN / "ctrlserver"), "--history", "off", "--config", config.name]
        shown(command)
        self.process = subprocess.Popen(
            command,
            cwd=config.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, log: IO[str]) -> None:
        for line in log:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def awaited(self, pattern: str, seconds: float) -> re.Match[str]:
        """The first log line with the pattern in it; DemoFailedError when none comes in time."""

        def match() -> re.Match[str] | None:
            return next((found for line in self.lines if (found := re.search(pattern, line))), None)

        with self._news:
            self._news.wait_for(lambda: match() or self._ended, seconds)
            found = match()
        if found is None:
            last = "\n  ".join(self.lines[-10:]) or "(nothing)"
            raise DemoFailedError(f"the daemon did not log {pattern!r}; its last lines:\n  {last}")
        return found

    def port(self, name: str) -> int:
        """The port of the listener `name`, from the daemon's log."""
        found = self.awaited(rf"listening {name} tcp \S+:(\d+)", START_SECONDS)
        say(f"  {found.group(0)}")
        return int(found.group(1))

    def end(self) -> int:
        """Ends it by SIGTERM, by SIGKILL if that takes too long; the exit status."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(END_SECONDS)
        return self.process.returncode


def load(*arguments: str, result: Path) -> dict[str, Any]:
    """Runs `ctrlload run`, which prints its own report; gives its result document."""
    command = [str(BIN / "ctrlload"), "run", *arguments, "-o", result.name]
    shown(command)
    process = subprocess.Popen(command, cwd=result.parent, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        code = process.wait(LOAD_SECONDS)
    except subprocess.TimeoutExpired:
        raise DemoFailedError(f"the load did not end within {LOAD_SECONDS} s") from None
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
            process.kill()
            process.wait()
    if code != 0:
        raise DemoFailedError(f"ctrlload ended with exit status {code}")
    document: dict[str, Any] = json.loads(result.read_text())
    return document


def openbsd_netcat() -> str | None:
    """The netcat that has -N (half-close after the last line), if it is installed."""
    program = shutil.which("nc")
    if program is None:
        return None
    shown_help = subprocess.run([program, "-h"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return program if "OpenBSD" in shown_help.stdout + shown_help.stderr else None


def exchanged(port: int, line: str) -> str:
    """The admin port's reply to one line and a half-close."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"{line}\n".encode())
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("r", newline="") as reply:
            return reply.read().replace("\r\n", "\n")


def asked(netcat: str | None, port: int, line: str) -> None:
    """Shows a question to the admin port and its answer, which must end with OK."""
    if netcat is None:
        say(f"\n(sent through a socket, because OpenBSD netcat is not installed) {line}")
        reply = exchanged(port, line)
    else:
        say(f"\n$ echo {line} | nc -N 127.0.0.1 {port}")
        command = [netcat, "-N", "127.0.0.1", str(port)]
        reply = subprocess.run(command, input=f"{line}\n", capture_output=True, text=True, timeout=10).stdout
    reply = reply.replace("\r\n", "\n")
    print(reply, end="", flush=True)
    if not re.match(r"OK( |$)", (reply.splitlines() or [""])[-1]):
        raise DemoFailedError(f"{line}: the reply does not end with OK")


def answer(port: int, line: str) -> Any:
    """The content of a JSON reply."""
    return json.loads(exchanged(port, f"{line} json"))["data"]


class Ledger:
    """Compares the server's counts with those of the loads; `wrong` names those that differ."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def equal(self, what: str, expected: int | str, got: int | str) -> None:
        say(f"  {what:<34} {got:>10} {'=' if expected == got else 'is not'} {expected}")
        if expected != got:
            self.wrong.append(what)


def compared(results: Sequence[dict[str, Any]], admin: int) -> Ledger:
    """Compares the loads' counts with every place where the server publishes its own."""
    say("\n--- the server's counts, compared with those of the loads")
    ledger = Ledger()
    sent = [int(result["sent"]["packets"]) for result in results]
    total = sum(sent)
    for number, result in enumerate(results, 1):
        ledger.equal(f"load {number}: packets received", sent[number - 1], result["received"]["packets"])
        ledger.equal(f"load {number}: reconciled", "yes", "yes" if result["reconciled"] is True else "no")
    stats, streams, runs, workers = (answer(admin, line) for line in ("stats", "streams", "runs", "workers"))
    ledger.equal("stats: packets_total", total, stats["packets_total"])
    ledger.equal("stats: bytes_total", total * 1024, stats["bytes_total"])
    ledger.equal("stats: replies_total", sent[-1], stats["replies_total"])
    ledger.equal("stats: incomplete_bytes_total", 0, stats["incomplete_bytes_total"])
    ledger.equal("streams: sum of packets", total, sum(stream["packets"] for stream in streams))
    ledger.equal("runs: sum of packets", total, sum(run["packets"] for run in runs))
    ledger.equal("runs: how many", len(results), len(runs))
    ledger.equal("workers: sum of packets", total, sum(worker["packets_total"] for worker in workers))
    ledger.equal("workers: how many", WORKERS, len(workers))
    return ledger


def demo(folder: Path) -> None:
    """All steps; after DemoFailedError or KeyboardInterrupt the daemon is ended too."""
    config = folder / "ctrlserver.toml"
    config.write_text(CONFIG)
    daemon = Daemon(config)
    try:
        ports = {name: daemon.port(name) for name in ("sink", "echo", "admin")}
        admin = ports["admin"]
        results = []
        for number, (what, listener, flags) in enumerate(LOADS, 1):
            say(f"\n--- {what}")
            target, result = f"127.0.0.1:{ports[listener]}", folder / f"result{number}.json"
            results.append(load(target, *flags, "--admin", f"127.0.0.1:{admin}", result=result))
            daemon.awaited(rf"run {number} ended", RUN_END_SECONDS)
        say("\n--- the admin port answers")
        netcat = openbsd_netcat()
        for line in ("stats packets", "workers", "peers", "run 2"):
            asked(netcat, admin, line)
        ledger = compared(results, admin)
    except BaseException:
        daemon.end()
        raise
    say(f"\n$ kill -TERM {daemon.process.pid}")
    code = daemon.end()
    for line in daemon.lines:
        if ended := re.search(r"run \d+ ended.*", line):
            say(textwrap.fill(ended[0], COLUMNS, initial_indent="  ", subsequent_indent="    "))
    if code not in (0, -signal.SIGTERM):
        last = "\n  ".join(daemon.lines[-10:])
        raise DemoFailedError(f"the daemon ended with exit status {code}; its last lines:\n  {last}")
    say(f"the daemon has ended ({'exit status 0' if code == 0 else 'by SIGTERM, as asked'})")
    if ledger.wrong:
        raise DemoFailedError(f"counts differ: {'; '.join(ledger.wrong)}")
    say("all counts are equal: every packet that was sent is counted, wherever one asks")
    say(NEXT)


def interrupted(_number: int, _frame: object) -> NoReturn:
    """Ctrl-C, SIGTERM and SIGHUP all end the demo in the same way."""
    raise KeyboardInterrupt


def main() -> int:
    """Runs the demo; the exit status."""
    for number in SIGNALS:
        signal.signal(number, interrupted)
    try:
        with tempfile.TemporaryDirectory(prefix="ctrlserver-demo-") as folder:
            demo(Path(folder))
    except (DemoFailedError, OSError, ValueError, KeyError) as error:
        print(f"demo: {error if isinstance(error, DemoFailedError) else repr(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; daemon and load have been ended", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
