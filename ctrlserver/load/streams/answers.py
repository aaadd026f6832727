"""The replies that a stream under ``--inject`` awaits in request mode.

Rules: as ``RequestStream`` (streams/request.py), one by one and without its short cuts. A packet awaits as many replies
as the target will make of it: two if it was sent twice, none if it lacks its end.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import Factory, define

from ctrlserver.load.measure.due import Backlog, PacketRun
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.streams.outgoing import derived
from ctrlserver.load.streams.wire import REPLY_FAULT, SURPLUS
from ctrlserver.wire.framing import Framing, FramingSpec
from ctrlserver.words import counted


@define(eq=False)
class Answers:
    """``most`` packets await their replies; ``outstanding``: those allowed to go that are not answered.

    ``framing`` cuts the replies.
    """

    spec: FramingSpec
    most: int
    timing: Timing
    outstanding: int = 0
    replies: int = 0
    framing: Framing = derived(lambda self: self.spec.new())
    _flight: Backlog = Factory(Backlog)  # when the packets in flight were sent
    _awaited: Backlog = Factory(Backlog)  # the same: when they were due

    def gone(self, answers: int, began: int, due: Sequence[PacketRun]) -> None:
        """A packet went, from ``began`` on, and awaits so many replies; ``due`` is when it was, if by a schedule."""
        self.outstanding += answers - 1
        if answers:
            self._flight.push(answers, began, began)
            for run in [*due] * answers:
                self._awaited.push(*run)

    def heard(self, octets: memoryview, packets: int, now: int) -> tuple[str, str] | None:
        """Count what came after so many ``packets`` were sent; what is wrong with it, as a reason and in words."""
        answered = self.framing.count(octets)
        if self.framing.fault is not None:
            return REPLY_FAULT, f"a reply breaks framing {self.spec.text}: {self.framing.fault}"
        self.replies += answered
        if answered > self.outstanding:
            return self.too_many(packets)
        self._came(answered, now)
        return None

    def too_many(self, packets: int) -> tuple[str, str]:
        """The reason and the words for more replies than are awaited."""
        said = f"{counted(self.replies, 'reply', 'replies')} for {counted(packets, 'packet')}"
        return SURPLUS, f"the target answers too much: {said}"

    def _came(self, answered: int, now: int) -> None:
        self.outstanding -= answered
        for count, moment, _ in self._flight.pop(answered):
            self.timing.service.now.record(now - moment, count)
        for run in self._awaited.pop(answered):
            self.timing.response.now.record_run(now, *run)
