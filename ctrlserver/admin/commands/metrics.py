"""The command whose reply Prometheus and its like read."""

from __future__ import annotations

from attrs import frozen

from ctrlserver.admin.arguments import Choice
from ctrlserver.admin.commands.command import Command, argument
from ctrlserver.admin.commands.serving import worker_records
from ctrlserver.admin.replies import Listing, Reply
from ctrlserver.desk import Desk
from ctrlserver.linux.usage import cpu_seconds, resident_bytes
from ctrlserver.render.openmetrics import OPENMETRICS, PROMETHEUS, Family, Process, families, text
from ctrlserver.stats.counters import Sums
from ctrlserver.stats.records import seconds_figure


@frozen
class Metrics(Command):
    """metrics [openmetrics|prometheus]

    The counters and gauges for Prometheus and its like.
    In the form of OpenMetrics, or in the older one of Prometheus; up to the
    line # EOF. The site (--http) has the same at /metrics. Names stay as they
    are, whatever is renamed.
    """

    command = "metrics"
    reads_figures = True
    answers = "The text of the exposition, its last line # EOF. In JSON a row for each sample."
    example = "metrics"
    form: str = argument(Choice("form", "openmetrics|prometheus", (OPENMETRICS, PROMETHEUS)), OPENMETRICS)

    def reply(self, desk: Desk) -> Reply:
        """Lines, all of one instant."""
        found = collect(desk)
        rows = (row for family in found for row in family.rows())
        return Listing(text(found, self.form), rows, sum(len(family.samples) for family in found))


def collect(desk: Desk) -> list[Family]:
    """What there is to be scraped, of this instant."""
    reading = desk.book.reading(desk.now(), desk.asked)
    there_are = {each.name: Sums() for each in desk.listeners(reading.totals)}
    return families(
        reading.stats,
        {**there_are, **reading.totals.listeners},
        worker_records(desk),
        Process(seconds_figure(cpu_seconds()), resident_bytes()),
        ready=desk.health().ready,
    )
