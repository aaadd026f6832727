"""TOML file -> config; and the command line's flags over it.

The keys of a table are read in the order of ``tree``. The first error ends the reading; each table on its way up puts
its step before the path. A key without a reader is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve

from ctrlserver.config.conflicts import conflicts
from ctrlserver.config.paths import InnerKeyError, below, shown, step
from ctrlserver.config.toml_file import file_name, read_toml
from ctrlserver.config.tree import AdminConfig, Config, HttpConfig, ListenerConfig, readers
from ctrlserver.errors import ConfigError, UsageError
from ctrlserver.words import did_you_mean

_KINDS: Mapping[str, type] = {"": Config, "listener": ListenerConfig, "admin": AdminConfig, "http": HttpConfig}
"""What is made from a table, by its name; the whole file has none."""
_SINGLE = frozenset({"http"})
"""The tables that are there once, such as [http]; the others are arrays of tables, such as [[admin]]."""
_ATTRIBUTES = {"listener": "listeners"}
"""The attributes that are not called as their keys are."""
_KEY_OF = {"data": ("listener", "endpoint"), "admin": ("admin", "endpoint"), "http": ("http", "endpoint")} | {
    key: ("", key) for key in ("log_format", "workers", "balance", "history")
}
"""Table and key of the flags that are not called as a listener's key."""


def load_config(path: str | os.PathLike[str]) -> Config:
    """The config of the TOML file at ``path``; ``ConfigError`` with one line where it is not good."""
    document = read_toml(path)
    try:
        config: Config = _table("", document)
    except InnerKeyError as error:
        raise ConfigError(f"{file_name(path)}: {error.key.removeprefix('.')}: {error}") from None
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
    http: str | None = None,
    udp: bool | None = None,
    log_format: str | None = None,
    inject: Sequence[str] | None = None,
    workers: str | None = None,
    balance: str | None = None,
    history: str | None = None,
) -> Config:
    """A good ``config`` with the given flags in its first listener, its first admin listener and its ``http``.

    ``ConfigError`` names the flag: ``--mode: unknown mode "snik": ...``.
    """
    texts: dict[str, Any] = {"data": data, "framing": framing, "mode": mode, "reply": reply, "udp": udp, "admin": admin}
    texts |= {"http": http, "log_format": log_format, "inject": inject, "workers": workers, "balance": balance}
    texts["history"] = history
    values: dict[str, dict[str, Any]] = {"": {}, "listener": {}, "admin": {}, "http": {}}
    flag_of = {}
    for flag, text in texts.items():
        if text is not None:
            home, key = _KEY_OF.get(flag, ("listener", flag))
            flag_of[f"{_first(home)}.{key}" if home else key] = f"--{flag}"
            try:
                values[home][key] = readers(_KINDS[home])[key](text)
            except UsageError as error:
                raise ConfigError(f"--{flag.replace('_', '-')}: {error}") from None
    config = evolve(config, **values[""])
    config = evolve(config, listeners=(evolve(config.listeners[0], **values["listener"]), *config.listeners[1:]))
    if admin is not None:
        config = evolve(config, admin=(AdminConfig(**values["admin"]), *config.admin[1:]))
    if http is not None:
        config = evolve(config, http=evolve(config.http or HttpConfig(), **values["http"]))
    for keys, message in conflicts(config):
        raise ConfigError(f"{next((flag_of[key] for key in keys if key in flag_of), keys[0])}: {message}")
    return config


def _first(home: str) -> str:
    """The path of a table, or of the first of its array."""
    return home if home in _SINGLE else f"{home}[0]"


def _written_as(home: str) -> str:
    """The line above a table."""
    return f"[{home}]" if home in _SINGLE else f"[[{home}]]"


def _is_written(key: str, document: Mapping[str, Any]) -> bool:
    """Whether a key of a listener or an admin listener stands in the file, or is there by its default."""
    match = re.fullmatch(r"(\w+)\[(\d+)\]\.(\w+)", key)
    return match is None or (match[1] in document and match[3] in document[match[1]][int(match[2])])


def _table(home: str, table: Mapping[str, Any]) -> Any:
    """What the keys of a table make; ``InnerKeyError`` for the first bad value, then for the first unknown key."""
    keys = _keys(home)
    values = {}
    for key, read in keys.items():
        if key in table:
            with below(step(key)):
                values[_ATTRIBUTES.get(key, key)] = read(table[key])
    for key, value in table.items():
        if key not in keys:
            raise InnerKeyError(step(key), _unknown_key(key, value, home))
    return _KINDS[home](**values)


def _keys(home: str) -> dict[str, Callable[[Any], object]]:
    """The keys of a table with their readers, in the order of reading: tables first."""
    tables = {} if home else {key: partial(_one if key in _SINGLE else _tables, key) for key in _KINDS if key}
    return {**tables, **readers(_KINDS[home])}


def _one(key: str, value: object) -> object:
    if not isinstance(value, dict):
        raise ConfigError(f"{shown(value)}: expected a table, below a line [{key}]")
    return _table(key, value)


def _tables(key: str, value: object) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{shown(value)}: expected an array of tables, each below a line [[{key}]]")
    for at, each in enumerate(value):
        if not isinstance(each, dict):
            raise InnerKeyError(f"[{at}]", f"{shown(each)}: expected a table, below a line [[{key}]]")
    if key == "listener" and not value:
        raise ConfigError("an empty array: expected at least one [[listener]] table, or no such key")
    made = []
    for at, each in enumerate(value):
        with below(f"[{at}]"):
            made.append(_table(key, each))
    return tuple(made)


def _unknown_key(key: str, value: object, here: str) -> str:
    """Why ``key`` is not one of the table ``here``, and where it or its like belongs."""
    is_table = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value))
    word = "unknown table" if is_table else "unknown key"
    homes = {home: sorted(_keys(home), key=_KINDS.__contains__) for home in _KINDS}
    if key in homes[""]:
        return f"{word} here; did you mean it before the first {_written_as(here)}?"
    if elsewhere := [home for home in homes if key in homes[home]]:
        return f"{word} here; did you mean it below {_written_as(elsewhere[0])}?"
    return f"{word}{did_you_mean(key, homes[here]) or ': expected one of ' + ', '.join(homes[here])}"
