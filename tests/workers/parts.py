"""What the tests have a worker be: it counts what it is handed, says who it is, and fails when it is told to."""

from __future__ import annotations

import os
import time
from typing import Any

from attrs import frozen
from twisted.logger import Logger, LogLevel

from ctrlserver.stats.counters import Origin
from ctrlserver.workers.handing import Said
from ctrlserver.workers.worker import Worker

ORIGIN = Origin("data", "tcp", "fixed:1024", "sink")


@frozen
class Begin:
    """Be a worker that sends each connection its number and what was said of it, and keeps it open."""

    number: int
    files: int = 0
    fails: str = ""

    def carry_out(self, worker: Worker, descriptors: list[int]) -> None:
        if self.fails:
            raise ValueError(self.fails)
        assert self.files == len(descriptors)
        for each in descriptors:
            os.write(each, f"worker {self.number}".encode())
            os.close(each)
        worker.begin(self.number)
        worker.plane = []

        def handed(descriptor: int, said: Said) -> None:
            generation, listener, peer, *_ = said
            stream = worker.book.stream_opened(ORIGIN, str(peer), worker.clock())
            worker.plane.append(stream)
            os.write(descriptor, f"{self.number} {generation} {listener} {peer}\n".encode())

        def at_end() -> None:
            for stream in worker.plane:
                worker.book.stream_closed(stream, "drain", 0, worker.clock())

        worker.taker.handed, worker.at_end = handed, at_end


@frozen
class Count:
    """Count a packet of each stream."""

    def carry_out(self, worker: Worker, descriptors: list[int]) -> int:
        for stream in worker.plane:
            stream.packets += 1
            stream.bytes += 1024
        return len(worker.plane)


@frozen
class Log:
    """Write a log line."""

    text: str
    level: str = "info"
    fails: bool = False

    def carry_out(self, worker: Worker, descriptors: list[int]) -> None:
        log = Logger("tests.parts")
        if not self.fails:
            log.emit(LogLevel.levelWithName(self.level), "{what}", what=self.text, event="told", by=worker, number=3)
            return
        try:
            raise ValueError(self.text)
        except ValueError:
            log.failure("it failed")


@frozen
class Die:
    """End, with some last words."""

    words: str

    def carry_out(self, worker: Worker, descriptors: list[int]) -> None:
        os.write(2, self.words.encode())
        os._exit(3)


@frozen
class Sleep:
    """Do nothing for a while, and answer nobody."""

    seconds: float

    def carry_out(self, worker: Worker, descriptors: list[int]) -> None:
        time.sleep(self.seconds)


@frozen
class WhoAreYou:
    """What the process is."""

    def carry_out(self, worker: Worker, descriptors: list[int]) -> dict[str, Any]:
        files = {int(each): os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")[:-1]}
        return {"environment": dict(os.environ), "files": files, "pid": os.getpid(), "parent": os.getppid()}
