"""Packets that wait, and the moments they wait since: a queue that costs nothing for each packet.

Rules: packets come in runs of neighbours, of which the first's and the last's moment are kept; the others' lie evenly
between. Alone or in twos their moments are exact. A queue that grows past ``MOST_RUNS`` joins neighbouring runs, so its
memory is bounded however long a target takes nothing; moments then are off by less than they have waited by far.
"""

from __future__ import annotations

from collections import deque

from ctrlserver.load.measure.timing import Timing

#: So many packets, the moment of the first and that of the last, in nanoseconds.
PacketRun = tuple[int, int, int]

#: Runs kept as they came: a second of a tick's batches, and more.
MOST_RUNS = 8192


class Backlog:
    """First in, first out. ``waiting`` is the number of packets in it."""

    __slots__ = ("_runs", "waiting")

    def __init__(self) -> None:
        self._runs: deque[PacketRun] = deque()
        self.waiting = 0

    def push(self, count: int, first: int, last: int) -> None:
        """So many packets more."""
        self.waiting += count
        self._runs.append((count, first, last))
        if len(self._runs) > MOST_RUNS:
            self._join()

    def pop(self, count: int) -> list[PacketRun]:
        """The oldest ``count`` packets, no more than there are."""
        self.waiting -= min(count, self.waiting)
        taken: list[PacketRun] = []
        while count > 0 and self._runs:
            run = number, first, last = self._runs.popleft()
            if number > count:
                before = first + (last - first) * (count - 1) // (number - 1)
                after = first + (last - first) * count // (number - 1)
                self._runs.appendleft((number - count, after, last))
                run = count, first, before
            taken.append(run)
            count -= run[0]
        return taken

    def moments(self, count: int) -> list[int]:
        """Those of the oldest ``count`` packets, which stay; no more than there are."""
        found: list[int] = []
        for number, first, last in self._runs:
            if len(found) >= count:
                break
            between = max(1, number - 1)
            found += [first + (last - first) * at // between for at in range(min(number, count - len(found)))]
        return found

    def clear(self) -> None:
        """None waits any longer."""
        self._runs.clear()
        self.waiting = 0

    def _join(self) -> None:
        runs = list(self._runs)
        pairs = zip(runs[::2], runs[1::2], strict=False)
        self._runs = deque((one + other, first, last) for (one, first, _), (other, _, last) in pairs)
        if len(runs) % 2:
            self._runs.append(runs[-1])


class Releases:
    """What a stream was let send: how many packets, and the moments of those that wait."""

    __slots__ = ("_slip", "_waiting", "dropped", "packets")

    def __init__(self, timing: Timing) -> None:
        self.packets = 0  # that may be sent
        self.dropped = 0  # that were due and may not any more
        self._waiting = Backlog()
        self._slip = timing.slip

    @property
    def waiting(self) -> int:
        """Packets of which no byte has gone."""
        return self._waiting.waiting

    def add(self, count: int, first: int, last: int, most: int) -> None:
        """So many more, as far as ``most`` packets allow."""
        allowed = min(count, most - self.packets)
        if allowed <= 0:
            return
        if allowed < count:
            last = first + (last - first) * (allowed - 1) // (count - 1)
        self.packets += allowed
        self._waiting.push(allowed, first, last)

    def begun(self, packets: int, now: int) -> list[PacketRun]:
        """So many have been sent at ``now``; gives the moments at which they were due."""
        runs = self._waiting.pop(packets)
        for count, first, last in runs:
            self._slip.record_run(now, count, first, last)
        return runs

    def moments(self, packets: int) -> list[int]:
        """When the next so many were due."""
        return self._waiting.moments(packets)

    def gone(self, slip: int) -> None:
        """One more, and it has been sent ``slip`` after it was due."""
        self.packets += 1
        self._slip.record(slip)

    def end(self, packets: int) -> None:
        """No more than ``packets``: what waits is not sent."""
        self.dropped += max(0, self.packets - packets)
        self._waiting.clear()
        self.packets = packets
