"""Why a run failed, as far as the server knows. PURE."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from ctrlserver.addresses import plain_address
from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.injections import ServerInjections
from ctrlserver.load.measure.reading import Reading, is_closed, peer_of, record_number
from ctrlserver.load.measure.reconciling import closing_words, rejection_words

#: How a server calls the close of a stream that says nothing of itself.
_PLAIN: Final = (None, "eof")


def why(served_by: Collection[str], streams: Sequence[StreamCount], reading: Reading, before: Reading) -> str | None:
    """What ``reading`` says of our ``streams``, which have failed; None if it is nothing that explains it.

    ``served_by``: the modes of a listener that give us what we wait for; empty if we wait for nothing.
    """
    wanted = {plain_address(stream.local) for stream in streams}
    ours = [
        record
        for record in reading.records
        if record_number(record, "stream") > before.newest and peer_of(record) in wanted
    ]
    for record in ours:
        if is_closed(record) and record.get("reason") not in _PLAIN:
            return f"the server says that {closing_words(record['reason'])}"
    rejected = reading.rejected_since(before)
    if rejected and len(ours) < max(1, len(streams)):
        return f"the server says that it has rejected {rejection_words(rejected)}"
    for record in ours:
        if served_by and record.get("mode") not in served_by:
            return f"the mode of its listener is {record.get('mode')}"
    return None


def struck_words(injections: ServerInjections | None) -> str | None:
    """That the server's injections struck; None if they did not."""
    if injections is None or not injections.hits:
        return None
    return f"the server's injections struck meanwhile: {injections.words}"
