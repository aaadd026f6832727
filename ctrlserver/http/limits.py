"""The bounds of the site, each with its reason."""

from __future__ import annotations

from attrs import frozen


@frozen
class Limits:
    """They hold for all connections of a server together.

    ``connections``: a few monitors and a few browsers, six connections each, and so few that all of them stalled cost
    little memory and no descriptor that a stream would miss. ``crowded_seconds``: while all places are taken, between
    two times that a connection is accepted: they wait in the kernel. Each costs eight saturating senders 0.3 ms of
    their time. ``rejected``: so many slow clients are closed at once in each ``rejected_seconds``: a thousand that come
    again and again cost 2 % of the rate so, and keep nobody waiting for 10 s, a monitor's patience. ``refused``: how
    many refused connections may linger at once. ``read_bytes``: a whole head in two or three reads; a transport that
    holds as much output pauses the answer. ``head_seconds``: from the connection, or a request's first byte, to the end
    of its head, a TLS handshake included; any client sends it at once. ``idle_seconds``: between two requests of a
    connection, more than the usual pause of a monitor. ``stall_seconds``: a peer that takes nothing of its answer for
    so long has gone. ``linger_seconds``: several round trips around the world, for a peer that still sends to get its
    refusal before a reset.
    """

    connections: int = 32
    refused: int = 8
    read_bytes: int = 4096
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    crowded_seconds: float = 0.02
    rejected: int = 6
    rejected_seconds: float = 0.05
    stall_seconds: float = 30.0
    linger_seconds: float = 2.0
