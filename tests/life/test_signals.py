"""What signals do once the server has ended, while the process still ends."""

from __future__ import annotations

import signal

import pytest
from twisted.internet import reactor

from ctrlserver.life.signals import WOULD_END, Signals


@pytest.mark.parametrize("number", WOULD_END)
def test_once_it_is_stopped_a_late_signal_that_would_end_the_process_is_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)
    try:
        signals = Signals(reactor, lambda: True, lambda: None, {})
        signals.privilegedStartService()
        signals.stopService()
        assert signal.SIG_IGN == signal.getsignal(number)
    finally:
        signal.signal(number, before)
