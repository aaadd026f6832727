"""The end of a download that has no end of its own."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime

from ctrlserver.client.admin import open_admin
from ctrlserver.client.target import Target
from ctrlserver.load.measure.reconciling import plain_address
from ctrlserver.load.running.ending import OTHERS_ON_VIEW
from ctrlserver.load.streams.outgoing import Outgoing


async def end_sources(
    reactor: IReactorTime, admin: Target, timeout: float, streams: Sequence[Outgoing], newer_than: int
) -> None:
    """Have the server end ``streams``, which it sends packets without end; LoadError where it cannot be asked."""
    client = await open_admin(reactor, admin, timeout)
    try:
        await client.version()
        wanted = {plain_address(stream.local) for stream in streams}
        for record in (await client.streams(len(streams) + OTHERS_ON_VIEW)).records:
            number = record.get("stream")
            ours = plain_address(str(record.get("peer", ""))) in wanted and record.get("state") == "open"
            if ours and isinstance(number, int) and number > newer_than:
                await client.kick(number)
    finally:
        client.close()
