"""Holds result documents to the shipped schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from ctrlserver.load.result import schema


def validated(text: str) -> dict[str, Any]:
    """The document in ``text``, which keeps to the schema and has no key twice."""
    document: dict[str, Any] = json.loads(text, object_pairs_hook=without_duplicates, parse_constant=refused)
    jsonschema.validate(document, schema())
    return document


def check_schema() -> None:
    """See that the schema is one."""
    jsonschema.Draft202012Validator.check_schema(schema())


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    assert len(made) == len(pairs)
    return made


def refused(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")
