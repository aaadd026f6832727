"""The JSON Schemas that are shipped in ``load/``, and the numbers a result document has by its own.

Rules: the schema is the only list of a document's fields; every search for a field by name uses it. Only numbers that a
document has once can be judged or compared: not those in ``intervals`` and ``streams``, nor what was asked for
(``options``), where it ran (``environment``) or how it was divided (``shard``).

Beware: a value that is null in one document may be a number in another; it is a path here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, cast

_NOT_MEASURED = ("options", "environment", "labels", "shard", "merged")


@cache
def shipped_schema(name: str) -> dict[str, Any]:
    """The schema in ``NAME.schema.json``: ``result``, ``events``, ``comparison`` or ``search``."""
    text = files("ctrlserver.load").joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    return cast("dict[str, Any]", json.loads(text))


@cache
def number_paths() -> tuple[tuple[str, ...], ...]:
    """Every number of a result document, as the keys that lead to it, in the document's order."""
    schema = shipped_schema("result")
    measured = {key: part for key, part in schema["properties"].items() if key not in _NOT_MEASURED}
    return tuple(_numbers({"properties": measured}, schema, ()))


def part_at(document: Mapping[str, object], path: tuple[str, ...]) -> object:
    """Whatever is at ``path``; None if the document has nothing there."""
    part: object = document
    for key in path:
        part = part.get(key) if isinstance(part, Mapping) else None
    return part


def number_at(document: Mapping[str, object], path: tuple[str, ...]) -> float | None:
    """The number at ``path``; None if the document has none there."""
    value = part_at(document, path)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _numbers(part: Mapping[str, Any], schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if "$ref" in part:
        yield from _numbers(schema["$defs"][part["$ref"].rpartition("/")[2]], schema, path)
    kinds = part.get("type", [])
    if {"number", "integer"} & set(kinds if isinstance(kinds, list) else [kinds]):
        yield path
    for choice in (*part.get("anyOf", ()), *part.get("oneOf", ())):
        yield from _numbers(choice, schema, path)
    for key, inner in part.get("properties", {}).items():
        yield from _numbers(inner, schema, (*path, key))
