"""The config: a frozen tree, read from TOML, each error one line for the operator.

Rules: an error names the file, the key (``listener[0].framing``) or the flag, what was given, what was expected and,
where there is one, the nearest good value. Every key has a default, so an empty file is a whole config; a key nobody
knows is an error, never ignored. A value is checked by itself first (``tree``), then together with the others
(``conflicts``): by ``load_config`` and ``override``, never by the classes themselves, which trust who makes them.

Beware: ``etc/ctrlserver.toml`` teaches every key with its default, and a test holds it to the tree. A new key needs its
attribute and its reader in ``tree``, and its lines there.
"""

from __future__ import annotations

from ctrlserver.config.endpoints import check_endpoint
from ctrlserver.config.loading import load_config, override
from ctrlserver.config.tree import AdminConfig, Config, HttpConfig, ListenerConfig

__all__ = [
    "AdminConfig",
    "Config",
    "HttpConfig",
    "ListenerConfig",
    "check_endpoint",
    "load_config",
    "override",
]
