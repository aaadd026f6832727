"""What a server of our framing counts of a stream whose packets ``--inject`` has changed. PURE.

Rules: up to the first packet that is changed a server counts the packets sent. From there on what goes is cut by the
framing, as the server will; that packet begins where another one ends.
"""

from __future__ import annotations

from ctrlserver.wire.framing import Framing, FramingSpec


class Recount:
    """The count of one stream. ``changed``: a packet was; ``faulty``: the framing is broken by it."""

    def __init__(self, spec: FramingSpec) -> None:
        self._spec = spec
        self._framing: Framing | None = None
        self._before = 0
        self._whole = 0
        self._told = 0

    @property
    def changed(self) -> bool:
        """Whether what goes is cut."""
        return self._framing is not None

    @property
    def faulty(self) -> bool:
        """Whether a server closes the stream for it."""
        return self._framing is not None and self._framing.fault is not None

    def begin(self, packets: int) -> None:
        """The packet after so many is the first that is changed, or is sent twice."""
        if self._framing is None:
            self._before = packets
            self._framing = self._spec.new()
            if self._spec.text != "datagram":
                self._framing.holds = False

    def went(self, octets: memoryview) -> None:
        """These bytes went; over UDP they are a datagram."""
        if self._framing is not None:
            self._whole += self._framing.count(octets)

    def packets(self, sent: int) -> int:
        """What the server counts where so many packets were sent."""
        return sent if self._framing is None else self._before + self._whole

    def answers(self, copies: int) -> int:
        """Replies to the packet that has just gone, ``copies`` times: where no packets are counted, one to each."""
        if self._framing is None or not self._spec.counts_packets:
            return copies
        answers, self._told = self._whole - self._told, self._whole
        return answers
