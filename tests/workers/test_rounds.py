"""Rounds without a worker that could be asked."""

from __future__ import annotations

from twisted.internet.task import Clock

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
