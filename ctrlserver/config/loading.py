"""TOML file -> config, by cattrs; and the command line's flags over it.

Rules: cattrs is strict here. Every key has its reader, cattrs coerces none by its type, and a key without a reader is
an error. The error reported is the first leaf of cattrs' tree, with the path that leads to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from attrs import evolve
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError
from cattrs.errors import AttributeValidationNote, IterableValidationNote
from cattrs.gen import make_dict_structure_fn
from cattrs.gen import override as attribute

from ctrlserver.config.conflicts import conflicts
from ctrlserver.config.toml_file import file_name, read_toml
from ctrlserver.config.tree import (
    ADMIN_KEYS,
    LISTENER_KEYS,
    TOP_KEYS,
    AdminConfig,
    Config,
    InnerKeyError,
    ListenerConfig,
    Reader,
    shown,
    step,
)
from ctrlserver.errors import ConfigError, UsageError
from ctrlserver.words import did_you_mean

_TABLES = {"listener": "listeners", "admin": "admin"}
"""The arrays of tables by their name in TOML, and the attributes that hold them."""


def load_config(path: str | os.PathLike[str]) -> Config:
    """The config of the TOML file at ``path``; ``ConfigError`` with one line where it is not good."""
    document = read_toml(path)
    try:
        config = _converter().structure(document, Config)
    except BaseValidationError as error:
        key, message = _first_error(error, document)
        raise ConfigError(f"{file_name(path)}: {key}: {message}") from None
    for keys, message in conflicts(config):
        written = next((key for key in keys if _is_written(key, document)), keys[0])
        raise ConfigError(f"{file_name(path)}: {written}: {message}")
    return config


def override(
    config: Config,
    *,
    data: str | None = None,
    framing: str | None = None,
    mode: str | None = None,
    reply: str | None = None,
    admin: str | None = None,
    udp: bool | None = None,
) -> Config:
    """A good ``config`` with the given flags in its first listener and its first admin listener.

    ``ConfigError`` names the flag: ``--mode: unknown mode "snik": ...``.
    """
    texts = {"endpoint": data, "framing": framing, "mode": mode, "reply": reply, "udp": udp}
    given: dict[str, Any] = {key: text for key, text in texts.items() if text is not None}
    flags = {key: "--data" if key == "endpoint" else f"--{key}" for key in given}
    for key, text in given.items():
        _check_flag(flags[key], LISTENER_KEYS[key], text)
    first, *others = config.listeners
    config = evolve(config, listeners=(evolve(first, **given), *others))
    flag_of = {f"listener[0].{key}": flag for key, flag in flags.items()}
    if admin is not None:
        _check_flag("--admin", ADMIN_KEYS["endpoint"], admin)
        config = evolve(config, admin=(AdminConfig(endpoint=admin), *config.admin[1:]))
        flag_of["admin[0].endpoint"] = "--admin"
    for keys, message in conflicts(config):
        raise ConfigError(f"{next((flag_of[key] for key in keys if key in flag_of), keys[0])}: {message}")
    return config


def _check_flag(flag: str, read: Reader, text: object) -> None:
    try:
        read(text)
    except UsageError as error:
        raise ConfigError(f"{flag}: {error}") from None


def _is_written(key: str, document: Mapping[str, Any]) -> bool:
    """Whether a key of a listener or an admin listener stands in the file, or is there by its default."""
    match = re.fullmatch(r"(\w+)\[(\d+)\]\.(\w+)", key)
    return match is None or (match[1] in document and match[3] in document[match[1]][int(match[2])])


@lru_cache(maxsize=1)
def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)

    def register(kind: type, keys: Mapping[str, Reader], **tables: Any) -> None:
        hooks: dict[str, Any] = {key: attribute(struct_hook=_hook(read)) for key, read in keys.items()}
        converter.register_structure_hook(kind, make_dict_structure_fn(kind, converter, **hooks, **tables))

    register(ListenerConfig, LISTENER_KEYS)
    register(AdminConfig, ADMIN_KEYS)
    register(
        Config,
        TOP_KEYS,
        listeners=attribute(rename="listener", struct_hook=_tables(converter, "listener", ListenerConfig)),
        admin=attribute(struct_hook=_tables(converter, "admin", AdminConfig)),
    )
    return converter


def _hook(read: Reader) -> Callable[[Any, Any], object]:
    return lambda value, _kind: read(value)


def _tables(converter: Converter, key: str, kind: type) -> Callable[[Any, Any], object]:
    """What reads an array of tables: an array it must be, with a table in each place."""

    def read(value: object, _kind: object) -> object:
        if not isinstance(value, list):
            raise ConfigError(f"{shown(value)}: expected an array of tables, each below a line [[{key}]]")
        for at, each in enumerate(value):
            if not isinstance(each, dict):
                raise InnerKeyError(f"[{at}]", f"{shown(each)}: expected a table, below a line [[{key}]]")
        if key == "listener" and not value:
            raise ConfigError("an empty array: expected at least one [[listener]] table, or no such key")
        return converter.structure(value, cast(Any, tuple[kind, ...]))  # type: ignore[valid-type]

    return read


def _first_error(error: BaseException, document: Mapping[str, Any]) -> tuple[str, str]:
    """Key and message of the first leaf of cattrs' tree of errors."""
    path = ""
    table: Any = document
    while isinstance(error, BaseValidationError):
        error = error.exceptions[0]
        for note in getattr(error, "__notes__", ()):
            if isinstance(note, AttributeValidationNote):
                key = next((key for key, name in _TABLES.items() if name == note.name), note.name)
                path, table = path + step(key), table[key]
            elif isinstance(note, IterableValidationNote):
                path, table = f"{path}[{note.index}]", table[note.index]
    if isinstance(error, ForbiddenExtraKeysError):
        key = next(key for key in table if key in error.extra_fields)
        path, message = path + step(key), _unknown_key(key, table[key], path)
    else:
        path, message = path + (error.key if isinstance(error, InnerKeyError) else ""), str(error)
    return path.removeprefix("."), message


def _unknown_key(key: str, value: object, path: str) -> str:
    """Why ``key`` is not one of the table at ``path``, and where it or its like belongs."""
    is_table = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value))
    word = "unknown table" if is_table else "unknown key"
    homes = {"": (*TOP_KEYS, *_TABLES), "listener": tuple(LISTENER_KEYS), "admin": tuple(ADMIN_KEYS)}
    here = path.removeprefix(".").partition("[")[0]
    if key in homes[""]:
        return f"{word} here; did you mean it before the first [[{here}]]?"
    if elsewhere := [home for home in homes if key in homes[home]]:
        return f"{word} here; did you mean it below [[{elsewhere[0]}]]?"
    return f"{word}{did_you_mean(key, homes[here]) or ': expected one of ' + ', '.join(homes[here])}"
