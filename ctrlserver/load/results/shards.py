"""What a result says of the load that it is a part of, or was merged from. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from attrs import frozen

from ctrlserver.words import counted


@frozen
class ShardOf:
    """Which of how many shards the run has sent; the first is 1."""

    index: int
    of: int

    @property
    def words(self) -> str:
        """``"shard 2 of 4"``."""
        return f"shard {self.index} of {self.of}"


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

    @property
    def words(self) -> str:
        """``"4 shards"``, or ``"3 of 4 shards, without 2"``."""
        lacking = f", without {', '.join(map(str, self.missing))}" if self.missing else ""
        there = f"{self.of - len(self.missing)} of " if self.missing else ""
        return f"{there}{counted(self.of, 'shard')}{lacking}"


def division_words(document: Mapping[str, object]) -> str:
    """The words of the document's ``shard`` or ``merged``; empty where it has neither, or they make no sense."""
    with suppress(TypeError, ValueError, KeyError):
        if shard := document.get("shard"):
            return ShardOf(*(int(cast("Any", shard)[key]) for key in ("index", "of"))).words
        if merged := cast("Any", document.get("merged")):
            return Merged(int(merged["of"]), list(map(int, merged["missing"])), None, [], []).words
    return ""
