"""A result document as the records that a run makes it of, to be merged or shown again.

Rules: only a document that has the shape of its schema and agrees with itself becomes a ``Result``. Histograms are
read once, when they are merged: the figures of the whole are made from them, and held to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

import attrs

from ctrlserver.errors import UsageError
from ctrlserver.load.results.checking import contradictions
from ctrlserver.load.results.result import Result
from ctrlserver.load.results.shapes import misfits
from ctrlserver.words import printable

Made = Callable[[Any], Any]


def result_in(name: str, document: Mapping[str, Any]) -> Result:
    """The records of ``document``, read from the file ``name``; UsageError in one line if it is not sound."""
    sound(name, list(misfits(document)) or contradictions(document, with_histograms=False))
    made = _maker(Result)
    assert made is not None
    return cast("Result", made(document))


def sound(name: str, lines: Sequence[str]) -> None:
    """UsageError with the first of ``lines``, by which the document from the file ``name`` contradicts itself."""
    if lines:
        raise UsageError(f"{printable(name)}: contradicts itself: {printable(lines[0])}; ctrlload check says more")


@cache
def _maker(kind: Any) -> Made | None:
    """What makes a value of the type ``kind`` of one of JSON; None if that is one already."""
    if isinstance(kind, UnionType):
        (inner,) = (each for each in get_args(kind) if each is not NoneType)
        made = _maker(inner)
        return None if made is None else lambda value: None if value is None else made(value)
    if get_origin(kind) is list:
        return _list_maker(_maker(get_args(kind)[0]))
    if isinstance(kind, type) and attrs.has(kind):
        return _record_maker(kind)
    return kind if isinstance(kind, type) and issubclass(kind, Enum) else None


def _list_maker(made: Made | None) -> Made | None:
    return None if made is None else lambda values: [made(value) for value in values]


def _record_maker(kind: type[attrs.AttrsInstance]) -> Made:
    types = get_type_hints(kind)
    makers = [(field.name, _maker(types[field.name])) for field in attrs.fields(kind)]

    def made(document: Mapping[str, Any]) -> Any:
        return kind(**{name: document[name] if maker is None else maker(document[name]) for name, maker in makers})

    return made
