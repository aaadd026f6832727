"""Renames fields of a record; values and order stay.

Rules: a set of renames is checked when it is made and applied all at once, so a swap works. No rename may lose a field
(two fields of one name) or break a reply (a line of text that starts like a status line). A reader sees the published
name, so a later rename or unrename looks for that name first.

Beware: the check knows the published fields and the names it is given; a mapping with other keys is checked only when
the renames are applied to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import TypeVar

from attrs import field, frozen

from ctrlserver.errors import RenameError
from ctrlserver.stats.records import field_names
from ctrlserver.words import did_you_mean, quoted

_V = TypeVar("_V")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_STATUS_WORDS = ("OK", "ERR")


def rename_key(mapping: MutableMapping[str, _V], old: str, new: str) -> None:
    """Give one key another name, in place; every value and the order stay.

    >>> packet = {"protocol": "HTTP", "size": 1024}
    >>> rename_key(packet, "protocol", "inet_protocol")
    >>> packet
    {'inet_protocol': 'HTTP', 'size': 1024}

    ``KeyError`` where ``old`` is missing, ``RenameError`` where ``new`` exists already; nothing has changed then:

    >>> rename_key(packet, "size", "inet_protocol")
    Traceback (most recent call last):
    ctrlserver.errors.RenameError: cannot rename "size" to "inet_protocol": "inet_protocol" is there already
    """
    if old not in mapping:
        raise KeyError(old)
    if old == new:
        return
    if new in mapping:
        raise RenameError(f"cannot rename {quoted(old)} to {quoted(new)}: {quoted(new)} is there already")
    renamed = {new if key == old else key: value for key, value in mapping.items()}
    mapping.clear()
    mapping.update(renamed)


def _as_pairs(pairs: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((old, new) for old, new in (pairs.items() if isinstance(pairs, Mapping) else pairs))


def _as_names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


@frozen
class Renames:
    """A set of ``(old, new)`` pairs; the constructor raises ``RenameError`` if a pair would lose or hide a field.

    ``fields`` are names known beside the published ones: the labels of the listeners. A source need not be known:
    a mapping without it is left as it is. A field renamed to its own name is no rename and is left out.
    """

    pairs: tuple[tuple[str, str], ...] = field(default=(), converter=_as_pairs)
    fields: frozenset[str] = field(default=frozenset(), converter=_as_names, kw_only=True)
    _new: Mapping[str, str] = field(init=False, eq=False, repr=False)
    _old: Mapping[str, str] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        new_of: dict[str, str] = {}
        old_of: dict[str, str] = {}
        for old, new in self.pairs:
            if old in new_of:
                raise RenameError(f"{quoted(old)} is renamed twice, to {quoted(new_of[old])} and to {quoted(new)}")
            if new in old_of:
                raise RenameError(f"{quoted(old_of[new])} and {quoted(old)} are both renamed to {quoted(new)}")
            new_of[old] = new
            old_of[new] = old
        pairs = tuple((old, new) for old, new in self.pairs if old != new)
        known = field_names() | self.fields
        for old, new in pairs:
            if not _NAME.fullmatch(new):
                reason = "a name is a letter or _, then letters, digits, _ . or -"
            elif new.startswith(_STATUS_WORDS):
                reason = "a name must not start with OK or ERR"
            elif new in known and new not in new_of:
                reason = f"{quoted(new)} is another field's name"
            else:
                continue
            raise RenameError(f"cannot rename {quoted(old)} to {quoted(new)}: {reason}")
        object.__setattr__(self, "pairs", pairs)
        object.__setattr__(self, "_new", dict(pairs))
        object.__setattr__(self, "_old", {new: old for old, new in pairs})

    def apply(self, mapping: Mapping[str, _V]) -> dict[str, _V]:
        """A renamed copy, every value in its place; ``RenameError`` where a new name exists already."""
        new_of = self._new
        renamed = {new_of.get(key, key): value for key, value in mapping.items()}
        if len(renamed) != len(mapping):
            old, new = next((o, n) for o, n in self.pairs if o in mapping and n in mapping and n not in new_of)
            raise RenameError(f"cannot rename {quoted(old)} to {quoted(new)}: {quoted(new)} is there already")
        return renamed

    def renamed(self, old: str) -> str:
        """The name under which a field is published."""
        return self._new.get(old, old)

    def with_rename(self, old: str, new: str) -> Renames:
        """A set in which the field that is published as ``old``, or else the field ``old``, is published as ``new``.

        It replaces the rule of that field; a rename to the field's own name removes the rule. ``RenameError`` for an
        unknown field, and if the new set does not pass the check.
        """
        source = self._old.get(old, old)
        known = field_names() | self.fields
        if source not in known and source not in self._new:
            published = sorted({self.renamed(name) for name in known})
            raise RenameError(f"unknown field {quoted(old)}{did_you_mean(old, published)}")
        rules = {**self._new, source: new}
        return Renames(tuple(rules.items()), fields=self.fields)

    def without(self, new: str) -> Renames:
        """A set in which nothing is published as ``new``; ``RenameError`` if no field is."""
        if new not in self._old:
            raise RenameError(f"no field is renamed to {quoted(new)}{did_you_mean(new, self._old)}")
        return Renames(tuple(pair for pair in self.pairs if pair[1] != new), fields=self.fields)
