"""Packets that wait, and since when each of them does: a queue that costs nothing for each packet.

Rules: packets are queued in runs of neighbours. A run keeps the moments of its first and its last packet; those of the
others lie evenly between. The moments of runs of one or two packets are exact. A queue of more than ``MOST_RUNS`` runs
joins neighbours, so its memory is bounded however long a target reads nothing; its moments are then off by far less
than the packets have waited.
"""

from __future__ import annotations

from collections import deque

from ctrlserver.load.measure.timing import Timing

#: A number of packets, and the moments of the first and of the last, in nanoseconds.
PacketRun = tuple[int, int, int]

#: Runs kept before neighbours are joined: more than a second of the pacer's wake-ups.
MOST_RUNS = 8192


class Backlog:
    """First in, first out. ``waiting``: packets in it."""

    __slots__ = ("_runs", "waiting")

    def __init__(self) -> None:
        self._runs: deque[PacketRun] = deque()
        self.waiting = 0

    def push(self, count: int, first: int, last: int) -> None:
        """Add a run."""
        self.waiting += count
        self._runs.append((count, first, last))
        if len(self._runs) > MOST_RUNS:
            self._join()

    def pop(self, count: int) -> list[PacketRun]:
        """Take the oldest ``count`` packets, or all where there are fewer; the last run may be split."""
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
        """The moments of the oldest ``count`` packets, or of all where there are fewer; they stay."""
        found: list[int] = []
        for number, first, last in self._runs:
            if len(found) >= count:
                break
            between = max(1, number - 1)
            found += [first + (last - first) * at // between for at in range(min(number, count - len(found)))]
        return found

    def clear(self) -> None:
        """Drop all of them."""
        self._runs.clear()
        self.waiting = 0

    def _join(self) -> None:
        runs = list(self._runs)
        pairs = zip(runs[::2], runs[1::2], strict=False)
        self._runs = deque((one + other, first, last) for (one, first, _), (other, _, last) in pairs)
        if len(runs) % 2:
            self._runs.append(runs[-1])


class Releases(Backlog):
    """The packets that the pacer has released to a stream. Those of which no byte was sent wait in the queue."""

    __slots__ = ("_slip", "dropped", "packets")

    def __init__(self, timing: Timing) -> None:
        super().__init__()
        self.packets = 0  # released
        self.dropped = 0  # that were due and will not be sent
        self._slip = timing.slip

    @property
    def due(self) -> int:
        """Packets that were due so far, whether they were sent, wait, or were dropped."""
        return self.packets + self.dropped

    def add(self, count: int, first: int, last: int, most: int) -> None:
        """Release ``count`` more packets, up to ``most`` in total."""
        allowed = min(count, most - self.packets)
        if allowed <= 0:
            return
        if allowed < count:
            last = first + (last - first) * (allowed - 1) // (count - 1)
        self.packets += allowed
        self.push(allowed, first, last)

    def begun(self, packets: int, now: int) -> list[PacketRun]:
        """The oldest ``packets`` were sent at ``now``; give the moments at which they were due."""
        runs = self.pop(packets)
        for count, first, last in runs:
            self._slip.record_run(now, count, first, last)
        return runs

    def gone(self, slip: int) -> None:
        """One more was released, and sent at once: ``slip`` nanoseconds after it was due."""
        self.packets += 1
        self._slip.record(slip)

    def end(self, packets: int) -> None:
        """Release no more than ``packets``: others that wait are not sent."""
        dropped = max(0, self.packets - packets)
        self.dropped += dropped
        begun = self.pop(max(0, self.waiting - dropped))
        self.clear()
        for run in begun:
            self.push(*run)
        self.packets = packets
