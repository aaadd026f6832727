"""Which results are the shards of one load. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ctrlserver.errors import UsageError
from ctrlserver.load.results.result import Result
from ctrlserver.words import printable, quoted

#: Options that each shard may have for itself.
OWN_OPTIONS = ("shard", "start_at", "admin", "cafile", "connect_timeout_seconds", "stall_timeout_seconds")


def in_order(shards: Mapping[str, Result]) -> list[str]:
    """The names by the numbers of their shards; UsageError if they are not of one load."""
    if not shards:
        raise UsageError("no shard is given: expected the results of all shards of a load")
    by_number: dict[int, str] = {}
    for name in sorted(shards):
        result = shards[name]
        if result.merged is not None:
            raise UsageError(f"{printable(name)}: merged already, expected the results of its shards")
        if result.shard is None:
            raise UsageError(f"{printable(name)}: the result of a whole load, expected one of ctrlload run --shard I/N")
        before = by_number.setdefault(result.shard.index, name)
        if before != name:
            words = f"shard {result.shard.index} of {result.shard.of} twice, {printable(before)} has it too"
            raise UsageError(f"{printable(name)}: {words}; expected each shard once")
    names = [name for _, name in sorted(by_number.items())]
    first = shards[names[0]]
    for name in names[1:]:
        for key, one, other in _differences(first, shards[name]):
            words = f"{key} is {_shown(one)} in {printable(names[0])}, {_shown(other)} in {printable(name)}"
            raise UsageError(f"the results are of different loads: {words}")
    return names


def _differences(first: Result, other: Result) -> Iterable[tuple[str, object, object]]:
    yield from _unlike("number of shards", first.shard and first.shard.of, other.shard and other.shard.of)
    for key in dict.fromkeys((*first.options, *other.options)):
        if key not in OWN_OPTIONS and key != "labels":
            yield from _unlike(f"option {key}", first.options.get(key), other.options.get(key))
    for key in dict.fromkeys((*first.labels, *other.labels)):
        yield from _unlike(f"label {key}", first.labels.get(key), other.labels.get(key))


def _unlike(key: str, one: object, other: object) -> Iterable[tuple[str, object, object]]:
    if one != other:
        yield key, one, other


def _shown(value: object) -> str:
    return "none" if value is None else quoted(value)
