"""The terms of a UDP port."""

from __future__ import annotations

from attrs import field, frozen

from ctrlserver.net.terms import Terms


@frozen
class DatagramTerms:
    """What a UDP port needs to know beside its ``terms``, whose origin says ``datagram``.

    ``idle_timeout``: seconds without a datagram after which a peer's stream ends. ``max_streams``: open streams at
    once; a stream costs about 600 bytes, and a sender may forge any number of addresses. ``receive_buffer``: bytes that
    the kernel may queue for the port, 0 for its default. ``gro``: the kernel may hand over batches. ``many``: read with
    ``recvmmsg`` where the system has it. ``count_arrivals``: count arrivals where we may, so that dropped
    batches are reported in datagrams. ``needs_content``: somebody looks into the datagrams.
    """

    terms: Terms
    idle_timeout: float = 10.0
    max_streams: int = 10_000
    receive_buffer: int = 4 << 20
    gro: bool = True
    many: bool = True
    count_arrivals: bool = True
    needs_content: bool = field(init=False)

    @needs_content.default
    def _needs_content(self) -> bool:
        terms = self.terms
        return terms.origin.mode != "sink" or terms.keep > 0 or terms.probe
