"""``python -m ctrlserver.load.fleet.bridge PARENT``: the client of a Dask cluster, in a process of its own.

The parent is ctrlload, whose reactor never meets Dask's loop. Both write JSON, an object a line::

    stdin   {"address": ..., "shards": ..., "streams": ..., "text": ...}  the cluster; address null: one of this machine
            {"load": [[words of shard 1], ...], "files": {PATH: HASH}}    start all shards
            {"start": SECONDS}                                            all begin then
            {"shard": 1, "signal": "INT"}                                 pass a signal on; KILL ends its task
            the end of the file                                           let go of all
    stdout  {"refused": WHY}, or {"placed": [WORKER of shard 1, ...]}
            {"shard": 1, "line": EVENT}                                   as the shard's process wrote it
            {"shard": 1, "ended": HOW}

Rules:

- Everything that is waited for has a bound.
- A task is sent to one worker and stays there: it is restricted to it, so Dask neither steals nor moves it, and has no
  retries. What a shard is sent by is held to once by its token, which ``worker.py`` takes.
- Once a worker is gone, its tasks are given up, so that one which comes back in its place does not get them.
- The end of this process lets go of all: the scheduler then frees the tasks of a client that has gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import platform
import signal
import sys
import time
import uuid
import warnings
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import urlsplit

from distributed import Client, LocalCluster, Queue

from ctrlserver.errors import LoadError
from ctrlserver.load.fleet.child import be_child
from ctrlserver.load.fleet.placing import Versions, Worker, check_versions, clock_words, placed
from ctrlserver.load.fleet.worker import TOPIC, pass_on, say_start, send_shard, token_name

#: Seconds for the scheduler, or a worker, to answer.
ANSWER_SECONDS = 10.0

#: So many answers of a worker are timed to compare its clock with ours.
CLOCK_ANSWERS = 3

#: Seconds for a cluster of this machine to be there.
LOCAL_SECONDS = 60.0

#: Seconds between two looks whether all workers are there.
LOOK_SECONDS = 1.0

#: Seconds to let go of the cluster.
CLOSE_SECONDS = 4.0

_T = TypeVar("_T")


def say(**told: object) -> None:
    """Tell the parent."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def within(seconds: float, what: Awaitable[_T]) -> _T:
    """What it gives, TimeoutError if not in time."""
    return await asyncio.wait_for(what, seconds)


