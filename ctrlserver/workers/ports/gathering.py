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

#: Rounds of all echoes that may follow one before the lane asks epoll what is ready. When a worker has given way, as a
#: rule all of its peers have sent again by the time it has the processor back: of ten such rounds nine find all. With
#: fifty streams over four workers a turn has five rounds; more bounds what others wait where rounds are short.
REPEATS = 7


def gather(lane: Lane, *others: int) -> None:
    """Let data gather where nobody waits for an answer, until there is something to read at one of ``others``."""

    def rest(seconds: float) -> bool:
        try:
            return bool(select.select(others, [], [], TIMES * seconds)[0])
        except OSError:  # one is closed: the parent is gone
            return True

    lane.resting = TIMES * RESTING_SECONDS
    lane.pause, lane.rest, lane.give_way = PAUSE_SECONDS, rest, os.sched_yield
    lane.repeats = REPEATS
