"""What a result says of the load that it is a part of, or was merged from. PURE."""

from __future__ import annotations

from typing import Any

from attrs import frozen


@frozen
class ShardOf:
    """Which of how many shards the run has sent; the first is 1."""

    index: int
    of: int


@frozen
class Start:
    """The start that was asked for, ISO 8601 UTC, and how late the first byte went; None where none did."""

    asked: str
    late_seconds: float | None


@frozen
class Part:
    """A shard in the result that it was merged into; ``environment`` is where it ran, ``worker`` who of a cluster."""

    shard: int
    target: str
    started: str
    began: str | None
    start: Start | None
    environment: dict[str, Any]
    worker: str | None
    packets: int
    bytes: int
    seconds: float
    bottleneck: str | None
    reconciled: bool | None
    interrupted: bool
    error: str | None


@frozen
class Merged:
    """How a result was merged: from ``of`` shards, less those ``missing``.

    ``start_spread_seconds`` is from the first shard's first packet to the last one's, by the clocks of their machines;
    None if a shard does not know when it began. ``unknown``: which figures nobody can know of the whole, and why.
    """

    of: int
    missing: list[int]
    start_spread_seconds: float | None
    unknown: list[str]
    shards: list[Part]
