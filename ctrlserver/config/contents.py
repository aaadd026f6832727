"""What the files hold that a config names, certificates and secrets, so that a reload can say which it read anew.

Rules: only digests are kept. A file that cannot be read counts as empty: whoever needs it says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256

from ctrlserver.config.credentials import secret_of
from ctrlserver.config.endpoints import tls_files
from ctrlserver.config.tree import Config
from ctrlserver.errors import UsageError
from ctrlserver.words import quoted

Contents = Mapping[tuple[str, str], bytes]
"""The digest of the files of a listener or admin port; the key is the line on it, and what names the files."""


def contents_of(config: Config) -> Contents:
    """As the files are now."""
    found: dict[tuple[str, str], bytes] = {}
    endpoints = [(f"listener {quoted(each.name)}", each.endpoint) for each in config.listeners]
    endpoints += [(f"admin {each.endpoint}", each.endpoint) for each in config.admin]
    endpoints += [] if config.http is None else [(f"http {config.http.endpoint}", config.http.endpoint)]
    for who, endpoint in endpoints:
        if paths := tls_files(endpoint):
            found[f"{who}: certificate read anew", endpoint] = sha256(b"".join(map(_digest, paths))).digest()
    for admin in config.admin:
        if admin.auth is not None:
            with suppress(UsageError):
                key = (f"admin {admin.endpoint}: secret read anew", admin.auth)
                found[key] = sha256(secret_of(admin.auth)).digest()
    return found


def read_anew(before: Contents, after: Contents) -> list[str]:
    """A line for each listener and admin port whose files are those of before, with another content."""
    return [key[0] for key, digest in after.items() if before.get(key, digest) != digest]


def _digest(path: str) -> bytes:
    content = b""
    with suppress(OSError, ValueError), open(path, "rb") as file:
        content = file.read()
    return sha256(content).digest()
