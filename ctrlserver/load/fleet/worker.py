"""What runs in a Dask worker: the task that sends one shard by a process of its own, and what reaches it from outside.

Rules:

- A shard is sent once. Its task takes the shard's only token from a queue of the scheduler before it starts anything;
  Dask runs a task again when its worker dies, and the second one finds no token. (A ``Lock`` would not do: the lease of
  one that died runs out.)
- The process ends with the task: when the task is cancelled, because the client has gone or says so, and when the
  worker ends; and by the kernel when the worker dies.
- Its events are passed on as they are, by the scheduler, under the topic ``TOPIC``; the last one, with the result, is
  what the task gives.

Beware: this runs in a thread of the worker. It has no reactor.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from distributed import Queue, get_client, get_worker
from distributed.core import Status

from ctrlserver.load.fleet.child import command, environment, signals_held
from ctrlserver.load.fleet.files import unlike
from ctrlserver.load.fleet.telling import KEPT_BYTES, Lines, how_ended, start_line

#: Of all loads, so that the scheduler, which keeps the last thousand events of a topic, keeps no more.
TOPIC = "ctrlload"

#: Seconds between two looks whether the task is still wanted.
LOOK_SECONDS = 0.2

#: Seconds between two signs of life of a process that is not to speak: it connects, or waits for the others.
ALIVE_SECONDS = 1.0

#: Seconds in which the scheduler gives the token, if it has it.
TOKEN_SECONDS = 5.0

_RUNNING = (Status.running, Status.paused, Status.closing_gracefully)

_children: dict[tuple[str, int], _Child] = {}


def token_name(load: str, shard: int) -> str:
    """The queue with the token of a shard."""
    return f"{load}-{shard}"


def send_shard(load: str, shard: int, words: Sequence[str], files: Mapping[str, str]) -> dict[str, Any]:
    """Send it by ``ctrlload`` with these arguments; gives ``end``, its last event or None, and ``how`` it ended.

    ``files``: those that the arguments name, each with the hash of its content.
    """
    try:
        Queue(token_name(load, shard), client=get_client()).get(timeout=TOKEN_SECONDS)
    except TimeoutError:
        return {"end": None, "how": "died, and its task ran again: a shard is never sent twice"}
    if (wrong := unlike(files)) is not None:
        return {"end": None, "how": wrong}
    try:
        child = _Child(load, shard, words)
    except OSError as error:
        return {"end": None, "how": f"could not be started: {error.strerror or error}"}
    _children[load, shard] = child
    try:
        return child.result()
    finally:
        del _children[load, shard]
        child.kill()


def say_start(load: str, seconds: float) -> None:
    """Say to all of a load in this worker when to begin, in ``seconds`` since 1970."""
    for (each, _), child in list(_children.items()):
        if each == load:
            child.say_start(seconds)


def pass_on(load: str, shard: int, name: str) -> None:
    """Pass a signal on, such as INT."""
    child = _children.get((load, shard))
    if child is not None:
        child.signal(name)


class _Child:
    """The process of a shard, started."""

    def __init__(self, load: str, shard: int, words: Sequence[str]) -> None:
        self._load, self._shard = load, shard
        self._worker: Any = get_worker()
        self._key = self._worker.get_current_task()
        pipes: Mapping[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with signals_held():
            self._process = subprocess.Popen(
                command("ctrlserver.load.fleet", words), bufsize=0, env=environment(), **pipes
            )
        self._lines = Lines()
        self._said = b""
        self._end: str | None = None
        self._has_begun = self._is_sending = False
        self._told_at = 0.0

    def result(self) -> dict[str, Any]:
        """Pass its events on until it has ended."""
        streams: Any = (self._process.stdout, self._process.stderr)
        with selectors.DefaultSelector() as selector:
            for stream, read in zip(streams, (self._events, self._words), strict=True):
                selector.register(stream, selectors.EVENT_READ, read)
            while selector.get_map():
                for key, _ in selector.select(LOOK_SECONDS):
                    if part := os.read(key.fd, 1 << 16):
                        key.data(part)
                    else:
                        selector.unregister(key.fileobj)
                if not self._is_wanted():
                    self.kill()
                self._live()
        for stream in (*streams, self._process.stdin):
            with suppress(OSError):
                stream.close()
        code = self._process.wait()
        how = how_ended(self._process.pid, code, -code if code < 0 else None, self._said)
        return {"end": self._end, "how": how}

    def say_start(self, seconds: float) -> None:
        """Say when to begin."""
        stdin: Any = self._process.stdin
        with suppress(OSError, ValueError):  # it has closed it, or has ended
            stdin.write(start_line(seconds))

    def signal(self, name: str) -> None:
        """Pass a signal on."""
        self._process.send_signal(signal.Signals[f"SIG{name}"])

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def _events(self, part: bytes) -> None:
        for line in self._lines.of(part):
            text = line.decode(errors="replace")
            kind = _kind_of(text)
            if kind == "end":
                self._end = text
            elif kind:
                self._has_begun = True
                self._is_sending = self._is_sending or kind == "progress"
                self._tell(text)

    def _words(self, part: bytes) -> None:
        self._said = (self._said + part)[-KEPT_BYTES:]

    def _tell(self, line: str) -> None:
        self._told_at = time.monotonic()
        self._worker.log_event(TOPIC, {"load": self._load, "shard": self._shard, "line": line})

    def _live(self) -> None:
        if self._has_begun and not self._is_sending and time.monotonic() - self._told_at >= ALIVE_SECONDS:
            self._tell('{"event": "alive"}')

    def _is_wanted(self) -> bool:
        """Whether the client still waits for the task, and the worker goes on."""
        task = self._worker.state.tasks.get(self._key)
        return self._worker.status in _RUNNING and task is not None and task.state in ("executing", "long-running")


def _kind_of(line: str) -> str:
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError, TypeError):
        return ""
