"""The command whose reply Prometheus and its like read."""

from __future__ import annotations

from attrs import frozen

from ctrlserver.admin.arguments import Choice
from ctrlserver.admin.commands.command import Command, argument
from ctrlserver.admin.commands.serving import worker_records
from ctrlserver.admin.replies import Listing, Reply
from ctrlserver.desk import Desk
from ctrlserver.linux.usage import cpu_seconds, resident_bytes
from ctrlserver.render.openmetrics import OPENMETRICS, PROMETHEUS, Family, Listened, Process, families, text
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
    book = desk.book
    return families(
        book.stats(desk.now()),
        [Listened(name, *book.counters.of_listener(name)) for name in _listeners(desk)],
        worker_records(desk),
        Process(seconds_figure(cpu_seconds()), resident_bytes()),
        ready=desk.health().ready,
    )


def _listeners(desk: Desk) -> list[str]:
    """Those there are, and those whose streams are still counted."""
    return list(dict.fromkeys([*(each.name for each in desk.listeners()), *desk.book.counters.listeners()]))
