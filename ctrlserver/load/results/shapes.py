"""Whether a document has the shape of its schema: each field there, of its type and within its bounds. PURE.

Rules: of JSON Schema it knows what the shipped schemas use. A document of an earlier ctrlload lacks what was added
since: a field that is missing takes the schema's ``default``, which is what held before there was the field, or null if
it may be null. Fields that the schema does not know are let pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from ctrlserver.load.results.schemas import shipped_schema
from ctrlserver.words import quoted

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}

_Leaf = tuple[frozenset[type], float | None]

#: Of the properties of an object, by the identity of a part of a shipped schema, which is read once and kept.
_leaves: dict[int, dict[str, _Leaf]] = {}

_ARTICLES = {"object": "an object", "array": "a list", "string": "a text", "boolean": "true or false", "null": "null"}


def misfits(document: object, schema: str = "result") -> Iterator[str]:
    """What of ``document`` is not as the schema says, each in one line. What is missing is filled in, see above."""
    whole = shipped_schema(schema)
    yield from _misfits("", document, whole, whole)


def _misfits(name: str, value: object, part: Mapping[str, Any], whole: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in part:
        _, kind, key = part["$ref"].split("/")
        yield from _misfits(name, value, whole[kind][key], whole)
    if "anyOf" in part:
        tried = [list(_misfits(name, value, each, whole)) for each in part["anyOf"]]
        if all(tried):
            yield from max(tried, key=_depth)
            return
    words = _wrong(value, part)
    if words is not None:
        yield f"{name or 'the document'} is {_shown(value)}, expected {words}"
    elif isinstance(value, dict) and ("properties" in part or "additionalProperties" in part):
        yield from _in_object(name, value, part, whole)
    elif isinstance(value, list) and "items" in part:
        for number, item in enumerate(value):
            yield from _misfits(f"{name}[{number}]", item, part["items"], whole)


def _in_object(name: str, value: dict[str, Any], part: Mapping[str, Any], whole: Mapping[str, Any]) -> Iterator[str]:
    known: Mapping[str, Any] = part.get("properties", {})
    if id(part) not in _leaves:
        _leaves[id(part)] = {key: _leaf(each, whole) for key, each in known.items()}
    leaves = _leaves[id(part)]
    for key in part.get("required", ()):
        if key not in value:
            before = deepcopy(known[key].get("default"))
            if any(_misfits(key, before, known[key], whole)):
                yield f"{_path(name, key)} is missing"
            else:
                value[key] = before
    others = part.get("additionalProperties")
    for key, item in value.items():
        if key in known:
            kinds, least = leaves[key]
            if type(item) in kinds and (item is None or least is None or item >= least):
                continue  # the short cut: nearly all numbers go here
            yield from _misfits(_path(name, key), item, known[key], whole)
        elif isinstance(others, dict):
            yield from _misfits(_path(name, key), item, others, whole)


def _leaf(given: Mapping[str, Any], whole: Mapping[str, Any]) -> _Leaf:
    """The types that a part allows, and the least of its numbers; no types if it says more than that."""
    part = given
    if "$ref" in part:
        _, kind, key = part["$ref"].split("/")
        part = whole[kind][key]
    kinds = part.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    plain = part.keys() <= {"type", "minimum", "description", "default"} and not {"object", "array"} & set(kinds)
    types = frozenset(each for kind in kinds for each in _TYPES[kind]) if plain else frozenset[type]()
    return types, part.get("minimum")


def _wrong(value: object, part: Mapping[str, Any]) -> str | None:
    """What was expected instead of ``value``; None if it is right, whatever it holds."""
    if "const" in part and value != part["const"]:
        return quoted(part["const"])
    if "enum" in part and (value not in part["enum"] or isinstance(value, bool)):
        return "one of " + ", ".join("null" if each is None else str(each) for each in part["enum"])
    kinds = part.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return " or ".join(_ARTICLES.get(kind, "a whole number" if kind == "integer" else "a number") for kind in kinds)
    if isinstance(value, str):
        if len(value) < part.get("minLength", 0):
            return "a text that is not empty"
        if "pattern" in part and not re.search(part["pattern"], value):
            return f"a text like {part['pattern']}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < part.get("minimum", value):
            return f"at least {part['minimum']}"
        if "exclusiveMinimum" in part and value <= part["exclusiveMinimum"]:
            return f"more than {part['exclusiveMinimum']}"
    return None


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return "null" if value is None else quoted(value)


def _depth(lines: list[str]) -> int:
    """Of several choices the one that fits best: its first misfit lies deepest."""
    return lines[0].count(".") + lines[0].count("[")


def _path(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
