"""The log's line on each run that ends.

Rules: a peer can begin runs as fast as connections. So ten lines may follow each other; of more, one a second, and a
line with the number of the others.
"""

from __future__ import annotations

from attrs import asdict
from twisted.logger import Logger

from ctrlserver.logs.sparing import Sparing
from ctrlserver.stats.records import RunRecord
from ctrlserver.stats.runs import summary_line

#: Lines that may follow each other.
AT_ONCE = 10


class RunLines:
    """Those of one server."""

    log = Logger()

    def __init__(self) -> None:
        self._sparing = Sparing(AT_ONCE)

    def ended(self, record: RunRecord, now: float) -> None:
        """A run has ended."""
        if self._sparing.may_write(now):
            fields = asdict(record, recurse=False, filter=lambda each, _: each.name != "labels")
            self.log.info("{log_line}", event="run-ended", log_line=summary_line(record), **fields)

    def tell_left_out(self, now: float) -> None:
        """How many have ended without a line, once that is due."""
        if more := self._sparing.overdue(now):
            self.log.info("{more} more runs ended", event="more-runs-ended", more=more)
