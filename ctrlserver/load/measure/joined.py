"""What several servers say made what one server would say. PURE.

Rules: counts are added. Rows are joined, and numbered anew: each server numbers its streams from 1, so their numbers
meet. A stream is counted from the newest that its server had before the run, so whoever knows the newest before the
run of all of them knows which streams are new.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from ctrlserver.load.measure.reading import Record, record_number


@frozen
class Numbers:
    """``newest`` stream of each server before the run, 0 without any."""

    newest: Sequence[int]

    def joined(self, server: int, number: int) -> int:
        """The number among those of all servers of a stream of ``server``."""
        servers = len(self.newest)
        return (max(self.newest) + number - self.newest[server]) * servers + server

    def apart(self, joined: int) -> tuple[int, int]:
        """The server, and the number that it has for the stream."""
        number, server = divmod(joined, len(self.newest))
        return server, number - max(self.newest) + self.newest[server]


def newest_in(records: Sequence[Record]) -> int:
    """The number of the newest stream, 0 if there is none."""
    return max((record_number(record, "stream") for record in records), default=0)


def joined_streams(of_each: Sequence[Sequence[Record]], numbers: Numbers) -> list[dict[str, object]]:
    """The streams of all servers."""
    return [
        {**record, "stream": numbers.joined(server, record_number(record, "stream"))}
        for server, record in _with_servers(of_each)
    ]


def joined_orders(of_each: Sequence[Sequence[Record]]) -> list[dict[str, object]]:
    """The injections of all servers."""
    return [
        {**record, "injection": f"{record.get('injection')} of {server}"} for server, record in _with_servers(of_each)
    ]


def summed(stats: Sequence[Record]) -> dict[str, object]:
    """The records of several servers as one: what each of them counts is added, all else is the first's."""
    first = stats[0]
    return {name: _sum([each[name] for each in stats]) for name in first if all(name in each for each in stats)}


def _sum(values: Sequence[object]) -> object:
    counts = [each for each in values if isinstance(each, int) and not isinstance(each, bool)]
    return sum(counts) if len(counts) == len(values) else values[0]


def _with_servers(of_each: Sequence[Sequence[Record]]) -> Iterator[tuple[int, Record]]:
    return ((server, record) for server, records in enumerate(of_each) for record in records)
