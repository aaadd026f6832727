"""Rounds without a worker that could be asked, and with one that answers when it is told to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ctrlserver.workers.messages import Look
from ctrlserver.workers.rounds import Rounds
from tests.workers.conftest import Mirror


def test_who_asks_again_and_again_while_nobody_can_be_asked_waits_a_turn_each_time() -> None:
    clock, answers = Clock(), 0
    rounds = Rounds({}, Mirror(), clock, seen=lambda: None, first=lambda _: None)

    def ask_again(_: None) -> None:
        nonlocal answers
        answers += 1
        if answers < 2000:
            rounds.refresh().addCallback(ask_again)

    rounds.refresh().addCallback(ask_again)
    clock.pump([0.0] * 2000)
    assert 2000 == answers


@define(eq=False)
class Asked:
    """A worker that answers when it is told to."""

    number: int = 1
    is_running: bool = True
    looking: bool = False
    has_answered: bool = True
    silent: float = 0.0
    looks: list[Look] = field(factory=list)
    answer: Deferred[Any] = field(factory=Deferred)

    def flush(self) -> None: ...

    def saw(self, looked: object) -> None: ...

    def ask(self, look: Look) -> Deferred[Any]:
        self.looks.append(look)
        self.answer = Deferred()
        return self.answer


def test_a_worker_makes_way_where_somebody_waits_and_not_for_the_look_of_a_tick() -> None:
    worker: Any = Asked()
    rounds = Rounds({1: worker}, Mirror(), Clock(), seen=lambda: None, first=lambda _: None)
    rounds.refresh()
    rounds.refresh(urgent=True)
    rounds.refresh()
    for _ in range(2):
        worker.answer.callback(SimpleNamespace(snapshot=None))
    rounds.refresh()
    assert [Look(), Look(urgent=True), Look()] == worker.looks
