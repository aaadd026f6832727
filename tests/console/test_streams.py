from __future__ import annotations

import os

from ctrlserver.console.streams import drawable
from tests.load.screen import opened


def test_only_a_terminal_that_can_be_drawn_on_is() -> None:
    ours, theirs, _ = opened(80)
    with open(ours, "rb"), open(theirs, "w") as terminal, open(os.devnull, "w") as nothing:
        assert drawable(terminal, {"TERM": "xterm"})
        for term in ({}, {"TERM": "dumb"}, {"TERM": "unknown"}, {"TERM": ""}):
            assert not drawable(terminal, term)
        assert not drawable(nothing, {"TERM": "xterm"})
    assert not drawable(None, {"TERM": "xterm"})
