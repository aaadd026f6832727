"""The questions of a run to a server's admin port, or to those of several.

Rules: the sums of the closed streams are asked for last, so a stream that is closed between two answers is in both
rather than in none: too many are asked for again, too few would be lost.
"""

from __future__ import annotations

from collections.abc import Callable

from ctrlserver.client.admin import AdminClient
from ctrlserver.load.measure.injections import injections_in
from ctrlserver.load.measure.reading import Reading
from ctrlserver.load.running.servers import AllServers

#: Records to ask for beyond our own: other senders' streams may be newer than ours.
OTHERS_ON_VIEW = 1000

#: Records to ask for at most beyond our own, whatever the server says it has: about 10 MB.
MOST_OTHERS = 10_000


async def read(client: AdminClient | AllServers, limit: int, clock: Callable[[], float]) -> Reading:
    """Ask for the newest ``limit`` streams, the server's own record and the sums of the closed streams."""
    began = clock()
    stats = await client.stats()
    answered = clock()
    seen = await client.streams(limit)
    closed = await client.peers()
    orders = await client.injections() if injections_in(stats) else ()
    return Reading(seen.records, stats, closed, seen.total, began, answered - began, orders=orders)
