"""The config as it is shown: nested tables by the names of the keys, without keys that have no value.

Rules: of a secret only the name of its file is in the config, so nothing here is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ctrlserver.config.tree import AdminConfig, Config, HttpConfig, ListenerConfig, readers
from ctrlserver.inject.rules import Rule


def as_tables(config: Config) -> Mapping[str, Any]:
    """``{"run_gap": 1.0, ..., "listener": [{"name": "data", ...}], "admin": [...], "http": {...}, ...}``."""
    whole = _table(config)
    rename = dict(whole.pop("rename", ()))
    tables = {"listener": [_table(each) for each in config.listeners], "admin": [_table(each) for each in config.admin]}
    http = {} if config.http is None else {"http": _table(config.http)}
    return {**whole, **tables, **http, "rename": rename}


def _table(config: Config | ListenerConfig | AdminConfig | HttpConfig) -> dict[str, Any]:
    values = {key: getattr(config, key) for key in readers(type(config))}
    known = {key: value for key, value in values.items() if value is not None}
    return {key: list(map(_plain, value)) if isinstance(value, tuple) else value for key, value in known.items()}


def _plain(value: object) -> object:
    return value.table if isinstance(value, Rule) else value
