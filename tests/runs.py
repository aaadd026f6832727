"""A run of ctrlload in this process, and who watches it."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ctrlserver.client.target import Target
from ctrlserver.load.measure.intervals import Interval, Progress, Waiting
from ctrlserver.load.plan.options import Options
from ctrlserver.load.results.result import Result, as_json
from ctrlserver.load.running.run import LoadRun
from tests.load.asking import options_for
from tests.load.documents import validated
from tests.peers import Sink
from tests.servers import PATIENCE, Servers

reactor: Any = installed


@define
class Heard:
    """A watcher that keeps all that the run reports."""

    intervals: list[Interval] = field(factory=list)
    steps: list[Progress] = field(factory=list)
    notes: list[str] = field(factory=list)
    waits: list[Waiting] = field(factory=list)
    starts: list[float | None] = field(factory=list)

    def interval(self, interval: Interval) -> None:
        self.intervals.append(interval)

    def progress(self, progress: Progress) -> None:
        self.steps.append(progress)

    def starting(self, seconds: float | None) -> None:
        self.starts.append(seconds)

    def waiting(self, waiting: Waiting) -> None:
        self.waits.append(waiting)

    def note(self, text: str) -> None:
        self.notes.append(text)


async def load(target: Target, watcher: Heard | None = None, **flags: Any) -> Result:
    """The result of a whole run."""
    return await LoadRun(reactor, options(target, **flags), watcher or Heard()).run()


def options(target: Target, **flags: Any) -> Options:
    """Options for a test. A wait that is a part of what it shows it names itself; the others are not to end."""
    return options_for(target, **{"stall_timeout": PATIENCE, "connect_timeout": PATIENCE, **flags})


def good(result: Result, code: int = 0) -> Result:
    """The result, once its document has been validated."""
    validated(as_json(result))
    assert code == result.exit_code, result.error or result.difference
    return result


async def reached(condition: Any) -> None:
    """Let the reactor turn until something is so; bounded."""
    end = reactor.seconds() + PATIENCE
    while not condition():
        assert reactor.seconds() < end, "nothing came of it"
        await deferLater(reactor, 0.001)


def started(servers: Servers, **flags: Any) -> tuple[LoadRun, Deferred[Result]]:
    target = servers.listen(flags.pop("protocol", Sink))
    run = LoadRun(reactor, options(target, **flags), Heard())
    return run, run.run()
