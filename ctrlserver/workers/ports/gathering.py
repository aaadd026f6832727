"""How the lane of a worker, which shares cores with others, lets data gather."""

from __future__ import annotations

import os
import select

from ctrlserver.lane.lane import RESTING_SECONDS, Lane

#: Seconds between two turns of the lane that count as a pause of the flow. Workers share cores, and a flow pauses for
#: milliseconds while others have them: with the 1 ms of one process hardly any was steady, so the lane never rested,
#: and bulk over four workers took 2.3 times the processor time of one process.
PAUSE_SECONDS = 0.01

#: How often as long a rest is as in one process, and a turn with rests: a worker has a part of the streams, so as much
#: data gathers later. A question ends a rest at once.
TIMES = 2

#: Seconds of a turn in which echoes are read again without a poll, if all of the worker's have just been echoed. When
#: it has given way, as a rule all peers have sent again by the time it has the processor back: of ten such rounds nine
#: find all. In the last quarter of a turn each round is polled for, so that others have theirs in the same turn.
REPEATING_SECONDS = 0.0015


def gather(lane: Lane, *others: int) -> None:
    """Let data gather where nobody waits for an answer, until there is something to read at one of ``others``."""

    def rest(seconds: float) -> bool:
        try:
            return bool(select.select(others, [], [], TIMES * seconds)[0])
        except OSError:  # one is closed: the parent is gone
            return True

    lane.resting, lane.repeating = TIMES * RESTING_SECONDS, REPEATING_SECONDS
    lane.pause, lane.rest, lane.give_way = PAUSE_SECONDS, rest, os.sched_yield
