"""The workers of a Dask cluster as senders of a load, by way of ``bridge.py``, a process that is the cluster's client.

Rules: Dask is imported there alone: its loop and our reactor never meet, and ctrlload starts as fast without it. The
bridge ends with this process, and with it all shards: the scheduler frees the tasks of a client that has gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.python.failure import Failure

from ctrlserver.errors import LoadError, UsageError
from ctrlserver.load.fleet.files import contents
from ctrlserver.load.fleet.process import Child
from ctrlserver.load.fleet.sender import Owner, Sender
from ctrlserver.load.fleet.telling import CLUSTER_LEAD_SECONDS
from ctrlserver.load.plan.options import Options

#: Seconds for the bridge to let go of the cluster.
END_SECONDS = 10.0


def check_installed() -> None:
    """UsageError without Dask."""
    if find_spec("distributed") is None:
        raise UsageError("--dask: needs Dask's distributed: pip install 'ctrlserver[fleet]'")


class Workers(Child):
    """The workers of the cluster that ``options`` name."""

    lead_seconds = CLUSTER_LEAD_SECONDS

    def __init__(self, reactor: Any, options: Options) -> None:
        super().__init__(reactor)
        self._options = options
        self._owner: Any = None
        self._placed: Deferred[Sequence[Sender]] | None = Deferred()
        self._shards: list[Shard] = []
        self._ending: list[Deferred[None]] = []
        self._has_ended = False

    def begin(self, owner: Owner) -> Deferred[Sequence[Sender]]:
        """The senders, once all have their worker; LoadError says why that cannot be."""
        self._owner = owner
        placed = self._placed
        assert placed is not None
        failed = self.spawn("ctrlserver.load.fleet.bridge")
        if failed is not None:
            self._over(f"the client of the cluster {failed}")
        else:
            options, dask = self._options, self._options.dask
            assert dask is not None
            self.say(address=dask.address, text=dask.text, shards=options.shards, streams=options.streams)
        return placed

    def end(self, *, at_once: bool) -> Deferred[None]:
        """Let go of the cluster, and end one of our own."""
        done: Deferred[None] = Deferred()
        if self._has_ended:
            done.callback(None)
            return done
        self._ending.append(done)
        if at_once:
            self._kill()
        else:
            self._process.closeChildFD(0)
            self._reactor.callLater(END_SECONDS, self._kill)
        return done

    def say(self, **told: object) -> None:
        """Tell the bridge."""
        if not self._has_ended:
            with suppress(KeyError):  # its stdin is closed
                self._process.writeToChild(0, json.dumps(told).encode() + b"\n")

    def start(self, number: int, words: Sequence[str]) -> None:
        """Start a shard; the bridge is told of all at once."""
        self._shards[number - 1].words = words
        if all(each.words for each in self._shards):
            self.say(load=[each.words for each in self._shards], files=contents(words))

    def _kill(self) -> None:
        if not self._has_ended:
            with suppress(ProcessExitedAlready):
                self._process.signalProcess("KILL")

    def line_came(self, line: bytes) -> None:
        """A line of the bridge."""
        self._heard(json.loads(line))

    def has_gone(self, how: str) -> None:
        """The bridge has ended."""
        self._over(f"the client of the cluster is gone: {how}")

    def _heard(self, told: Mapping[str, Any]) -> None:
        if "placed" in told:
            self._shards = [Shard(number, self, self._owner, where) for number, where in enumerate(told["placed"], 1)]
            self._give(self._shards)
        elif "refused" in told:
            self._give(Failure(LoadError(told["refused"])))
        else:
            shard = self._shards[told["shard"] - 1]
            if "line" in told:
                shard.heard(told["line"])
            else:
                shard.gone(told["ended"])

    def _give(self, what: Any) -> None:
        placed, self._placed = self._placed, None
        if placed is not None:
            placed.callback(what)

    def _over(self, how: str) -> None:
        self._has_ended = True
        self._give(Failure(LoadError(how)))
        for shard in self._shards:
            shard.over(how)
        while self._ending:
            self._ending.pop().callback(None)


class Shard(Sender):
    """The shard of a worker."""

    def __init__(self, number: int, workers: Workers, owner: Owner, where: str) -> None:
        super().__init__(number, owner, where)
        self._workers = workers
        self.words: Sequence[str] = ()

    @property
    def has_to_speak(self) -> bool:
        """Always: its worker speaks for it where it does not."""
        return True

    @property
    def patience_seconds(self) -> float:
        """Its worker may be busy, or load the program from a disk far away."""
        return super().patience_seconds * (1 if self.has_begun else 2)

    def start(self, words: Sequence[str]) -> None:
        """Start its process on the worker."""
        self._workers.start(self.number, words)

    def say_start(self, seconds: float) -> None:
        """Say when to begin: to all at once, with the first."""
        if self.number == 1:
            self._workers.say(start=seconds)

    def signal(self, name: str) -> None:
        """Pass a signal on."""
        if not self.has_ended:
            self._workers.say(shard=self.number, signal=name)

    def gone(self, how: str) -> None:
        """Its task is over."""
        self.over(f"{self._why} and was given up; what it has started ends with it" if self._why else how)
