"""Which failures of streams count, where the server's injections ended them."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define
from twisted.internet.task import Clock

from ctrlserver.load.measure.injections import ServerInjections
from ctrlserver.load.measure.reconciling import Reconciliation
from ctrlserver.load.measure.through import NOTHING, Through
from ctrlserver.load.running.ending import Ending

CLOSE = ServerInjections(1, 1, 0, 0, 0, 0, 1, ["3*ok->close"])
RESET = ServerInjections(1, 1, 0, 0, 0, 0, 1, ["3*ok->reset"])
UNKNOWN = ServerInjections(1, 1, 0, 0, 0, 0, 1)
ENDED = Through(1, 1024, frozenset({1}))


@define(eq=False)
class Gone:
    """A stream that is over."""

    reason: str
    number: int = 1
    observer: Any = None


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(
    ("reconciled", "through", "theirs", "reason", "failure"),
    [
        (True, ENDED, CLOSE, "reset", None),
        (True, ENDED, CLOSE, "closed", None),
        (True, ENDED, CLOSE, "stalled", "why"),
        (True, ENDED, RESET, "reset", "why"),
        (True, ENDED, UNKNOWN, "reset", "why"),
        (True, ENDED, UNKNOWN, "closed", None),
        (False, ENDED, CLOSE, "reset", "why"),
        (False, NOTHING, None, "closed", "why"),
    ],
)
def test_a_close_by_order_is_no_failure_whenever_it_is_noticed_and_a_reset_is_one(
    early: bool, reconciled: bool, through: Through, theirs: ServerInjections | None, reason: str, failure: str | None
) -> None:
    stream: Any = Gone(reason)
    clock = Clock()
    ending = Ending(clock, clock.seconds, [stream], 10.0, gentle=False)
    if early:
        ending.stream_failed(stream, "why")
    ending.reconciliation = Reconciliation(reconciled, True, None, None, through=through)
    ending.server_injections = theirs
    if not early:
        ending.stream_failed(stream, "why")
    assert failure == ending.failure
