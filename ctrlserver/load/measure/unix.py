"""Our streams over unix sockets compared with a server's records of them. PURE."""

from __future__ import annotations

from attrs import frozen

from ctrlserver.load.measure.reading import Reading, record_number
from ctrlserver.load.measure.reconciling import ByAddress, Reconciliation, closed_unseen
from ctrlserver.words import counted

#: What a server calls the peer of a stream over a unix socket.
UNIX_PEER = "unix"


@frozen
class OverUnix(ByAddress):
    """New streams without an address: if they are as many as ours, compared in order of size."""

    def compare(self, reading: Reading) -> Reconciliation:
        """``unclear`` if there are more, because nobody knows which of them are ours."""
        theirs = [record for record in self._new(reading) if record.get("peer") == UNIX_PEER]
        number = len(self.streams)
        if len(theirs) > number:
            words = f"the server has {len(theirs)} new streams over unix sockets, ours are {number} of them"
            return Reconciliation(None, True, None, None, unclear=f"{words}: not reconciled")
        if len(theirs) < number:
            words = f"the server has {counted(len(theirs), 'new stream')} over unix sockets, we opened {number}"
            outcome = Reconciliation(False, False, None, words)
            unseen = closed_unseen(reading, self.before, theirs, theirs, {UNIX_PEER})
            return self._with_unseen(outcome, theirs, unseen, (), reading)
        ours = sorted(self.streams, key=lambda stream: (stream.bytes, stream.expected_packets))
        theirs.sort(key=lambda record: (record_number(record, "bytes"), record_number(record, "packets")))
        return self._compared(ours, theirs, reading)
