from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial

import pytest

from ctrlserver.console.interrupts import Interrupts


def test_a_signal_before_there_is_a_run_is_not_lost() -> None:
    told: list[str] = []
    interrupts = Interrupts()
    interrupts.caught(signal.SIGINT, None)
    assert [] == told
    interrupts.attach(lambda: told.append("told"))
    assert ["told"] == told


def test_a_signal_while_the_first_is_passed_on_is_told_once() -> None:
    told: list[str] = []
    interrupts = Interrupts()
    before = signal.signal(signal.SIGTERM, interrupts.caught)
    try:
        interrupts.caught(signal.SIGINT, None)

        def tell() -> None:
            told.append("told")
            if len(told) == 1:
                signal.raise_signal(signal.SIGTERM)

        interrupts.attach(tell)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ["told", "told"] == told


def test_each_signal_is_passed_on() -> None:
    told: list[str] = []
    interrupts = Interrupts()
    interrupts.attach(lambda: told.append("told"))
    interrupts.caught(signal.SIGTERM, None)
    interrupts.caught(signal.SIGINT, None)
    assert ["told", "told"] == told


@pytest.mark.parametrize(("inherited", "outcome"), [(signal.SIG_DFL, "taken"), (signal.SIG_IGN, "ignored")])
def test_hangups_count_once_and_under_nohup_not_at_all(inherited: signal.Handlers, outcome: str) -> None:
    code = """
import os, signal
from ctrlserver.console.interrupts import Interrupts
told = []
interrupts = Interrupts()
interrupts.attach(lambda: told.append(1))
interrupts.install()
for _ in range(4):
    os.kill(os.getpid(), signal.SIGHUP)
print({0: "ignored", 1: "taken"}[len(told)])
"""
    begin = partial(signal.signal, signal.SIGHUP, inherited)
    printed = subprocess.check_output([sys.executable, "-c", code], text=True, preexec_fn=begin)
    assert f"{outcome}\n" == printed