class Bridge:
    """The shards of one load on a cluster."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._asked = asked
        self._load = uuid.uuid4().hex
        self._cluster: Any = None
        self._client: Any = None
        self._workers: list[Worker] = []
        self._tokens: list[Any] = []
        self.notes: dict[int, str] = {}
        """What is to be told of the workers, by the first of their shards."""
        self._futures: dict[int, Any] = {}
        self._tasks: list[asyncio.Future[None]] = []

    @property
    def _name(self) -> str:
        return self._asked["address"] or "local"

    @property
    def places(self) -> list[str]:
        """The worker of each shard."""
        return [worker.text for worker in self._workers]

    @property
    def _gone(self) -> str:
        return f"the scheduler at {self._name} is gone, and with it what is known of the shard"

    # Before anything is sent

    async def open(self) -> None:
        """Place all shards; LoadError says why that cannot be."""
        address = self._asked["address"]
        if address is None:
            await self._start_cluster()
        else:
            await self._reach(address)
            try:
                self._client = await within(ANSWER_SECONDS, Client(address, asynchronous=True, timeout=ANSWER_SECONDS))
            except Exception as error:
                raise LoadError(f"--dask {self._name}: {_no_scheduler(error)}") from None
        known = await self._known()
        self._workers = placed(known, self._asked["shards"], self._asked["streams"], self._asked["text"])
        await self._check_versions()
        await asyncio.gather(*map(self._compare_clocks, dict.fromkeys(self._workers)))

    async def _start_cluster(self) -> None:
        number = self._asked["shards"] or min(self._asked["streams"], len(os.sched_getaffinity(0)))
        self._cluster = LocalCluster(
            n_workers=number, threads_per_worker=1, memory_limit=None, dashboard_address=None, asynchronous=True
        )
        try:
            await within(LOCAL_SECONDS, self._cluster)
            self._client = await within(ANSWER_SECONDS, Client(self._cluster, asynchronous=True))
        except Exception as error:
            raise LoadError(f"--dask local: the cluster did not start: {_words(error)}") from None

    async def _reach(self, address: str) -> None:
        """LoadError at once where nothing listens; Dask would try again and again."""
        parts = urlsplit(address)
        try:
            _, writer = await within(ANSWER_SECONDS, asyncio.open_connection(parts.hostname, parts.port))
        except OSError as error:
            words = "connection refused: no scheduler listens there"
            if not isinstance(error, ConnectionRefusedError):
                words = f"no answer within {ANSWER_SECONDS:.0f} s" if isinstance(error, TimeoutError) else _words(error)
            raise LoadError(f"--dask {address}: {words}") from None
        writer.close()

    async def _known(self) -> list[Worker]:
        told = await within(ANSWER_SECONDS, self._client.scheduler.identity())
        workers = [
            Worker(address, str(each.get("name", address)), int(each["nthreads"]))
            for address, each in told["workers"].items()
            if each.get("status", "running") == "running"
        ]
        return sorted(workers, key=lambda worker: (worker.name, worker.address))

    async def _check_versions(self) -> None:
        async def versions(worker: Worker) -> Versions:
            asking = {"op": "versions", "packages": ["ctrlserver"]}
            call = self._client.scheduler.broadcast(msg=asking, workers=[worker.address], on_error="ignore")
            try:
                packages = (await within(ANSWER_SECONDS, call))[worker.address]["packages"]
            except Exception as error:
                raise LoadError(f"worker {worker.text} does not answer ({_words(error)})") from None
            return Versions(packages["ctrlserver"], ".".join(packages["python"].split(".")[:3]))

        workers = list(dict.fromkeys(self._workers))
        found = await asyncio.gather(*map(versions, workers))
        ours = Versions(version("ctrlserver"), platform.python_version())
        check_versions(ours, dict(zip(workers, found, strict=True)))

    async def _compare_clocks(self, worker: Worker) -> None:
        """Note how far the worker's clock is from ours, by the quickest of some answers."""
        answers = []
        for _ in range(CLOCK_ANSWERS):
            asked = time.time()
            call = self._client.run(time.time, workers=[worker.address])
            told = (await within(ANSWER_SECONDS, call))[worker.address]
            half = (time.time() - asked) / 2
            answers.append((half, told - asked - half))
        half, ahead = min(answers)
        words = clock_words(ahead, half)
        if words is not None:
            self.notes[self._workers.index(worker) + 1] = words

    # The shards

    async def start(self, load: Sequence[Sequence[str]], files: Mapping[str, str]) -> None:
        """Start the process of each shard, by the words for it and with these files."""
        self._client.subscribe_topic(TOPIC, self._heard)
        for number, (worker, words) in enumerate(zip(self._workers, load, strict=True), 1):
            token = await within(ANSWER_SECONDS, Queue(token_name(self._load, number), client=self._client))
            await within(ANSWER_SECONDS, token.put("token"))
            self._tokens.append(token)
            self._futures[number] = self._client.submit(
                send_shard,
                self._load,
                number,
                list(words),
                dict(files),
                key=f"ctrlload-{self._load}-{number}",
                workers=[worker.address],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
            self._later(self._wait_for(number))
        self._later(self._watch())

    def _later(self, what: Awaitable[None]) -> None:
        """Do it meanwhile; the loop keeps no hold of it by itself."""
        self._tasks.append(asyncio.ensure_future(what))

    def _heard(self, event: tuple[float, Any]) -> None:
        _, told = event
        if told["load"] == self._load and told["shard"] in self._futures:
            say(shard=told["shard"], line=told["line"])

    async def _wait_for(self, number: int) -> None:
        try:
            told = await self._futures[number].result()
        except asyncio.CancelledError:
            return
        except Exception as error:
            lost = "scheduler-connection-lost" in str(error)
            self._over(number, self._gone if lost else f"its task failed: {_words(error)}")
            return
        if told["end"] is not None:
            say(shard=number, line=told["end"])
        self._over(number, told["how"])

    def _over(self, number: int, how: str) -> None:
        future = self._futures.pop(number, None)
        if future is not None:
            say(shard=number, ended=how)
            self._later(future.cancel())

    async def _watch(self) -> None:
        """Give up the shards of workers that are gone."""
        while self._futures:
            await asyncio.sleep(LOOK_SECONDS)
            places = {number: self._workers[number - 1].address for number in self._futures}
            try:
                there = await within(
                    ANSWER_SECONDS, self._client.scheduler.ncores(workers=sorted(set(places.values())))
                )
            except Exception:
                for number in list(self._futures):
                    self._over(number, self._gone)
                return
            for number, address in places.items():
                if address not in there:
                    self._over(number, "has gone from the cluster: it died, or lost the scheduler")

    # What the parent says

    async def order(self, told: dict[str, Any]) -> None:
        """Carry out what the parent says."""
        if "load" in told:
            await self.start(told["load"], told["files"])
        elif "start" in told:
            addresses = sorted({self._workers[number - 1].address for number in self._futures})
            self._later(self._run(addresses, say_start, told["start"]))
        elif told["shard"] in self._futures:
            number, name = told["shard"], told["signal"]
            self._later(self._run([self._workers[number - 1].address], pass_on, number, name))
            if name == "KILL":
                self._over(number, "was ended")

    async def _run(self, addresses: list[str], what: Any, *arguments: object) -> None:
        with suppress(Exception):  # a worker that is gone is told by _watch, one that is silent by the parent
            call = self._client.run(what, self._load, *arguments, workers=addresses, on_error="ignore")
            await within(ANSWER_SECONDS, call)

    async def close(self) -> None:
        """Let go of all."""
        for future in self._futures.values():
            with suppress(Exception):
                await within(1.0, future.cancel())
        for part in (self._client, self._cluster):
            if part is not None:
                with suppress(Exception):
                    await within(CLOSE_SECONDS, part.close())


def _no_scheduler(error: Exception) -> str:
    """Why no scheduler answered where something listens."""
    if isinstance(error, TimeoutError) or "Timed out" in str(error):
        return f"no Dask scheduler answers there within {ANSWER_SECONDS:.0f} s"
    encrypted = any(word in str(error).upper() for word in ("TLS", "SSL"))
    return "what listens there is no Dask scheduler" + (f" that we can talk to: {_words(error)}" if encrypted else "")


def _words(error: BaseException) -> str:
    """One line about it."""
    text = str(error) or type(error).__name__
    return (getattr(error, "strerror", None) or text).splitlines()[0][:300]


async def bridge() -> None:
    """Do what the parent says until it says no more."""
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    made = Bridge(json.loads(await reader.readline()))
    opening = asyncio.create_task(made.open())
    line = asyncio.create_task(reader.readline())
    try:
        await asyncio.wait((opening, line), return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            return  # the parent has closed stdin
        await opening
        say(placed=made.places)
        for number, words in made.notes.items():
            say(shard=number, line=json.dumps({"event": "note", "message": words}))
        while told := await line:
            await made.order(json.loads(told))
            line = asyncio.create_task(reader.readline())
    except LoadError as error:
        say(refused=str(error))
    finally:
        opening.cancel()
        await made.close()


def main() -> None:
    """Be the child of a ctrlload."""
    be_child(signal.SIG_DFL)
    warnings.simplefilter("ignore")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    asyncio.run(bridge())
    sys.stdout.flush()
    os._exit(0)  # nothing of Dask's may hold it


if __name__ == "__main__":
    main()
