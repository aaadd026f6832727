"""The seed: a process that has imported what a worker needs, and is forked for each worker.

Model::

    parent: Seed.spawn --numbers of descriptors, the descriptors--> seed --fork--> middle --fork--> worker
                       <--------- process id of the worker --------            (ends at once)

The middle ends at once, so the worker is the parent's own child: the parent has asked the kernel for its orphans. To
Twisted it is a process like any other.

Rules:

- The seed has no reactor and one thread, and does nothing but fork. A worker is what the seed was then: it has no
  socket of the parent, and none of other workers.
- The seed is started with the first worker, and again when it is gone. Whoever spawns a worker waits for its answer:
  half a second for the first one, some milliseconds for each other. One that does not answer in time is killed, and
  the next worker has another; what it may have forked has a pair of sockets that nobody uses, and ends.
- It ends with its parent, as a worker does, and when the parent closes the pair.
- What a worker writes from its first moment on goes to its parent, which tells it if the worker dies.

Beware: what is imported is as old as the seed. So after an upgrade on disk a worker that is replaced is of the version
that its parent is of.
"""

from __future__ import annotations

import fcntl
import gc
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.process import Process

from ctrlserver.linux.naming import adopt_orphans, end_with_parent
from ctrlserver.sleeping import sleep, wait_for

#: Seconds that the seed has for its first answer, for which it imports, and for each other one.
FIRST_SECONDS, ANSWER_SECONDS = 10.0, 1.0

#: Seconds in which it is not started again after it could not be.
PAUSE_SECONDS = 1.0

#: What the seed wrote before it ended: as much is told.
TOLD_BYTES = 4096

#: Numbers above those of the descriptors of a worker.
_ABOVE = 64


class Seed:
    """The parent's end. ``command`` is what starts a worker; the seed is told its socket beside."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._pair: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._written = -1
        self._has_answered = False
        self._failed: tuple[float, OSError] | None = None

    def spawn(self, protocol: Any, descriptors: Mapping[int, Any], reactor: Any) -> Process:
        """A worker, as by Twisted's ``spawnProcess``; ``OSError`` if there is none."""
        return _Forked(self, protocol, descriptors, reactor)

    def fork(self, descriptors: Mapping[int, int]) -> int:
        """The id of a new process, which has these descriptors by other numbers; ``OSError``."""
        if self._failed is not None and time.monotonic() - self._failed[0] < PAUSE_SECONDS:
            raise self._failed[1]
        try:
            if self._pair is None or self._process is None or self._process.poll() is not None:
                self._start()
            assert self._pair is not None
            try:
                socket.send_fds(self._pair, [bytes(descriptors)], list(descriptors.values()))
                answer = self._pair.recv(32)
            except OSError:
                answer = b""
            if not answer:
                raise OSError(self._last_words())
        except OSError as error:
            if not self._has_answered:
                self._failed = time.monotonic(), error
            self.stop()
            raise
        self._has_answered = True
        self._pair.settimeout(ANSWER_SECONDS)
        return int(answer)

    def _start(self) -> None:
        self.stop()
        if not adopt_orphans():
            raise OSError("the kernel gives no orphans to their parent's parent")
        self._pair, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pair.settimeout(FIRST_SECONDS)
        self._written = os.memfd_create("seed")
        with its:
            self._process = subprocess.Popen(
                [*self._command, str(its.fileno())],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=self._written,
                stderr=self._written,
                pass_fds=[its.fileno()],
            )

    def _last_words(self) -> str:
        """The last line of a seed that ends, or that it does not answer."""
        assert self._process is not None
        if wait_for(self._process, 1) is None:
            return "no answer"
        size = os.fstat(self._written).st_size
        told = os.pread(self._written, TOLD_BYTES, max(0, size - TOLD_BYTES))
        last = told.decode("utf-8", "backslashreplace").strip().rpartition("\n")[2]
        return last or f"exit code {self._process.returncode}"

    def stop(self) -> None:
        """End it; the workers stay."""
        if self._pair is not None:
            self._pair.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._written >= 0:
            os.close(self._written)
        self._pair, self._process, self._written, self._has_answered = None, None, -1, False


class _Forked(Process):
    """A process of Twisted's that the seed forks."""

    def __init__(self, seed: Seed, protocol: Any, descriptors: Mapping[int, Any], reactor: Any) -> None:
        self._seed = seed
        super().__init__(reactor, "", [], {}, None, protocol, childFDs=descriptors)  # type: ignore[no-untyped-call]

    def _fork(self, *_: Any, **descriptors: Any) -> None:
        self.pid = self._seed.fork(descriptors["fdmap"])
        self.status = -1


def sow(pair: socket.socket) -> None:
    """Be the seed: returns in each worker, and never in the seed itself."""
    gc.freeze()
    while True:
        numbers, descriptors, _, _ = socket.recv_fds(pair, 256, 256)
        if not numbers:
            os._exit(0)
        reads, writes = os.pipe()
        middle = os.fork()
        if not middle:
            between = os.getpid()
            grown = os.fork()
            if grown:
                os.write(writes, str(grown).encode())
                os._exit(0)
            pair.close()
            _take(dict(zip(numbers, descriptors, strict=True)), between)
            return
        os.waitpid(middle, 0)
        os.close(writes)
        answer = os.read(reads, 32)
        if not answer:
            os._exit(1)  # the middle has said why
        pair.send(answer)
        for each in (reads, *descriptors):
            os.close(each)


def _take(descriptors: Mapping[int, int], between: int) -> None:
    """Be the parent's child, once the process ``between`` is gone, with these descriptors and no others."""
    high = {number: fcntl.fcntl(each, fcntl.F_DUPFD, _ABOVE) for number, each in descriptors.items()}
    os.closerange(min(descriptors), _ABOVE)
    for number, each in high.items():
        os.dup2(each, number)
        os.close(each)
    while os.getppid() == between:
        sleep(0.0005)
    end_with_parent()
